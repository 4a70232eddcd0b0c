/* The new box: what is in the file is proven, made ready, and put in its place at once. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/handover-tool.h"
#include "gateway/handover.h"
#include "gateway/openers.h"
#include "protocol/credential.h"
#include "storage/ledger-check.h"
#include "storage/vault-backup.h"
#include "storage/vault-key.h"

struct taking {
	struct handover_tool *t;
	int held; /* descriptor of the vault that is here, -1: there is none */
	char vault[CONFIG_TEXT_MAX + 32], ledger[CONFIG_TEXT_MAX + 48];
	struct vault *v;
	struct handover handover;
	struct vault_scan scan;
	struct ledger_state state;
	size_t bonds;
	bool new_key[2]; /* files in the stage, to become vault.key_file and second_key_file */
};

static const char *const key_names[2] = {"key", "second-key"};

static int on_part(void *arg, enum handover_member member, const char *name, const char *path)
{
	struct handover_tool *t = arg;
	struct handover_part *parts = realloc(t->parts, (t->part_count + 1) * sizeof(*t->parts));
	struct handover_part *p;

	if (!parts)
		return handover_say(t, -ENOMEM, "out of memory");
	t->parts = parts;
	p = &parts[t->part_count++];
	p->member = member;
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	(void)snprintf(p->path, sizeof(p->path), "%s", path);
	return 0;
}

static const struct handover_part *part(const struct handover_tool *t, enum handover_member member)
{
	for (size_t i = 0; i < t->part_count; i++) {
		if (t->parts[i].member == member)
			return &t->parts[i];
	}
	return NULL;
}

/* The file's settings are the box's: read before anything is known of where the vault is. */
static int load_settings(struct handover_tool *t)
{
	char folder[] = "/tmp/pngw-handover.XXXXXX";
	const struct handover_part *p;
	int r;

	if (!mkdtemp(folder))
		return handover_say(t, -errno, "%s: %s", folder, strerror(errno));
	r = handover_unpack(t->file, t->code, MEMBER_SETTINGS, folder, on_part, t, t->why,
			    sizeof(t->why));
	p = part(t, MEMBER_SETTINGS);
	if (r == 0 && !p)
		r = handover_say(t, HANDOVER_NOT_GOOD, "%s: there are no settings in it", t->file);
	if (r == 0)
		r = gateway_config_load(p->path, &t->config, t->why, sizeof(t->why));
	if (p)
		(void)unlink(p->path);
	(void)rmdir(folder);
	t->part_count = 0;
	return r;
}

static int make_stage(struct handover_tool *t)
{
	int r;

	if (access(t->plan, F_OK) == 0)
		return handover_say(t, HANDOVER_NOT_GOOD,
				    "a hand-over was cut short here: pngw-handover finish");
	r = handover_stage_clear(t);
	if (r == 0 && mkdir(t->stage, 0700) < 0)
		r = handover_say(t, -errno, "%s: %s", t->stage, strerror(errno));
	return r;
}

static int unpack(struct taking *k)
{
	struct handover_tool *t = k->t;
	const struct handover_part *vault, *ledger, *settings;
	static struct config old;
	int r = handover_unpack(t->file, t->code, 0, t->stage, on_part, t, t->why, sizeof(t->why));

	vault = part(t, MEMBER_VAULT);
	ledger = part(t, MEMBER_LEDGER);
	settings = part(t, MEMBER_SETTINGS);
	if (r == 0 && (!vault || !settings))
		r = handover_say(t, HANDOVER_NOT_GOOD, "%s: there is no vault in it", t->file);
	if (r == 0)
		r = gateway_config_load(settings->path, &old, t->why, sizeof(t->why));
	if (r == 0 && (!name_equal(&old.entity_id, &t->config.entity_id) ||
		       !name_equal(&old.server_entity_id, &t->config.server_entity_id)))
		r = handover_say(
			t, HANDOVER_NOT_GOOD,
			"%s is of %s at %s, and the settings here are of %s at %s: set them "
			"right, or say --settings to take those of the file",
			t->file, old.entity_id.text, old.server_entity_id.text,
			t->config.entity_id.text, t->config.server_entity_id.text);
	if (r == 0 && rename(vault->path, k->vault) < 0)
		r = handover_say(t, -errno, "%s: %s", k->vault, strerror(errno));
	if (r == 0 && ledger && rename(ledger->path, k->ledger) < 0)
		r = handover_say(t, -errno, "%s: %s", k->ledger, strerror(errno));
	return r;
}

