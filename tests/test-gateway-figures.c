/*
 * Conversations with the procedures of the PN GW, without I/O: each row is what happens, in order,
 * and the verdict it must end in.
 */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/key-set.h"
#include "gateway/relay.h"
#include "protocol/digest.h"
#include "protocol/p1.h"

enum say {
	END = 0,
	START,
	WAN_UP,
	WAN_GOES,        /* from now on the WAN is down */
	ALONE,           /* from now on the PNE's link is down */
	COMES,           /* and now it is up */
	POOL_UNREADABLE, /* from now on */
	FAIL_DOWN,
	FAIL_LOST,
	FAIL_SILENT,
	FAIL_ANSWER,
	HASHED,
	HASH_FAILED,
	STORED,
	STORE_FULL,
	STORE_READ_ONLY,
	STORE_BROKEN,
	STORE_DAMAGED,
	STORE_MEMORY,
	STORE_FAILED,
	SUBSCRIBED,
	SUBSCRIPTION_FAILED,
	ANSWER_OK,
	ANSWER_OTHER_KEY, /* right in form, wrapped with another key */
	ANSWER_TWICE,     /* two of the set's keys have one index */
	ANSWER_OTHER_ID,
	ANSWER_OTHER_KIND,
	ANSWER_EMPTY, /* status OK and nothing else */
	ANSWER_CHALLENGE,
	ANSWER_STALE,
	ANSWER_WEAK,
	ANSWER_NOT_OWNER,
	ANSWER_BUSY,
	ANSWER_UNAUTHORIZED,
	ANSWER_NO_TEMPORARY_KEY,
	ANSWER_TOO_MANY,
	ANSWER_STORAGE,
	INSTALLED,
	INSTALLED_OTHER_ID,
	INSTALLED_OTHER_USER,
	MALFORMED,
	RELAYED,
	RELAYED_OTHER,
	RELAY_DONE,
	RELAY_FAILED,
	RECEIPT_OK,
	RECEIPT_NO_PROOF,
	RECEIPT_BAD_PROOF,
	RECEIPT_OTHER_ID,
	RECEIPT_TRIGGER,
	RECEIPT_UNWRAP,
	RECEIPT_STALE,
	RECEIPT_STORAGE,
	LINK_DOWN,
	QUEUE_FULL,
	TIMEOUT,
	CANCEL,
};

enum given {
	PLAIN = 0,
	WAN_DOWN_AT_START = 1 << 0,
	TLS_REFUSED = 1 << 1,
	NOT_MUTUAL = 1 << 2,
	INSECURE = 1 << 3,
	NO_LINK = 1 << 4,
	OTHER_OWNER = 1 << 5,
	OTHER_PNE_OWNER = 1 << 6,
	CARD = 1 << 7,
	OWN_KEY = 1 << 8,
	UNSPENT = 1 << 9,
	CHAIN = 1 << 10,
	REPEAT = 1 << 11,      /* a key was sent and not confirmed */
	NO_VERIFIER = 1 << 12, /* the user's password was never used here */
	OTHER_PASSWORD = 1 << 13,
	RESUMED = 1 << 14,
	NO_NEWEST = 1 << 15,
	/* Figure 6 in parts. */
	SUBSCRIBE = 1 << 16,
	INSTALL = 1 << 17,
	TRIGGER = 1 << 18,
};

#define UNDER_WAY ((enum verdict_id)9999)

struct row {
	const char *name;
	const struct procedure_type *type;
	unsigned given;
	enum say says[14];
	enum verdict_id verdict;
};

#define T5           &gateway_figure5_registration
#define T6S          &gateway_figure6_subscription
#define T6           &gateway_figure6_assignment
#define T7           &gateway_figure7_assignment
#define T8           &gateway_figure8_assignment
#define TRENEW       &gateway_renewal
#define TREFILL      &gateway_refill
#define TO_HASHED    START, ANSWER_CHALLENGE, HASHED
#define TO_NOTIFIED  TO_HASHED, ANSWER_OK, STORED
#define TO_TRIGGERED START, SUBSCRIBED, INSTALLED
#define TO_RELAYING  TO_TRIGGERED, RELAYED

/* From STORE_FULL on. */
static const int store_errors[] = {-ENOSPC, -EROFS, -EIO, -EBADMSG, -ENOMEM, -EBUSY};

