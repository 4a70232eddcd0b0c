#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/core.h"
#include "server/revoke.h"
#include "tests/figures.h"

#define DERIVATIONS_MAX 16

struct derivation {
	struct core_job *job;
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
};

struct sim_server {
	struct sim *sim;
	struct store *store;
	struct core *core;
	struct derivation derivations[DERIVATIONS_MAX];
	size_t count;
	bool closing;
	struct server_session session;
	struct secret *connection; /* its exporter: that the session is of; NULL: none */
};

static int port_derive(void *arg, struct core_job *job, struct secret *password,
		       const uint8_t salt[SALT_SIZE], uint32_t iterations)
{
	struct sim_server *v = arg;
	struct derivation *d;

	ck_assert_uint_lt(v->count, DERIVATIONS_MAX);
	d = &v->derivations[v->count++];
	d->job = job;
	d->password = secret_ref(password);
	memcpy(d->salt, salt, SALT_SIZE);
	d->iterations = iterations;
	return 0;
}

static void port_answer(void *arg, void *reply, int http, struct bytes body, const char *challenge)
{
	struct sim_server *v = arg;
	uint64_t *request = reply;

	(void)http;
	(void)challenge;
	if (!v->closing)
		sim_answer(v->sim, *request, body);
	free(request);
}

static void port_line(void *arg, const char *text)
{
	struct sim_server *v = arg;

	sim_line(v->sim, text);
}

static uint64_t port_now(void *arg)
{
	struct sim_server *v = arg;

	return sim_now(v->sim);
}

static int64_t port_time(void *arg)
{
	struct sim_server *v = arg;

	return 1700000000 + (int64_t)(sim_now(v->sim) / 1000);
}

struct sim_server *sim_server_new(struct sim *s, const char *directory)
{
	static const struct core_ports ports = {.derive = port_derive,
						.answer = port_answer,
						.line = port_line,
						.now_ms = port_now,
						.time = port_time};
	struct sim_server *v = calloc(1, sizeof(*v));
	char path[512];
	char key[512];
	char why[256] = "";
	struct store_sqlite_options store = {.path = path, .key_file = key, .create = true};
	struct core_options options = {.uri = "/cpns",
				       .iterations = SIM_ITERATIONS,
				       .key_set_max = 16,
				       .answer_days = 30,
				       .nonce_seconds = 300,
				       .max_derivations = DERIVATIONS_MAX};

