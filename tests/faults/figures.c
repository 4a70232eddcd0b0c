/*
 * Faults of messages, links, disks and people in the four figures, all roles in one process.
 *
 * GIVEN is what is asked and how things are then:
 *   [pne: | server:] register | figure6 | figure7 | figure8 | enter | renew   whose verdict counts
 *   and any of the words below in prepare().
 * FAULT is "WHERE VERB [ARGUMENT [ARGUMENT]]", WHERE "TO:KIND[#N]": it befalls the Nth message of
 * that kind on its way to server, answer (the server's to the PN GW), pne or gateway, and every
 * later one; or "-" where GIVEN is all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/frame.h"
#include "tests/faults/faults.h"
#include "tests/faults/scene.h"

#define USER     "alice"
#define PASSWORD "correct horse"
#define WORDS    16

struct words {
	char text[256];
	char *word[WORDS];
	unsigned count;
};

static struct {
	enum hop hop;
	char kind[64];
	unsigned at, seen;
	const char *verb, *a, *b;
} plan;

static void split(const char *text, struct words *w)
{
	char *rest = w->text;

	(void)snprintf(w->text, sizeof(w->text), "%s", text);
	w->count = 0;
	while (w->count < WORDS && (w->word[w->count] = strsep(&rest, " ")) != NULL) {
		if (w->word[w->count][0])
			w->count++;
	}
}

static bool has(const struct words *w, const char *word)
{
	for (unsigned i = 0; i < w->count; i++) {
		if (strcmp(w->word[i], word) == 0)
			return true;
	}
	return false;
}

/* What follows "NAME=", or fallback. */
static const char *value_of(const struct words *w, const char *name, const char *fallback)
{
	size_t size = strlen(name);

	for (unsigned i = 0; i < w->count; i++) {
		if (strncmp(w->word[i], name, size) == 0 && w->word[i][size] == '=')
			return w->word[i] + size + 1;
	}
	return fallback;
}

/* XML as text: what is between <name> and </name>, from the first on. */
static char *find(char *xml, const char *name, size_t *size)
{
	char open[80], close[80];
	char *from, *to;

	(void)snprintf(open, sizeof(open), "<%s>", name);
	(void)snprintf(close, sizeof(close), "</%s>", name);
	from = strstr(xml, open);
	to = from ? strstr(from, close) : NULL;
	if (!to)
		return NULL;
	from += strlen(open);
	*size = (size_t)(to - from);
	return from;
}

static char *replaced(char *xml, const char *name, const char *value)
{
	size_t size = 0;
	char *at = find(xml, name, &size), *out;

	ck_assert_msg(at != NULL, "no %s", name);
	out = malloc(strlen(xml) + strlen(value) + 1);
	ck_assert_ptr_nonnull(out);
	(void)sprintf(out, "%.*s%s%s", (int)(at - xml), xml, value, at + size);
	free(xml);
	return out;
}

static void cut(char *xml, const char *name)
{
	size_t size = 0, tag = strlen(name);
	char *at = find(xml, name, &size);

	if (!at)
		return;
	memmove(at - tag - 2, at + size + tag + 3, strlen(at + size + tag + 3) + 1);
}

static void flip(char *xml, const char *name)
{
	size_t size = 0;
	char *at = find(xml, name, &size);

	ck_assert_msg(at != NULL, "no %s", name);
	at[size - 1] = at[size - 1] == '0' ? '1' : '0';
}

static char *refusal(char *xml, const char *status)
{
	static const char *const rest[] = {"DigestChallenge", "AssignedKey", "KeySet",
					   "PasswordParameters"};

	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		cut(xml, rest[i]);
	return replaced(xml, "Status", status);
}

/* A message with plan.verb done to it; NULL: the verb is none of a message's text. */
static char *edited(const char *xml)
{
	char *text = strdup(xml);
	size_t half = strlen(xml) / 2;

	ck_assert_ptr_nonnull(text);
	if (strcmp(plan.verb, "set") == 0)
		return replaced(text, plan.a, plan.b);
	if (strcmp(plan.verb, "status") == 0)
		return refusal(text, plan.a);
	if (strcmp(plan.verb, "cut") == 0)
		cut(text, plan.a);
	else if (strcmp(plan.verb, "flip") == 0)
		flip(text, plan.a);
	else if (strcmp(plan.verb, "half") == 0)
		text[half] = '\0';
	else if (strcmp(plan.verb, "junk") == 0)
		(void)snprintf(text, strlen(xml) + 1, "<html>busy</html>");
	else if (strcmp(plan.verb, "dtd") == 0)
		(void)snprintf(text, strlen(xml) + 1, "<!DOCTYPE x><x/>");
	else if (strcmp(plan.verb, "empty") == 0)
		text[0] = '\0';
	else if (strcmp(plan.verb, "binary") == 0)
		text[1] = '\x01';
	else if (strcmp(plan.verb, "depth") == 0)
		(void)snprintf(text, strlen(xml) + 1, "<a><a><a><a><a><a/></a></a></a></a></a>");
	else {
		free(text);
		return NULL;
	}
	return text;
}