static const struct row rows[] = {
	/* Figure 5. */
	{"registration", T5, 0, {START, ANSWER_OK}, VERDICT_DONE},
	{"registration with own EUKey", T5, OWN_KEY, {START, ANSWER_OK}, VERDICT_DONE},
	{"C249: not mutual", T5, NOT_MUTUAL, {START}, VERDICT_WAN_NOT_MUTUAL},
	{"C249: not mutual, own EUKey", T5, NOT_MUTUAL | OWN_KEY, {START}, VERDICT_WAN_NOT_MUTUAL},
	{"user taken", T5, 0, {START, ANSWER_UNAUTHORIZED}, VERDICT_USER_TAKEN},
	{"server's store", T5, 0, {START, ANSWER_STORAGE}, VERDICT_SERVER_STORAGE},
	{"other answer", T5, 0, {START, ANSWER_OTHER_ID}, VERDICT_SERVER_MALFORMED},
	{"other kind", T5, 0, {START, ANSWER_OTHER_KIND}, VERDICT_SERVER_MALFORMED},
	{"WAN comes up", T5, WAN_DOWN_AT_START, {START, WAN_UP, ANSWER_OK}, VERDICT_DONE},
	{"WAN stays down", T5, WAN_DOWN_AT_START, {START, TIMEOUT}, VERDICT_WAN_DOWN},
	{"TLS refused",
	 T5,
	 WAN_DOWN_AT_START | TLS_REFUSED,
	 {START, TIMEOUT},
	 VERDICT_WAN_TLS_REFUSED},
	{"cancelled before", T5, WAN_DOWN_AT_START, {START, CANCEL}, VERDICT_CANCELLED},
	{"cancelled under way", T5, 0, {START, CANCEL}, VERDICT_CANCELLED},
	{"made anew once", T5, 0, {START, FAIL_LOST, ANSWER_OK}, VERDICT_DONE},
	{"not twice", T5, 0, {START, FAIL_LOST, FAIL_LOST}, VERDICT_WAN_LOST},
	{"silent server", T5, 0, {START, FAIL_SILENT}, VERDICT_WAN_SILENT},
	{"no message", T5, 0, {START, FAIL_ANSWER}, VERDICT_SERVER_MALFORMED},
	{"lost and down", T5, 0, {START, WAN_GOES, FAIL_LOST, TIMEOUT}, VERDICT_WAN_DOWN},
	/* Figure 6, the subscription. */
	{"subscription", T6S, 0, {START, ANSWER_OK, HASHED}, VERDICT_DONE},
	{"C249: subscription", T6S, NOT_MUTUAL, {START}, VERDICT_WAN_NOT_MUTUAL},
	{"wrong password", T6S, 0, {START, ANSWER_UNAUTHORIZED}, VERDICT_WRONG_PASSWORD},
	{"not the owner", T6S, 0, {START, ANSWER_NOT_OWNER}, VERDICT_GATEWAY_NOT_OWNER},
	{"no parameters", T6S, 0, {START, ANSWER_EMPTY}, VERDICT_SERVER_MALFORMED},
	{"weak parameters", T6S, 0, {START, ANSWER_WEAK}, VERDICT_WEAK_PARAMETERS},
	{"hash fails", T6S, 0, {START, ANSWER_OK, HASH_FAILED}, VERDICT_GATEWAY_MEMORY},
	{"late answer", T6S, 0, {START, ANSWER_OK, ANSWER_OK, HASHED}, VERDICT_DONE},
	{"cancelled hashing", T6S, 0, {START, ANSWER_OK, CANCEL}, VERDICT_CANCELLED},
	{"busy", T6S, 0, {START, ANSWER_BUSY}, VERDICT_SERVER_BUSY},
	{"steps 0 to 3", T6S, SUBSCRIBE, {START, ANSWER_OK, HASHED, STORED}, VERDICT_DONE},
	{"steps 0 to 6", T6S, INSTALL, {START, ANSWER_OK, HASHED, STORED}, VERDICT_DONE},
	{"not durable yet", T6S, SUBSCRIBE, {START, ANSWER_OK, HASHED}, UNDER_WAY},
	{"disk full",
	 T6S,
	 SUBSCRIBE,
	 {START, ANSWER_OK, HASHED, STORE_FULL},
	 VERDICT_GATEWAY_DISK_FULL},
	{"cancelled storing",
	 T6S,
	 SUBSCRIBE,
	 {START, ANSWER_OK, HASHED, CANCEL},
	 VERDICT_CANCELLED},
	{"trigger's password", T6S, TRIGGER, {START, HASHED}, VERDICT_DONE},
	{"trigger's wrong password",
	 T6S,
	 TRIGGER | OTHER_PASSWORD,
	 {START, HASHED},
	 VERDICT_WRONG_PASSWORD},
	{"trigger's hash fails", T6S, TRIGGER, {START, HASH_FAILED}, VERDICT_GATEWAY_MEMORY},
	{"trigger, never subscribed", T6S, TRIGGER | NO_VERIFIER, {START}, VERDICT_NOT_SUBSCRIBED},
	{"trigger, not mutual", T6S, TRIGGER | NOT_MUTUAL, {START, HASHED}, VERDICT_DONE},
	/* Figure 6, each PNE. */
	{"assignment", T6, 0, {TO_RELAYING, RELAY_DONE}, VERDICT_DONE},
	{"C255: insecure PAN", T6, INSECURE, {START}, VERDICT_PAN_INSECURE},
	{"C255: another owner", T6, OTHER_OWNER, {START}, VERDICT_GATEWAY_NOT_OWNER},
	{"C255: another PNE owner", T6, OTHER_PNE_OWNER, {START}, VERDICT_NOT_OWNER},
	{"no such PNE", T6, NO_LINK, {START}, VERDICT_PNE_UNKNOWN},
	{"subscription fails", T6, 0, {START, SUBSCRIPTION_FAILED}, VERDICT_WRONG_PASSWORD},
	{"link lost waiting", T6, 0, {START, LINK_DOWN}, VERDICT_PAN_LOST},
	{"link lost before step 4", T6, 0, {START, ALONE, SUBSCRIBED}, VERDICT_PNE_UNKNOWN},
	{"link lost installing", T6, 0, {START, SUBSCRIBED, LINK_DOWN}, VERDICT_PAN_LOST},
	{"link lost triggered", T6, 0, {TO_TRIGGERED, LINK_DOWN}, VERDICT_PAN_LOST},
	{"link lost relaying", T6, 0, {TO_RELAYING, LINK_DOWN}, VERDICT_PAN_LOST},
	{"queue full", T6, 0, {START, SUBSCRIBED, QUEUE_FULL}, VERDICT_PAN_QUEUE_FULL},
	{"installation alone", T6, INSTALL, {START, SUBSCRIBED, INSTALLED}, VERDICT_DONE},
	{"installation alone refused",
	 T6,
	 INSTALL,
	 {START, SUBSCRIBED, INSTALLED_OTHER_USER},
	 VERDICT_PNE_OTHER_USER},
	{"trigger alone", T6, TRIGGER, {START, SUBSCRIBED, RELAYED, RELAY_DONE}, VERDICT_DONE},
	{"trigger alone refused",
	 T6,
	 TRIGGER,
	 {START, SUBSCRIBED, RECEIPT_TRIGGER},
	 VERDICT_PNE_REFUSED_TRIGGER},
	{"trigger alone, insecure", T6, TRIGGER | INSECURE, {START}, VERDICT_PAN_INSECURE},
	{"trigger alone, link lost", T6, TRIGGER, {START, ALONE, SUBSCRIBED}, VERDICT_PNE_UNKNOWN},
	{"silent installing", T6, 0, {START, SUBSCRIBED, TIMEOUT}, VERDICT_PNE_SILENT},
	{"silent triggered", T6, 0, {TO_TRIGGERED, TIMEOUT}, VERDICT_PNE_SILENT},
	{"another user installed",
	 T6,
	 0,
	 {START, SUBSCRIBED, INSTALLED_OTHER_USER},
	 VERDICT_PNE_OTHER_USER},
	{"answer to something else", T6, 0, {START, SUBSCRIBED, INSTALLED_OTHER_ID}, UNDER_WAY},
	{"installation refused", T6, 0, {START, SUBSCRIBED, RECEIPT_STORAGE}, VERDICT_PNE_STORAGE},
	{"trigger rejected", T6, 0, {TO_TRIGGERED, RECEIPT_TRIGGER}, VERDICT_PNE_REFUSED_TRIGGER},
	{"receipt for something else", T6, 0, {TO_TRIGGERED, RECEIPT_OTHER_ID}, UNDER_WAY},
	{"late installation answer",
	 T6,
	 0,
	 {TO_TRIGGERED, INSTALLED, RELAYED, RELAY_DONE},
	 VERDICT_DONE},
	{"another request relayed", T6, 0, {TO_TRIGGERED, RELAYED_OTHER, RELAY_DONE}, UNDER_WAY},
	{"relay fails", T6, 0, {TO_RELAYING, RELAY_FAILED}, VERDICT_PNE_CANNOT_UNWRAP},
	{"malformed installing", T6, 0, {START, SUBSCRIBED, MALFORMED}, VERDICT_PNE_MALFORMED},
	{"malformed triggered", T6, 0, {TO_TRIGGERED, MALFORMED}, VERDICT_PNE_MALFORMED},
	{"cancelled waiting", T6, 0, {START, CANCEL}, VERDICT_CANCELLED},
	{"cancelled triggered", T6, 0, {TO_TRIGGERED, CANCEL}, VERDICT_CANCELLED},
	{"cancelled relaying", T6, 0, {TO_RELAYING, CANCEL}, VERDICT_CANCELLED},
	/* Figure 7. */
	{"set", T7, 0, {TO_NOTIFIED, RECEIPT_OK, STORED}, VERDICT_DONE},
	{"set, own EUKey, not mutual",
	 T7,
	 OWN_KEY | NOT_MUTUAL,
	 {TO_NOTIFIED, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"chain", T7, CHAIN, {TO_NOTIFIED, RECEIPT_OK, STORED}, VERDICT_DONE},
	{"insecure PAN will do", T7, INSECURE, {TO_NOTIFIED, RECEIPT_OK, STORED}, VERDICT_DONE},
	{"no shared key", T7, NOT_MUTUAL, {START}, VERDICT_GATEWAY_KEY_MISSING},
	{"no PNE", T7, NO_LINK, {START}, VERDICT_PNE_UNKNOWN},
	{"wrong password", T7, 0, {TO_HASHED, ANSWER_CHALLENGE}, VERDICT_WRONG_PASSWORD},
	{"stale nonce",
	 T7,
	 0,
	 {TO_HASHED, ANSWER_STALE, ANSWER_OK, STORED, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"stale twice", T7, 0, {TO_HASHED, ANSWER_STALE, ANSWER_STALE}, VERDICT_WRONG_PASSWORD},
	{"weak parameters", T7, 0, {START, ANSWER_WEAK}, VERDICT_WEAK_PARAMETERS},
	{"no Temporary Key",
	 T7,
	 0,
	 {TO_HASHED, ANSWER_NO_TEMPORARY_KEY},
	 VERDICT_SERVER_NO_TEMPORARY_KEY},
	{"not the owner", T7, 0, {TO_HASHED, ANSWER_NOT_OWNER}, VERDICT_NOT_OWNER},
	{"not the owner of the PN GW",
	 T7,
	 OTHER_OWNER,
	 {TO_HASHED, ANSWER_NOT_OWNER},
	 VERDICT_GATEWAY_NOT_OWNER},
	{"a key unasked", T7, 0, {START, ANSWER_EMPTY}, VERDICT_SERVER_MALFORMED},
	{"no set", T7, 0, {TO_HASHED, ANSWER_EMPTY}, VERDICT_SERVER_MALFORMED},
	{"other key", T7, 0, {TO_HASHED, ANSWER_OTHER_KEY}, VERDICT_GATEWAY_CANNOT_UNWRAP},
	{"one index twice", T7, 0, {TO_HASHED, ANSWER_TWICE}, VERDICT_SERVER_MALFORMED},
	{"pool unreadable",
	 T7,
	 0,
	 {TO_HASHED, POOL_UNREADABLE, ANSWER_OK},
	 VERDICT_GATEWAY_DISK_ERROR},
	{"other answer", T7, 0, {TO_HASHED, ANSWER_OTHER_ID}, VERDICT_SERVER_MALFORMED},
	{"vault fails", T7, 0, {TO_HASHED, ANSWER_OK, STORE_FAILED}, VERDICT_GATEWAY_STORAGE},
	{"disk full", T7, 0, {TO_HASHED, ANSWER_OK, STORE_FULL}, VERDICT_GATEWAY_DISK_FULL},
	{"read-only", T7, 0, {TO_HASHED, ANSWER_OK, STORE_READ_ONLY}, VERDICT_GATEWAY_READ_ONLY},
	{"disk error", T7, 0, {TO_HASHED, ANSWER_OK, STORE_BROKEN}, VERDICT_GATEWAY_DISK_ERROR},
	{"damaged", T7, 0, {TO_HASHED, ANSWER_OK, STORE_DAMAGED}, VERDICT_GATEWAY_VAULT_DAMAGED},
	{"no memory", T7, 0, {TO_HASHED, ANSWER_OK, STORE_MEMORY}, VERDICT_GATEWAY_MEMORY},
	{"link lost at the answer",
	 T7,
	 0,
	 {TO_HASHED, LINK_DOWN, ANSWER_OK, ALONE, STORED},
	 VERDICT_PAN_LOST},
	{"link lost notified", T7, 0, {TO_NOTIFIED, LINK_DOWN}, VERDICT_PAN_LOST},
	{"link lost hashing", T7, 0, {START, ANSWER_CHALLENGE, LINK_DOWN}, VERDICT_PAN_LOST},
	{"no receipt", T7, 0, {TO_NOTIFIED, TIMEOUT}, VERDICT_PNE_SILENT},
	{"wrong proof", T7, 0, {TO_NOTIFIED, RECEIPT_BAD_PROOF}, VERDICT_PNE_UNPROVEN},
	{"no proof", T7, 0, {TO_NOTIFIED, RECEIPT_NO_PROOF}, VERDICT_PNE_UNPROVEN},
	{"another's receipt", T7, 0, {TO_NOTIFIED, RECEIPT_OTHER_ID}, UNDER_WAY},
	{"PNE cannot unwrap", T7, 0, {TO_NOTIFIED, RECEIPT_UNWRAP}, VERDICT_PNE_CANNOT_UNWRAP},
	{"stale index", T7, 0, {TO_NOTIFIED, RECEIPT_STALE}, VERDICT_PNE_STALE_INDEX},
	{"PNE's storage", T7, 0, {TO_NOTIFIED, RECEIPT_STORAGE}, VERDICT_PNE_STORAGE},
	{"receipt not recorded",
	 T7,
	 0,
	 {TO_NOTIFIED, RECEIPT_OK, STORE_FULL},
	 VERDICT_GATEWAY_DISK_FULL},
	{"receipt twice", T7, 0, {TO_NOTIFIED, RECEIPT_OK, RECEIPT_OK, STORED}, VERDICT_DONE},
	{"lost at the challenge",
	 T7,
	 0,
	 {START, FAIL_LOST, ANSWER_CHALLENGE, HASHED, ANSWER_OK},
	 UNDER_WAY},
	{"lost at the answer",
	 T7,
	 0,
	 {TO_HASHED, FAIL_LOST, ANSWER_CHALLENGE, ANSWER_OK, STORED, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"lost twice",
	 T7,
	 0,
	 {TO_HASHED, FAIL_LOST, ANSWER_CHALLENGE, FAIL_LOST},
	 VERDICT_WAN_LOST},
	{"without WAN, no set", T7, WAN_DOWN_AT_START, {START, TIMEOUT}, VERDICT_WAN_DOWN},
	{"without WAN, from the set",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT,
	 {START, TIMEOUT, HASHED, STORED, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"without WAN, sent before",
	 T7,
	 WAN_DOWN_AT_START | REPEAT,
	 {START, TIMEOUT, HASHED, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"without WAN, wrong password",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT | OTHER_PASSWORD,
	 {START, TIMEOUT, HASHED},
	 VERDICT_WRONG_PASSWORD},
	{"without WAN, unknown password",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT | NO_VERIFIER,
	 {START, TIMEOUT},
	 VERDICT_WAN_DOWN},
	{"without WAN, hash fails",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT,
	 {START, TIMEOUT, HASH_FAILED},
	 VERDICT_GATEWAY_MEMORY},
	{"without WAN, link lost",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT,
	 {START, TIMEOUT, LINK_DOWN},
	 VERDICT_PAN_LOST},
	{"without WAN, not stored",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT,
	 {START, TIMEOUT, HASHED, STORE_FULL},
	 VERDICT_GATEWAY_DISK_FULL},
	{"without WAN, another owner",
	 T7,
	 WAN_DOWN_AT_START | UNSPENT | OTHER_PNE_OWNER,
	 {START, TIMEOUT, HASHED},
	 VERDICT_NOT_OWNER},
	/* Renewals. */
	{"renewal", TRENEW, UNSPENT, {START, STORED, RECEIPT_OK, STORED}, VERDICT_DONE},
	{"renewal without WAN",
	 TRENEW,
	 UNSPENT | WAN_DOWN_AT_START | NO_VERIFIER,
	 {START, STORED, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"renewal, sent before",
	 TRENEW,
	 UNSPENT | REPEAT,
	 {START, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"renewal, empty pool", TRENEW, 0, {START}, VERDICT_GATEWAY_POOL_EMPTY},
	{"renewal, no PNE", TRENEW, UNSPENT | NO_LINK, {START}, VERDICT_PNE_UNKNOWN},
	{"renewal, another owner",
	 TRENEW,
	 UNSPENT | OTHER_OWNER,
	 {START},
	 VERDICT_GATEWAY_NOT_OWNER},
	{"renewal, silent", TRENEW, UNSPENT, {START, STORED, TIMEOUT}, VERDICT_PNE_SILENT},
	{"renewal, link lost", TRENEW, UNSPENT, {START, ALONE, STORED}, VERDICT_PAN_LOST},
	{"renewal, refused",
	 TRENEW,
	 UNSPENT,
	 {START, STORED, RECEIPT_STALE},
	 VERDICT_PNE_STALE_INDEX},
	{"renewal, no room",
	 TRENEW,
	 UNSPENT,
	 {START, STORED, RECEIPT_STORAGE},
	 VERDICT_PNE_STORAGE},
	{"resumed", TRENEW, RESUMED | REPEAT, {START, RECEIPT_OK, STORED}, VERDICT_DONE},
	{"resumed later",
	 TRENEW,
	 RESUMED | REPEAT | NO_LINK,
	 {START, COMES, START, RECEIPT_OK, STORED},
	 VERDICT_DONE},
	{"not resumed",
	 TRENEW,
	 RESUMED | REPEAT | NO_LINK,
	 {START, TIMEOUT},
	 VERDICT_GATEWAY_RESTARTED},
	{"nothing to resume", TRENEW, RESUMED | UNSPENT, {START}, VERDICT_GATEWAY_RESTARTED},
	/* Filling up. */
	{"refill", TREFILL, 0, {START, ANSWER_OK, STORED}, VERDICT_DONE},
	{"refill, own EUKey", TREFILL, OWN_KEY, {START, ANSWER_OK, STORED}, VERDICT_DONE},
	{"refill, chain", TREFILL, CHAIN, {START, ANSWER_OK, STORED}, VERDICT_DONE},
	{"refill, no key yet", TREFILL, NO_NEWEST, {START}, VERDICT_REFILL_NEEDS_USER},
	{"refill refused", TREFILL, 0, {START, ANSWER_CHALLENGE}, VERDICT_REFILL_NEEDS_USER},
	{"refill, no challenge",
	 TREFILL,
	 0,
	 {START, ANSWER_UNAUTHORIZED},
	 VERDICT_REFILL_NEEDS_USER},
	{"refill, fewer",
	 TREFILL,
	 0,
	 {START, ANSWER_TOO_MANY, ANSWER_TOO_MANY},
	 VERDICT_SERVER_SET_TOO_LARGE},
	{"refill, owner", TREFILL, 0, {START, ANSWER_NOT_OWNER}, VERDICT_NOT_OWNER},
	{"refill, no set", TREFILL, 0, {START, ANSWER_EMPTY}, VERDICT_SERVER_MALFORMED},
	{"refill, used indexes", TREFILL, REPEAT, {START, ANSWER_OK}, VERDICT_SERVER_MALFORMED},
	{"refill, one index twice", TREFILL, 0, {START, ANSWER_TWICE}, VERDICT_SERVER_MALFORMED},
	{"refill, pool unreadable",
	 TREFILL,
	 0,
	 {START, POOL_UNREADABLE, ANSWER_OK},
	 VERDICT_GATEWAY_DISK_ERROR},
	{"refill, other key", TREFILL, 0, {START, ANSWER_OTHER_KEY}, VERDICT_GATEWAY_CANNOT_UNWRAP},
	{"refill, other answer", TREFILL, 0, {START, ANSWER_OTHER_ID}, VERDICT_SERVER_MALFORMED},
	{"refill, not stored",
	 TREFILL,
	 0,
	 {START, ANSWER_OK, STORE_FULL},
	 VERDICT_GATEWAY_DISK_FULL},
	{"refill, WAN lost", TREFILL, 0, {START, FAIL_LOST, ANSWER_OK, STORED}, VERDICT_DONE},
	{"refill, WAN lost twice", TREFILL, 0, {START, FAIL_LOST, FAIL_LOST}, VERDICT_WAN_LOST},
	{"refill, WAN down", TREFILL, WAN_DOWN_AT_START, {START, TIMEOUT}, VERDICT_WAN_DOWN},
	{"refill, WAN comes",
	 TREFILL,
	 WAN_DOWN_AT_START,
	 {START, WAN_UP, ANSWER_OK, STORED},
	 VERDICT_DONE},
	{"refill cancelled", TREFILL, 0, {START, CANCEL}, VERDICT_CANCELLED},
	{"cancelled notified", T7, 0, {TO_NOTIFIED, CANCEL}, VERDICT_CANCELLED},
	/* Figure 8. */
	{"own EUKey", T8, 0, {TO_HASHED, ANSWER_OK, STORED}, VERDICT_DONE},
	{"own EUKey again", T8, OWN_KEY, {TO_HASHED, ANSWER_OK, STORED}, VERDICT_DONE},
	{"not mutual will do", T8, NOT_MUTUAL, {TO_HASHED, ANSWER_OK, STORED}, VERDICT_DONE},
	{"C280: a card", T8, CARD, {START}, VERDICT_GATEWAY_HAS_CARD},
	{"C281: another owner", T8, OTHER_OWNER, {START}, VERDICT_NOT_OWNER},
	{"C281: wrong password", T8, 0, {TO_HASHED, ANSWER_CHALLENGE}, VERDICT_WRONG_PASSWORD},
	{"other key", T8, 0, {TO_HASHED, ANSWER_OTHER_KEY}, VERDICT_GATEWAY_CANNOT_UNWRAP},
	{"no key", T8, 0, {TO_HASHED, ANSWER_EMPTY}, VERDICT_SERVER_MALFORMED},
	{"vault fails", T8, 0, {TO_HASHED, ANSWER_OK, STORE_FAILED}, VERDICT_GATEWAY_STORAGE},
	{"WAN stays down", T8, WAN_DOWN_AT_START, {START, TIMEOUT}, VERDICT_WAN_DOWN},
	{"WAN fails", T8, 0, {TO_HASHED, FAIL_DOWN}, VERDICT_WAN_DOWN},
	{"weak", T8, 0, {START, ANSWER_WEAK}, VERDICT_WEAK_PARAMETERS},
	{"cancelled", T8, 0, {TO_HASHED, CANCEL}, VERDICT_CANCELLED},
	{"no PNE is needed", T8, NO_LINK, {TO_HASHED, ANSWER_OK, STORED}, VERDICT_DONE},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* A world around one procedure. */
struct world {
	struct name self, server, user, other, entity, none;
	struct procedure_limits limits;
	struct surroundings s;
	struct stored_key own, next, repeat, newest;
	struct pool pool;
	struct verifier verifier;
	struct secret *exporter, *link_secret, *ph, *temporary_key, *key, *password;
	struct procedure *p, *subscription;
	enum verdict_id verdict;
	unsigned verdicts, steps, sends, posts;
	bool c283; /* Figure 8 step 2 was shown without anything but the start */
};

static void name_to(struct name *n, const char *text)
{
	ck_assert_int_eq(name_set(n, bytes_text(text)), 0);
}

static void pool_key(struct world *w, uint32_t index, enum key_state state)
{
	struct pool_key key = {.index = index, .state = state, .user = w->user};

	ck_assert_int_eq(pool_add(&w->pool, &key), 0);
}

static void world_make(struct world *w, const struct row *row)
{
	memset(w, 0, sizeof(*w));
	name_to(&w->self, "gw-1");
	name_to(&w->server, "srv");
	name_to(&w->user, "alice");
	name_to(&w->other, "bob");
	name_to(&w->entity, row->type->figure == FIGURE_8 ? "gw-1" : "headset-1");
	w->limits = (struct procedure_limits){.wan_wait_ms = 100,
					      .request_ms = 100,
					      .pne_ms = 100,
					      .iterations_floor = 1000,
					      .card = row->given & CARD,
					      .secure_level = PAN_SECURITY_AUTHENTICATED};
	w->exporter = secret_random(KEY_SIZE);
	w->link_secret = secret_random(KEY_SIZE);
	w->ph = secret_random(KEY_SIZE);
	w->temporary_key = secret_random(KEY_SIZE);
	w->key = secret_random(KEY_SIZE);
	w->password = secret_copy(bytes_text("correct horse"));
	if (row->given & OWN_KEY) {
		w->own.index = 2;
		w->own.key = secret_random(KEY_SIZE);
		w->own.user = w->user;
	}
	if (row->given & UNSPENT) {
		w->next.index = 3;
		w->next.key = secret_ref(w->key);
		w->next.user = w->user;
		pool_key(w, 3, KEY_UNSPENT);
	}
	if (row->given & REPEAT) {
		w->repeat.index = 9;
		w->repeat.key = secret_ref(w->key);
		w->repeat.user = w->user;
		w->repeat.repeatable = true;
		w->repeat.message_id.b[0] = 0x77;
		pool_key(w, 9, KEY_ISSUED);
	}
	if (!(row->given & NO_NEWEST)) {
		w->newest.index = 2;
		w->newest.key = secret_ref(w->key);
		w->newest.user = w->user;
	}
	pool_key(w, 1, KEY_DELIVERED);
	pool_key(w, 2, KEY_ISSUED);
	w->verifier.iterations = 1000;
	ck_assert_int_eq(gateway_verifier_mac(NULL, row->given & OTHER_PASSWORD ? w->key : w->ph,
					      &w->user, w->verifier.mac),
			 0);
	w->s = (struct surroundings){
		.now = 1000,
		.limits = &w->limits,
		.self = &w->self,
		.server = &w->server,
		.path = "/cpns",
		.wan_up = !(row->given & WAN_DOWN_AT_START),
		.wan_mutual = !(row->given & NOT_MUTUAL),
		.wan_tls_refused = row->given & TLS_REFUSED,
		.wan_why = "told so",
		.exporter = row->given & NOT_MUTUAL ? NULL : w->exporter,
		.generation = 7,
		.own_key = &w->own,
		.owner = row->given & OTHER_OWNER ? &w->other : &w->none,
		.pne_owner = row->given & OTHER_PNE_OWNER ? &w->other : &w->none,
		.link_up = !(row->given & NO_LINK),
		.level =
			row->given & INSECURE ? PAN_SECURITY_ENCRYPTED : PAN_SECURITY_AUTHENTICATED,
		.link_secret = w->link_secret,
		.link_binding = bytes_text("both hellos"),
		.pool = &w->pool,
		.next = &w->next,
		.repeat = &w->repeat,
		.newest = &w->newest,
		.temporary_key = row->given & (UNSPENT | REPEAT) ? w->temporary_key : NULL,
		.verifier = row->given & NO_VERIFIER ? NULL : &w->verifier,
	};
	w->p = gateway_procedure_new(row->type, &w->user,
				     row->type == T5 || row->type == T6S ? &w->none : &w->entity);
	ck_assert_ptr_nonnull(w->p);
	w->p->set_kind = row->given & CHAIN ? KEY_SET_CHAIN : KEY_SET_RANDOM;
	w->p->set_count = 3;
	w->p->resumed = row->given & RESUMED;
	w->p->part = row->given & SUBSCRIBE ? FIGURE6_SUBSCRIBE
		     : row->given & INSTALL ? FIGURE6_INSTALL
		     : row->given & TRIGGER ? FIGURE6_TRIGGER
					    : FIGURE6_ALL;
	w->p->background = row->type == TREFILL;
	w->p->password = secret_ref(w->password);
	w->subscription = gateway_procedure_new(T6S, &w->user, &w->none);
	w->subscription->ph = secret_ref(w->ph);
	w->subscription->password = secret_ref(w->password);
	w->subscription->iterations = 1000;
}

static void world_end(struct world *w)
{
	gateway_procedure_free(w->p);
	gateway_procedure_free(w->subscription);
	secret_unref(w->exporter);
	secret_unref(w->link_secret);
	secret_unref(w->ph);
	secret_unref(w->temporary_key);
	secret_unref(w->key);
	secret_unref(w->password);
	secret_unref(w->own.key);
	secret_unref(w->next.key);
	secret_unref(w->repeat.key);
	secret_unref(w->newest.key);
	pool_clear(&w->pool);
}

/* Everything that was sent must be a message of the binding, legal in its direction. */
static void check_sent(const struct action *a, unsigned direction)
{
	struct malformation why;
	struct message *m;

	ck_assert_int_eq(message_decode(bytes_of(a->xml, a->size), &m, &why), 0);
	ck_assert_uint_ne(message_directions(m->kind) & direction, 0);
	if (message_needs(m->kind) == NEEDS_MUTUAL)
		ck_assert(a->pin == 0 || a->pin == 7);
	message_free(m);
}

static void give(struct world *w, struct event *e)
{
	struct actions a;

	e->s = &w->s;
	gateway_actions_begin(&a);
	gateway_procedure_handle(w->p, e, &a);
	for (size_t i = 0; i < a.count; i++) {
		switch (a.list[i].kind) {
		case ACTION_POST:
			w->posts++;
			check_sent(&a.list[i], GW_TO_SERVER);
			break;
		case ACTION_SEND:
			w->sends++;
			check_sent(&a.list[i], GW_TO_PNE);
			break;
		case ACTION_STEP:
			w->steps++;
			ck_assert_int_eq(step_role(a.list[i].figure, a.list[i].step), ROLE_PNGW);
			ck_assert_ptr_nonnull(step_text(a.list[i].figure, a.list[i].step));
			if (a.list[i].figure == FIGURE_8 && a.list[i].step == 2)
				w->c283 = e->kind == EVENT_START;
			break;
		case ACTION_VERDICT:
			ck_assert_uint_eq(i, a.count - 1);
			w->verdicts++;
			w->verdict = a.list[i].verdict.id;
			ck_assert_uint_eq(w->p->state, STATE_ENDED);
			break;
		case ACTION_RECEIPT:
		case ACTION_DERIVE:
		case ACTION_STORE:
			break;
		}
	}
	gateway_actions_end(&a);
}

/* The server's side of what may be in an answer. */
struct answer {
	struct message m;
	struct message_id id;
	uint8_t salt[SALT_SIZE], rand[RAND_SIZE];
	uint8_t wrapped[3][P1_WRAPPED_KEY_SIZE], temporary[P1_WRAPPED_TEMPORARY_KEY_MAX];
};

static void answer_set(struct world *w, struct answer *a, struct secret *with, bool twice)
{
	struct m_key_set *set = &a->m.eukey_assignment_response.key_set;
	bool chain = w->p->set_kind == KEY_SET_CHAIN;
	size_t size;

	a->m.eukey_assignment_response.has_key_set = true;
	set->kind = w->p->set_kind;
	set->count = 3;
	set->has_gateway_key = true;
	set->gateway_key.kind = w->p->gateway_kind;
	set->gateway_key.key_index = w->p->gateway_index;
	set->rand_server = bytes_of(a->rand, RAND_SIZE);
	ck_assert_int_eq(p1_wrap_temporary_key(with, set->rand_server, name_bytes(&w->user),
					       name_bytes(&w->entity), w->temporary_key,
					       a->temporary, &size),
			 0);
	set->wrapped_temporary_key = bytes_of(a->temporary, size);
	set->keys_count = chain ? 1 : 3;
	for (size_t i = 0; i < set->keys_count; i++) {
		uint32_t index = chain ? 6 : (uint32_t)(4 + (twice && i == 2 ? 0 : i));
		struct p1_context c;

		p1_key_context(&c, P1_SET, name_bytes(&w->user), name_bytes(&w->entity), index);
		ck_assert_int_eq(p1_wrap(with, set->rand_server, &c, w->key, a->wrapped[i]), 0);
		set->keys[i].key_index = index;
		set->keys[i].wrapped = bytes_of(a->wrapped[i], P1_WRAPPED_KEY_SIZE);
	}
}

static void answer_key(struct world *w, struct answer *a, struct secret *with)
{
	struct m_assigned_key *k = &a->m.eukey_assignment_response.key;
	uint8_t salt[DIGEST_SALT_MAX];
	struct p1_context c;

	a->m.eukey_assignment_response.has_key = true;
	k->key_index = 3;
	p1_key_context(&c, P1_EUKEY, name_bytes(&w->user), name_bytes(&w->entity), 3);
	ck_assert_int_eq(
		p1_wrap(with,
			digest_salt(bytes_text(w->p->nonce), bytes_text(w->p->client_nonce), salt),
			&c, w->key, a->wrapped[0]),
		0);
	k->wrapped = bytes_of(a->wrapped[0], P1_WRAPPED_KEY_SIZE);
}

static void answer_challenge(struct answer *a, bool stale, uint32_t iterations)
{
	struct m_digest_challenge *c = &a->m.eukey_assignment_response.challenge;

	a->m.eukey_assignment_response.status = STATUS_UNAUTHORIZED;
	a->m.eukey_assignment_response.has_challenge = true;
	c->realm = bytes_text("srv");
	c->nonce = bytes_text("0123456789abcdef0123456789abcdef");
	c->stale = stale;
	c->has_parameters = true;
	c->parameters.salt = bytes_of(a->salt, SALT_SIZE);
	c->parameters.iterations = iterations;
}

static enum status status_of(enum say say)
{
	switch ((int)say) {
	case ANSWER_NOT_OWNER:
		return STATUS_NOT_OWNER;
	case ANSWER_BUSY:
		return STATUS_BUSY;
	case ANSWER_UNAUTHORIZED:
		return STATUS_UNAUTHORIZED;
	case ANSWER_NO_TEMPORARY_KEY:
		return STATUS_NO_TEMPORARY_KEY;
	case ANSWER_TOO_MANY:
		return STATUS_TOO_MANY_KEYS;
	case ANSWER_STORAGE:
		return STATUS_STORAGE_FAILED;
	}
	return STATUS_OK;
}

static void answer(struct world *w, enum say say)
{
	struct answer *a = calloc(1, sizeof(*a));
	struct message *m = &a->m;
	struct event e = {.kind = EVENT_ANSWER, .message = m};
	struct message_id to = w->p->awaited;
	struct secret *other = secret_random(KEY_SIZE);
	uint32_t iterations = say == ANSWER_WEAK ? 999 : 1000;
	enum figure figure = w->p->type->figure;

	a->id.b[0] = 0xaa;
	if (say == ANSWER_OTHER_ID)
		to.b[0] ^= 1;
	message_envelope(m, &a->id, &to, &w->server, &w->self);
	if (w->p->type == T5) {
		m->kind = MESSAGE_id_pwd_registration_response;
		m->id_pwd_registration_response.status = status_of(say);
	} else if (w->p->type == T6S) {
		m->kind = MESSAGE_subscription_registration_response;
		m->subscription_registration_response.status = status_of(say);
		if (say != ANSWER_EMPTY) {
			m->subscription_registration_response.has_parameters = true;
			m->subscription_registration_response.parameters.salt =
				bytes_of(a->salt, SALT_SIZE);
			m->subscription_registration_response.parameters.iterations = iterations;
		}
	} else {
		m->kind = MESSAGE_eukey_assignment_response;
		m->eukey_assignment_response.status = status_of(say);
		m->eukey_assignment_response.user_id = name_bytes(&w->user);
		m->eukey_assignment_response.entity_id = name_bytes(&w->entity);
		if (say == ANSWER_CHALLENGE || say == ANSWER_STALE || say == ANSWER_WEAK)
			answer_challenge(a, say == ANSWER_STALE, iterations);
		else if (say >= ANSWER_OK && say <= ANSWER_TWICE && figure == FIGURE_7)
			answer_set(w, a,
				   say != ANSWER_OTHER_KEY && w->p->gateway_secret
					   ? w->p->gateway_secret
					   : other,
				   say == ANSWER_TWICE);
		else if ((say == ANSWER_OK || say == ANSWER_OTHER_KEY) && figure == FIGURE_8)
			answer_key(w, a, say == ANSWER_OK ? w->ph : other);
	}
	if (say == ANSWER_OTHER_KIND)
		m->kind = MESSAGE_eukey_delivery_report_response;
	give(w, &e);
	secret_unref(other);
	free(a);
}

static void installed(struct world *w, enum say say)
{
	struct message m = {.kind = MESSAGE_id_password_installation_response};
	struct event e = {.kind = EVENT_MESSAGE, .message = &m};
	struct message_id id = {{1}}, to = w->p->awaited;

	if (say == INSTALLED_OTHER_ID)
		to.b[3] ^= 0x40;
	message_envelope(&m, &id, &to, &w->entity, &w->self);
	m.id_password_installation_response.status =
		say == INSTALLED_OTHER_USER ? STATUS_ALREADY_INSTALLED : STATUS_OK;
	give(w, &e);
}

static void receipt(struct world *w, enum say say)
{
	struct receipt r = {.id = w->p->awaited};
	struct event e = {.kind = EVENT_RECEIPT, .receipt = &r};

	switch ((int)say) {
	case RECEIPT_OTHER_ID:
		r.id.b[15] ^= 1;
		r.status = STATUS_TRIGGER_REJECTED;
		break;
	case RECEIPT_TRIGGER:
		r.status = STATUS_TRIGGER_REJECTED;
		break;
	case RECEIPT_UNWRAP:
		r.status = STATUS_DOES_NOT_UNWRAP;
		break;
	case RECEIPT_STALE:
		r.status = STATUS_STALE_INDEX;
		break;
	case RECEIPT_STORAGE:
		r.status = STATUS_STORAGE_FAILED;
		break;
	case RECEIPT_OK:
	case RECEIPT_BAD_PROOF:
		r.has_proof = true;
		if (w->p->key)
			ck_assert_int_eq(p1_held_proof(w->p->key, name_bytes(&w->user),
						       name_bytes(&w->entity), w->p->key_index,
						       &r.id, r.proof),
					 0);
		if (say == RECEIPT_BAD_PROOF)
			r.proof[31] ^= 1;
		break;
	}
	give(w, &e);
}

static void say_one(struct world *w, enum say say)
{
	struct verdict v = {.id = VERDICT_DONE, .figure = FIGURE_6, .step = 14, .key_index = 3};
	struct event e = {.kind = EVENT_START, .verdict = &v, .subscription = w->subscription};

	if (say >= ANSWER_OK && say <= ANSWER_STORAGE) {
		answer(w, say);
		return;
	}
	if (say >= INSTALLED && say <= INSTALLED_OTHER_USER) {
		installed(w, say);
		return;
	}
	if (say >= RECEIPT_OK && say <= RECEIPT_STORAGE) {
		receipt(w, say);
		return;
	}
	switch ((int)say) {
	case WAN_UP:
		w->s.wan_up = true;
		e.kind = EVENT_WAN_UP;
		break;
	case WAN_GOES:
		w->s.wan_up = false;
		return;
	case ALONE:
		w->s.link_up = false;
		return;
	case COMES:
		w->s.link_up = true;
		return;
	case POOL_UNREADABLE:
		w->s.pool_error = -EIO;
		pool_clear(&w->pool);
		return;
	case FAIL_DOWN:
	case FAIL_LOST:
	case FAIL_SILENT:
	case FAIL_ANSWER:
		e.kind = EVENT_WAN_FAILED;
		e.failure = (enum wan_failure)(say - FAIL_DOWN);
		break;
	case HASHED:
		e.ph = w->ph;
		e.kind = EVENT_HASHED;
		break;
	case HASH_FAILED:
		e.kind = EVENT_HASHED;
		break;
	case STORE_FULL:
	case STORE_READ_ONLY:
	case STORE_BROKEN:
	case STORE_DAMAGED:
	case STORE_MEMORY:
	case STORE_FAILED:
		e.result = store_errors[say - STORE_FULL];
		e.kind = EVENT_STORED;
		break;
	case STORED:
		e.kind = EVENT_STORED;
		break;
	case SUBSCRIPTION_FAILED:
		v.id = VERDICT_WRONG_PASSWORD;
		e.kind = EVENT_SUBSCRIBED;
		break;
	case SUBSCRIBED:
		e.kind = EVENT_SUBSCRIBED;
		break;
	case MALFORMED:
		e.kind = EVENT_MALFORMED;
		break;
	case RELAYED:
		e.in_response_to = w->p->awaited;
		e.kind = EVENT_RELAYED;
		break;
	case RELAYED_OTHER:
		e.kind = EVENT_RELAYED;
		break;
	case RELAY_FAILED:
		v.id = VERDICT_PNE_CANNOT_UNWRAP;
		e.kind = EVENT_RELAY_ENDED;
		break;
	case RELAY_DONE:
		e.kind = EVENT_RELAY_ENDED;
		break;
	case QUEUE_FULL:
		e.queue_full = true;
		e.kind = EVENT_LINK_DOWN;
		break;
	case LINK_DOWN:
		e.kind = EVENT_LINK_DOWN;
		break;
	case TIMEOUT:
		ck_assert_uint_ne(w->p->due, 0);
		e.kind = EVENT_TIMEOUT;
		break;
	case CANCEL:
		e.kind = EVENT_CANCEL;
		break;
	}
	give(w, &e);
}

START_TEST(test_conversation)
{
	const struct row *row = &rows[_i];
	size_t alive = secret_count();
	struct world w;

	world_make(&w, row);
	for (size_t i = 0; row->says[i] != END; i++) {
		ck_assert_msg(w.verdicts == 0, "%s: ended with %s before %zu", row->name,
			      verdict_name(w.verdict), i);
		say_one(&w, row->says[i]);
	}
	if (row->verdict == UNDER_WAY) {
		ck_assert_msg(w.verdicts == 0, "%s: %s", row->name, verdict_name(w.verdict));
	} else {
		ck_assert_msg(w.verdicts == 1 && w.verdict == row->verdict,
			      "%s: %u verdicts, %s, not %s", row->name, w.verdicts,
			      verdict_name(w.verdict), verdict_name(row->verdict));
	}
	if (row->type == T8 && w.verdict == VERDICT_DONE)
		ck_assert(w.c283);
	world_end(&w);
	ck_assert_uint_eq(secret_count(), alive);
}
END_TEST

static const struct procedure_type *const types[] = {T5, T6S, T6, T7, T8, TRENEW, TREFILL};

START_TEST(test_every_cell_exists)
{
	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		for (unsigned state = 0; state < types[t]->states; state++) {
			ck_assert_ptr_nonnull(types[t]->state_names[state]);
			for (unsigned e = 0; e < EVENT_KINDS; e++)
				ck_assert_msg(types[t]->table[state][e] != NULL, "%s, %s, event %u",
					      types[t]->name, types[t]->state_names[state], e);
		}
	}
}
END_TEST

/* After each prefix of each conversation anything may happen: at most one verdict comes of it. */
START_TEST(test_anything_anytime)
{
	const struct row *row = &rows[_i];
	/* Under valgrind a sample has to do. */
	const int step = getenv("PNGW_VALGRIND") ? 5 : 1;

	for (size_t n = 0; n == 0 || row->says[n - 1] != END; n++) {
		for (int say = START + ((int)n + _i) % step; say <= CANCEL; say += step) {
			struct world w;

			world_make(&w, row);
			for (size_t i = 0; i < n && row->says[i] != END && w.verdicts == 0; i++)
				say_one(&w, row->says[i]);
			if (w.verdicts == 0 && (say != TIMEOUT || w.p->due != 0) &&
			    (say != ANSWER_OK || w.p->gateway_secret ||
			     row->type->figure != FIGURE_7))
				say_one(&w, (enum say)say);
			ck_assert_uint_le(w.verdicts, 1);
			if (w.verdicts == 0 && w.p->state != STATE_ENDED)
				say_one(&w, CANCEL);
			ck_assert_uint_eq(w.verdicts, row->says[0] == END ? 0 : 1);
			world_end(&w);
		}
	}
}
END_TEST

/* The relay. */

struct relay_world {
	struct relay *relay;
	struct name server, entity, self, user;
	struct relay_link link;
	struct actions a;
	uint8_t auth[32], rand[32];
};

static void relay_make(struct relay_world *w)
{
	struct relay_limits limits = {.capacity = 4,
				      .quota = 2,
				      .wan_wait_ms = 10,
				      .request_ms = 100,
				      .receipt_ms = 50,
				      .secure_level = PAN_SECURITY_ENCRYPTED};

	memset(w, 0, sizeof(*w));
	name_to(&w->server, "srv");
	name_to(&w->entity, "headset-1");
	name_to(&w->self, "gw-1");
	name_to(&w->user, "alice");
	ck_assert_int_eq(gateway_relay_new(&limits, &w->relay), 0);
	w->link = (struct relay_link){.now = 1000,
				      .wan_up = true,
				      .server = &w->server,
				      .entity = &w->entity,
				      .level = PAN_SECURITY_ENCRYPTED};
}

static void relay_ask(struct relay_world *w, uint8_t id, bool figure6, const struct name *target,
		      const char *xml)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_request};
	struct message_id mid = {{id}};

	message_envelope(&m, &mid, NULL, &w->entity, target);
	m.eukey_assignment_request.user_id = name_bytes(&w->user);
	m.eukey_assignment_request.entity_id = name_bytes(&w->entity);
	if (figure6) {
		m.eukey_assignment_request.has_security_material = true;
		m.eukey_assignment_request.security_material.rand_pne = bytes_of(w->rand, 32);
		m.eukey_assignment_request.security_material.auth_data = bytes_of(w->auth, 32);
	}
	gateway_actions_end(&w->a);
	gateway_actions_begin(&w->a);
	gateway_relay_request(w->relay, &w->link, &m, bytes_text(xml), &w->a);
}

static void expect_receipt(const struct relay_world *w, enum status status)
{
	ck_assert_uint_ge(w->a.count, 1);
	ck_assert_int_eq(w->a.list[0].kind, ACTION_RECEIPT);
	ck_assert_int_eq(w->a.list[0].receipt.status, status);
}

static void relay_answer(struct relay_world *w, uint64_t token, uint8_t id, bool key)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_response};
	struct message_id mine = {{0xee}}, to = {{id}};

	message_envelope(&m, &mine, &to, &w->server, &w->entity);
	m.eukey_assignment_response.status = key ? STATUS_OK : STATUS_NOT_OWNER;
	m.eukey_assignment_response.has_key = key;
	m.eukey_assignment_response.key.key_index = 9;
	gateway_actions_end(&w->a);
	gateway_relay_answered(w->relay, 1000, token, &m, bytes_text("<answer/>"), &w->a);
}

START_TEST(test_relay)
{
	struct relay_world w;
	struct receipt r = {.id = {{0xee}}, .status = STATUS_OK, .has_proof = true};
	uint64_t token, next;

	relay_make(&w);
	relay_ask(&w, 1, true, &w.server, "<one/>");
	ck_assert_uint_eq(w.a.count, 2);
	ck_assert_int_eq(w.a.list[0].kind, ACTION_POST);
	ck_assert_str_eq(w.a.list[0].xml, "<one/>");
	token = w.a.list[0].token;
	/* A duplicate in flight is coalesced; other bytes under that id are refused. */
	relay_ask(&w, 1, true, &w.server, "<one/>");
	ck_assert_uint_eq(w.a.count, 0);
	relay_ask(&w, 1, true, &w.server, "<uno/>");
	expect_receipt(&w, STATUS_ID_REUSED);
	/* The quota of one PNE. */
	relay_ask(&w, 2, false, &w.server, "<two/>");
	ck_assert_int_eq(w.a.list[0].kind, ACTION_POST);
	relay_ask(&w, 3, false, &w.server, "<three/>");
	expect_receipt(&w, STATUS_BUSY);
	/* Durable, back byte for byte, then the receipt, then durable, then the verdict. */
	relay_answer(&w, token, 1, true);
	ck_assert_uint_eq(w.a.count, 1);
	ck_assert_int_eq(w.a.list[0].kind, ACTION_STORE);
	relay_ask(&w, 1, true, &w.server, "<one/>");
	ck_assert_uint_eq(w.a.count, 0);
	ck_assert(!gateway_relay_receipt(w.relay, &w.link, &r, &w.a));
	gateway_relay_stored(w.relay, 1000, token, 0, &w.a);
	ck_assert_int_eq(w.a.list[0].kind, ACTION_SEND);
	ck_assert_str_eq(w.a.list[0].xml, "<answer/>");
	/* Asked again, for the answer was lost: it is on record already. */
	relay_ask(&w, 1, true, &w.server, "<one/>");
	ck_assert_int_eq(w.a.list[0].kind, ACTION_POST);
	relay_answer(&w, token, 1, true);
	ck_assert_int_eq(w.a.list[0].kind, ACTION_SEND);
	ck_assert_str_eq(w.a.list[0].xml, "<answer/>");
	gateway_actions_end(&w.a);
	ck_assert(gateway_relay_receipt(w.relay, &w.link, &r, &w.a));
	ck_assert_int_eq(w.a.list[0].kind, ACTION_STORE);
	ck_assert_uint_eq(w.a.list[0].token, token);
	gateway_actions_end(&w.a);
	gateway_relay_stored(w.relay, 1000, token, 0, &w.a);
	ck_assert_int_eq(w.a.list[0].kind, ACTION_VERDICT);
	ck_assert_int_eq(w.a.list[0].verdict.id, VERDICT_DONE);
	ck_assert_uint_eq(w.a.list[0].verdict.key_index, 9);
	ck_assert_uint_eq(gateway_relay_count(w.relay), 1);
	gateway_actions_end(&w.a);
	/* What is late finds nobody. */
	gateway_relay_wan_failed(w.relay, token, &(struct wan_end){.failure = WAN_FAILURE_SILENT},
				 &w.a);
	ck_assert(!gateway_relay_receipt(w.relay, &w.link, &r, &w.a));
	ck_assert(!gateway_relay_tick(w.relay, 99999, &next, &w.a));
	ck_assert_uint_eq(w.a.count, 0);
	gateway_actions_end(&w.a);
	gateway_relay_free(w.relay);
}
END_TEST

START_TEST(test_relay_refusals)
{
	static const struct {
		enum wan_failure failure;
		enum status status;
		enum verdict_id verdict;
	} failures[] = {
		{WAN_FAILURE_DOWN, STATUS_UNAVAILABLE, VERDICT_WAN_DOWN},
		{WAN_FAILURE_LOST, STATUS_UNAVAILABLE, VERDICT_WAN_LOST},
		{WAN_FAILURE_SILENT, STATUS_TIMED_OUT, VERDICT_WAN_SILENT},
		{WAN_FAILURE_ANSWER, STATUS_FAILED, VERDICT_SERVER_MALFORMED},
	};
	struct relay_world w;
	uint64_t token, next;

	relay_make(&w);
	for (size_t i = 0; i < 4; i++) {
		relay_ask(&w, 1, true, &w.server, "<one/>");
		token = w.a.list[0].token;
		gateway_actions_end(&w.a);
		gateway_relay_wan_failed(w.relay, token,
					 &(struct wan_end){.failure = failures[i].failure}, &w.a);
		expect_receipt(&w, failures[i].status);
		ck_assert_int_eq(w.a.list[1].verdict.id, failures[i].verdict);
	}
	relay_ask(&w, 1, true, &w.self, "<one/>");
	expect_receipt(&w, STATUS_WRONG_TARGET);
	/* C255: the material of Figure 6 over a PAN that is not secure. */
	w.link.level = PAN_SECURITY_NONE;
	relay_ask(&w, 1, true, &w.server, "<one/>");
	expect_receipt(&w, STATUS_INSECURE_PAN);
	relay_ask(&w, 1, false, &w.server, "<one/>");
	ck_assert_int_eq(w.a.list[0].kind, ACTION_POST);
	token = w.a.list[0].token;
	/* A refusal is forwarded and ends it. */
	relay_answer(&w, token, 1, false);
	ck_assert_int_eq(w.a.list[0].kind, ACTION_SEND);
	ck_assert_int_eq(w.a.list[1].verdict.id, VERDICT_NOT_OWNER);
	ck_assert_uint_eq(gateway_relay_count(w.relay), 0);
	/* An answer to another request is not forwarded. */
	relay_ask(&w, 1, false, &w.server, "<one/>");
	token = w.a.list[0].token;
	relay_answer(&w, token, 2, true);
	expect_receipt(&w, STATUS_FAILED);
	ck_assert_int_eq(w.a.list[1].verdict.id, VERDICT_SERVER_MALFORMED);
	/* No receipt. */
	relay_ask(&w, 1, false, &w.server, "<one/>");
	token = w.a.list[0].token;
	relay_answer(&w, token, 1, true);
	gateway_actions_end(&w.a);
	ck_assert(!gateway_relay_tick(w.relay, 99999, &next, &w.a));
	gateway_relay_stored(w.relay, 1000, token, 0, &w.a);
	gateway_actions_end(&w.a);
	ck_assert(!gateway_relay_tick(w.relay, 1049, &next, &w.a));
	ck_assert_uint_eq(next, 1050);
	ck_assert(gateway_relay_tick(w.relay, 1050, &next, &w.a));
	ck_assert_int_eq(w.a.list[0].kind, ACTION_STORE);
	gateway_actions_end(&w.a);
	gateway_relay_stored(w.relay, 1000, token, 0, &w.a);
	ck_assert_int_eq(w.a.list[0].verdict.id, VERDICT_PNE_SILENT);
	gateway_actions_end(&w.a);
	gateway_relay_free(w.relay);
}
END_TEST

/* A key whose issue is not on record stays here. */
START_TEST(test_relay_not_stored)
{
	static const struct {
		int error;
		enum status status;
		enum verdict_id verdict;
	} failures[] = {
		{-ENOSPC, STATUS_STORAGE_FAILED, VERDICT_GATEWAY_DISK_FULL},
		{-EIO, STATUS_STORAGE_FAILED, VERDICT_GATEWAY_DISK_ERROR},
		{-ENOMEM, STATUS_FAILED, VERDICT_GATEWAY_MEMORY},
	};
	struct relay_world w;
	uint64_t token;

	relay_make(&w);
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		relay_ask(&w, 1, i == 0, &w.server, "<one/>");
		token = w.a.list[0].token;
		relay_answer(&w, token, 1, true);
		ck_assert_uint_eq(w.a.count, 1);
		ck_assert_int_eq(w.a.list[0].kind, ACTION_STORE);
		gateway_actions_end(&w.a);
		gateway_relay_stored(w.relay, 1000, token, failures[i].error, &w.a);
		ck_assert_uint_eq(w.a.count, 2);
		expect_receipt(&w, failures[i].status);
		ck_assert_int_eq(w.a.list[1].verdict.id, failures[i].verdict);
		ck_assert_uint_eq(w.a.list[1].verdict.step, i == 0 ? 13 : 12);
		ck_assert_uint_eq(w.a.list[1].verdict.key_index, 0);
		ck_assert_uint_eq(gateway_relay_count(w.relay), 0);
	}
	/* Revoked meanwhile. */
	relay_ask(&w, 1, false, &w.server, "<one/>");
	token = w.a.list[0].token;
	relay_answer(&w, token, 1, true);
	gateway_actions_end(&w.a);
	ck_assert(gateway_relay_revoke(w.relay, &w.entity, NULL, &w.a));
	expect_receipt(&w, STATUS_NOT_EXPECTED);
	ck_assert_int_eq(w.a.list[1].verdict.id, VERDICT_REVOKED);
	gateway_actions_end(&w.a);
	gateway_relay_stored(w.relay, 1000, token, 0, &w.a);
	ck_assert_uint_eq(w.a.count, 0);
	/* The end of the PN GW. */
	relay_ask(&w, 1, false, &w.server, "<one/>");
	relay_answer(&w, w.a.list[0].token, 1, true);
	ck_assert_uint_eq(gateway_relay_count(w.relay), 1);
	gateway_actions_end(&w.a);
	gateway_relay_free(w.relay);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gateway figures");
	TCase *tests = tcase_create("figures");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, test_conversation, 0, (int)ROWS);
	tcase_add_loop_test(tests, test_anything_anytime, 0, (int)ROWS);
	tcase_add_test(tests, test_every_cell_exists);
	tcase_add_test(tests, test_relay);
	tcase_add_test(tests, test_relay_refusals);
	tcase_add_test(tests, test_relay_not_stored);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
