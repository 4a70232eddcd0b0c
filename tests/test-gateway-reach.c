/* Commands for PNEs that are not connected wait until they are connected to, or cannot be. */

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "gateway/core-internal.h"
#include "gateway/records.h"

#define LINKS 4

static struct core *core;
static struct vault *vault;
static char directory[] = "/tmp/pngw-reach-XXXXXX";
static uint64_t clock_ms, wake_at;
static int reach_result;
static unsigned reached;
static char arrived_as[80];
static void *arrived_on;
static char error_told[256];
static struct verdict verdicts[16];
static uint64_t runs[16];
static size_t verdict_count;
static struct link *pnes[LINKS];
static struct core_link *links[LINKS];

static int port_post(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin,
		     uint64_t token, void **request)
{
	(void)arg, (void)xml, (void)deadline_ms, (void)pin, (void)token, (void)request;
	return -ENOTCONN;
}

static void port_cancel(void *arg, void *request)
{
	(void)arg, (void)request;
}

static int port_derive(void *arg, uint64_t token, struct secret *password,
		       const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	(void)arg, (void)token, (void)password, (void)salt, (void)iterations;
	return -ENOMEM;
}

static int port_write(void *arg, void *stream, struct bytes frame)
{
	(void)arg;
	if (*(struct link **)stream)
		(void)link_push(*(struct link **)stream, frame);
	return 0;
}

static void port_close(void *arg, void *stream)
{
	struct link **pne = stream;

	(void)arg;
	links[pne - pnes] = NULL;
}

static uint64_t port_now(void *arg)
{
	(void)arg;
	return clock_ms;
}

static uint64_t port_wall(void *arg)
{
	(void)arg;
	return 1700000000;
}

static void port_wake(void *arg, uint64_t at)
{
	(void)arg;
	wake_at = at;
}

static void port_log(void *arg, enum log_level level, const char *text)
{
	(void)arg;
	if (level == LOG_LEVEL_ERROR)
		(void)snprintf(error_told, sizeof(error_told), "%s", text);
}

static void port_step(void *arg, uint64_t run, enum figure figure, unsigned step,
		      const struct name *user, const struct name *entity)
{
	(void)arg, (void)run, (void)figure, (void)step, (void)user, (void)entity;
}

static void port_verdict(void *arg, uint64_t run, const struct verdict *v)
{
	(void)arg;
	ck_assert_uint_lt(verdict_count, 16);
	runs[verdict_count] = run;
	verdicts[verdict_count++] = *v;
}

static int port_reach(void *arg, const struct name *entity)
{
	(void)arg, (void)entity;
	reached++;
	return reach_result;
}

static void port_arrived(void *arg, void *stream, const struct name *entity)
{
	(void)arg;
	arrived_on = stream;
	(void)snprintf(arrived_as, sizeof(arrived_as), "%s", entity->text);
}

