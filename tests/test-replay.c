/*
 * Failures of all figures, recorded while every role runs, then replayed by pngw-replay: a process
 * that has none of the keys. What was secret in them must not be in the recorder nor in a bundle.
 */

#include <sys/wait.h>
#include <unistd.h>

#include "gateway/replay.h"
#include "gateway/trace.h"
#include "tests/figures-many.h"

#define USER     "alice"
#define PASSWORD "correct horse battery"
#define WRONG    "incorrect horse battery"

/* Canaries: the first bytes of every secret that there was, and of every binary value that was
 * sent. */
#define CANARY_SIZE  8U
#define CANARIES_MAX 65536U

static uint8_t canaries[CANARIES_MAX][CANARY_SIZE];
static bool canary_there[CANARIES_MAX];
static size_t canary_count;

static size_t place_of(const uint8_t *b)
{
	uint64_t hash = 14695981039346656037U;
	size_t at;

	for (size_t i = 0; i < CANARY_SIZE; i++)
		hash = (hash ^ b[i]) * 1099511628211U;
	at = (size_t)(hash ^ hash >> 32) % CANARIES_MAX;
	while (canary_there[at] && memcmp(canaries[at], b, CANARY_SIZE) != 0)
		at = (at + 1) % CANARIES_MAX;
	return at;
}

static void add_canary(struct bytes b)
{
	size_t at;

	if (b.size < CANARY_SIZE)
		return;
	at = place_of(b.data);
	if (canary_there[at])
		return;
	ck_assert_uint_lt(2 * ++canary_count, CANARIES_MAX);
	memcpy(canaries[at], b.data, CANARY_SIZE);
	canary_there[at] = true;
}

void __real_secret_unref(struct secret *s);
void __wrap_secret_unref(struct secret *s);
void __real_secret_clear(struct secret **s);
void __wrap_secret_clear(struct secret **s);

void __wrap_secret_unref(struct secret *s)
{
	if (s)
		add_canary(secret_bytes(s));
	__real_secret_unref(s);
}

void __wrap_secret_clear(struct secret **s)
{
	if (*s)
		add_canary(secret_bytes(*s));
	__real_secret_clear(s);
}

static void forget_canaries(void)
{
	memset(canary_there, 0, sizeof(canary_there));
	canary_count = 0;
}

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* <Name>hex digits</: all but the ids of messages. */
static void see_wire(struct bytes b)
{
	for (size_t i = 0; i < b.size; i++) {
		size_t begin = i + 1, end = begin, name = i;
		uint8_t binary[256];
		size_t size;

		if (b.data[i] != '>')
			continue;
		while (end < b.size && is_hex(b.data[end]))
			end++;
		while (name > 0 && b.data[name] != '<')
			name--;
		if (end == b.size || b.data[end] != '<' || end - begin < 2 * CANARY_SIZE ||
		    memcmp(b.data + name, "<MessageID", 10) == 0 ||
		    memcmp(b.data + name, "<InResponseTo", 13) == 0 ||
		    memcmp(b.data + name, "<Nonce", 6) == 0 ||
		    memcmp(b.data + name, "<ClientNonce", 12) == 0)
			continue;
		if (hex_decode(bytes_of(b.data + begin, end - begin), binary, sizeof(binary),
			       &size) == 0)
			add_canary(bytes_of(binary, size));
	}
}

static bool is_canary(const uint8_t *b)
{
	return canary_there[place_of(b)];
}

/* As they are, and as hex digits of either case. */
static bool has_canary(struct bytes text)
{
	for (size_t i = 0; i + CANARY_SIZE <= text.size; i++) {
		uint8_t binary[CANARY_SIZE];
		size_t size;

		if (is_canary(text.data + i))
			return true;
		if (i + 2 * CANARY_SIZE <= text.size &&
		    hex_decode(bytes_of(text.data + i, 2 * CANARY_SIZE), binary, sizeof(binary),
			       &size) == 0 &&
		    is_canary(binary))
			return true;
	}
	return false;
}

/* Failures. */

