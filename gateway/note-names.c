/* The names of the values of a CHOICE, as they stand in files: they are never changed. */

#include "gateway/recorder.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const entry_names[] = {
	[ENTRY_PROCEDURE] = "procedure",
	[ENTRY_RELAY] = "relay",
	[ENTRY_JUDGEMENT] = "judgement",
	[ENTRY_VERDICT] = "verdict",
	[ENTRY_COMMAND] = "command",
	[ENTRY_LINK] = "link",
	[ENTRY_WAN] = "wan",
	[ENTRY_LINE] = "line",
	[ENTRY_BEGIN] = "begin",
};

static const char *const stored_names[] = {
	[STORED_OWN] = "own",
	[STORED_NEXT] = "next",
	[STORED_REPEAT] = "repeat",
	[STORED_NEWEST] = "newest",
};

static const char *const event_names[EVENT_KINDS] = {
	[EVENT_START] = "START",
	[EVENT_WAN_UP] = "WAN_UP",
	[EVENT_ANSWER] = "ANSWER",
	[EVENT_WAN_FAILED] = "WAN_FAILED",
	[EVENT_HASHED] = "HASHED",
	[EVENT_STORED] = "STORED",
	[EVENT_SUBSCRIBED] = "SUBSCRIBED",
	[EVENT_MESSAGE] = "MESSAGE",
	[EVENT_MALFORMED] = "MALFORMED",
	[EVENT_RELAYED] = "RELAYED",
	[EVENT_RELAY_ENDED] = "RELAY_ENDED",
	[EVENT_RECEIPT] = "RECEIPT",
	[EVENT_LINK_DOWN] = "LINK_DOWN",
	[EVENT_TIMEOUT] = "TIMEOUT",
	[EVENT_CANCEL] = "CANCEL",
};

static const char *const failure_names[] = {
	[WAN_FAILURE_DOWN] = "DOWN",
	[WAN_FAILURE_LOST] = "LOST",
	[WAN_FAILURE_SILENT] = "SILENT",
	[WAN_FAILURE_ANSWER] = "ANSWER",
};

static const char *const profile_names[PROFILE_FUNCTIONS] = {
	[PROFILE_MESSAGE_ID] = "message_id",
	[PROFILE_RAND] = "rand",
	[PROFILE_CLIENT_NONCE] = "client_nonce",
	[PROFILE_DIGEST] = "digest",
	[PROFILE_SEAL_PASSWORD] = "seal_password",
	[PROFILE_AUTH_DATA] = "auth_data",
	[PROFILE_HELD_PROOF] = "held_proof",
	[PROFILE_REFILL_PROOF] = "refill_proof",
	[PROFILE_VERIFIER] = "verifier",
	[PROFILE_WRAP] = "wrap",
	[PROFILE_UNWRAP] = "unwrap",
	[PROFILE_UNWRAP_TEMPORARY_KEY] = "unwrap_temporary_key",
	[PROFILE_CHAIN_BELOW] = "chain_below",
};

static const char *const action_names[] = {
	[ACTION_POST] = "POST",       [ACTION_SEND] = "SEND",   [ACTION_RECEIPT] = "RECEIPT",
	[ACTION_DERIVE] = "DERIVE",   [ACTION_STORE] = "STORE", [ACTION_STEP] = "STEP",
	[ACTION_VERDICT] = "VERDICT",
};

static const char *const call_names[CALLS] = {
	[CALL_REQUEST] = "REQUEST",
	[CALL_ANSWERED] = "ANSWERED",
	[CALL_DROP_ANSWER] = "DROP_ANSWER",
	[CALL_WAN_FAILED] = "WAN_FAILED",
	[CALL_RECEIPT] = "RECEIPT",
	[CALL_STORED] = "STORED",
	[CALL_TICK] = "TICK",
	[CALL_REVOKE] = "REVOKE",
};

static const char *const matter_names[MATTERS] = {
	[MATTER_START] = "start",       [MATTER_RENEWAL] = "renewal",
	[MATTER_HANDOVER] = "handover", [MATTER_UNREACHABLE] = "unreachable",
	[MATTER_WAITING] = "waiting",   [MATTER_RESTART] = "restart",
	[MATTER_ROLLBACK] = "rollback", [MATTER_REVOKED] = "revoked",
	[MATTER_RESET] = "reset",       [MATTER_REVOCATION] = "revocation",
};

static const char *verdict_choice(uint64_t value)
{
	switch (value) {
#define VERDICT(id, number, leg, retry, cause, next) \
	case number:                                 \
		return #id;
#include "protocol/verdicts.def"
#undef VERDICT
	}
	return NULL;
}

#define CHOICE_entry   name_in(entry_names, COUNT(entry_names), value)
#define CHOICE_stored  name_in(stored_names, COUNT(stored_names), value)
#define CHOICE_event   name_in(event_names, COUNT(event_names), value)
#define CHOICE_failure name_in(failure_names, COUNT(failure_names), value)
#define CHOICE_profile name_in(profile_names, COUNT(profile_names), value)
#define CHOICE_action  name_in(action_names, COUNT(action_names), value)
#define CHOICE_call    name_in(call_names, COUNT(call_names), value)
#define CHOICE_matter  name_in(matter_names, COUNT(matter_names), value)
#define CHOICE_verdict verdict_choice(value)
#define CHOICE_status  status_choice(value)
#define CHOICE_0       NULL

static const char *name_in(const char *const *names, size_t count, uint64_t value)
{
	return value < count ? names[value] : NULL;
}

static const char *status_choice(uint64_t value)
{
	return value < 256 && status_known((unsigned)value) ? status_wire_name((enum status)value)
							    : NULL;
}

const char *note_choice(enum note_tag tag, uint64_t value)
{
	switch (tag) {
#define NOTE(name, type, table) \
	case NOTE_##name:       \
		return CHOICE_##table;
#include "gateway/notes.def"
#undef NOTE
	case NOTE_end:
	case NOTE_TAGS:
		break;
	}
	return NULL;
}
