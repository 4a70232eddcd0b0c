#include "pan/frame.h"

#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

/* Takes frames until none is whole; sum depends on every kind, size and byte, in their order. */
static int take(struct frame_reader *r, uint64_t *sum)
{
	struct bytes payload;
	enum frame_kind kind;
	int rc;

	while ((rc = frame_reader_next(r, &kind, &payload)) == 0) {
		MUST(kind >= FRAME_HELLO && kind <= FRAME_PONG);
		MUST(payload.size <= MESSAGE_MAX_SIZE);
		*sum = *sum * 31 + (uint64_t)kind * 65536 + payload.size;
		for (size_t i = 0; i < payload.size; i++)
			*sum = *sum * 31 + payload.data[i];
	}
	return rc;
}

static int read_stream(struct bytes stream, size_t step, uint64_t *sum)
{
	struct frame_reader r = {0};
	int rc = -EAGAIN;

	for (size_t at = 0; at < stream.size && rc == -EAGAIN; at += step) {
		size_t size = step < stream.size - at ? step : stream.size - at;

		rc = frame_reader_push(&r, bytes_of(stream.data + at, size));
		MUST(rc == 0 || rc == FRAME_OVERSIZED);
		rc = take(&r, sum);
		MUST(rc == -EAGAIN || rc > 0);
	}
	frame_reader_clear(&r);
	return rc;
}

static void check_payload(struct bytes payload)
{
	uint8_t hello_out[HELLO_MAX_SIZE], receipt_out[RECEIPT_SIZE];
	struct receipt receipt;
	struct hello hello;

	if (hello_read(payload, &hello) == 0) {
		MUST(hello_write(&hello, hello_out) == payload.size);
		MUST(memcmp(hello_out, payload.data, payload.size) == 0);
	}
	if (receipt_read(payload, &receipt) == 0) {
		receipt_write(&receipt, receipt_out);
		MUST(memcmp(receipt_out, payload.data, RECEIPT_SIZE) == 0);
	}
}

/* However a stream is cut, the same frames come out of it and it ends in the same way. */
bool fuzz_frame(struct bytes input)
{
	uint64_t whole = 0, pieces = 0;
	struct frame_reader r = {0};
	struct bytes payload, stream;
	enum frame_kind kind;
	int end;

	if (input.size == 0)
		return false;
	stream = bytes_of(input.data + 1, input.size - 1);
	end = read_stream(stream, SIZE_MAX, &whole);
	MUST(read_stream(stream, (size_t)input.data[0] + 1, &pieces) == end);
	MUST(whole == pieces);

	check_payload(stream);
	(void)frame_reader_push(&r, stream);
	while (frame_reader_next(&r, &kind, &payload) == 0)
		check_payload(payload);
	frame_reader_clear(&r);
	return end == -EAGAIN;
}
