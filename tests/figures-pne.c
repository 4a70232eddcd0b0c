#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/link.h"
#include "pne/core.h"
#include "tests/figures.h"

struct sim_pne {
	struct sim *sim;
	unsigned number;
	struct vault *vault;
	struct pne_core *core;
	struct link *link;
	bool secure;
	bool deriving;
	struct secret *password;
	uint8_t salt[SALT_SIZE];
	uint32_t iterations;
	uint64_t due[FIGURE_8 + 1];
};

static int port_send_message(void *arg, struct bytes xml)
{
	struct sim_pne *p = arg;

	return p->link ? link_send_message(p->link, xml) : -1;
}

static int port_send_receipt(void *arg, const struct receipt *r)
{
	struct sim_pne *p = arg;

	return p->link ? link_send_receipt(p->link, r) : -1;
}

static int port_submit(void *arg, struct vault_batch *b, vault_done_fn *done, void *done_arg)
{
	struct sim_pne *p = arg;

	return vault_submit(p->vault, b, done, done_arg);
}

static int port_derive(void *arg, struct secret *password, const uint8_t salt[SALT_SIZE],
		       uint32_t iterations)
{
	struct sim_pne *p = arg;

	ck_assert(!p->deriving);
	p->deriving = true;
	p->password = secret_ref(password);
	memcpy(p->salt, salt, SALT_SIZE);
	p->iterations = iterations;
	return 0;
}

static void port_timer(void *arg, enum figure figure, uint64_t ms)
{
	struct sim_pne *p = arg;

	p->due[figure] = ms == 0 ? SIM_NEVER : sim_now(p->sim) + ms;
}

static uint64_t port_now(void *arg)
{
	struct sim_pne *p = arg;

	return sim_now(p->sim);
}

static void port_line(void *arg, const char *text)
{
	struct sim_pne *p = arg;

	sim_line(p->sim, text);
}

static void port_verdict(void *arg, const struct verdict *v)
{
	struct sim_pne *p = arg;

	sim_verdict(p->sim, ROLE_PNE, v);
}

const char *sim_pne_name(unsigned number)
{
	static char names[SIM_PNES][24];

	ck_assert_uint_lt(number, SIM_PNES);
	(void)snprintf(names[number], sizeof(names[number]), "headset-%u", number + 1);
	return names[number];
}

struct sim_pne *sim_pne_new(struct sim *s, const char *directory, unsigned number)
{
	static const struct pne_ports ports = {.send_message = port_send_message,
					       .send_receipt = port_send_receipt,
					       .submit = port_submit,
					       .derive = port_derive,
					       .timer = port_timer,
					       .now = port_now,
					       .line = port_line,
					       .verdict = port_verdict};
	struct pne_core_options options = {.iterations_floor = SIM_ITERATIONS,
					   .deadline_ms = 30000};
	struct sim_pne *p = calloc(1, sizeof(*p));
	char path[512];
	char key[512];
	char why[256] = "";
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	struct vault_options vault = {
		.path = path, .openers = &opener, .opener_count = 1, .create = true};

