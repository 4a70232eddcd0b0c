/* --check-config: what the settings name, as far as it can be looked at without changing anything.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/daemon-internal.h"
#include "gateway/openers.h"
#include "protocol/credential.h"
#include "storage/anchor.h"
#include "storage/vault-key.h"
#include "wan/certificate.h"

/* What the packaged unit makes when it starts. */
#define STATE_FOLDER "/var/lib/pngw"

struct checking {
	const char *file;
	const struct config *config;
	FILE *notes;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 3, 4))) static int wrong(const struct checking *c,
						       const char *setting, const char *format, ...)
{
	char place[CONFIG_PLACE_SIZE], text[2 * CONFIG_TEXT_MAX];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	(void)snprintf(c->why, c->why_size, "%s: %s",
		       gateway_config_place(c->config, c->file, setting, place), text);
	return -EINVAL;
}

static void note(const struct checking *c, const char *setting, const char *value,
		 const char *why_not)
{
	char place[CONFIG_PLACE_SIZE];

	(void)fprintf(c->notes, "%s: not looked at: %s %s\n",
		      gateway_config_place(c->config, c->file, setting, place), value, why_not);
}

/* Whether it is a credential that a process without credentials cannot see: then that is noted. */
static bool is_elsewhere(const struct checking *c, const char *setting, const char *value)
{
	char path[2 * CONFIG_TEXT_MAX], why[2 * CONFIG_TEXT_MAX];

	if (!credential_named(value) ||
	    credential_path(value, path, sizeof(path), why, sizeof(why)) != -ENOENT)
		return false;
	note(c, setting, value, "is there in the service alone");
	return true;
}

/* A key of another user may be right for him, and would be refused here. */
static bool is_foreign(const struct checking *c, const char *setting, const char *path)
{
	struct stat st;

	if (credential_named(path) || stat(path, &st) != 0 || st.st_uid == geteuid() ||
	    st.st_uid == 0)
		return false;
	note(c, setting, path, "belongs to another user");
	return true;
}

static int check_tls(const struct checking *c)
{
	struct config seen = *c->config;
	const char *setting = "server.tls";
	char why[2 * CONFIG_TEXT_MAX];
	struct certificates found;
	struct tls_context *tls;

	if (is_elsewhere(c, "server.tls.ca", seen.tls_ca))
		seen.tls_ca[0] = '\0';
	if (is_elsewhere(c, "server.tls.psk_file", seen.tls_psk_file))
		seen.tls_psk_file[0] = '\0';
	if (is_elsewhere(c, "server.tls.certificate", seen.tls_certificate)) {
		seen.tls_certificate[0] = '\0';
		seen.tls_key[0] = '\0';
	} else if (is_elsewhere(c, "server.tls.key", seen.tls_key)) {
		if (certificates_read(seen.tls_certificate, &found, why, sizeof(why)) != 0)
			return wrong(c, "server.tls.certificate", "%s", why);
		seen.tls_certificate[0] = '\0';
		seen.tls_key[0] = '\0';
	}
	/* Nothing is left that a connection could be made with. */
	if (!seen.tls_ca[0] && !seen.tls_psk_file[0])
		return 0;
	if (gateway_daemon_tls_of(&seen, &tls, &setting, why, sizeof(why)) != 0)
		return wrong(c, setting, "%s", why);
	tls_context_unref(tls);
	return 0;
}

static int check_folder(const struct checking *c, const char *setting, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[CONFIG_TEXT_MAX] = ".";
	struct stat st;

	if (slash)
		(void)snprintf(folder, sizeof(folder), "%.*s",
			       slash == path ? 1 : (int)(slash - path), path);
	if (stat(folder, &st) != 0) {
		if (errno != ENOENT || strcmp(folder, STATE_FOLDER) != 0)
			return wrong(c, setting, "the folder %s: %s", folder, strerror(errno));
		note(c, setting, folder, "is made when the service starts");
		return 0;
	}
	return S_ISDIR(st.st_mode) ? 0 : wrong(c, setting, "%s is not a folder", folder);
}

/* One that is not there is made with the vault; of a vault that is there it is missing. */
static int check_key(const struct checking *c, const char *setting, const char *path, bool made)
{
	struct secret *key = NULL;
	char why[2 * CONFIG_TEXT_MAX];
	bool there = true;
	int r;

	if (!path[0] || is_elsewhere(c, setting, path) || is_foreign(c, setting, path))
		return 0;
	if (!credential_named(path) && made) {
		r = vault_key_exists(path, &there, why, sizeof(why));
		if (r != 0)
			return wrong(c, setting, "%s", why);
	}
	if (!there)
		return check_folder(c, setting, path);
	r = vault_key_load(path, &key, why, sizeof(why));
	secret_unref(key);
	return r == 0 ? 0 : wrong(c, setting, "%s", why);
}

static int check_passphrase(const struct checking *c)
{
	const char *path = c->config->vault_passphrase_file;
	struct gateway_openers openers;
	char why[2 * CONFIG_TEXT_MAX];
	int r;

	if (!path[0] || is_elsewhere(c, "vault.passphrase_file", path) ||
	    is_foreign(c, "vault.passphrase_file", path))
		return 0;
	r = gateway_openers_load(c->config, &openers, why, sizeof(why));
	gateway_openers_clear(&openers);
	return r == 0 ? 0 : wrong(c, "vault.passphrase_file", "%s", why);
}

static int check_anchor(const struct checking *c)
{
	struct anchor *anchor = NULL;
	char why[2 * CONFIG_TEXT_MAX];

	if (!c->config->vault_anchor[0])
		return 0;
	if (anchor_open(c->config->vault_anchor, NULL, &anchor, why, sizeof(why)) != 0)
		return wrong(c, "vault.anchor", "%s", why);
	anchor_close(anchor);
	return 0;
}

static int check_vault(const struct checking *c)
{
	const struct config *s = c->config;
	bool made = s->vault_create && access(s->vault_path, F_OK) != 0;
	int r = check_folder(c, "vault.path", s->vault_path);

	if (r == 0)
		r = check_key(c, "vault.key_file", s->vault_key_file, made);
	if (r == 0)
		r = check_key(c, "vault.second_key_file", s->vault_second_key_file, made);
	if (r == 0)
		r = check_passphrase(c);
	return r == 0 ? check_anchor(c) : r;
}

static int check_pne(const struct checking *c)
{
	const struct config *s = c->config;
	int r = 0;

	if (!s->pne_entity_id[0])
		return 0;
	r = check_folder(c, "pne.vault_path", s->pne_vault_path);
	if (r == 0)
		r = check_key(c, "pne.vault_key_file", s->pne_vault_key_file,
			      access(s->pne_vault_path, F_OK) != 0);
	return r;
}

int gateway_daemon_check(const char *file, const struct config *config, FILE *notes, char *why,
			 size_t why_size)
{
	const struct checking c = {file, config, notes, why, why_size};
	int r = check_tls(&c);

	if (r == 0)
		r = check_vault(&c);
	return r == 0 ? check_pne(&c) : r;
}
