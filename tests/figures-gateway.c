#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "gateway/core-internal.h"
#include "storage/ledger-check.h"
#include "tests/figures.h"

#define DERIVATIONS_MAX 16

struct derivation {
	uint64_t token;
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
};

struct sim_gateway {
	struct sim *sim;
	struct vault *vault;
	char ledger[600];
	struct core *core;
	struct core_link *links[SIM_PNES];
	bool closing;
	int streams[SIM_PNES]; /* the address of one names the stream */
	uint64_t due;
	struct derivation derivations[DERIVATIONS_MAX];
	size_t count;
	uint64_t run;
};

static struct recorder *recorder;
static struct pool_limits pools;
static int64_t wall_offset;

static int port_post(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin,
		     uint64_t token, void **request)
{
	struct sim_gateway *g = arg;

	/* The token is handle enough: it is what cancel is given back. */
	*request = (void *)(uintptr_t)token;
	return sim_post(g->sim, token, xml, deadline_ms, pin);
}

static void port_cancel(void *arg, void *request)
{
	struct sim_gateway *g = arg;

	sim_cancel(g->sim, (uint64_t)(uintptr_t)request);
}

static int port_derive(void *arg, uint64_t token, struct secret *password,
		       const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	struct sim_gateway *g = arg;
	struct derivation *d;

	ck_assert_uint_lt(g->count, DERIVATIONS_MAX);
	d = &g->derivations[g->count++];
	d->token = token;
	d->password = secret_ref(password);
	memcpy(d->salt, salt, SALT_SIZE);
	d->iterations = iterations;
	return 0;
}

static unsigned number_of(const struct sim_gateway *g, const void *stream)
{
	for (unsigned i = 0; i < SIM_PNES; i++) {
		if (stream == &g->streams[i])
			return i;
	}
	ck_abort_msg("no such stream");
}

static int port_write(void *arg, void *stream, struct bytes frame)
{
	struct sim_gateway *g = arg;

	sim_write(g->sim, ROLE_PNGW, number_of(g, stream), frame);
	return 0;
}

static void port_close(void *arg, void *stream)
{
	struct sim_gateway *g = arg;

	g->links[number_of(g, stream)] = NULL;
	if (!g->closing)
		sim_close(g->sim, number_of(g, stream));
}

static uint64_t port_now(void *arg)
{
	struct sim_gateway *g = arg;

	return sim_now(g->sim);
}

static uint64_t port_wall(void *arg)
{
	struct sim_gateway *g = arg;

	int64_t wall = 1700000000 + (int64_t)(sim_now(g->sim) / 1000) + wall_offset;

	return wall > 0 ? (uint64_t)wall : 0;
}

static uint64_t port_elapsed(void *arg)
{
	struct sim_gateway *g = arg;

	return sim_now(g->sim) / 1000;
}

static void port_wake(void *arg, uint64_t at)
{
	struct sim_gateway *g = arg;

	g->due = at == 0 ? SIM_NEVER : at;
}

static void port_log(void *arg, enum log_level level, const char *text)
{
	struct sim_gateway *g = arg;

	(void)level;
	sim_line(g->sim, text);
}

static void port_step(void *arg, uint64_t run, enum figure figure, unsigned step,
		      const struct name *user, const struct name *entity)
{
	struct sim_gateway *g = arg;

	(void)run;
	(void)user;
	(void)entity;
	sim_step(g->sim, figure, step);
}

static void port_verdict(void *arg, uint64_t run, const struct verdict *v)
{
	struct sim_gateway *g = arg;

	/* Those of nobody's run are of the relay, or of what a restart interrupted. */
	if (!g->closing && run != 0 && run == g->run)
		sim_verdict(g->sim, ROLE_PNGW, v);
}

static struct core_options options_of_now(void)
{
	struct core_options options = {
		.path = "/cpns",
		.procedures = {.wan_wait_ms = 5000,
			       .request_ms = 10000,
			       .pne_ms = 10000,
			       .iterations_floor = SIM_ITERATIONS,
			       .secure_level = PAN_SECURITY_AUTHENTICATED},
		.relay = {.capacity = 16,
			  .quota = 4,
			  .wan_wait_ms = 5000,
			  .request_ms = 10000,
			  .receipt_ms = 10000,
			  .secure_level = PAN_SECURITY_AUTHENTICATED},
		.pool = pools,
		.max_procedures = SIM_PROCEDURES,
		.hello_ms = 5000,
		.recorder = recorder,
	};