enum what { REGISTER, FIGURE_6_RUN, FIGURE_7_RUN, FIGURE_8_RUN, RENEWAL, REVOCATION, AT_THE_PNE };
enum fault {
	NONE,
	LOSE,
	TWICE,
	PAN_DOWN,
	WAN_DOWN,
	RESTART_GATEWAY,
	RESTART_PNE,
	DISK_FULL,
	CANCEL,
	REVOKE,
	CORRUPT_KEY,
	CORRUPT_PROOF,
	CORRUPT_ID,
	WRONG_PASSWORD,
	AGAIN,
	FAULTS
};

struct scene {
	enum what what;
	enum fault fault;
	unsigned at; /* message number */
};

static bool corrupt(struct item *i, const char *element)
{
	char open[40];
	size_t size;

	(void)snprintf(open, sizeof(open), "<%s>", element);
	size = strlen(open);
	for (size_t at = 0; at + size < i->size; at++) {
		if (memcmp(i->data + at, open, size) == 0) {
			i->data[at + size] = i->data[at + size] == '0' ? '1' : '0';
			return true;
		}
	}
	return false;
}

static void corrupt_any(struct item *i, enum fault fault)
{
	static const char *const keys[] = {"WrappedEUKey", "WrappedTemporaryKey", "Sealed"};
	static const char *const proofs[] = {"Response", "AuthData", "Proof", "Confirmation"};
	size_t n;

	if (fault == CORRUPT_ID) {
		(void)corrupt(i, "InResponseTo");
		return;
	}
	for (n = 0; fault == CORRUPT_KEY && n < 3; n++) {
		if (corrupt(i, keys[n]))
			return;
	}
	for (n = 0; fault == CORRUPT_PROOF && n < 4; n++) {
		if (corrupt(i, proofs[n]))
			return;
	}
}

/* The message that is delivered next meets with the fault. True: it is delivered all the same. */
static bool strike(struct sim *s, const struct scene *x)
{
	switch (x->fault) {
	case LOSE:
		free(s->queue[0].data);
		s->queued--;
		memmove(s->queue, s->queue + 1, s->queued * sizeof(s->queue[0]));
		return false;
	case TWICE:
		s->queue[s->queued] = s->queue[0];
		s->queue[s->queued].data = malloc(s->queue[0].size + 1);
		ck_assert_ptr_nonnull(s->queue[s->queued].data);
		memcpy(s->queue[s->queued].data, s->queue[0].data, s->queue[0].size);
		s->queued++;
		return true;
	case PAN_DOWN:
		many_away(s, 0, true);
		return true;
	case WAN_DOWN:
		many_offline(s, true);
		return true;
	case RESTART_GATEWAY:
		many_restart_gateway(s);
		return true;
	case RESTART_PNE:
		many_restart_pne(s, 0);
		return true;
	case DISK_FULL:
		many_deliver(s);
		while (sim_gateway_work_full(s->gateway))
			;
		return false;
	case CANCEL:
		sim_gateway_cancel(s->gateway);
		return true;
	case REVOKE:
		(void)sim_gateway_revoke(s->gateway, SIM_REVOKE, SIM_PNE);
		return true;
	case AGAIN:
		(void)sim_gateway_start(s->gateway, FIGURE_7, USER, PASSWORD, 2);
		return true;
	case CORRUPT_KEY:
	case CORRUPT_PROOF:
	case CORRUPT_ID:
		corrupt_any(&s->queue[0], x->fault);
		return true;
	case NONE:
	case WRONG_PASSWORD:
	case FAULTS:
		break;
	}
	return true;
}

