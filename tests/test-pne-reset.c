/*
 * The reset of a PNE: what is asked of it, what it answers and what is left afterwards. The PN GW
 * is played by this file.
 */

#include "pne/core.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/p1.h"

#define ENTITY  "headset-1"
#define GATEWAY "pngw-1"
#define SERVER  "server-1"
#define USER    "alice"

struct rig {
	char folder[64], vault_path[96], key_path[96];
	struct vault *vault;
	struct pne_core *core;
	bool link, store_fails;
	uint64_t now;
	struct secret *link_secret;
	struct bytes binding;
	/* what the PNE sent last */
	char *answer;
	size_t answer_size;
	unsigned answers;
	struct receipt receipt;
	unsigned receipts;
	enum verdict_id last;
	unsigned verdicts, revoked, warnings;
};

static struct secret *key_of(uint32_t index)
{
	struct secret *k = secret_new(KEY_SIZE);

	ck_assert_ptr_nonnull(k);
	memset(secret_buffer(k), (int)index, KEY_SIZE);
	return k;
}

static struct secret *temporary_key(void)
{
	struct secret *k = secret_new(P1_TEMPORARY_KEY_MIN);

	ck_assert_ptr_nonnull(k);
	memset(secret_buffer(k), 7, P1_TEMPORARY_KEY_MIN);
	return k;
}

static int port_message(void *arg, struct bytes xml)
{
	struct rig *r = arg;

	if (!r->link)
		return -ENOTCONN;
	free(r->answer);
	r->answer = malloc(xml.size);
	ck_assert_ptr_nonnull(r->answer);
	memcpy(r->answer, xml.data, xml.size);
	r->answer_size = xml.size;
	r->answers++;
	return 0;
}

static int port_receipt(void *arg, const struct receipt *receipt)
{
	struct rig *r = arg;

	if (!r->link)
		return -ENOTCONN;
	r->receipt = *receipt;
	r->receipts++;
	return 0;
}

static int port_submit(void *arg, struct vault_batch *b, vault_done_fn *done, void *done_arg)
{
	struct rig *r = arg;

	if (r->store_fails) {
		r->store_fails = false;
		vault_batch_free(b);
		return -ENOSPC;
	}
	return vault_submit(r->vault, b, done, done_arg);
}

static int port_derive(void *arg, struct secret *password, const uint8_t salt[SALT_SIZE],
		       uint32_t iterations)
{
	(void)arg;
	(void)password;
	(void)salt;
	(void)iterations;
	return -ENOSYS;
}

static void port_timer(void *arg, enum figure figure, uint64_t ms)
{
	(void)arg;
	(void)ms;
	ck_assert(figure == FIGURE_5 || figure == FIGURE_6);
}

static uint64_t port_now(void *arg)
{
	const struct rig *r = arg;

	return r->now;
}

static void port_line(void *arg, const char *text)
{
	struct rig *r = arg;

	ck_assert_ptr_nonnull(strstr(text, ENTITY));
	r->warnings += strstr(text, "warning") != NULL;
}

static void port_verdict(void *arg, const struct verdict *v)
{
	struct rig *r = arg;

	r->last = v->id;
	r->verdicts++;
	r->revoked += v->id == VERDICT_REVOKED;
}

