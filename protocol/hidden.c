#include "protocol/hidden.h"

#include <sys/mman.h>

#include "protocol/secret.h"

/* Stands before the buffer, so that freeing needs no size. */
union header {
	size_t total;
	max_align_t align;
};

uint8_t *hidden_new(size_t size)
{
	union header *h;
	size_t total;

	if (size > SIZE_MAX / 2)
		return NULL;
	total = sizeof(*h) + size;
	h = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		return NULL;
	if (madvise(h, total, MADV_DONTDUMP) < 0) {
		munmap(h, total);
		return NULL;
	}
	/* Best effort: the limit on locked memory belongs to the keys first. */
	(void)mlock(h, total);
	h->total = total;
	return (uint8_t *)(h + 1);
}

void hidden_free(uint8_t *data)
{
	union header *h;
	size_t total;

	if (!data)
		return;
	h = (union header *)(void *)data - 1;
	total = h->total;
	wipe(h, total);
	munmap(h, total);
}
