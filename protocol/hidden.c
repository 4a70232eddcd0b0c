#include "protocol/hidden.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "protocol/secret.h"

/*
 * Mapping and locking memory costs several times what is done in it, so freed buffers are kept,
 * wiped: two sizes, a few of each.
 */
#define SMALL_SIZE  4096
#define LARGE_SIZE  32768
#define SMALL_COUNT 16
#define LARGE_COUNT 2

/* Stands before the buffer, so that freeing needs no size. */
union header {
	struct {
		size_t mapped;
		size_t used; /* what is to be wiped, this header included */
	};
	max_align_t align;
};

struct stock {
	size_t size;
	size_t count;
	size_t most;
	union header *kept[SMALL_COUNT];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stock stocks[] = {
	{.size = SMALL_SIZE, .most = SMALL_COUNT},
	{.size = LARGE_SIZE, .most = LARGE_COUNT},
};

#define STOCK_COUNT (sizeof(stocks) / sizeof(stocks[0]))

/* Under AddressSanitizer nothing is: it is to see what is used after it was freed. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS false
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KEEPS false
#endif
#if !defined(KEEPS)
#define KEEPS true
#endif

/* The stock whose buffers have room for total bytes; NULL for larger ones, which are not kept. */
static struct stock *stock_for(size_t total)
{
	for (size_t i = 0; KEEPS && i < STOCK_COUNT; i++) {
		if (total <= stocks[i].size)
			return &stocks[i];
	}
	return NULL;
}

static union header *take(struct stock *s)
{
	union header *h = NULL;

	pthread_mutex_lock(&lock);
	if (s->count > 0)
		h = s->kept[--s->count];
	pthread_mutex_unlock(&lock);
	return h;
}

static bool give_back(struct stock *s, union header *h)
{
	bool kept;

	pthread_mutex_lock(&lock);
	kept = s->count < s->most;
	if (kept)
		s->kept[s->count++] = h;
	pthread_mutex_unlock(&lock);
	return kept;
}

static union header *map(size_t size)
{
	union header *h =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (h == MAP_FAILED)
		return NULL;
	if (madvise(h, size, MADV_DONTDUMP) < 0) {
		munmap(h, size);
		return NULL;
	}
	/* Best effort: the limit on locked memory belongs to the keys first. */
	(void)mlock(h, size);
	h->mapped = size;
	return h;
}

uint8_t *hidden_new(size_t size)
{
	union header *h = NULL;
	struct stock *stock;
	size_t total;

	if (size > SIZE_MAX / 2)
		return NULL;
	total = sizeof(*h) + size;
	stock = stock_for(total);
	if (stock)
		h = take(stock);
	if (!h)
		h = map(stock ? stock->size : total);
	if (!h)
		return NULL;
	h->used = total;
	return (uint8_t *)(h + 1);
}

void hidden_free(uint8_t *data)
{
	struct stock *stock;
	union header *h;
	size_t mapped;

	if (!data)
		return;
	h = (union header *)(void *)data - 1;
	mapped = h->mapped;
	stock = stock_for(h->used);
	wipe(data, h->used - sizeof(*h));
	if (!stock || !give_back(stock, h))
		munmap(h, mapped);
}