/* With anchor "" the vault forgets the one of the old box. */
static int open_vault(struct taking *k)
{
	struct handover_tool *t = k->t;
	SCOPED_SECRET *passphrase = NULL;
	struct vault_opener by_code = {.source = VAULT_SOURCE_PASSPHRASE};
	const struct vault_options options = {
		.path = k->vault, .openers = &by_code, .opener_count = 1, .anchor = ""};
	int r = handover_code_passphrase(t->code, &passphrase);

	by_code.passphrase = passphrase;
	return r == 0 ? vault_open(&options, &k->v, t->why, sizeof(t->why)) : r;
}

static int prove_ledger(struct taking *k)
{
	struct handover_tool *t = k->t;
	struct ledger_expected expected = {.sequence = k->state.sequence, .who = "the vault"};
	struct ledger_check *c = NULL;
	uint8_t block[4096];
	FILE *f = fopen(k->ledger, "re");
	size_t n;
	int r = 0;

	if (!f)
		return k->state.sequence == 0
			       ? 0
			       : handover_say(
					 t, HANDOVER_NOT_GOOD,
					 "%s: the vault in it has a ledger, which is not there",
					 t->file);
	memcpy(expected.head, k->state.head, sizeof(expected.head));
	r = ledger_check_new(NULL, NULL, &c);
	if (r == 0)
		r = ledger_check_expect(c, &expected);
	while (r == 0 && (n = fread(block, 1, sizeof(block), f)) > 0)
		r = ledger_check_feed(c, bytes_of(block, n));
	if (r == 0)
		r = ledger_check_end(c);
	if (r == LEDGER_DEFECT)
		(void)handover_say(t, r, "%s: its ledger, entry %lu: %s", t->file,
				   (unsigned long)ledger_check_defect(c)->sequence,
				   ledger_check_defect(c)->text);
	else if (r != 0)
		(void)handover_say(t, r, "%s: its ledger: %s", t->file, strerror(-r));
	ledger_check_free(c);
	(void)fclose(f);
	return r;
}

static int prove_vault(struct taking *k)
{
	struct handover_tool *t = k->t;
	int r = open_vault(k);

	if (r != 0)
		return r;
	r = vault_scan(k->v, NULL, NULL, &k->scan);
	if (r != 0)
		return handover_say(t, r, "%s: its vault: %s", t->file, strerror(-r));
	if (!k->scan.sound || k->scan.gaps > 0)
		return handover_say(t, HANDOVER_NOT_GOOD, "%s: its vault is damaged", t->file);
	if (vault_rollback(k->v))
		return handover_say(t, HANDOVER_NOT_GOOD,
				    "%s: its vault and its ledger are not of one moment", t->file);
	r = handover_get(k->v, &k->handover);
	if (r == 0 && (k->handover.state != HANDOVER_ASKS || k->handover.term == 0))
		return handover_say(t, HANDOVER_NOT_GOOD, "%s: its vault was not given", t->file);
	vault_ledger_state(k->v, &k->state);
	return r == 0 ? prove_ledger(k) : r;
}

/* What only the old box opens it with, or the code, opens it no more. */
static int remove_wraps(struct taking *k, bool of_code)
{
	struct handover_tool *t = k->t;
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;
	int r = vault_wraps(k->v, wraps, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		const bool code = wraps[i].source == VAULT_SOURCE_PASSPHRASE &&
				  strcmp(wraps[i].label, "hand-over") == 0;

		if (of_code ? code : wraps[i].source == VAULT_SOURCE_KEY_FILE)
			r = vault_wrap_remove(k->v, wraps[i].slot, t->why, sizeof(t->why));
	}
	return r;
}

/* The key files of this box; one that is not there is made in the stage. */
static int add_key(struct taking *k, size_t which, const char *setting)
{
	struct handover_tool *t = k->t;
	struct vault_prepared prepared = {.secret = NULL};
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = setting};
	char staged[CONFIG_TEXT_MAX + 32];
	bool there = false;
	uint8_t slot;
	int r;

	if (!setting[0])
		return 0;
	(void)snprintf(staged, sizeof(staged), "%s/%s", t->stage, key_names[which]);
	r = handover_become_owner(t);
	if (r == 0)
		r = vault_key_exists(setting, &there, t->why, sizeof(t->why));
	if (r == 0 && there)
		r = vault_wrap_prepare(&opener, NULL, false, &prepared, t->why, sizeof(t->why));
	handover_become_self();
	if (r == 0 && !there) {
		opener.path = staged;
		k->new_key[which] = true;
		r = vault_wrap_prepare(&opener, key_names[which], true, &prepared, t->why,
				       sizeof(t->why));
	}
	if (r == 0)
		r = vault_wrap_add(k->v, &prepared, &slot, t->why, sizeof(t->why));
	vault_prepared_clear(&prepared);
	return r;
}