	ck_assert_int_eq(name_set(&options.self, bytes_text(SIM_GATEWAY)), 0);
	ck_assert_int_eq(name_set(&options.server, bytes_text(SIM_SERVER)), 0);
	return options;
}

static struct vault *open_vault(const char *directory)
{
	char path[512], key[512], why[256] = "";
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	const struct vault_options options = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};
	struct vault *v;

	(void)snprintf(path, sizeof(path), "%s/gateway.vault", directory);
	(void)snprintf(key, sizeof(key), "%s/gateway.key", directory);
	ck_assert_msg(vault_open(&options, &v, why, sizeof(why)) == 0, "%s", why);
	return v;
}

void sim_gateway_recorder(struct recorder *r)
{
	recorder = r;
}

void sim_gateway_lose_clock(const char *directory)
{
	struct vault *v = open_vault(directory);
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(b);
	vault_batch_erase_owner(b, VAULT_CLOCK, bytes_text("gateway"));
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
}

uint64_t sim_gateway_marked_wall(const char *directory)
{
	struct vault *v = open_vault(directory);
	struct clock_mark mark;

	ck_assert_int_eq(records_get_clock(v, &mark), 0);
	vault_close(v);
	return mark.wall;
}

void sim_gateway_hand_over(const char *directory, uint32_t term, uint32_t after, uint8_t holder)
{
	struct handover h = {.state = HANDOVER_ASKS, .term = term, .after = after};
	struct vault *v = open_vault(directory);
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(b);
	memset(h.holder, holder, sizeof(h.holder));
	handover_put(b, &h);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
}

void sim_gateway_damage(const char *directory, enum vault_kind kind, const char *entity)
{
	const struct vault_id id = {kind, bytes_text(entity), BYTES_NONE};
	struct vault *v = open_vault(directory);
	struct vault_batch *b = vault_batch_new();

	ck_assert_ptr_nonnull(b);
	vault_batch_put(b, &id, bytes_text("x"));
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
	vault_close(v);
}

struct sim_gateway *sim_gateway_new(struct sim *s, const char *directory)
{
	static const struct core_ports ports = {.post = port_post,
						.cancel = port_cancel,
						.derive = port_derive,
						.write = port_write,
						.close = port_close,
						.now = port_now,
						.wall = port_wall,
						.elapsed = port_elapsed,
						.wake = port_wake,
						.log = port_log,
						.step = port_step,
						.verdict = port_verdict};
	struct core_options options = options_of_now();
	static uint64_t run;
	struct sim_gateway *g = calloc(1, sizeof(*g));

	ck_assert_ptr_nonnull(g);
	g->sim = s;
	g->due = SIM_NEVER;
	run += 100;
	g->run = run;
	(void)snprintf(g->ledger, sizeof(g->ledger), "%s/gateway.vault.ledger", directory);
	g->vault = open_vault(directory);
	ck_assert_int_eq(gateway_core_new(&options, g->vault, &ports, g, &g->core), 0);
	return g;
}

/* Whatever a test did, the ledger proves it. */
static void prove_ledger(const char *path, const struct ledger_state *newest,
			 struct sim_ledger *out)
{
	struct ledger_account account;
	struct ledger_expected expected = {.sequence = newest->sequence, .who = "the vault"};
	uint8_t data[4096];
	struct ledger_check *c = NULL;
	FILE *f = fopen(path, "rb");
	size_t n;
	int r = 0;