static void open_core(void)
{
	static const struct core_ports ports = {.post = port_post,
						.cancel = port_cancel,
						.derive = port_derive,
						.write = port_write,
						.close = port_close,
						.now = port_now,
						.wall = port_wall,
						.elapsed = port_wall,
						.wake = port_wake,
						.log = port_log,
						.step = port_step,
						.verdict = port_verdict,
						.reach = port_reach,
						.arrived = port_arrived};
	struct core_options options = {.path = "/",
				       .procedures = {.wan_wait_ms = 1000, .request_ms = 1000},
				       .relay = {.capacity = 4, .quota = 2},
				       .pool = {.size = 2, .low_water = 1},
				       .max_procedures = 4,
				       .hello_ms = 5000};
	char path[64], key[64], why[256] = "";
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	const struct vault_options vault_options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};

	(void)snprintf(path, sizeof(path), "%s/vault", directory);
	(void)snprintf(key, sizeof(key), "%s/key", directory);
	ck_assert_msg(vault_open(&vault_options, &vault, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(name_set(&options.self, bytes_text("gw")), 0);
	ck_assert_int_eq(name_set(&options.server, bytes_text("srv")), 0);
	ck_assert_int_eq(gateway_core_new(&options, vault, &ports, NULL, &core), 0);
	(void)vault_flush(vault);
}

static void setup(void)
{
	memcpy(directory, "/tmp/pngw-reach-XXXXXX", sizeof(directory));
	ck_assert_ptr_nonnull(mkdtemp(directory));
	clock_ms = 1000;
	reach_result = 0;
	reached = 0;
	verdict_count = 0;
	arrived_on = NULL;
	open_core();
}

static void close_core(void)
{
	gateway_core_free(core);
	core = NULL;
	for (size_t i = 0; i < LINKS; i++) {
		link_free(pnes[i]);
		pnes[i] = NULL;
	}
	vault_close(vault);
	vault = NULL;
}

static void teardown(void)
{
	char command[64];

	if (core)
		close_core();
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

/* Whatever is due until everything is at rest, for seconds at most. */
static void run_for(unsigned seconds)
{
	uint64_t end = clock_ms + 1000 * (uint64_t)seconds;

	for (;;) {
		while (vault_pending(vault))
			(void)vault_flush(vault);
		if (wake_at == 0 || wake_at > end)
			break;
		clock_ms = wake_at > clock_ms ? wake_at : clock_ms;
		wake_at = 0;
		gateway_core_tick(core);
	}
	clock_ms = end;
}

static void pne_send(void *arg, struct bytes frame)
{
	struct link **pne = arg;

	if (links[pne - pnes])
		gateway_core_stream_bytes(core, links[pne - pnes], frame);
}

static void pne_up(void *arg, const struct hello *peer)
{
	(void)arg, (void)peer;
}

static void pne_message(void *arg, struct bytes xml)
{
	(void)arg, (void)xml;
}

static void pne_receipt(void *arg, const struct receipt *receipt)
{
	(void)arg, (void)receipt;
}

static void pne_pong(void *arg, uint64_t token)
{
	(void)arg, (void)token;
}

static void pne_broken(void *arg, enum link_broken why)
{
	(void)arg, (void)why;
}

static void connect_pne(size_t i, const char *entity)
{
	static const struct link_callbacks callbacks = {.send = pne_send,
							.up = pne_up,
							.message = pne_message,
							.receipt = pne_receipt,
							.pong = pne_pong,
							.broken = pne_broken};
	struct hello self = {.flags = 0};

	ck_assert_int_eq(name_set(&self.entity, bytes_text(entity)), 0);
	ck_assert_int_eq(link_new(&self, &callbacks, &pnes[i], &pnes[i]), 0);
	ck_assert_int_eq(gateway_core_stream_up(core, &pnes[i], PAN_SECURITY_AUTHENTICATED, "test",
						&links[i]),
			 0);
	link_start(pnes[i]);
}

static int start(enum figure figure, uint64_t run, size_t count, const char *const *entities)
{
	struct secret *password = secret_copy(bytes_text("correct horse"));
	struct core_start s = {.figure = figure, .run = run, .typed = password, .count = count};
	struct name names[4];
	int r;

	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(name_set(&names[i], bytes_text(entities[i])), 0);
	ck_assert_int_eq(name_set(&s.user, bytes_text("alice")), 0);
	s.entities = names;
	r = gateway_core_start(core, &s);
	secret_unref(password);
	return r;
}

static struct name named(const char *text)
{
	struct name name;

	ck_assert_int_eq(name_set(&name, bytes_text(text)), 0);
	return name;
}

static const char *const both[] = {"pne-1", "pne-2"};

/* A hello that never ends, byte by byte, is none. */
START_TEST(test_hello_deadline)
{
	static const uint8_t start_of_frame[] = {0, 0, 64, 1, 1, 1, 1, 1};
	size_t sent = 0;

	ck_assert_int_eq(gateway_core_stream_up(core, &pnes[0], PAN_SECURITY_AUTHENTICATED, "test",
						&links[0]),
			 0);
	while (links[0] && sent < sizeof(start_of_frame)) {
		gateway_core_stream_bytes(core, links[0], bytes_of(start_of_frame + sent++, 1));
		run_for(2);
	}
	ck_assert_ptr_null(links[0]);
	ck_assert_uint_eq(sent, 3);
}
END_TEST

START_TEST(test_unreachable)
{
	struct name entity = named("pne-1"), other = named("pne-2");

	ck_assert_int_eq(start(FIGURE_7, 7, 1, both), 1);
	ck_assert_uint_eq(reached, 1);
	run_for(60);
	ck_assert_uint_eq(verdict_count, 0);
	ck_assert_uint_eq(gateway_core_procedures(core), 0);
	gateway_core_unreachable(core, &other, VERDICT_PAN_LOST, "");
	run_for(1);
	ck_assert_uint_eq(verdict_count, 0);
	gateway_core_unreachable(core, &entity, VERDICT_PAN_OUT_OF_REACH, "page timeout");
	run_for(1);
	ck_assert_uint_eq(verdict_count, 1);
	ck_assert_int_eq(verdicts[0].id, VERDICT_PAN_OUT_OF_REACH);
	ck_assert_int_eq(verdicts[0].figure, FIGURE_7);
	ck_assert_str_eq(verdicts[0].entity.text, "pne-1");
	ck_assert_str_eq(verdicts[0].user.text, "alice");
	ck_assert_str_eq(verdicts[0].detail, "page timeout");
	ck_assert_uint_eq(runs[0], 7);
	gateway_core_unreachable(core, &entity, VERDICT_PAN_LOST, "");
	run_for(1);
	ck_assert_uint_eq(verdict_count, 1);
}
END_TEST

START_TEST(test_no_way)
{
	reach_result = -ENOENT;
	ck_assert_int_eq(start(FIGURE_7, 7, 1, both), 1);
	ck_assert_uint_eq(reached, 1);
	ck_assert_uint_eq(gateway_core_procedures(core) + verdict_count, 1);
}
END_TEST

START_TEST(test_connected)
{
	ck_assert_int_eq(start(FIGURE_7, 7, 1, both), 1);
	connect_pne(0, "pne-1");
	ck_assert_ptr_eq(arrived_on, &pnes[0]);
	ck_assert_str_eq(arrived_as, "pne-1");
	ck_assert_uint_eq(verdict_count, 0);
	run_for(0);
	clock_ms += 2;
	gateway_core_tick(core);
	ck_assert_uint_eq(gateway_core_procedures(core), 1);
	run_for(10);
	ck_assert_uint_eq(verdict_count, 1);
	ck_assert_int_eq(verdicts[0].id, VERDICT_WAN_DOWN);
	/* Now that it is there, nothing is to be connected to. */
	ck_assert_int_eq(start(FIGURE_7, 8, 1, both), 1);
	ck_assert_uint_eq(reached, 1);
}
END_TEST

START_TEST(test_some)
{
	struct name gone = named("pne-2");

	ck_assert_int_eq(start(FIGURE_6, 9, 2, both), 2);
	ck_assert_uint_eq(reached, 2);
	connect_pne(0, "pne-1");
	run_for(10);
	ck_assert_uint_eq(verdict_count, 0);
	gateway_core_unreachable(core, &gone, VERDICT_PAN_BOND_STALE, "");
	run_for(10);
	ck_assert_uint_eq(verdict_count, 2);
	ck_assert_int_eq(verdicts[0].id, VERDICT_PAN_BOND_STALE);
	ck_assert_str_eq(verdicts[0].entity.text, "pne-2");
	ck_assert_int_eq(verdicts[1].id, VERDICT_WAN_DOWN);
	ck_assert_str_eq(verdicts[1].entity.text, "pne-1");
}
END_TEST

START_TEST(test_cancelled)
{
	struct name entity = named("pne-1");

	ck_assert_int_eq(start(FIGURE_6, 9, 2, both), 2);
	ck_assert_int_eq(start(FIGURE_7, 10, 1, both), 1);
	gateway_core_cancel(core, 9);
	ck_assert_uint_eq(verdict_count, 2);
	ck_assert_int_eq(verdicts[0].id, VERDICT_CANCELLED);
	ck_assert_int_eq(verdicts[1].id, VERDICT_CANCELLED);
	ck_assert_uint_eq(runs[1], 9);
	gateway_core_unreachable(core, &entity, VERDICT_PAN_LOST, "");
	run_for(1);
	ck_assert_uint_eq(verdict_count, 3);
	ck_assert_uint_eq(runs[2], 10);
	/* The end is told, too. */
	ck_assert_int_eq(start(FIGURE_7, 11, 1, both), 1);
	close_core();
	ck_assert_uint_eq(verdict_count, 4);
	ck_assert_int_eq(verdicts[3].id, VERDICT_CANCELLED);
}
END_TEST

/* What was asked for before a revocation is not begun after it. */
START_TEST(test_revoked)
{
	struct name first = named("pne-1"), user = named("alice");
	struct vault_batch *b = vault_batch_new();

	records_put_pne_owner(b, &first, &user);
	ck_assert_int_eq(vault_submit(vault, b, NULL, NULL), 0);
	(void)vault_flush(vault);
	ck_assert_int_eq(start(FIGURE_6, 9, 2, both), 2);
	ck_assert_int_eq(gateway_core_renew(core, &first, 10), 1);
	if (_i == 0)
		ck_assert_int_eq(gateway_core_revoke(core, &first, 11), 1);
	else
		ck_assert_int_ge(gateway_core_revoke_user(core, &user, 11), 1);
	for (size_t i = 0; i < (_i == 0 ? 2 : 3); i++) {
		ck_assert_int_eq(verdicts[i].id, VERDICT_REVOKED);
		ck_assert_uint_lt(runs[i], 11);
		ck_assert_str_eq(verdicts[i].user.text, "alice");
	}
	run_for(60);
	ck_assert_uint_eq(verdict_count, _i == 0 ? 3 : 4);
	verdict_count = 0;
	connect_pne(0, "pne-1");
	connect_pne(1, "pne-2");
	run_for(60);
	/* The other one goes on, unless its user is revoked. */
	ck_assert_uint_eq(verdict_count, _i == 0 ? 1 : 0);
	if (_i == 0) {
		ck_assert_uint_eq(runs[0], 9);
		ck_assert_str_eq(verdicts[0].entity.text, "pne-2");
	}
}
END_TEST

START_TEST(test_bad_password)
{
	struct core_start s = {.figure = FIGURE_7, .run = 3, .count = 1};
	struct name entity = named("pne-1");

	s.user = named("alice");
	s.entities = &entity;
	s.typed = secret_new(0);
	ck_assert_int_eq(gateway_core_start(core, &s), 1);
	ck_assert_uint_eq(reached, 0);
	ck_assert_uint_eq(verdict_count, 1);
	ck_assert_int_eq(verdicts[0].id, VERDICT_PASSWORD_UNUSABLE);
	secret_unref(s.typed);
}
END_TEST

START_TEST(test_renewal)
{
	struct name entity = named("pne-1"), user = named("alice");
	struct vault_batch *b = vault_batch_new();

	ck_assert_int_eq(gateway_core_renew(core, &entity, 4), 1);
	ck_assert_uint_eq(reached, 0);
	ck_assert_int_eq(verdicts[0].id, VERDICT_PNE_UNKNOWN);
	records_put_pne_owner(b, &entity, &user);
	ck_assert_int_eq(vault_submit(vault, b, NULL, NULL), 0);
	(void)vault_flush(vault);
	ck_assert_int_eq(gateway_core_renew(core, &entity, 5), 1);
	ck_assert_uint_eq(reached, 1);
	ck_assert_uint_eq(verdict_count, 1);
	gateway_core_unreachable(core, &entity, VERDICT_PAN_OUT_OF_REACH, "");
	run_for(1);
	ck_assert_uint_eq(verdict_count, 2);
	ck_assert_int_eq(verdicts[1].id, VERDICT_PAN_OUT_OF_REACH);
	ck_assert_int_eq(verdicts[1].figure, FIGURE_7);
}
END_TEST

START_TEST(test_reset)
{
	struct name entity = named("pne-1"), user = named("alice");
	struct vault_batch *b = vault_batch_new();

	/* One that was never revoked is not connected to. */
	ck_assert_int_eq(gateway_core_reset_again(core, &entity, 4), 1);
	ck_assert_uint_eq(reached, 0);
	ck_assert_int_eq(verdicts[0].id, VERDICT_NOT_REVOKED);
	records_put_pne_owner(b, &entity, &user);
	ck_assert_int_eq(vault_submit(vault, b, NULL, NULL), 0);
	(void)vault_flush(vault);
	/* The verdict of a revocation does not wait, its reset does. */
	ck_assert_int_eq(gateway_core_revoke(core, &entity, 5), 1);
	run_for(60);
	ck_assert_uint_eq(reached, 1);
	ck_assert_uint_eq(verdict_count, 2);
	ck_assert_int_eq(gateway_core_reset_again(core, &entity, 6), 1);
	run_for(60);
	ck_assert_uint_eq(reached, 2);
	ck_assert_uint_eq(verdict_count, 2);
	gateway_core_unreachable(core, &entity, VERDICT_PAN_OUT_OF_REACH, "");
	run_for(60);
	ck_assert_uint_eq(verdict_count, 3);
	ck_assert_uint_eq(runs[2], 6);
}
END_TEST

START_TEST(test_record)
{
	struct bluetooth_place place = {{1, 2, 3, 4, 5, 6}, true}, found;
	struct name entity = named("pne-1");
	struct vault_batch *b = vault_batch_new();

	ck_assert_int_eq(records_get_bluetooth(vault, &entity, &found), VAULT_ABSENT);
	records_put_bluetooth(b, &entity, &place);
	ck_assert_int_eq(vault_submit(vault, b, NULL, NULL), 0);
	(void)vault_flush(vault);
	ck_assert_int_eq(records_get_bluetooth(vault, &entity, &found), 0);
	ck_assert_mem_eq(found.address, place.address, 6);
	ck_assert(found.random);
	ck_assert_int_eq(gateway_core_release(core, &entity), 0);
	ck_assert_int_eq(records_get_bluetooth(vault, &entity, &found), VAULT_ABSENT);
}
END_TEST

/* What a procedure that has ended had to store is waited for by nobody: that it is lost is told. */
START_TEST(test_lost)
{
	struct vault_batch *b = vault_batch_new();
	struct name entity = named("pne-1");
	struct vault_id id = {.kind = VAULT_PNE, .owner = bytes_text("pne-1")};
	struct rlimit before, none = {0, 0};

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	none.rlim_max = before.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	vault_batch_put(b, &id, bytes_text("alice"));
	ck_assert_int_eq(gateway_core_submit_for(core, b, 0, &entity), 0);
	error_told[0] = '\0';
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	(void)vault_flush(vault);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_msg(strstr(error_told, "pne-1"), "told: %s", error_told);
}
END_TEST

#define MANY  1000U
#define PIECE 256U

static void put_many(void)
{
	struct vault_batch *b = vault_batch_new();

	for (unsigned i = 0; i < MANY; i++) {
		char name[32];
		struct vault_id id = {.kind = VAULT_PNE};

		(void)snprintf(name, sizeof(name), "headset-%u", i);
		id.owner = bytes_text(name);
		vault_batch_put(b, &id, bytes_text("alice"));
		id.kind = VAULT_EUKEY;
		vault_batch_put(b, &id, bytes_text("not one that can be used"));
	}
	ck_assert_int_eq(vault_submit(vault, b, NULL, NULL), 0);
	(void)vault_flush(vault);
}

/* However much the vault holds, no turn of the loop looks at more than a piece of it. */
START_TEST(test_many)
{
	const struct core_wan up = {.up = true, .mutual = true, .generation = 1};
	size_t before = 0, turns = 0;

	put_many();
	gateway_core_wan_state(core, &up);
	for (; core->state.collecting; turns++) {
		ck_assert_uint_le(core->state.names.count - before, PIECE + 1);
		ck_assert_uint_le(core->pool.sweep_count, PIECE);
		ck_assert_uint_lt(turns, MANY);
		before = core->state.names.count;
		ck_assert_uint_ne(wake_at, 0);
		clock_ms = wake_at > clock_ms ? wake_at : clock_ms;
		wake_at = 0;
		gateway_core_tick(core);
	}
	ck_assert_uint_ge(turns, 2 * MANY / PIECE);
	ck_assert_uint_eq(core->state.names.count, MANY + 1);
	/* The pools too are all looked at, some in each turn. */
	run_for(60);
	ck_assert(!core->pool.sweeping);
	ck_assert_uint_eq(core->pool.sweep_count, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reaching PNEs");
	TCase *tests = tcase_create("core");
	SRunner *runner;
	int failed;

	if (secret_setup() != 0)
		(void)puts("memory cannot be locked");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, test_hello_deadline);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_unreachable);
	tcase_add_test(tests, test_no_way);
	tcase_add_test(tests, test_connected);
	tcase_add_test(tests, test_some);
	tcase_add_test(tests, test_cancelled);
	tcase_add_loop_test(tests, test_revoked, 0, 2);
	tcase_add_test(tests, test_bad_password);
	tcase_add_test(tests, test_renewal);
	tcase_add_test(tests, test_reset);
	tcase_add_test(tests, test_record);
	tcase_add_test(tests, test_many);
	tcase_add_test(tests, test_lost);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