static void rig_open(struct rig *r)
{
	static const struct pne_ports ports = {
		.send_message = port_message,
		.send_receipt = port_receipt,
		.submit = port_submit,
		.derive = port_derive,
		.timer = port_timer,
		.now = port_now,
		.line = port_line,
		.verdict = port_verdict,
	};
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = r->key_path};
	struct vault_options vault = {
		.path = r->vault_path, .openers = &opener, .opener_count = 1, .create = true};
	struct pne_core_options options = {.iterations_floor = 10, .deadline_ms = 5000};
	char why[256] = "";

	ck_assert_msg(vault_open(&vault, &r->vault, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(name_set(&options.entity, bytes_text(ENTITY)), 0);
	ck_assert_int_eq(pne_core_new(&options, r->vault, &ports, r, &r->core), 0);
}

static void rig_close(struct rig *r)
{
	r->link = false;
	vault_close(r->vault);
	pne_core_free(r->core);
}

/* An insecure PAN: it has to do. */
static void link_up(struct rig *r)
{
	struct hello gateway = {.flags = HELLO_FLAG_GATEWAY};

	ck_assert_int_eq(name_set(&gateway.entity, bytes_text(GATEWAY)), 0);
	ck_assert_int_eq(name_set(&gateway.server, bytes_text(SERVER)), 0);
	r->link = true;
	pne_core_link_up(r->core, &gateway, r->link_secret, r->binding, false);
}

static void restart(struct rig *r)
{
	rig_close(r);
	rig_open(r);
	link_up(r);
}

static void done(void *arg, int result)
{
	(void)arg;
	ck_assert_int_eq(result, 0);
}

static void rig_begin(struct rig *r)
{
	SCOPED_SECRET *key = temporary_key();
	struct vault_batch *b = vault_batch_new();
	struct name entity;

	memset(r, 0, sizeof(*r));
	r->now = 1000;
	strcpy(r->folder, "/tmp/test-pne-reset-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->folder));
	(void)snprintf(r->vault_path, sizeof(r->vault_path), "%s/vault", r->folder);
	(void)snprintf(r->key_path, sizeof(r->key_path), "%s/key", r->folder);
	r->link_secret = secret_random(KEY_SIZE);
	r->binding = bytes_text("both hellos");
	rig_open(r);
	ck_assert_int_eq(name_set(&entity, bytes_text(ENTITY)), 0);
	pne_core_burn_in(b, &entity, key);
	ck_assert_int_eq(vault_submit(r->vault, b, done, NULL), 0);
	(void)vault_flush(r->vault);
	restart(r);
}

static void rig_end(struct rig *r)
{
	char command[160];

	rig_close(r);
	secret_clear(&r->link_secret);
	free(r->answer);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", r->folder);
	ck_assert_int_eq(system(command), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

struct sent {
	char *xml;
	size_t size;
	struct message_id id;
};

static void give(struct rig *r, const struct sent *s)
{
	pne_core_message(r->core, bytes_of(s->xml, s->size));
	(void)vault_flush(r->vault);
}

static void envelope(struct message *m, struct message_id *id, struct name names[2])
{
	ck_assert_int_eq(p1_random(id->b, sizeof(id->b)), 0);
	ck_assert_int_eq(name_set(&names[0], bytes_text(GATEWAY)), 0);
	ck_assert_int_eq(name_set(&names[1], bytes_text(ENTITY)), 0);
	message_envelope(m, id, NULL, &names[0], &names[1]);
}

static struct sent notification(uint32_t index)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_notification};
	struct m_eukey_assignment_notification *n = &m.eukey_assignment_notification;
	SCOPED_SECRET *eukey = key_of(index);
	SCOPED_SECRET *under = temporary_key();
	struct p1_context context;
	struct name names[2];
	struct sent s;
	uint8_t rand[RAND_SIZE], wrapped[P1_WRAPPED_KEY_SIZE];

	envelope(&m, &s.id, names);
	ck_assert_int_eq(p1_random(rand, sizeof(rand)), 0);
	p1_key_context(&context, P1_NOTIFICATION, bytes_text(USER), bytes_text(ENTITY), index);
	ck_assert_int_eq(p1_wrap(under, bytes_of(rand, sizeof(rand)), &context, eukey, wrapped), 0);
	n->user_id = bytes_text(USER);
	n->entity_id = bytes_text(ENTITY);
	n->rand = bytes_of(rand, sizeof(rand));
	n->key_index = index;
	n->wrapped = bytes_of(wrapped, sizeof(wrapped));
	ck_assert_int_eq(message_encode(&m, &s.xml, &s.size), 0);
	return s;
}

static void install(struct rig *r, uint32_t index)
{
	struct sent s = notification(index);

	give(r, &s);
	ck_assert_int_eq(r->receipt.status, STATUS_OK);
	ck_assert(pne_core_has_key(r->core));
	free(s.xml);
}

/* Proofs for the indexes from first on, made with the keys of these indexes. */
static struct sent reset_of(const char *user, const char *entity, uint32_t first, size_t count,
			    uint8_t spoil)
{
	struct message m = {.kind = MESSAGE_pne_reset_request};
	struct m_pne_reset_request *q = &m.pne_reset_request;
	uint8_t proofs[8][P1_MAC_SIZE];
	struct name names[2];
	struct sent s;

	envelope(&m, &s.id, names);
	q->user_id = bytes_text(user);
	q->entity_id = bytes_text(entity);
	q->proofs_count = count;
	for (size_t i = 0; i < count; i++) {
		SCOPED_SECRET *key = key_of(first + (uint32_t)i);

		ck_assert_int_eq(p1_reset_proof(key, bytes_text(user), bytes_text(entity),
						first + (uint32_t)i, &s.id, proofs[i]),
				 0);
		proofs[i][31] ^= spoil;
		q->proofs[i].key_index = first + (uint32_t)i;
		q->proofs[i].proof = bytes_of(proofs[i], P1_MAC_SIZE);
	}
	ck_assert_int_eq(message_encode(&m, &s.xml, &s.size), 0);
	return s;
}

/* The last message of the PNE is the answer to s; confirmation: made with the key of index. */
static void expect(const struct rig *r, const struct sent *s, enum status status, uint32_t index)
{
	struct message *m;
	struct malformation why;
	struct message_id to;
	uint8_t confirmation[P1_MAC_SIZE];

	ck_assert_ptr_nonnull(r->answer);
	ck_assert_int_eq(message_decode(bytes_of(r->answer, r->answer_size), &m, &why), 0);
	ck_assert_int_eq(m->kind, MESSAGE_pne_reset_response);
	to = message_in_response_to(m);
	ck_assert(message_id_equal(&to, &s->id));
	ck_assert(bytes_equal(m->envelope.source, bytes_text(ENTITY)));
	ck_assert(bytes_equal(m->envelope.target, bytes_text(GATEWAY)));
	ck_assert_int_eq(m->pne_reset_response.status, status);
	ck_assert_uint_eq(m->pne_reset_response.key_index, index);
	if (status == STATUS_OK) {
		SCOPED_SECRET *key = key_of(index);

		ck_assert_int_eq(p1_reset_confirmation(key, bytes_text(USER), bytes_text(ENTITY),
						       index, &s->id, confirmation),
				 0);
		ck_assert(bytes_equal(m->pne_reset_response.confirmation,
				      bytes_of(confirmation, sizeof(confirmation))));
	} else {
		ck_assert_uint_eq(m->pne_reset_response.confirmation.size, 0);
	}
	message_free(m);
}

START_TEST(test_a_right_proof_erases)
{
	struct rig r;
	struct sent s, old = notification(5);

	rig_begin(&r);
	give(&r, &old);
	s = reset_of(USER, ENTITY, 3, 8, 0);
	give(&r, &s);
	expect(&r, &s, STATUS_OK, 5);
	ck_assert_int_eq(r.last, VERDICT_DONE);
	ck_assert(!pne_core_has_key(r.core));
	ck_assert(pne_core_has_temporary_key(r.core));
	restart(&r);
	ck_assert(!pne_core_has_key(r.core));
	ck_assert(pne_core_has_temporary_key(r.core));
	free(s.xml);
	free(old.xml);
	rig_end(&r);
}
END_TEST

START_TEST(test_a_repeat_gets_the_same_bytes)
{
	struct rig r;
	struct sent s;
	char *first;
	size_t size;

	rig_begin(&r);
	install(&r, 5);
	s = reset_of(USER, ENTITY, 5, 1, 0);
	give(&r, &s);
	first = r.answer;
	size = r.answer_size;
	r.answer = NULL;
	for (unsigned i = 0; i < 2; i++) {
		give(&r, &s);
		ck_assert_uint_eq(r.answer_size, size);
		ck_assert_mem_eq(r.answer, first, size);
		restart(&r);
	}
	/* A key that came since is no concern of the request of before. */
	install(&r, 6);
	give(&r, &s);
	ck_assert_mem_eq(r.answer, first, size);
	ck_assert(pne_core_has_key(r.core));
	free(first);
	free(s.xml);
	rig_end(&r);
}
END_TEST

START_TEST(test_what_was_before_stays_away)
{
	struct rig r;
	struct sent s, recorded = notification(5), below = notification(4);

	rig_begin(&r);
	give(&r, &recorded);
	s = reset_of(USER, ENTITY, 5, 1, 0);
	give(&r, &s);
	give(&r, &recorded);
	ck_assert(!pne_core_has_key(r.core));
	give(&r, &below);
	ck_assert_int_eq(r.receipt.status, STATUS_STALE_INDEX);
	free(recorded.xml);
	recorded = notification(5);
	give(&r, &recorded);
	ck_assert_int_eq(r.receipt.status, STATUS_STALE_INDEX);
	ck_assert(!pne_core_has_key(r.core));
	install(&r, 6);
	free(s.xml);
	free(recorded.xml);
	free(below.xml);
	rig_end(&r);
}
END_TEST

START_TEST(test_nothing_else_erases)
{
	static const struct {
		const char *user, *entity;
		uint32_t first;
		size_t count;
		uint8_t spoil;
		enum status status;
	} rows[] = {
		{USER, ENTITY, 5, 1, 1, STATUS_TRIGGER_REJECTED},
		{USER, ENTITY, 4, 1, 0, STATUS_TRIGGER_REJECTED},
		{USER, ENTITY, 6, 8, 0, STATUS_TRIGGER_REJECTED},
		{"bob", ENTITY, 5, 1, 0, STATUS_TRIGGER_REJECTED},
		{USER, "headset-2", 5, 1, 0, STATUS_WRONG_TARGET},
	};
	struct rig r;

	rig_begin(&r);
	install(&r, 5);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sent s = reset_of(rows[i].user, rows[i].entity, rows[i].first, rows[i].count,
					 rows[i].spoil);

		give(&r, &s);
		expect(&r, &s, rows[i].status, 5);
		ck_assert(pne_core_has_key(r.core));
		free(s.xml);
	}
	rig_end(&r);
}
END_TEST

/* A refusal is not remembered: the key may come after the request that is for it. */
START_TEST(test_without_a_key)
{
	struct rig r;
	struct sent s = reset_of(USER, ENTITY, 5, 1, 0);

	rig_begin(&r);
	give(&r, &s);
	expect(&r, &s, STATUS_NOT_EXPECTED, 0);
	install(&r, 5);
	give(&r, &s);
	expect(&r, &s, STATUS_OK, 5);
	ck_assert(!pne_core_has_key(r.core));
	free(s.xml);
	/* What is gone already is nobody's failure. */
	s = reset_of(USER, ENTITY, 5, 1, 0);
	give(&r, &s);
	expect(&r, &s, STATUS_NOT_EXPECTED, 5);
	ck_assert_int_eq(r.last, VERDICT_DONE);
	free(s.xml);
	rig_end(&r);
}
END_TEST

START_TEST(test_not_durable_is_not_done)
{
	struct rig r;
	struct sent s;

	rig_begin(&r);
	install(&r, 5);
	s = reset_of(USER, ENTITY, 5, 1, 0);
	r.store_fails = true;
	give(&r, &s);
	ck_assert_uint_eq(r.answers, 0);
	ck_assert_int_eq(r.receipt.status, STATUS_STORAGE_FAILED);
	ck_assert_int_eq(r.last, VERDICT_PNE_STORAGE);
	ck_assert(pne_core_has_key(r.core));
	/* Dead before it is durable: the key is still there, and the repeat erases it. */
	pne_core_message(r.core, bytes_of(s.xml, s.size));
	ck_assert_uint_eq(r.answers, 0);
	restart(&r);
	ck_assert(pne_core_has_key(r.core));
	give(&r, &s);
	expect(&r, &s, STATUS_OK, 5);
	free(s.xml);
	rig_end(&r);
}
END_TEST

START_TEST(test_a_figure_under_way_ends)
{
	SCOPED_SECRET *password = secret_copy(bytes_text("canary-9b1f-password"));
	struct name user;
	struct rig r;
	struct sent s;

	rig_begin(&r);
	install(&r, 5);
	ck_assert_int_eq(name_set(&user, bytes_text(USER)), 0);
	pne_core_enter(r.core, &user, password);
	ck_assert_uint_eq(r.answers, 1);
	s = reset_of(USER, ENTITY, 5, 1, 0);
	give(&r, &s);
	expect(&r, &s, STATUS_OK, 5);
	ck_assert_uint_eq(r.revoked, 1);
	free(s.xml);
	secret_clear(&password);
	rig_end(&r);
}
END_TEST

static void spoil(struct rig *r, enum vault_kind kind, const char *item)
{
	struct vault_id id = {kind, bytes_text(ENTITY), item ? bytes_text(item) : BYTES_NONE};
	struct vault_batch *b = vault_batch_new();

	vault_batch_put(b, &id, bytes_text("no record"));
	ck_assert_int_eq(vault_submit(r->vault, b, done, NULL), 0);
	(void)vault_flush(r->vault);
}

/* What can be had again does not stop a PNE, nor its reset; it is told. */
START_TEST(test_damaged_records)
{
	struct rig r;
	struct vault_batch *b;

	rig_begin(&r);
	spoil(&r, VAULT_TEMPORARY_KEY, NULL);
	spoil(&r, VAULT_USER, NULL);
	spoil(&r, VAULT_PROCEDURE, "figure 6");
	r.warnings = 0;
	restart(&r);
	ck_assert_uint_eq(r.warnings, 3);
	ck_assert(!pne_core_has_temporary_key(r.core));
	b = vault_batch_new();
	pne_core_reset(r.core, b);
	ck_assert_int_eq(vault_submit(r.vault, b, done, NULL), 0);
	(void)vault_flush(r.vault);
	r.warnings = 0;
	restart(&r);
	ck_assert_uint_eq(r.warnings, 1);
	rig_end(&r);
}
END_TEST

START_TEST(test_every_cell_exists)
{
	for (size_t state = 0; state < PNE_RESET_STATES; state++) {
		for (size_t event = 0; event < PNE_EVENTS; event++)
			ck_assert_msg(!pne_reset_table[state][event].run !=
					      !pne_reset_table[state][event].ignore,
				      "state %zu event %zu", state, event);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pne-reset");
	TCase *tc = tcase_create("reset");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_a_right_proof_erases);
	tcase_add_test(tc, test_a_repeat_gets_the_same_bytes);
	tcase_add_test(tc, test_what_was_before_stays_away);
	tcase_add_test(tc, test_nothing_else_erases);
	tcase_add_test(tc, test_without_a_key);
	tcase_add_test(tc, test_not_durable_is_not_done);
	tcase_add_test(tc, test_a_figure_under_way_ends);
	tcase_add_test(tc, test_damaged_records);
	tcase_add_test(tc, test_every_cell_exists);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
