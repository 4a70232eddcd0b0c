/* The old box: everything into one sealed file, and its vault is marked as given. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/handover-tool.h"
#include "gateway/handover.h"
#include "gateway/openers.h"
#include "protocol/credential.h"
#include "storage/vault-backup.h"

#define PAGES 1024

struct giving {
	struct handover_tool *t;
	struct gateway_openers openers;
	struct vault *vault;
	struct handover handover;
	char copy[CONFIG_TEXT_MAX + 16], copy_ledger[CONFIG_TEXT_MAX + 32];
	char ledger[CONFIG_TEXT_MAX + 16];
};

static void done(void *arg, int result)
{
	*(int *)arg = result;
}

static int write_handover(struct handover_tool *t, struct vault *v, const struct handover *h)
{
	struct vault_batch *b = vault_batch_new();
	int result = -ECANCELED;
	int r = -ENOMEM;

	if (b) {
		handover_put(b, h);
		r = vault_submit(v, b, done, &result);
	}
	if (r == 0) {
		(void)vault_flush(v);
		r = result;
	}
	return r == 0 ? 0 : handover_say(t, r, "the vault: %s", strerror(-r));
}

static int open_vault(struct giving *g)
{
	struct handover_tool *t = g->t;
	struct vault_options options = {.path = t->config.vault_path,
					.anchor = t->config.vault_anchor};
	int r = gateway_openers_load(&t->config, &g->openers, t->why, sizeof(t->why));

	if (g->openers.count == 0)
		return r;
	options.openers = g->openers.opener;
	options.opener_count = g->openers.count;
	r = vault_open(&options, &g->vault, t->why, sizeof(t->why));
	if (r == 0)
		r = handover_get(g->vault, &g->handover);
	return r;
}

static void close_vault(struct giving *g)
{
	vault_close(g->vault);
	g->vault = NULL;
	gateway_openers_clear(&g->openers);
}

static int check_state(struct giving *g)
{
	struct handover_tool *t = g->t;
	char when[HANDOVER_TIME_SIZE];

	switch (g->handover.state) {
	case HANDOVER_SERVES:
		break;
	case HANDOVER_GIVEN:
		return handover_say(t, HANDOVER_NOT_GOOD,
				    "it was given at %s already; where that file is lost, take it "
				    "back first: pngw-handover back",
				    handover_time(g->handover.since, when));
	case HANDOVER_ASKS:
	case HANDOVER_REFUSED:
		return handover_say(
			t, HANDOVER_NOT_GOOD,
			"the CPNS Server has not said that this box is the PN GW: start "
			"pngwd, bring the WAN up, and see what it says");
	}
	if (vault_rollback(g->vault))
		return handover_say(t, HANDOVER_NOT_GOOD,
				    "the vault is an older copy: let pngwd run first");
	return 0;
}

/* Of a vault that this process has open, so that nobody writes to it. */
static int copy_ledger(struct giving *g)
{
	struct handover_tool *t = g->t;
	int from = open(g->ledger, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t block[4096];
	int to, r = 0;
	ssize_t n;

	if (from < 0)
		return errno == ENOENT
			       ? 0
			       : handover_say(t, -errno, "%s: %s", g->ledger, strerror(errno));
	to = open(g->copy_ledger, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = to < 0 ? -errno : 0;
	while (r == 0 && (n = read(from, block, sizeof(block))) != 0) {
		if (n < 0 || write(to, block, (size_t)n) != n)
			r = n < 0 ? -errno : -EIO;
	}
	(void)close(from);
	if (to >= 0 && close(to) < 0 && r == 0)
		r = -errno;
	return r == 0 ? 0 : handover_say(t, r, "%s: %s", g->copy_ledger, strerror(-r));
}

static int copy_vault(struct giving *g)
{
	struct handover_tool *t = g->t;
	struct vault_backup *b = NULL;
	int r = vault_backup_begin(g->vault, g->copy, &b, t->why, sizeof(t->why));

	if (r != 0)
		return r;
	do
		r = vault_backup_step(b, PAGES, t->why, sizeof(t->why));
	while (r == VAULT_BACKUP_MORE);
	vault_backup_end(b);
	return r == 0 ? copy_ledger(g) : r;
}

/* The copy is what the other box will have: the code opens it, and it is of the next term. */
static int change_copy(struct giving *g, const struct handover *next)
{
	struct handover_tool *t = g->t;
	struct vault_opener by_code = {.source = VAULT_SOURCE_PASSPHRASE};
	struct vault_options options = {
		.path = g->copy, .openers = g->openers.opener, .opener_count = g->openers.count};
	struct vault_prepared prepared = {.secret = NULL};
	SCOPED_SECRET *passphrase = NULL;
	struct vault *v = NULL;
	uint8_t slot;
	int r = handover_code_passphrase(t->code, &passphrase);

	by_code.passphrase = passphrase;
	if (r == 0)
		r = vault_open(&options, &v, t->why, sizeof(t->why));
	if (r == 0)
		r = vault_wrap_prepare(&by_code, "hand-over", false, &prepared, t->why,
				       sizeof(t->why));
	if (r == 0)
		r = vault_wrap_add(v, &prepared, &slot, t->why, sizeof(t->why));
	if (r == 0)
		r = write_handover(t, v, next);
	vault_prepared_clear(&prepared);
	vault_close(v);
	return r;
}

/* A file of the settings that there need not be. */
static int add_setting(struct handover_tool *t, struct handover_writer *w,
		       enum handover_member member, const char *setting)
{
	char path[2 * CONFIG_TEXT_MAX];

	if (!setting[0])
		return 0;
	if (credential_path(setting, path, sizeof(path), t->why, sizeof(t->why)) != 0)
		return handover_say(t, -ENOENT,
				    "%s is a credential that is not here: run this with it "
				    "(systemd-run, doc/handover.md)",
				    setting);
	return handover_writer_add(w, member, "", path, t->why, sizeof(t->why));
}

static int write_file(struct giving *g)
{
	struct handover_tool *t = g->t;
	const struct config *c = &t->config;
	struct handover_writer *w = NULL;
	int r = handover_writer_new(t->file, t->code, &w, t->why, sizeof(t->why));

	if (r == 0)
		r = handover_writer_add(w, MEMBER_SETTINGS, "", t->config_file, t->why,
					sizeof(t->why));
	if (r == 0)
		r = handover_writer_add(w, MEMBER_VAULT, "", g->copy, t->why, sizeof(t->why));
	if (r == 0 && access(g->copy_ledger, F_OK) == 0)
		r = handover_writer_add(w, MEMBER_LEDGER, "", g->copy_ledger, t->why,
					sizeof(t->why));
	if (r == 0)
		r = handover_bonds_pack(t, w);
	if (r == 0)
		r = add_setting(t, w, MEMBER_TLS_CA, c->tls_ca);
	if (r == 0)
		r = add_setting(t, w, MEMBER_TLS_CERTIFICATE, c->tls_certificate);
	if (r == 0)
		r = add_setting(t, w, MEMBER_TLS_KEY, c->tls_key);
	if (r == 0)
		r = add_setting(t, w, MEMBER_TLS_PSK, c->tls_psk_file);
	if (r == 0)
		r = handover_writer_end(w, t->why, sizeof(t->why));
	handover_writer_free(w);
	return r;
}

static void remove_copies(struct giving *g)
{
	char log[CONFIG_TEXT_MAX + 32];

	(void)snprintf(log, sizeof(log), "%s-wal", g->copy);
	(void)unlink(g->copy);
	(void)unlink(g->copy_ledger);
	(void)unlink(log);
}

/* The vault is open; the file is made before the mark, for without it nothing is given. */
static int give(struct giving *g)
{
	struct handover_tool *t = g->t;
	struct handover given = g->handover, next = {.state = HANDOVER_ASKS};
	int r;

	given.given = (given.given > given.term ? given.given : given.term) + 1;
	given.state = HANDOVER_GIVEN;
	given.since = (uint64_t)time(NULL);
	next.term = given.given;
	next.after = given.term;
	next.since = given.since;
	r = copy_vault(g);
	if (r == 0)
		r = change_copy(g, &next);
	handover_become_self();
	if (r == 0)
		r = write_file(g);
	if (r != 0)
		return r;
	r = handover_become_owner(t);
	if (r == 0)
		r = write_handover(t, g->vault, &given);
	handover_become_self();
	if (r != 0)
		(void)unlink(t->file);
	return r;
}

static void paths(struct giving *g)
{
	const char *vault = g->t->config.vault_path;

	(void)snprintf(g->copy, sizeof(g->copy), "%s.give", vault);
	(void)snprintf(g->copy_ledger, sizeof(g->copy_ledger), "%s.ledger", g->copy);
	(void)snprintf(g->ledger, sizeof(g->ledger), "%s.ledger", vault);
}

static int print_code(const struct secret *text)
{
	struct bytes b = secret_bytes(text);

	(void)fflush(stdout);
	while (b.size > 0) {
		ssize_t n = write(STDOUT_FILENO, b.data, b.size);

		if (n < 0 && errno != EINTR)
			return -errno;
		b.data += n > 0 ? n : 0;
		b.size -= n > 0 ? (size_t)n : 0;
	}
	(void)putchar('\n');
	return fflush(stdout) == 0 ? 0 : -errno;
}

int handover_give(struct handover_tool *t)
{
	struct giving g = {.t = t};
	SCOPED_SECRET *text = NULL;
	int r = handover_code_new(&t->code, &text);

	paths(&g);
	if (r != 0)
		return handover_say(t, r, "making a code: %s", strerror(-r));
	r = handover_become_owner(t);
	if (r == 0)
		r = open_vault(&g);
	if (r == 0)
		r = check_state(&g);
	if (r == 0)
		r = give(&g);
	handover_become_self();
	close_vault(&g);
	remove_copies(&g);
	if (r != 0)
		return r;
	(void)printf("%s has this PN GW, which from now on is not here: pngwd does not start.\n"
		     "At the other box: pngw-handover take FILE. Its transfer code, which is not "
		     "shown again:\n\n  ",
		     t->file);
	r = print_code(text);
	return r == 0 ? 0 : handover_say(t, r, "the code was not shown: take it back");
}

int handover_back(struct handover_tool *t)
{
	struct giving g = {.t = t};
	struct handover h;
	int r = handover_become_owner(t);

	if (r == 0)
		r = open_vault(&g);
	h = g.handover;
	if (r == 0 && h.state != HANDOVER_GIVEN)
		r = handover_say(t, HANDOVER_NOT_GOOD, "this PN GW was not given away");
	if (r == 0) {
		/* Of the next term, so that the file is worth nothing; it follows its own, so that
		   it comes too late where the other box was there first. */
		h.after = h.term;
		h.term = h.given + 1;
		h.given = h.term;
		h.state = HANDOVER_ASKS;
		h.since = (uint64_t)time(NULL);
		r = p1_random(h.holder, sizeof(h.holder));
	}
	if (r == 0)
		r = write_handover(t, g.vault, &h);
	handover_become_self();
	close_vault(&g);
	if (r != 0)
		return r;
	(void)puts("It is taken back, and serves once the CPNS Server has taken that: start pngwd. "
		   "The file is of no use any more.");
	return 0;
}
