#include "protocol/secret.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "protocol/p1.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEPARATE_SECRETS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SEPARATE_SECRETS 1
#endif

struct secret {
	atomic_uint references;
	uint16_t size;
	uint16_t slot_class;
	struct secret *next_free;
	alignas(16) uint8_t data[];
};

/* Pages of a slab; it has an inaccessible page on either side. */
#define SLAB_PAGES 4

struct slot_class {
	size_t payload;
	struct secret *free;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot_class classes[] = {{64, NULL}, {SECRET_MAX_SIZE, NULL}};
static atomic_size_t alive;

#define CLASS_COUNT (sizeof(classes) / sizeof(classes[0]))

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Locked memory between two inaccessible pages, or NULL and errno. */
static void *locked_pages_map(size_t size)
{
	size_t page = page_size();
	uint8_t *all = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (all == MAP_FAILED)
		return NULL;
	if (mprotect(all + page, size, PROT_READ | PROT_WRITE) == 0 &&
	    madvise(all + page, size, MADV_DONTDUMP) == 0 && mlock(all + page, size) == 0)
		return all + page;
	error = errno;
	munmap(all, size + 2 * page);
	errno = error;
	return NULL;
}

static void locked_pages_unmap(void *pages, size_t size)
{
	size_t page = page_size();

	munmap((uint8_t *)pages - page, size + 2 * page);
}

static size_t slot_size(size_t payload)
{
	size_t align = alignof(struct secret);

	return (sizeof(struct secret) + payload + align - 1) / align * align;
}

/* Called with the lock held. */
static int class_grow(uint16_t number)
{
	struct slot_class *class = &classes[number];
	size_t slot = slot_size(class->payload);
	size_t size = SLAB_PAGES * page_size();
	uint8_t *slab = locked_pages_map(size);

	if (!slab)
		return -errno;
	for (size_t at = 0; at + slot <= size; at += slot) {
		struct secret *s = (struct secret *)(void *)(slab + at);

		s->slot_class = number;
		s->next_free = class->free;
		class->free = s;
	}
	return 0;
}

int secret_setup(void)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	for (uint16_t i = 0; i < CLASS_COUNT && r == 0; i++) {
		if (!classes[i].free)
			r = class_grow(i);
	}
	pthread_mutex_unlock(&lock);
	return r;
}

#ifdef SEPARATE_SECRETS
/* Each on its own, so that the sanitizer sees every overrun, late use and leak. */
static struct secret *slot_take(uint16_t number)
{
	size_t size = slot_size(classes[number].payload);
	void *s;

	if (posix_memalign(&s, alignof(struct secret), size) != 0)
		return NULL;
	memset(s, 0, size);
	return s;
}

static void slot_give_back(struct secret *s)
{
	free(s);
}
#else
static struct secret *slot_take(uint16_t number)
{
	struct slot_class *class = &classes[number];
	struct secret *s;

	pthread_mutex_lock(&lock);
	if (!class->free)
		(void)class_grow(number);
	s = class->free;
	if (s)
		class->free = s->next_free;
	pthread_mutex_unlock(&lock);
	return s;
}

static void slot_give_back(struct secret *s)
{
	struct slot_class *class = &classes[s->slot_class];

	pthread_mutex_lock(&lock);
	s->next_free = class->free;
	class->free = s;
	pthread_mutex_unlock(&lock);
}
#endif

struct secret *secret_new(size_t size)
{
	struct secret *s;
	uint16_t number = 0;

	if (size == 0 || size > SECRET_MAX_SIZE)
		return NULL;
	while (size > classes[number].payload)
		number++;
	s = slot_take(number);
	if (!s)
		return NULL;
	s->next_free = NULL;
	s->slot_class = number;
	s->size = (uint16_t)size;
	atomic_store(&s->references, 1);
	atomic_fetch_add(&alive, 1);
	return s;
}

struct secret *secret_copy(struct bytes b)
{
	struct secret *s = secret_new(b.size);

	if (s)
		memcpy(s->data, b.data, b.size);
	return s;
}

struct secret *secret_random(size_t size)
{
	struct secret *s = secret_new(size);

	if (s && p1_random(s->data, size) != 0)
		secret_clear(&s);
	return s;
}

struct secret *secret_ref(struct secret *s)
{
	if (s)
		atomic_fetch_add(&s->references, 1);
	return s;
}

void secret_unref(struct secret *s)
{
	if (!s || atomic_fetch_sub(&s->references, 1) != 1)
		return;
	wipe(s->data, classes[s->slot_class].payload);
	s->size = 0;
	slot_give_back(s);
	atomic_fetch_sub(&alive, 1);
}

void secret_clear(struct secret **s)
{
	struct secret *old = *s;

	*s = NULL;
	secret_unref(old);
}

size_t secret_size(const struct secret *s)
{
	return s->size;
}

struct bytes secret_bytes(const struct secret *s)
{
	return bytes_of(s->data, s->size);
}

uint8_t *secret_buffer(struct secret *s)
{
	return s->data;
}

void secret_shrink(struct secret *s, size_t size)
{
	if (size >= s->size)
		return;
	wipe(s->data + size, s->size - size);
	s->size = (uint16_t)size;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return a && b && constant_time_equal(secret_bytes(a), secret_bytes(b));
}

bool constant_time_equal(struct bytes a, struct bytes b)
{
	volatile uint8_t difference = 0;

	if (a.size != b.size)
		return false;
	for (size_t i = 0; i < a.size; i++)
		difference = (uint8_t)(difference | (a.data[i] ^ b.data[i]));
	return difference == 0;
}

void wipe(void *data, size_t size)
{
	if (size > 0)
		explicit_bzero(data, size);
}

size_t secret_count(void)
{
	return atomic_load(&alive);
}

void *secret_scratch_new(void)
{
	return locked_pages_map(page_size());
}

void secret_scratch_free(void *scratch)
{
	if (!scratch)
		return;
	wipe(scratch, SECRET_SCRATCH_SIZE);
	locked_pages_unmap(scratch, page_size());
}