static struct bytes frame_of(enum frame_kind kind, struct bytes payload)
{
	static uint8_t out[32768];
	size_t size = frame_write(kind, payload, out, sizeof(out));

	ck_assert_uint_gt(size, 0);
	return bytes_of(out, size);
}

static void put(struct item *i, struct bytes b)
{
	uint8_t *copy = malloc(b.size + 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, b.data, b.size);
	free(i->data);
	i->data = copy;
	i->size = b.size;
}

static bool is_pan(const struct item *i)
{
	return i->hop == HOP_PNE || i->hop == HOP_GATEWAY;
}

/* Its text, for the caller to free; NULL for what is no message. */
static char *text_of(const struct item *i)
{
	size_t skip = is_pan(i) ? FRAME_HEADER_SIZE : 0;

	if (is_pan(i) && i->data[4] != FRAME_MESSAGE)
		return NULL;
	return strndup((const char *)i->data + skip, i->size - skip);
}

static bool is_kind(const struct item *i, const char *text)
{
	char root[80];

	if (is_pan(i) && i->data[4] == FRAME_RECEIPT)
		return strcmp(plan.kind, "Receipt") == 0;
	if (!text)
		return false;
	(void)snprintf(root, sizeof(root), "<%s xmlns", plan.kind);
	return strstr(text, root) != NULL;
}

static enum status status_named(const char *name)
{
	for (int s = STATUS_OK; s <= STATUS_FAILED; s++) {
		if (strcmp(status_wire_name((enum status)s), name) == 0)
			return (enum status)s;
	}
	ck_abort_msg("no status %s", name);
}

static void meet_receipt(struct item *i)
{
	uint8_t out[RECEIPT_SIZE];
	struct receipt r;

	ck_assert_int_eq(
		receipt_read(bytes_of(i->data + FRAME_HEADER_SIZE, i->size - FRAME_HEADER_SIZE),
			     &r),
		0);
	if (strcmp(plan.verb, "status") == 0) {
		r.status = status_named(plan.a);
		r.has_proof = false;
	} else if (strcmp(plan.verb, "forge") == 0) {
		r.proof[0] ^= 1;
	} else if (strcmp(plan.verb, "unproven") == 0) {
		r.has_proof = false;
		memset(r.proof, 0, sizeof(r.proof));
	} else if (strcmp(plan.verb, "other-id") == 0) {
		r.id.b[0] ^= 1;
	} else {
		ck_abort_msg("no verb %s", plan.verb);
	}
	receipt_write(&r, out);
	put(i, frame_of(FRAME_RECEIPT, bytes_of(out, sizeof(out))));
}

/* The PNE answers a message with a refusing receipt and does not look at it. */
static void answer_receipt(struct sim *s, char *text)
{
	uint8_t out[RECEIPT_SIZE];
	struct receipt r = {.status = status_named(plan.a)};
	size_t size = 0, n = 0;
	char *id = find(text, "MessageID", &size);

	ck_assert_ptr_nonnull(id);
	ck_assert_int_eq(hex_decode(bytes_of(id, size), r.id.b, sizeof(r.id.b), &n), 0);
	receipt_write(&r, out);
	scene_enqueue(s, HOP_GATEWAY, frame_of(FRAME_RECEIPT, bytes_of(out, sizeof(out))));
}

static enum role role_named(const char *name)
{
	if (strcmp(name, "pne") == 0)
		return ROLE_PNE;
	return strcmp(name, "gateway") == 0 ? ROLE_PNGW : ROLE_SERVER;
}

static void break_disk(struct sim *s, const char *whose, const char *how)
{
	static const struct {
		const char *name;
		enum fault_operation operation;
		enum fault_kind kind;
	} hows[] = {
		{"full", FAULT_WRITE, FAULT_FULL},     {"io", FAULT_WRITE, FAULT_IO},
		{"sync", FAULT_SYNC, FAULT_IO},        {"read-only", FAULT_WRITE, FAULT_READ_ONLY},
		{"memory", FAULT_WRITE, FAULT_MEMORY},
	};

	for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++) {
		if (strcmp(hows[i].name, how) != 0)
			continue;
		s->disk_of = role_named(whose);
		s->disk_fails = true;
		s->disk = (struct fault){hows[i].operation, 1, hows[i].kind, true, 0};
		return;
	}
	ck_abort_msg("no disk fault %s", how);
}