	ck_assert(f || newest->sequence == 0);
	if (!f)
		return;
	memcpy(expected.head, newest->head, sizeof(expected.head));
	ck_assert_int_eq(ledger_check_new(NULL, NULL, &c), 0);
	ck_assert_int_eq(ledger_check_expect(c, &expected), 0);
	while (r == 0 && (n = fread(data, 1, sizeof(data), f)) > 0)
		r = ledger_check_feed(c, bytes_of(data, n));
	if (r == 0)
		r = ledger_check_end(c);
	ck_assert_msg(r == 0, "the ledger's entry %u: %s", ledger_check_defect(c)->sequence,
		      ledger_check_defect(c)->text);
	ledger_check_account(c, &account);
	*out = (struct sim_ledger){.issued = account.issued,
				   .spent = account.spent,
				   .erased = account.erased,
				   .installed = account.installed};
	ledger_check_free(c);
	(void)fclose(f);
}

void sim_gateway_end(struct sim_gateway *g, struct sim_ledger *ledger)
{
	struct ledger_state newest;

	g->closing = true;
	gateway_core_free(g->core);
	vault_ledger_state(g->vault, &newest);
	vault_close(g->vault);
	if (ledger)
		prove_ledger(g->ledger, &newest, ledger);
	for (size_t i = 0; i < g->count; i++)
		secret_unref(g->derivations[i].password);
	free(g);
}

void sim_gateway_free(struct sim_gateway *g)
{
	struct sim_ledger ledger;

	sim_gateway_end(g, &ledger);
}

bool sim_gateway_work(struct sim_gateway *g)
{
	struct derivation d;
	struct secret *ph = NULL;

	if (vault_pending(g->vault)) {
		(void)vault_flush(g->vault);
		return true;
	}
	if (g->count == 0)
		return false;
	d = g->derivations[0];
	g->count--;
	memmove(g->derivations, g->derivations + 1, g->count * sizeof(d));
	ck_assert_int_eq(p1_password_hash(d.password, d.salt, d.iterations, &ph), 0);
	secret_unref(d.password);
	gateway_core_hashed(g->core, d.token, ph);
	secret_unref(ph);
	return true;
}

void sim_gateway_wan(struct sim_gateway *g, bool up, struct secret *exporter, uint64_t generation)
{
	struct core_wan wan = {.up = up,
			       .mutual = up,
			       .why = up ? "" : "down",
			       .exporter = up ? exporter : NULL,
			       .generation = generation};

	gateway_core_wan_state(g->core, &wan);
}

void sim_gateway_answered(struct sim_gateway *g, uint64_t token, struct bytes body)
{
	gateway_core_answered(g->core, token, body);
}

void sim_gateway_failed(struct sim_gateway *g, uint64_t token, bool lost)
{
	gateway_core_wan_failed(g->core, token, lost ? WAN_FAILURE_LOST : WAN_FAILURE_SILENT);
}

void sim_gateway_unreached(struct sim_gateway *g, uint64_t token)
{
	gateway_core_wan_failed(g->core, token, WAN_FAILURE_DOWN);
}

void sim_gateway_stream_up(struct sim_gateway *g, unsigned pne, bool secure)
{
	ck_assert_int_eq(
		gateway_core_stream_up(g->core, &g->streams[pne],
				       secure ? PAN_SECURITY_AUTHENTICATED : PAN_SECURITY_NONE,
				       "memory", &g->links[pne]),
		0);
}

void sim_gateway_stream_bytes(struct sim_gateway *g, unsigned pne, struct bytes b)
{
	if (g->links[pne])
		gateway_core_stream_bytes(g->core, g->links[pne], b);
}

void sim_gateway_stream_down(struct sim_gateway *g, unsigned pne)
{
	struct core_link *l = g->links[pne];

	g->links[pne] = NULL;
	if (l)
		gateway_core_stream_down(g->core, l, BEARER_DOWN_PEER, 0);
}

void sim_gateway_stream_security(struct sim_gateway *g, unsigned pne, bool secure)
{
	gateway_core_stream_security(g->core, g->links[pne],
				     secure ? PAN_SECURITY_AUTHENTICATED : PAN_SECURITY_NONE);
}

uint64_t sim_gateway_failures(const struct sim_gateway *g)
{
	return gateway_core_counters(g->core)->failed;
}

int sim_gateway_start(struct sim_gateway *g, enum figure figure, const char *user,
		      const char *password, unsigned set_count)
{
	return sim_gateway_start_for(g, figure, 0, user, password, set_count);
}

