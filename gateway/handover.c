#include "gateway/handover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "storage/record.h"

/* Fields of the record. Stable numbers: they are in the vault. */
enum {
	TAG_TERM = 1,
	TAG_AFTER = 2,
	TAG_STATE = 3,
	TAG_GIVEN = 4,
	TAG_HOLDER = 5,
	TAG_SINCE = 6,
};

static const struct vault_id record = {.kind = VAULT_HANDOVER};

static int parse(struct bytes content, struct handover *out)
{
	struct handover h = {.since = 0};
	struct bytes holder, since;
	uint32_t state;

	if (record_get_u32(content, TAG_TERM, &h.term) != 0 ||
	    record_get_u32(content, TAG_AFTER, &h.after) != 0 ||
	    record_get_u32(content, TAG_STATE, &state) != 0 ||
	    record_get_u32(content, TAG_GIVEN, &h.given) != 0 ||
	    record_get(content, TAG_HOLDER, &holder) != 0 ||
	    record_get(content, TAG_SINCE, &since) != 0 || state > HANDOVER_STATE_MAX ||
	    holder.size != sizeof(h.holder) || since.size != 8)
		return -EBADMSG;
	h.state = (enum handover_state)state;
	memcpy(h.holder, holder.data, holder.size);
	for (size_t i = 0; i < since.size; i++)
		h.since = h.since << 8 | since.data[i];
	*out = h;
	return 0;
}

int handover_get(struct vault *v, struct handover *out)
{
	struct vault_content content = {NULL, 0};
	int r = vault_get(v, &record, &content);

	*out = (struct handover){.state = HANDOVER_SERVES};
	if (r < 0 || r == VAULT_ABSENT)
		return r < 0 ? r : 0;
	if (r != 0 || parse(bytes_of(content.data, content.size), out) != 0)
		*out = (struct handover){.state = HANDOVER_ASKS};
	vault_content_free(&content);
	return 0;
}

void handover_put(struct vault_batch *b, const struct handover *h)
{
	struct record_writer w;
	uint8_t since[8];

	for (size_t i = 0; i < sizeof(since); i++)
		since[i] = (uint8_t)(h->since >> (56 - 8 * i));
	record_begin(&w);
	record_add_u32(&w, TAG_TERM, h->term);
	record_add_u32(&w, TAG_AFTER, h->after);
	record_add_u32(&w, TAG_STATE, h->state);
	record_add_u32(&w, TAG_GIVEN, h->given);
	record_add(&w, TAG_HOLDER, bytes_of(h->holder, sizeof(h->holder)));
	record_add(&w, TAG_SINCE, bytes_of(since, sizeof(since)));
	vault_batch_put(b, &record, record_bytes(&w));
	record_end(&w);
}

const char *handover_time(uint64_t since, char out[HANDOVER_TIME_SIZE])
{
	const time_t at = (time_t)since;
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&at, &tm))
		(void)strftime(out, HANDOVER_TIME_SIZE, "%Y-%m-%d %H:%M:%S UTC", &tm);
	return out;
}