/* What happens beside the message; false: the verb is none of these. */
static bool befall(struct sim *s, bool *through)
{
	const char *v = plan.verb;

	if (strcmp(v, "lose") == 0) {
		*through = false;
	} else if (strcmp(v, "pan-away") == 0) {
		scene_pan(s, false);
	} else if (strcmp(v, "wan-away") == 0) {
		scene_wan(s, false);
	} else if (strcmp(v, "disk") == 0) {
		break_disk(s, plan.a, plan.b);
	} else if (strcmp(v, "cancel") == 0) {
		sim_gateway_cancel(s->gateway);
	} else if (strcmp(v, "give-away") == 0) {
		sim_server_give_away(s->server, plan.a, "bob");
	} else if (strcmp(v, "block") == 0) {
		sim_server_block(s->server, USER, true);
	} else if (strcmp(v, "restart-pne") == 0) {
		scene_restart_pne(s);
		s->pan_due = SIM_NEVER;
	} else if (strcmp(v, "revoke") == 0) {
		sim_gateway_revoke_aside(s->gateway, plan.a);
	} else {
		return false;
	}
	return true;
}

static bool meddle(struct sim *s, struct item *i)
{
	bool through = true;
	char *text, *other;

	if (i->hop != plan.hop)
		return true;
	text = text_of(i);
	if (!is_kind(i, text) || ++plan.seen < plan.at) {
		free(text);
		return true;
	}
	if (befall(s, &through)) {
		if (strcmp(plan.verb, "lose") != 0)
			s->meddle = NULL;
	} else if (!text) {
		meet_receipt(i);
	} else if (strcmp(plan.verb, "receipt") == 0) {
		answer_receipt(s, text);
		through = false;
	} else {
		other = edited(text);
		ck_assert_msg(other != NULL, "no verb %s", plan.verb);
		put(i, is_pan(i) ? frame_of(FRAME_MESSAGE, bytes_text(other)) : bytes_text(other));
		free(other);
	}
	free(text);
	return through;
}

static void make_plan(struct sim *s, const struct words *w)
{
	static const char *const hops[] = {"server:", "answer:", "pne:", "gateway:"};
	const char *kind = NULL;

	if (strcmp(w->word[0], "-") == 0)
		return;
	for (unsigned i = 0; i < 4 && !kind; i++) {
		if (strncmp(w->word[0], hops[i], strlen(hops[i])) == 0) {
			plan.hop = (enum hop)i;
			kind = w->word[0] + strlen(hops[i]);
		}
	}
	ck_assert_msg(kind && w->count >= 2, "no fault: %s", w->word[0]);
	plan.at = 1;
	ck_assert_int_ge(sscanf(kind, "%63[A-Za-z]#%u", plan.kind, &plan.at), 1);
	plan.verb = w->word[1];
	plan.a = w->count > 2 ? w->word[2] : "";
	plan.b = w->count > 3 ? w->word[3] : "";
	s->meddle = meddle;
}

static void ask(struct sim *s, const char *what, const char *user, const char *password,
		unsigned count)
{
	static const struct {
		const char *name;
		enum figure figure;
	} figures[] = {{"register", FIGURE_5},
		       {"figure6", FIGURE_6},
		       {"figure7", FIGURE_7},
		       {"figure8", FIGURE_8}};

	scene_begin(s);
	if (strcmp(what, "enter") == 0) {
		sim_pne_enter(s->pne, user, password);
		return;
	}
	if (strcmp(what, "renew") == 0) {
		ck_assert_int_eq(sim_gateway_renew(s->gateway, 0), 1);
		return;
	}
	if (strcmp(what, "revoke") == 0) {
		ck_assert_int_eq(sim_gateway_revoke(s->gateway, SIM_REVOKE, SIM_PNE), 1);
		return;
	}
	if (strcmp(what, "reset") == 0) {
		ck_assert_int_eq(sim_gateway_revoke(s->gateway, SIM_RESET_AGAIN, SIM_PNE), 1);
		return;
	}
	for (size_t i = 0; i < 4; i++) {
		if (strcmp(what, figures[i].name) == 0) {
			ck_assert_int_ge(sim_gateway_start(s->gateway, figures[i].figure, user,
							   password,
							   strcmp(what, "figure7") ? 0 : count),
					 1);
			return;
		}
	}
	ck_abort_msg("nothing is called %s", what);
}

static void do_well(struct sim *s, const char *what, const char *user)
{
	const enum role role = strcmp(what, "enter") == 0 ? ROLE_PNE : ROLE_PNGW;

	ask(s, what, user, PASSWORD, 3);
	scene_await(s, role);
	ck_assert_msg(s->has_seen[role] && s->seen[role].id == VERDICT_DONE, "%s does not work",
		      what);
	scene_settle(s);
}