int sim_gateway_start_for(struct sim_gateway *g, enum figure figure, unsigned pne, const char *user,
			  const char *password, unsigned set_count)
{
	SCOPED_SECRET *typed = secret_copy(bytes_text(password));
	struct name entity;
	struct core_start start = {.figure = figure,
				   .typed = typed,
				   .entities = &entity,
				   .set_kind = KEY_SET_RANDOM,
				   .set_count = set_count};

	ck_assert_ptr_nonnull(typed);
	g->run++;
	start.run = g->run;
	start.count = figure == FIGURE_6 || figure == FIGURE_7 ? 1 : 0;
	ck_assert_int_eq(name_set(&start.user, bytes_text(user)), 0);
	ck_assert_int_eq(name_set(&entity, bytes_text(sim_pne_name(pne))), 0);
	return gateway_core_start(g->core, &start);
}

int sim_gateway_renew(struct sim_gateway *g, unsigned pne)
{
	struct name entity;

	g->run++;
	ck_assert_int_eq(name_set(&entity, bytes_text(sim_pne_name(pne))), 0);
	return gateway_core_renew(g->core, &entity, g->run);
}

void sim_gateway_pools(const struct pool_limits *limits)
{
	static const struct pool_limits none;

	pools = limits ? *limits : none;
}

void sim_gateway_cancel(struct sim_gateway *g)
{
	gateway_core_cancel(g->core, g->run);
}

void sim_gateway_reload(struct sim_gateway *g)
{
	struct core_options options = options_of_now();

	gateway_core_set_options(g->core, &options);
}

void sim_gateway_wall(int64_t seconds)
{
	wall_offset = seconds;
}

struct sim_pool sim_gateway_pool(struct sim_gateway *g, const char *entity)
{
	struct core_pool_info info;
	struct name id;

	ck_assert_int_eq(name_set(&id, bytes_text(entity)), 0);
	ck_assert_int_eq(gateway_core_pool_info(g->core, &id, &info), 0);
	return (struct sim_pool){.left = info.left,
				 .current = info.current,
				 .unconfirmed = info.unconfirmed,
				 .needs_user = info.refill_needs_user};
}

size_t sim_gateway_pools_known(struct sim_gateway *g)
{
	return g->core->pool.remembered.count;
}

static int count_delivery(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	(void)owner;
	(void)item;
	(void)content;
	++*(size_t *)arg;
	return 0;
}

size_t sim_gateway_deliveries(struct sim_gateway *g)
{
	size_t count = 0;

	ck_assert_int_eq(
		vault_each(g->vault, VAULT_DELIVERY, BYTES_NONE, count_delivery, &count, NULL), 0);
	return count;
}

void sim_gateway_quarantine(struct sim_gateway *g, uint32_t known)
{
	gateway_core_quarantine(g->core, known, "the test");
}

/* Nothing in between may write: check(3) does so at each assertion. */
struct full_disk {
	struct rlimit before;
	void (*handler)(int);
};

static void disk_full(struct full_disk *d)
{
	struct rlimit none;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &d->before), 0);
	d->handler = signal(SIGXFSZ, SIG_IGN);
	none = d->before;
	none.rlim_cur = 0;
	(void)setrlimit(RLIMIT_FSIZE, &none);
}

static void disk_free(const struct full_disk *d)
{
	(void)setrlimit(RLIMIT_FSIZE, &d->before);
	(void)signal(SIGXFSZ, d->handler);
}

bool sim_gateway_work_full(struct sim_gateway *g)
{
	struct full_disk disk;
	bool done;

	disk_full(&disk);
	done = sim_gateway_work(g);
	disk_free(&disk);
	return done;
}

void sim_gateway_quarantine_full(struct sim_gateway *g, uint32_t known)
{
	struct full_disk disk;

	disk_full(&disk);
	gateway_core_quarantine(g->core, known, "the test");
	(void)vault_flush(g->vault);
	disk_free(&disk);
}

uint64_t sim_gateway_due(const struct sim_gateway *g)
{
	return g->due;
}

void sim_gateway_tick(struct sim_gateway *g)
{
	if (g->due > sim_now(g->sim))
		return;
	g->due = SIM_NEVER;
	gateway_core_tick(g->core);
}