static void begin(struct sim *s, const struct scene *x)
{
	const char *password = x->fault == WRONG_PASSWORD ? WRONG : PASSWORD;

	switch (x->what) {
	case REGISTER:
		(void)sim_gateway_start(s->gateway, FIGURE_5, x->at > 1 ? USER : "bob", password,
					0);
		break;
	case FIGURE_6_RUN:
		(void)sim_gateway_start(s->gateway, FIGURE_6, USER, password, 0);
		break;
	case FIGURE_7_RUN:
		(void)sim_gateway_start(s->gateway, FIGURE_7, USER, password, 3);
		break;
	case FIGURE_8_RUN:
		(void)sim_gateway_start(s->gateway, FIGURE_8, USER, password, 0);
		break;
	case RENEWAL:
		(void)sim_gateway_renew(s->gateway, 0);
		break;
	case REVOCATION:
		(void)sim_gateway_revoke(s->gateway, SIM_REVOKE, SIM_PNE);
		break;
	case AT_THE_PNE:
		sim_pne_enter(s->pan[0].pne, USER, password);
		break;
	}
}

static void drive(struct sim *s, const struct scene *x)
{
	unsigned delivered = 0;

	for (unsigned turns = 0; turns < 2000; turns++) {
		if (many_work(s))
			continue;
		if (s->queued == 0)
			break;
		if (++delivered == x->at && !strike(s, x))
			continue;
		many_deliver(s);
	}
	/* All time limits pass. */
	many_pass(s, 70000);
}

static void run_scene(const struct scene *x, struct recorder *r)
{
	struct sim *s;

	sim_gateway_recorder(r);
	s = many_new(x->what == FIGURE_6_RUN || x->what == AT_THE_PNE);
	(void)sim_gateway_start(s->gateway, FIGURE_5, USER, PASSWORD, 0);
	many_await(s, 1);
	if (x->what == RENEWAL || x->what == REVOCATION) {
		(void)sim_gateway_start(s->gateway, FIGURE_7, USER, PASSWORD, 3);
		many_await(s, 2);
	}
	begin(s, x);
	drive(s, x);
	many_free(s);
	sim_gateway_recorder(NULL);
}

/* What is in the recorder: how many verdicts, and which. */
struct tally {
	size_t verdicts, failures, canaries;
	unsigned long seen[1000];
	bool leaks;
};

static bool count(void *arg, uint64_t number, struct bytes note)
{
	struct note_reader n = note_read(note);
	struct tally *t = arg;
	struct note_field f;

	(void)number;
	t->leaks = t->leaks || has_canary(note);
	if (note_take_number(&n, NOTE_entry) != ENTRY_VERDICT || !note_find(&n, NOTE_verdict, &f))
		return true;
	ck_assert_uint_lt(f.number, 1000);
	t->verdicts++;
	t->seen[f.number]++;
	t->failures += f.number != VERDICT_DONE;
	return true;
}

