/* --check-config: what the settings name, as far as it can be looked at without changing anything.
 */

#include <sys/stat.h>
#include <unistd.h>

#include "gateway/daemon-internal.h"
#include "gateway/openers.h"
#include "protocol/credential.h"
#include "storage/anchor.h"
#include "storage/vault-key.h"
#include "wan/tls-config.h"

/* What the packaged unit makes when it starts. */
#define STATE_FOLDER "/var/lib/pngw"

static const struct config *config_of(const struct config_check *c)
{
	return c->config;
}

static unsigned line_of(const void *config, const char *setting)
{
	return gateway_config_line(config, setting);
}

/* A key of another user may be right for him, and would be refused here. */
static bool is_foreign(const struct config_check *c, const char *setting, const char *path)
{
	struct stat st;

	if (credential_named(path) || stat(path, &st) != 0 || st.st_uid == geteuid() ||
	    st.st_uid == 0)
		return false;
	config_check_note(c, setting, path, "belongs to another user");
	return true;
}

static int check_tls(const struct config_check *c)
{
	struct tls_options options;

	gateway_daemon_tls_options(config_of(c), &options);
	return tls_config_check(c, &options, gateway_daemon_tls_names);
}

/* One that is not there is made with the vault; of a vault that is there it is missing. */
static int check_key(const struct config_check *c, const char *setting, const char *path, bool made)
{
	struct secret *key = NULL;
	char why[2 * CONFIG_TEXT_MAX];
	bool there = true;
	int r;

	if (!path[0] || config_check_elsewhere(c, setting, path) || is_foreign(c, setting, path))
		return 0;
	if (!credential_named(path) && made) {
		r = vault_key_exists(path, &there, why, sizeof(why));
		if (r != 0)
			return config_check_wrong(c, setting, "%s", why);
	}
	if (!there)
		return config_check_folder(c, setting, path, NULL);
	r = vault_key_load(path, &key, why, sizeof(why));
	secret_unref(key);
	return r == 0 ? 0 : config_check_wrong(c, setting, "%s", why);
}

static int check_passphrase(const struct config_check *c)
{
	const char *path = config_of(c)->vault_passphrase_file;
	struct gateway_openers openers;
	char why[2 * CONFIG_TEXT_MAX];
	int r;

	if (!path[0] || config_check_elsewhere(c, "vault.passphrase_file", path) ||
	    is_foreign(c, "vault.passphrase_file", path))
		return 0;
	r = gateway_openers_load(config_of(c), &openers, why, sizeof(why));
	gateway_openers_clear(&openers);
	return r == 0 ? 0 : config_check_wrong(c, "vault.passphrase_file", "%s", why);
}

static int check_anchor(const struct config_check *c)
{
	struct anchor *anchor = NULL;
	char why[2 * CONFIG_TEXT_MAX];

	if (!config_of(c)->vault_anchor[0])
		return 0;
	if (anchor_open(config_of(c)->vault_anchor, NULL, &anchor, why, sizeof(why)) != 0)
		return config_check_wrong(c, "vault.anchor", "%s", why);
	anchor_close(anchor);
	return 0;
}

static int check_vault(const struct config_check *c)
{
	const struct config *s = config_of(c);
	bool made = s->vault_create && access(s->vault_path, F_OK) != 0;
	int r = config_check_folder(c, "vault.path", s->vault_path, NULL);

	if (r == 0)
		r = check_key(c, "vault.key_file", s->vault_key_file, made);
	if (r == 0)
		r = check_key(c, "vault.second_key_file", s->vault_second_key_file, made);
	if (r == 0)
		r = check_passphrase(c);
	return r == 0 ? check_anchor(c) : r;
}

static int check_pne(const struct config_check *c)
{
	const struct config *s = config_of(c);
	int r = 0;

	if (!s->pne_entity_id[0])
		return 0;
	r = config_check_folder(c, "pne.vault_path", s->pne_vault_path, NULL);
	if (r == 0)
		r = check_key(c, "pne.vault_key_file", s->pne_vault_key_file,
			      access(s->pne_vault_path, F_OK) != 0);
	return r;
}

int gateway_daemon_check(const char *file, const struct config *config, FILE *notes, char *why,
			 size_t why_size)
{
	const struct config_check c = {.file = file,
				       .line = line_of,
				       .config = config,
				       .state_folder = STATE_FOLDER,
				       .notes = notes,
				       .why = why,
				       .why_size = why_size};
	int r = check_tls(&c);

	if (r == 0)
		r = check_vault(&c);
	return r == 0 ? check_pne(&c) : r;
}