	ck_assert_ptr_nonnull(p);
	p->sim = s;
	p->number = number;
	for (size_t i = 0; i < sizeof(p->due) / sizeof(p->due[0]); i++)
		p->due[i] = SIM_NEVER;
	(void)snprintf(path, sizeof(path), "%s/%s.vault", directory, sim_pne_name(number));
	(void)snprintf(key, sizeof(key), "%s/%s.key", directory, sim_pne_name(number));
	ck_assert_msg(vault_open(&vault, &p->vault, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(name_set(&options.entity, bytes_text(sim_pne_name(number))), 0);
	ck_assert_int_eq(pne_core_new(&options, p->vault, &ports, p, &p->core), 0);
	return p;
}

void sim_pne_free(struct sim_pne *p)
{
	vault_close(p->vault);
	pne_core_free(p->core);
	link_free(p->link);
	secret_unref(p->password);
	free(p);
}

bool sim_pne_work(struct sim_pne *p)
{
	struct secret *password = p->password;
	struct secret *ph = NULL;

	if (vault_pending(p->vault)) {
		(void)vault_flush(p->vault);
		return true;
	}
	if (!p->deriving)
		return false;
	p->deriving = false;
	p->password = NULL;
	ck_assert_int_eq(p1_password_hash(password, p->salt, p->iterations, &ph), 0);
	secret_unref(password);
	pne_core_derived(p->core, 0, ph);
	secret_unref(ph);
	return true;
}

static void burned_in(void *arg, int result)
{
	*(int *)arg = result;
}

void sim_pne_burn_in(struct sim_pne *p, struct secret *key)
{
	struct vault_batch *b = vault_batch_new();
	struct name entity;
	int result = 1;

	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(name_set(&entity, bytes_text(sim_pne_name(p->number))), 0);
	pne_core_burn_in(b, &entity, key);
	ck_assert_int_eq(vault_submit(p->vault, b, burned_in, &result), 0);
	(void)vault_flush(p->vault);
	ck_assert_int_eq(result, 0);
}

void sim_pne_reset(struct sim_pne *p)
{
	struct vault_batch *b = vault_batch_new();
	int result = 1;

	ck_assert_ptr_nonnull(b);
	pne_core_reset(p->core, b);
	ck_assert_int_eq(vault_submit(p->vault, b, burned_in, &result), 0);
	(void)vault_flush(p->vault);
	ck_assert_int_eq(result, 0);
}

static void on_send(void *arg, struct bytes frame)
{
	struct sim_pne *p = arg;

	sim_write(p->sim, ROLE_PNE, p->number, frame);
}

static void on_up(void *arg, const struct hello *peer)
{
	struct sim_pne *p = arg;

	pne_core_link_up(p->core, peer, link_secret(p->link), link_binding(p->link), p->secure);
}

static void on_message(void *arg, struct bytes xml)
{
	struct sim_pne *p = arg;

	pne_core_message(p->core, xml);
}

static void on_receipt(void *arg, const struct receipt *r)
{
	struct sim_pne *p = arg;

	pne_core_receipt(p->core, r);
}

static void on_pong(void *arg, uint64_t token)
{
	(void)arg;
	(void)token;
}

static void on_broken(void *arg, enum link_broken why)
{
	(void)arg;
	ck_abort_msg("the PNE's link is broken: %s", link_broken_text(why));
}

void sim_pne_stream_up(struct sim_pne *p, bool secure)
{
	static const struct link_callbacks callbacks = {.send = on_send,
							.up = on_up,
							.message = on_message,
							.receipt = on_receipt,
							.pong = on_pong,
							.broken = on_broken};
	struct hello self = {.flags = HELLO_FLAG_UI};

	ck_assert_int_eq(name_set(&self.entity, bytes_text(sim_pne_name(p->number))), 0);
	p->secure = secure;
	ck_assert_int_eq(link_new(&self, &callbacks, p, &p->link), 0);
	link_start(p->link);
}

void sim_pne_stream_bytes(struct sim_pne *p, struct bytes b)
{
	if (p->link)
		ck_assert_int_eq(link_push(p->link, b), 0);
}

void sim_pne_stream_down(struct sim_pne *p)
{
	struct link *l = p->link;

	if (!l)
		return;
	p->link = NULL;
	if (link_is_up(l))
		pne_core_link_down(p->core);
	link_free(l);
}

void sim_pne_enter(struct sim_pne *p, const char *user, const char *password)
{
	SCOPED_SECRET *normalised = NULL;
	struct name id;

	ck_assert_int_eq(name_set(&id, bytes_text(user)), 0);
	ck_assert_int_eq(p1_password(bytes_text(password), &normalised), 0);
	pne_core_enter(p->core, &id, normalised);
}

uint64_t sim_pne_due(const struct sim_pne *p)
{
	uint64_t due = SIM_NEVER;

	for (size_t i = 0; i < sizeof(p->due) / sizeof(p->due[0]); i++)
		due = p->due[i] < due ? p->due[i] : due;
	return due;
}

void sim_pne_tick(struct sim_pne *p)
{
	for (int figure = FIGURE_5; figure <= FIGURE_8; figure++) {
		if (p->due[figure] > sim_now(p->sim))
			continue;
		p->due[figure] = SIM_NEVER;
		pne_core_timer(p->core, (enum figure)figure);
	}
}

bool sim_pne_fingerprint(struct sim_pne *p, struct name *user, uint32_t *index,
			 uint8_t out[P1_FINGERPRINT_SIZE])
{
	return pne_core_fingerprint(p->core, sim_challenge(), user, index, out) == 0;
}