static char *bundle_of(struct recorder *r, size_t *size)
{
	const struct bundle_section section = {"about", "a test\nof bundles"};
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(gateway_recorder_bundle(r, &section, 1, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static void write_file(const char *path, const char *text, size_t size)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

/* pngw-replay with an empty environment; its exit code, and what it wrote last. */
static int replay(const char *options, const char *path, char *out, size_t out_size)
{
	const char *build = getenv("PNGW_BUILDDIR");
	char command[800];
	size_t size;
	FILE *f;
	int status;

	(void)snprintf(command, sizeof(command), "env -i '%s/pngw-replay' %s '%s' 2>&1",
		       build ? build : ".", options, path);
	f = popen(command, "re");
	ck_assert_ptr_nonnull(f);
	size = fread(out, 1, out_size - 1, f);
	out[size] = '\0';
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void folder_new(char folder[64])
{
	(void)snprintf(folder, 64, "/tmp/pngw-replay-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void folder_remove(const char *folder, const char *path)
{
	(void)unlink(path);
	ck_assert_int_eq(rmdir(folder), 0);
}

/* Returns how many failures are in it. */
static size_t prove(const struct scene *x, const char *path, struct tally *all)
{
	struct tally t = {.verdicts = 0};
	char out[4096], expected[160];
	struct recorder *r;
	char *text;
	size_t size;
	int code;

	ck_assert_int_eq(gateway_recorder_new(RECORDER_SIZE_DEFAULT, &r), 0);
	forget_canaries();
	run_scene(x, r);
	all->canaries += canary_count;
	gateway_recorder_each(r, 0, count, &t);
	text = bundle_of(r, &size);
	ck_assert_msg(!t.leaks, "a canary is in the recorder: scene %d.%d.%u", x->what, x->fault,
		      x->at);
	ck_assert_msg(!has_canary(bytes_of(text, size)),
		      "a canary is in the bundle: scene %d.%d.%u", x->what, x->fault, x->at);
	write_file(path, text, size);
	code = replay("--verify", path, out, sizeof(out));
	(void)snprintf(expected, sizeof(expected),
		       "verdicts reached again: %zu, other than recorded: 0, not recorded from "
		       "their beginning: 0\n",
		       t.verdicts);
	ck_assert_msg(code == 0 && strstr(out, expected), "scene %d.%d.%u: exit code %d, %s",
		      x->what, x->fault, x->at, code, out);
	for (size_t i = 0; i < 1000; i++)
		all->seen[i] += t.seen[i];
	all->verdicts += t.verdicts;
	free(text);
	gateway_recorder_free(r);
	return t.failures;
}

START_TEST(failures_replay_to_the_same_verdicts)
{
	static const unsigned moments[] = {
		[REGISTER] = 2, [FIGURE_6_RUN] = 9, [FIGURE_7_RUN] = 6, [FIGURE_8_RUN] = 4,
		[RENEWAL] = 2,  [REVOCATION] = 2,   [AT_THE_PNE] = 8,
	};
	/* Under valgrind a part of the scenes has to do. */
	const size_t stride = getenv("PNGW_VALGRIND") ? 6 : 1;
	size_t scenes = 0, failed = 0, kinds = 0;
	struct tally all = {.verdicts = 0};
	char folder[64], path[80];

	many_wire = see_wire;
	folder_new(folder);
	(void)snprintf(path, sizeof(path), "%s/bundle", folder);
	for (int what = REGISTER; what <= AT_THE_PNE; what++) {
		for (int fault = NONE; fault < FAULTS; fault++) {
			unsigned last =
				fault == NONE || fault == WRONG_PASSWORD ? 1 : moments[what];

			/* Of those that often do no harm every other one will do. */
			bool few = fault == TWICE || fault == RESTART_PNE || fault == AGAIN;

			for (unsigned at = 1; at <= last; at += few ? 2 : 1) {
				const struct scene x = {(enum what)what, (enum fault)fault, at};

				if (scenes++ % stride == 0)
					failed += prove(&x, path, &all) > 0;
			}
		}
	}
	for (size_t i = 1; i < 1000; i++)
		kinds += all.seen[i] > 0;
	(void)printf("%zu scenes, %zu with failures of %zu kinds, %zu verdicts, %zu canaries\n",
		     scenes, failed, kinds, all.verdicts, all.canaries);
	ck_assert_uint_ge(failed, 100 / stride);
	ck_assert_uint_ge(kinds, 12 / stride);
	ck_assert_uint_gt(all.canaries, 1000 / stride);
	folder_remove(folder, path);
}
END_TEST

/* The canaries would be found if they were there. */
START_TEST(canaries_are_seen)
{
	const uint8_t secret[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

	add_canary(bytes_of(secret, sizeof(secret)));
	ck_assert(has_canary(bytes_text("see 010203040506070809 there")));
	ck_assert(!has_canary(bytes_text("see 0102030405060809 there")));
	see_wire(bytes_text("<AuthData>ffeeddccbbaa99887766</AuthData>"));
	ck_assert(has_canary(bytes_text("ffeeddccbbaa998877")));
}
END_TEST

struct seen {
	uint64_t at;
	char why[256];
};

static void diverged(void *arg, uint64_t number, const char *why)
{
	struct seen *s = arg;

	if (s->at == 0) {
		s->at = number;
		(void)snprintf(s->why, sizeof(s->why), "%s", why);
	}
}

static bool feed(void *arg, uint64_t number, struct bytes note)
{
	ck_assert_int_eq(gateway_replay_entry(arg, number, note), 0);
	return true;
}

static void lost_elsewhere(struct procedure *p, const struct event *e, struct actions *out)
{
	(void)e;
	gateway_fail(p, out, VERDICT_PAN_LOST, "elsewhere");
}

/* With another answer to one event in one state the replay gets to something else. */
START_TEST(a_broken_table_diverges)
{
	const struct procedure_type *own = &gateway_figure7_assignment;
	static cell_fn *cells[16][EVENT_KINDS];
	struct procedure_type broken = *own;
	const struct procedure_type *const types[] = {&gateway_figure5_registration, &broken,
						      &gateway_renewal, &gateway_refill, NULL};
	static const struct replay_watcher watcher = {.diverged = diverged};
	const struct scene x = {FIGURE_7_RUN, PAN_DOWN, 5};
	struct seen seen = {.at = 0};
	char why[256];
	unsigned changed = 0;
	struct recorder *r;
	struct replay *p;
	size_t size;
	char *text;

	ck_assert_uint_le(own->states, 16);
	memcpy(cells, own->table, own->states * sizeof(cells[0]));
	for (unsigned state = 0; state < own->states; state++) {
		if (cells[state][EVENT_LINK_DOWN] == cell_pan_lost) {
			cells[state][EVENT_LINK_DOWN] = cell_pne_silent;
			changed++;
		}
	}
	ck_assert_uint_gt(changed, 0);
	broken.table = (cell_fn *const(*)[EVENT_KINDS])cells;
	ck_assert_int_eq(gateway_recorder_new(RECORDER_SIZE_DEFAULT, &r), 0);
	run_scene(&x, r);
	text = bundle_of(r, &size);

	p = gateway_replay_new(types, &watcher, &seen);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(gateway_bundle_each(bytes_of(text, size), feed, p, why, sizeof(why)), 0);
	ck_assert_uint_gt(gateway_replay_result(p)->diverged, 0);
	ck_assert_uint_eq(gateway_replay_result(p)->diverged_at, seen.at);
	ck_assert_ptr_nonnull(strstr(seen.why, "PNE_SILENT"));
	ck_assert_ptr_nonnull(strstr(seen.why, "PAN_LOST"));
	gateway_replay_free(p);

	/* What differs is told, also where the verdict is the same one. */
	for (unsigned state = 0; state < own->states; state++) {
		if (cells[state][EVENT_LINK_DOWN] == cell_pne_silent)
			cells[state][EVENT_LINK_DOWN] = lost_elsewhere;
	}
	seen.at = 0;
	p = gateway_replay_new(types, &watcher, &seen);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(gateway_bundle_each(bytes_of(text, size), feed, p, why, sizeof(why)), 0);
	ck_assert_str_eq(seen.why, "the replay's verdict PAN_LOST is not the recorded one: "
				   "(elsewhere), recorded ()");
	gateway_replay_free(p);

	p = gateway_replay_new(NULL, &watcher, &seen);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(gateway_bundle_each(bytes_of(text, size), feed, p, why, sizeof(why)), 0);
	ck_assert_uint_eq(gateway_replay_result(p)->diverged, 0);
	gateway_replay_free(p);
	free(text);
	gateway_recorder_free(r);
}
END_TEST

/* A file of somebody else's making: what is wrong with it is said. */
START_TEST(altered_files)
{
	const struct scene x = {FIGURE_7_RUN, LOSE, 5};
	char folder[64], path[80], out[8192], entry[64];
	struct recorder *r;
	char *text, *at, *line;
	size_t size;

	folder_new(folder);
	(void)snprintf(path, sizeof(path), "%s/bundle", folder);
	ck_assert_int_eq(gateway_recorder_new(RECORDER_SIZE_DEFAULT, &r), 0);
	run_scene(&x, r);
	text = bundle_of(r, &size);
	gateway_recorder_free(r);

	write_file(path, text, size);
	ck_assert_int_eq(replay("--verify", path, out, sizeof(out)), 0);
	write_file(path, text, size - 100);
	ck_assert_int_eq(replay("--verify", path, out, sizeof(out)), 2);
	ck_assert_ptr_nonnull(strstr(out, "cut off"));
	write_file(path, "[recorder]\n", 11);
	ck_assert_int_eq(replay("--verify", path, out, sizeof(out)), 2);
	ck_assert_ptr_nonnull(strstr(out, "no bundle"));

	/* One event of the procedure in question becomes another. */
	at = strstr(text, " event=TIMEOUT");
	ck_assert_ptr_nonnull(at);
	line = at;
	while (line > text && *line != '@')
		line--;
	(void)snprintf(entry, sizeof(entry), "DIVERGED at entry %lu:", strtoul(line + 1, NULL, 10));
	memcpy(at, " event=WAN_UP ", 13);
	write_file(path, text, size);
	ck_assert_int_eq(replay("--verify", path, out, sizeof(out)), 2);
	ck_assert_ptr_nonnull(strstr(out, "altered"));
	at[13] = ' ';
	memmove(at + 13, at + 14, size - (size_t)(at - text) - 14);
	write_file(path, text, size - 1);
	ck_assert_msg(replay("--verify --edited", path, out, sizeof(out)) == 1, "%s", out);
	ck_assert_msg(strstr(out, entry), "%s is not in %s", entry, out);

	memcpy(text, "pngw-bundle 2", 13);
	write_file(path, text, size);
	ck_assert_int_eq(replay("--verify", path, out, sizeof(out)), 2);
	ck_assert_ptr_nonnull(strstr(out, "newer"));
	ck_assert_int_eq(replay("--verify", "/nowhere", out, sizeof(out)), 2);
	ck_assert_int_eq(replay("--nonsense", path, out, sizeof(out)), 64);
	folder_remove(folder, path);
	free(text);
}
END_TEST

/* What is whole after the ring has gone round replays. */
START_TEST(a_full_ring_replays_what_is_whole)
{
	struct tally t = {.verdicts = 0};
	char folder[64], path[80], out[4096];
	struct recorder_info info;
	size_t size, same, other, unknown;
	struct recorder *r;
	struct sim *s;
	char *text, *at;

	folder_new(folder);
	(void)snprintf(path, sizeof(path), "%s/bundle", folder);
	ck_assert_int_eq(gateway_recorder_new(RECORDER_SIZE_MIN, &r), 0);
	sim_gateway_recorder(r);
	s = many_new(true);
	(void)sim_gateway_start(s->gateway, FIGURE_5, USER, PASSWORD, 0);
	many_await(s, 1);
	for (unsigned i = 0; i < 24; i++) {
		enum figure figure = i % 2 == 0 ? FIGURE_6 : FIGURE_7;

		s->count = 0;
		s->lose_at = i % 3 == 2 ? s->delivered + 5 : 0;
		(void)sim_gateway_start_for(s->gateway, figure, i % PNES, USER, PASSWORD, 2);
		sim_pne_enter(s->pan[(i + 1) % PNES].pne, USER, PASSWORD);
		many_pass(s, 30000);
	}
	many_free(s);
	sim_gateway_recorder(NULL);
	gateway_recorder_info(r, &info);
	ck_assert_uint_gt(info.lost, 100);
	gateway_recorder_each(r, 0, count, &t);
	text = bundle_of(r, &size);
	write_file(path, text, size);
	ck_assert_msg(replay("--verify", path, out, sizeof(out)) == 0, "%s", out);
	at = strstr(out, "again: ");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at,
				"again: %zu, other than recorded: %zu, not recorded from their "
				"beginning: %zu",
				&same, &other, &unknown),
			 3);
	ck_assert_uint_eq(same + unknown, t.verdicts);
	ck_assert_uint_gt(same, 10);
	ck_assert_uint_le(unknown, 6);
	folder_remove(folder, path);
	free(text);
	gateway_recorder_free(r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("replay");
	TCase *t = tcase_create("replay");
	SRunner *r;
	int failed;

	tcase_add_test(t, failures_replay_to_the_same_verdicts);
	tcase_add_test(t, canaries_are_seen);
	tcase_add_test(t, a_broken_table_diverges);
	tcase_add_test(t, altered_files);
	tcase_add_test(t, a_full_ring_replays_what_is_whole);
	tcase_set_timeout(t, 600);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