/* A passphrase is somebody's, and stays; another one that the settings have is added. */
static int add_passphrase(struct taking *k)
{
	struct handover_tool *t = k->t;
	struct vault_prepared prepared = {.secret = NULL};
	struct gateway_openers openers;
	uint8_t slot;
	int r = handover_become_owner(t);

	if (r == 0)
		r = gateway_openers_load(&t->config, &openers, t->why, sizeof(t->why));
	handover_become_self();
	if (r != 0)
		return r;
	if (openers.passphrase) {
		const struct vault_opener opener = {.source = VAULT_SOURCE_PASSPHRASE,
						    .passphrase = openers.passphrase};

		r = vault_wrap_prepare(&opener, NULL, false, &prepared, t->why, sizeof(t->why));
		if (r == 0)
			r = vault_wrap_add(k->v, &prepared, &slot, t->why, sizeof(t->why));
		/* The vault has it already. */
		if (r == VAULT_REFUSED)
			r = 0;
		vault_prepared_clear(&prepared);
	}
	gateway_openers_clear(&openers);
	return r;
}

static int rekey(struct taking *k)
{
	struct handover_tool *t = k->t;
	struct vault_rekey_progress progress;
	int r = vault_rekey_begin(k->v, t->why, sizeof(t->why));

	while (r == 0 && vault_rekey_pending(k->v))
		(void)vault_flush(k->v);
	if (r != 0)
		return r;
	vault_rekey_progress(k->v, &progress);
	return progress.error == 0 ? 0
				   : handover_say(t, progress.error, "sealing the vault anew: %s",
						  strerror(-progress.error));
}

static void done(void *arg, int result)
{
	*(int *)arg = result;
}

static int draw_holder(struct taking *k)
{
	struct handover_tool *t = k->t;
	struct vault_batch *b = vault_batch_new();
	int result = -ECANCELED;
	int r = b ? p1_random(k->handover.holder, sizeof(k->handover.holder)) : -ENOMEM;

	if (r != 0) {
		vault_batch_free(b);
		return handover_say(t, r, "the vault: %s", strerror(-r));
	}
	handover_put(b, &k->handover);
	r = vault_submit(k->v, b, done, &result);
	if (r == 0) {
		(void)vault_flush(k->v);
		r = result;
	}
	return r == 0 ? 0 : handover_say(t, r, "the vault: %s", strerror(-r));
}

static int change_vault(struct taking *k)
{
	const struct config *c = &k->t->config;
	int r = remove_wraps(k, false);

	if (r == 0)
		r = add_key(k, 0, c->vault_key_file);
	if (r == 0)
		r = add_key(k, 1, c->vault_second_key_file);
	if (r == 0)
		r = add_passphrase(k);
	if (r == 0)
		r = remove_wraps(k, true);
	if (r == 0)
		r = rekey(k);
	if (r == 0)
		r = draw_holder(k);
	vault_close(k->v);
	k->v = NULL;
	return r;
}

static const char *file_in_stage(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A file of the settings: one that is here stays, for it may be newer. */
static int plan_setting(struct handover_tool *t, struct handover_plan *p,
			enum handover_member member, const char *setting, bool secret)
{
	const struct handover_part *from = part(t, member);

	if (!from || !setting[0])
		return 0;
	if (credential_named(setting)) {
		(void)printf("%s is a credential here: give it to the box by systemd-creds\n",
			     setting);
		return 0;
	}
	if (access(setting, F_OK) == 0)
		return 0;
	return secret ? handover_plan_add(p, PLACE_COPY, file_in_stage(from->path), setting, 0600,
					  t->owner, t->group)
		      : handover_plan_add(p, PLACE_COPY, file_in_stage(from->path), setting, 0644,
					  geteuid(), getegid());
}

static int plan_bonds(struct handover_tool *t, struct handover_plan *p)
{
	char to[CONFIG_TEXT_MAX + MEMBER_NAME_MAX + 2];
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->part_count && !t->pair_again; i++) {
		if (t->parts[i].member != MEMBER_BOND)
			continue;
		(void)snprintf(to, sizeof(to), "%s/%s", t->config.bluetooth_bonds,
			       t->parts[i].name);
		r = handover_plan_add(p, PLACE_COPY, file_in_stage(t->parts[i].path), to, 0600,
				      geteuid(), getegid());
	}
	return r;
}