bool sim_gateway_fingerprint(struct sim_gateway *g, const char *entity, struct name *user,
			     uint32_t *index, uint8_t out[P1_FINGERPRINT_SIZE])
{
	struct name id;

	ck_assert_int_eq(name_set(&id, bytes_text(entity)), 0);
	return gateway_core_fingerprint(g->core, &id, sim_challenge(), out, index, user) == 0;
}

int sim_gateway_revoke(struct sim_gateway *g, enum sim_revoke what, const char *name)
{
	struct name id = {{0}};

	if (name)
		ck_assert_int_eq(name_set(&id, bytes_text(name)), 0);
	g->run++;
	switch (what) {
	case SIM_REVOKE:
		return gateway_core_revoke(g->core, &id, g->run);
	case SIM_REVOKE_USER:
		return gateway_core_revoke_user(g->core, &id, g->run);
	case SIM_REVOKE_ALL:
		return gateway_core_revoke_all(g->core, g->run);
	case SIM_RESET_AGAIN:
		return gateway_core_reset_again(g->core, &id, g->run);
	}
	return -EINVAL;
}

void sim_gateway_revoke_aside(struct sim_gateway *g, const char *name)
{
	struct name id;

	ck_assert_int_eq(name_set(&id, bytes_text(name)), 0);
	(void)gateway_core_revoke(g->core, &id, 0);
}

int sim_gateway_revoke_full(struct sim_gateway *g, enum sim_revoke what, const char *name)
{
	struct full_disk disk;
	int r;

	disk_full(&disk);
	r = sim_gateway_revoke(g, what, name);
	(void)vault_flush(g->vault);
	disk_free(&disk);
	return r;
}

int sim_gateway_release(struct sim_gateway *g, const char *entity, bool full)
{
	struct full_disk disk;
	struct name id;
	int r;

	ck_assert_int_eq(name_set(&id, bytes_text(entity)), 0);
	if (full)
		disk_full(&disk);
	r = gateway_core_release(g->core, &id);
	(void)vault_flush(g->vault);
	if (full)
		disk_free(&disk);
	return r;
}

int sim_gateway_forget(struct sim_gateway *g, const char *entity, bool full)
{
	struct full_disk disk;
	struct name id;
	int r;

	ck_assert_int_eq(name_set(&id, bytes_text(entity)), 0);
	if (full)
		disk_full(&disk);
	r = gateway_core_forget_revocation(g->core, &id);
	(void)vault_flush(g->vault);
	if (full)
		disk_free(&disk);
	return r;
}

struct look {
	const char *entity;
	struct sim_revocation *out;
	bool found;
};

static void look_at(void *arg, const struct revocation *r)
{
	struct look *look = arg;

	if (strcmp(r->entity.text, look->entity) != 0)
		return;
	look->found = true;
	*look->out = (struct sim_revocation){.epoch = r->epoch,
					     .key_index = r->key_index,
					     .reset = r->reset,
					     .told = r->told,
					     .by_server = r->by_server,
					     .forgotten = r->forgotten};
	(void)revocation_seen(r, look->out->seen, sizeof(look->out->seen));
}

bool sim_gateway_revocation(struct sim_gateway *g, const char *entity, struct sim_revocation *out)
{
	struct look look = {entity, out, false};

	gateway_core_each_revocation(g->core, look_at, &look);
	return look.found;
}

static int count_key(void *arg, const struct stored_key *key, enum key_state state)
{
	(void)key;
	(void)state;
	++*(unsigned *)arg;
	return 0;
}

bool sim_gateway_owner(struct sim_gateway *g, const char *entity, struct name *out)
{
	struct name name;

	ck_assert_int_eq(name_set(&name, bytes_text(entity)), 0);
	return records_get_pne_owner(g->vault, &name, out) == 0;
}

unsigned sim_gateway_keys(struct sim_gateway *g, const char *entity)
{
	struct name id;
	unsigned count = 0;

	ck_assert_int_eq(name_set(&id, bytes_text(entity)), 0);
	ck_assert_int_eq(records_each_key(g->vault, &id, count_key, &count), 0);
	return count;
}