	ck_assert_ptr_nonnull(v);
	v->sim = s;
	(void)snprintf(path, sizeof(path), "%s/server.db", directory);
	(void)snprintf(key, sizeof(key), "%s/server.key", directory);
	ck_assert_msg(store_open_sqlite(&store, &v->store, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(name_set(&options.self, bytes_text(SIM_SERVER)), 0);
	options.store = v->store;
	ck_assert_msg(core_new(&options, &ports, v, &v->core, why, sizeof(why)) == 0, "%s", why);
	return v;
}

bool sim_server_work(struct sim_server *v)
{
	struct derivation d;
	struct secret *ph = NULL;

	if (v->count == 0)
		return false;
	d = v->derivations[0];
	v->count--;
	memmove(v->derivations, v->derivations + 1, v->count * sizeof(d));
	if (!v->closing)
		ck_assert_int_eq(p1_password_hash(d.password, d.salt, d.iterations, &ph), 0);
	secret_unref(d.password);
	core_derived(d.job, ph);
	secret_unref(ph);
	return true;
}

void sim_server_free(struct sim_server *v)
{
	v->closing = true;
	while (sim_server_work(v))
		;
	core_free(v->core);
	store_close(v->store);
	secret_unref(v->connection);
	free(v);
}

void sim_server_request(struct sim_server *v, uint64_t request, struct bytes xml,
			struct secret *exporter)
{
	struct server_peer peer = {.mutual = true, .exporter = exporter, .session = &v->session};
	uint64_t *reply = malloc(sizeof(*reply));

	/* Each connection has its own. */
	if (v->connection != exporter) {
		v->session = (struct server_session){.told = false};
		secret_unref(v->connection);
		v->connection = secret_ref(exporter);
	}

	ck_assert_ptr_nonnull(reply);
	*reply = request;
	ck_assert_int_eq(name_set(&peer.entity, bytes_text(SIM_GATEWAY)), 0);
	core_request(v->core, xml, BYTES_NONE, &peer, reply);
}

void sim_server_temporary_key(struct sim_server *v, const char *entity, struct secret *key)
{
	struct store_batch b;

	memset(&b, 0, sizeof(b));
	store_batch_temporary_key(&b, bytes_text(entity), key, false);
	ck_assert_int_eq(store_commit(v->store, &b), 0);
	store_batch_clear(&b);
}

void sim_server_give_away(struct sim_server *v, const char *entity, const char *owner)
{
	struct store_element e = {.mode = ENTITY_PNE, .last_index = 0};
	struct store_batch b;

	memset(&b, 0, sizeof(b));
	ck_assert_int_ge(store_element(v->store, bytes_text(entity), &e), 0);
	ck_assert_int_eq(name_set(&e.entity, bytes_text(entity)), 0);
	ck_assert_int_eq(name_set(&e.owner, bytes_text(owner)), 0);
	store_batch_element(&b, &e, e.last_index);
	ck_assert_int_eq(store_commit(v->store, &b), 0);
	store_batch_clear(&b);
}

bool sim_server_fingerprint(struct sim_server *v, const struct name *user, const char *entity,
			    uint32_t index, uint8_t out[P1_FINGERPRINT_SIZE])
{
	SCOPED_SECRET *key = NULL;

	if (store_eukey(v->store, name_bytes(user), bytes_text(entity), index, &key) != 0)
		return false;
	ck_assert_int_eq(p1_fingerprint(key, sim_challenge(), name_bytes(user), bytes_text(entity),
					index, out),
			 0);
	return true;
}

void sim_remove(const char *directory)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	char path[512];

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
		ck_assert_int_eq(unlink(path), 0);
	}
	(void)closedir(d);
	ck_assert_int_eq(rmdir(directory), 0);
}

static void commit(struct sim_server *v, struct store_batch *b)
{
	ck_assert_int_eq(store_commit(v->store, b), 0);
	store_batch_clear(b);
}

void sim_server_revoke(struct sim_server *v, const char *entity)
{
	struct store_key keys[STORE_KEYS_MAX];
	struct store_batch b;
	struct store_element e;
	struct store_revocation after;
	struct store_resets made;

	memset(&b, 0, sizeof(b));
	memset(keys, 0, sizeof(keys));
	ck_assert_int_eq(store_element(v->store, bytes_text(entity), &e), 0);
	if (e.owner.text[0])
		(void)store_keys(v->store, name_bytes(&e.owner), bytes_text(entity), keys);
	after = server_revocation(&e, e.revocation.epoch + 1, 0, false, port_time(v));
	ck_assert_int_eq(server_revoke(&b, &e, &after, keys, &made), 0);
	commit(v, &b);
	store_keys_clear(keys);
}

void sim_server_block(struct sim_server *v, const char *user, bool blocked)
{
	struct store_batch b;

	memset(&b, 0, sizeof(b));
	store_batch_block(&b, bytes_text(user), blocked);
	commit(v, &b);
}

struct key_count {
	struct bytes entity;
	unsigned count;
};

static int count_key(void *arg, const struct store_key_row *row)
{
	struct key_count *c = arg;

	c->count += bytes_equal(row->entity, c->entity) ? 1 : 0;
	return 0;
}

void sim_server_element(struct sim_server *v, const char *entity, struct sim_element *out)
{
	struct key_count count = {.entity = bytes_text(entity)};
	struct store_element e;

	ck_assert_int_eq(store_element(v->store, bytes_text(entity), &e), 0);
	ck_assert_int_eq(store_each_key(v->store, count_key, &count), 0);
	*out = (struct sim_element){.owner = e.owner,
				    .last_index = e.last_index,
				    .epoch = e.revocation.epoch,
				    .key_index = e.revocation.key_index,
				    .reset = e.revocation.reset,
				    .keys = count.count};
}