static void temporary_keys(struct sim *s, const struct words *w)
{
	SCOPED_SECRET *key = secret_random(KEY_SIZE);
	SCOPED_SECRET *other = secret_random(KEY_SIZE);

	if (!has(w, "no-server-key"))
		sim_server_temporary_key(s->server, SIM_PNE, key);
	if (!has(w, "no-pne-key"))
		sim_pne_burn_in(s->pne, has(w, "other-key") ? other : key);
	scene_restart_pne(s);
	scene_settle(s);
}

static struct sim *prepare(const struct words *w)
{
	struct sim *s = scene_new(!has(w, "insecure"));

	if (has(w, "keys"))
		temporary_keys(s, w);
	if (has(w, "registered"))
		do_well(s, "register", USER);
	if (has(w, "bob-registered"))
		do_well(s, "register", "bob");
	if (has(w, "gateway-key"))
		do_well(s, "figure8", USER);
	if (has(w, "gateway-of-bob"))
		do_well(s, "figure8", "bob");
	if (has(w, "entered"))
		do_well(s, "enter", USER);
	if (has(w, "bob-entered"))
		do_well(s, "enter", "bob");
	if (has(w, "assigned"))
		do_well(s, "figure6", USER);
	if (has(w, "pool"))
		do_well(s, "figure7", USER);
	if (has(w, "pool-spent")) {
		scene_wan(s, false);
		do_well(s, "figure7", USER);
		do_well(s, "figure7", USER);
	}
	if (has(w, "revoked"))
		do_well(s, "revoke", SIM_PNE);
	if (has(w, "pne-of-bob"))
		sim_server_give_away(s->server, SIM_PNE, "bob");
	if (has(w, "gateway-element-of-bob"))
		sim_server_give_away(s->server, SIM_GATEWAY, "bob");
	if (has(w, "revoked-there"))
		sim_server_revoke(s->server, SIM_PNE);
	if (has(w, "blocked"))
		sim_server_block(s->server, USER, true);
	if (has(w, "now-insecure")) {
		s->secure = false;
		scene_pan(s, false);
		scene_pan(s, true);
		scene_settle(s);
	}
	if (has(w, "quarantined")) {
		sim_gateway_quarantine(s->gateway, 1000);
		scene_settle(s);
	}
	if (has(w, "no-link"))
		scene_pan(s, false);
	if (has(w, "offline"))
		scene_wan(s, false);
	return s;
}

/* What a table cannot hold. */
static const char *password_of(const char *value)
{
	static char longest[130];

	memset(longest, 'p', sizeof(longest) - 1);
	if (strcmp(value, "@long") == 0)
		return longest;
	return strcmp(value, "@binary") == 0 ? "\xff\xfe\xfd" : value;
}

static const struct fault_row *row;
static char *out;

START_TEST(one_fault)
{
	struct words given, fault;
	enum role role = ROLE_PNGW;
	unsigned first = 0;
	struct sim *s;

	fault_vfs_register(true);
	split(row->given, &given);
	split(row->fault, &fault);
	if (strcmp(given.word[0], "pne:") == 0 || strcmp(given.word[0], "server:") == 0) {
		role = given.word[0][0] == 'p' ? ROLE_PNE : ROLE_SERVER;
		first = 1;
	}
	s = prepare(&given);
	if (has(&given, "disk"))
		break_disk(s, given.word[given.count - 2], given.word[given.count - 1]);
	make_plan(s, &fault);
	ask(s, given.word[first], value_of(&given, "user", USER),
	    password_of(value_of(&given, "password", PASSWORD)),
	    (unsigned)strtoul(value_of(&given, "count", "3"), NULL, 10));
	if (has(&given, "twice"))
		ask(s, given.word[first], USER, PASSWORD, 3);
	if (has(&given, "cancelled"))
		sim_gateway_cancel(s->gateway);
	if (given.word[first][0] == 'e' && role == ROLE_PNGW)
		role = ROLE_PNE;
	scene_await(s, role);
	s->meddle = NULL;
	s->disk_fails = false;
	if (role == ROLE_SERVER)
		(void)snprintf(out, VERDICT_TEXT_SIZE, "%s", s->server_says);
	else if (s->has_seen[role])
		(void)verdict_describe(&s->seen[role], out, VERDICT_TEXT_SIZE);
	scene_free(s);
}
END_TEST

/* What Check asserts must run under Check. */
static void inject(const struct fault_row *of, char *sentence)
{
	Suite *suite = suite_create("fault");
	TCase *t = tcase_create("fault");
	SRunner *runner;

	row = of;
	out = sentence;
	tcase_add_test(t, one_fault);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_SILENT);
	if (srunner_ntests_failed(runner) > 0)
		srunner_print(runner, CK_NORMAL);
	srunner_free(runner);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s TABLE\n", argv[0]);
		return 64;
	}
	return faults_run(argv[1], 4, inject);
}
