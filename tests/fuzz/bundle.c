#include "gateway/replay.h"
#include "gateway/trace.h"
#include "tests/fuzz/fuzz.h"

static bool feed(void *arg, uint64_t number, struct bytes note)
{
	char text[TRACE_TEXT_SIZE];

	MUST(gateway_trace_text(note, text, sizeof(text)) == text);
	return gateway_replay_entry(arg, number, note) == 0;
}

/* The checksum is passed over: whoever alters a file can make it fit. */
bool fuzz_bundle(struct bytes input)
{
	struct replay *r = gateway_replay_new(NULL, NULL, NULL);
	char why[256] = "";
	int whole, result;

	MUST(r);
	whole = gateway_bundle_check(input, why, sizeof(why));
	MUST(whole == 0 || why[0]);
	why[0] = '\0';
	result = gateway_bundle_each(input, feed, r, why, sizeof(why));
	MUST(result == 0 || (result == BUNDLE_BAD && why[0]));
	gateway_replay_free(r);
	return result == 0;
}