static int make_plan(struct taking *k, struct handover_plan *p)
{
	struct handover_tool *t = k->t;
	const struct config *c = &t->config;
	char ledger[CONFIG_TEXT_MAX + 16];
	int r = 0;

	(void)snprintf(ledger, sizeof(ledger), "%s.ledger", c->vault_path);
	if (t->settings)
		r = handover_plan_add(p, PLACE_COPY, file_in_stage(part(t, MEMBER_SETTINGS)->path),
				      t->config_file, 0644, geteuid(), getegid());
	if (r == 0)
		r = plan_setting(t, p, MEMBER_TLS_CA, c->tls_ca, false);
	if (r == 0)
		r = plan_setting(t, p, MEMBER_TLS_CERTIFICATE, c->tls_certificate, false);
	if (r == 0)
		r = plan_setting(t, p, MEMBER_TLS_KEY, c->tls_key, true);
	if (r == 0)
		r = plan_setting(t, p, MEMBER_TLS_PSK, c->tls_psk_file, true);
	if (r == 0)
		r = plan_bonds(t, p);
	if (r == 0 && k->new_key[0])
		r = handover_plan_add(p, PLACE_COPY, key_names[0], c->vault_key_file, 0600,
				      t->owner, t->group);
	if (r == 0 && k->new_key[1])
		r = handover_plan_add(p, PLACE_COPY, key_names[1], c->vault_second_key_file, 0600,
				      t->owner, t->group);
	/* The ledger is there where the vault is. */
	if (r == 0)
		r = handover_plan_add(p, PLACE_MOVE, "vault.ledger", ledger, 0600, t->owner,
				      t->group);
	if (r == 0)
		r = handover_plan_add(p, PLACE_MOVE, "vault", c->vault_path, 0600, t->owner,
				      t->group);
	return r;
}

static int commit(struct taking *k)
{
	struct handover_plan *p = NULL;
	int r = handover_plan_new(k->t, &p);

	if (r == 0)
		r = make_plan(k, p);
	if (r == 0)
		r = handover_plan_commit(p);
	handover_plan_free(p);
	return r == 0 ? handover_finish(k->t) : r;
}

static int prove(struct taking *k)
{
	struct handover_tool *t = k->t;
	char when[HANDOVER_TIME_SIZE];
	int r = unpack(k);

	if (r == 0)
		r = prove_vault(k);
	if (r == 0)
		r = handover_bonds_check(t, &k->bonds);
	if (r != 0)
		return r;
	(void)printf("%s: %s, term %lu, given at %s\n"
		     "its vault opens: %zu records, damaged: %zu; its ledger is proven: %lu "
		     "entries; bonds: %zu\n",
		     t->file, t->config.entity_id.text, (unsigned long)k->handover.term,
		     handover_time(k->handover.since, when), k->scan.records, k->scan.damaged,
		     (unsigned long)k->state.sequence, k->bonds);
	return 0;
}

static int hold(struct taking *k)
{
	struct handover_tool *t = k->t;

	k->held = vault_hold(t->config.vault_path);
	if (k->held >= 0 || k->held == -ENOENT)
		return 0;
	if (k->held == -EBUSY)
		return handover_say(t, VAULT_LOCKED, "vault %s is in use: stop pngwd first",
				    t->config.vault_path);
	return handover_say(t, k->held, "%s: %s", t->config.vault_path, strerror(-k->held));
}

static int take(struct taking *k)
{
	struct handover_tool *t = k->t;
	int r;

	k->held = -1;
	r = t->drill ? 0 : hold(k);
	if (r == 0)
		r = prove(k);
	if (r != 0 || t->drill)
		return r;
	if (k->bonds > 0)
		r = handover_bonds_idle(t);
	if (r == 0)
		r = change_vault(k);
	if (r == 0)
		r = commit(k);
	if (r != 0)
		return r;
	(void)printf("This box is %s as soon as the CPNS Server has taken that: start bluetooth, "
		     "then pngwd.\n%s%s"
		     "Then destroy the file, and reset the old box.\n",
		     t->config.entity_id.text,
		     t->pair_again ? "The headsets are to be paired again.\n" : "",
		     k->held >= 0 ? "The vault that was here is kept as .replaced.\n" : "");
	return 0;
}

int handover_take(struct handover_tool *t)
{
	struct taking k = {.t = t};
	int r = t->settings ? load_settings(t) : 0;

	if (r == 0)
		r = handover_set_places(t);
	if (r == 0)
		r = make_stage(t);
	if (r != 0)
		return r;
	(void)snprintf(k.vault, sizeof(k.vault), "%s/vault", t->stage);
	(void)snprintf(k.ledger, sizeof(k.ledger), "%s.ledger", k.vault);
	r = take(&k);
	vault_close(k.v);
	if (k.held >= 0)
		(void)close(k.held);
	/* What is to be done has a plan from now on. */
	if (access(t->plan, F_OK) < 0) {
		char why[sizeof(t->why)];

		memcpy(why, t->why, sizeof(why));
		(void)handover_stage_clear(t);
		memcpy(t->why, why, sizeof(why));
	}
	free(t->parts);
	return r;
}
