#include "protocol/message.h"

#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static void check_refusal(const struct malformation *why)
{
	char line[256];

	MUST(why->what > MALFORMED_NOT && why->what < MALFORMED_KINDS);
	MUST(memchr(why->element, 0, sizeof(why->element)) != NULL);
	MUST(malformation_describe(why, line, sizeof(line)) == line);
	MUST(strlen(line) > 0 && strlen(malformed_text(why->what)) > 0);
}

/* What was decoded encodes to something that decodes to the same, and from then on nothing changes.
 */
bool fuzz_message(struct bytes input)
{
	struct message *first = NULL, *second = NULL;
	struct malformation why = {0};
	char *text = NULL, *again = NULL;
	size_t text_size = 0, again_size = 0;
	struct message_id ids[2];
	int rc;

	rc = message_decode(input, &first, &why);
	if (rc != 0) {
		MUST(rc == MESSAGE_MALFORMED && !first);
		check_refusal(&why);
		return false;
	}
	MUST(input.size <= MESSAGE_MAX_SIZE);
	MUST(first->kind < MESSAGE_KINDS && message_name(first->kind));
	MUST(message_directions(first->kind) != 0);
	(void)message_needs(first->kind);
	MUST(status_known(message_status(first)));
	MUST(entity_id_valid(first->envelope.source) && entity_id_valid(first->envelope.target));

	rc = message_encode(first, &text, &text_size);
	if (rc == -EMSGSIZE) {
		/* Character references may stand for more than they need. */
		message_free(first);
		return true;
	}
	MUST(rc == 0 && strlen(text) == text_size);
	MUST(message_decode(bytes_of(text, text_size), &second, &why) == 0);
	MUST(second->kind == first->kind);
	ids[0] = message_id_of(first);
	ids[1] = message_id_of(second);
	MUST(message_id_equal(&ids[0], &ids[1]));
	ids[0] = message_in_response_to(first);
	ids[1] = message_in_response_to(second);
	MUST(message_id_equal(&ids[0], &ids[1]));
	MUST(message_status(first) == message_status(second));
	MUST(message_encode(second, &again, &again_size) == 0);
	MUST(bytes_equal(bytes_of(text, text_size), bytes_of(again, again_size)));
	free(text);
	free(again);
	message_free(first);
	message_free(second);
	return true;
}
