/* --check-config: what the settings name, as far as it can be looked at without changing anything.
 */

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/credential.h"
#include "server/daemon.h"
#include "server/store.h"
#include "wan/certificate.h"
#include "wan/tls.h"

/* What the packaged unit makes when it starts. */
#define STATE_FOLDER "/var/lib/cpns-server"

struct checking {
	const char *file;
	const struct server_config *config;
	FILE *notes;
	char *why;
	size_t why_size;
};

static void place(const struct checking *c, const char *setting, char out[2 * PATH_MAX])
{
	unsigned line = server_config_line(c->config, setting);

	if (line > 0)
		(void)snprintf(out, 2 * PATH_MAX, "%s:%u: %s", c->file, line, setting);
	else
		(void)snprintf(out, 2 * PATH_MAX, "%s: %s", c->file, setting);
}

__attribute__((format(printf, 3, 4))) static int wrong(const struct checking *c,
						       const char *setting, const char *format, ...)
{
	char at[2 * PATH_MAX], text[512];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	place(c, setting, at);
	(void)snprintf(c->why, c->why_size, "%s: %s", at, text);
	return -EINVAL;
}

static void note(const struct checking *c, const char *setting, const char *value,
		 const char *why_not)
{
	char at[2 * PATH_MAX];

	place(c, setting, at);
	(void)fprintf(c->notes, "%s: not looked at: %s %s\n", at, value, why_not);
}

/* A credential that was not found when the settings were read: this is not the service. */
static bool is_elsewhere(const struct checking *c, const char *setting, const char *value)
{
	if (!credential_named(value))
		return false;
	note(c, setting, value, "is there in the service alone");
	return true;
}

static int check_tls(const struct checking *c)
{
	struct server_config seen = *c->config;
	struct certificates found;
	struct tls_context *tls;
	const char *setting;
	char why[512];

	if (is_elsewhere(c, "tls.client_ca", seen.tls_client_ca))
		seen.tls_client_ca[0] = '\0';
	if (is_elsewhere(c, "tls.psk_file", seen.tls_psk_file))
		seen.tls_psk_file[0] = '\0';
	if (is_elsewhere(c, "tls.certificate", seen.tls_certificate)) {
		seen.tls_certificate[0] = '\0';
		seen.tls_key[0] = '\0';
	} else if (is_elsewhere(c, "tls.key", seen.tls_key)) {
		if (certificates_read(seen.tls_certificate, &found, why, sizeof(why)) != 0)
			return wrong(c, "tls.certificate", "%s", why);
		seen.tls_certificate[0] = '\0';
		seen.tls_key[0] = '\0';
	}
	/* Nothing is left that a connection could be made with. */
	if (!seen.tls_certificate[0] && !seen.tls_psk_file[0]) {
		if (seen.tls_client_ca[0] &&
		    certificates_read(seen.tls_client_ca, &found, why, sizeof(why)) != 0)
			return wrong(c, "tls.client_ca", "%s", why);
		return 0;
	}
	if (server_daemon_tls(&seen, &tls, &setting, why, sizeof(why)) != 0)
		return wrong(c, setting, "%s", why);
	tls_context_unref(tls);
	return 0;
}

/* *later: it is not there, and that is well. */
static int check_folder(const struct checking *c, const char *setting, const char *path,
			bool *later)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	struct stat st;

	if (slash)
		(void)snprintf(folder, sizeof(folder), "%.*s",
			       slash == path ? 1 : (int)(slash - path), path);
	if (stat(folder, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0
					   : wrong(c, setting, "%.300s is not a folder", folder);
	if (errno != ENOENT || strcmp(folder, STATE_FOLDER) != 0)
		return wrong(c, setting, "the folder %.300s: %s", folder, strerror(errno));
	note(c, setting, folder, "is made when the service starts");
	*later = true;
	return 0;
}

int server_config_check(const char *file, const struct server_config *config, FILE *notes,
			char *why, size_t why_size)
{
	const struct checking c = {file, config, notes, why, why_size};
	const struct store_sqlite_options store = {
		.path = config->database, .key_file = config->key_file, .create = true};
	bool later = false;
	char text[512];
	int r = check_tls(&c);

	if (r == 0)
		r = check_folder(&c, "database", config->database, &later);
	if (r == 0)
		r = check_folder(&c, "key_file", config->key_file, &later);
	if (r == 0 && !later && store_check_sqlite(&store, text, sizeof(text)) != 0)
		r = wrong(&c, "key_file", "%s", text);
	return r;
}
