#include "server/config.h"

#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "protocol/credential.h"
#include "protocol/p1.h"

enum kind { GROUP, NUMBER, BOOLEAN, STRING, PATH, ENTITY };

/* One row a setting. low and high: limits of a number, or of a string's size. */
static const struct row {
	const char *path;
	enum kind kind;
	bool required;
	size_t offset, size;
	long low, high, preset;
	const char *text, *unit, *meaning; /* text: the preset of a string, or NULL */
} rows[] = {
#define AT(member) \
	offsetof(struct server_config, member), sizeof(((struct server_config *)0)->member)
#define GROUP_OF(p)                                             \
	{                                                       \
		p, GROUP, true, 0, 0, 0, 0, 0, NULL, NULL, NULL \
	}
#define TEXT_OF(p, kind, required, member, low, high, text, m)             \
	{                                                                  \
		p, kind, required, AT(member), low, high, 0, text, NULL, m \
	}
#define PATH_OF(p, required, member, m) TEXT_OF(p, PATH, required, member, 1, PATH_MAX - 1, NULL, m)
#define NUMBER_OF(p, required, member, low, high, preset, unit, m)                \
	{                                                                         \
		p, NUMBER, required, AT(member), low, high, preset, NULL, unit, m \
	}
	TEXT_OF("entity_id", ENTITY, true, entity_id, 1, NAME_MAX_SIZE, NULL,
		"the server's own name: Target of every request, digest realm"),
	GROUP_OF("listen"),
	TEXT_OF("listen.address", STRING, true, listen_address, 2, 63, NULL,
		"where to listen: a numeric IPv4 or IPv6 address"),
	NUMBER_OF("listen.port", true, listen_port, 0, 65535, 0, "TCP port",
		  "0: the system chooses, and the log says which"),
	TEXT_OF("listen.path", STRING, false, listen_path, 1, 128, "/cpns",
		"URL path, begins with `/`; also the uri of digest credentials"),
	GROUP_OF("tls"),
	PATH_OF("tls.certificate", false, tls_certificate,
		"the server's certificate chain (PEM); goes with tls.key"),
	PATH_OF("tls.key", false, tls_key, "its private key (PEM)"),
	PATH_OF("tls.client_ca", false, tls_client_ca,
		"who signs the certificates of PN GWs (PEM); without it no PN GW is authenticated "
		"by certificate"),
	PATH_OF("tls.psk_file", false, tls_psk_file,
		"lines IDENTITY HEXKEY ENTITY-ID, mode 0600: 3GPP GBA (B-TID, Ks_NAF) or other "
		"pre-shared keys"),
	{"tls.allow_tls12", BOOLEAN, false, AT(tls_allow_tls12), 0, 1, 0, NULL, NULL,
	 "take TLS 1.2 too"},
	PATH_OF("database", true, database,
		"the SQLite store; made together with key_file when neither is there"),
	PATH_OF("key_file", true, key_file,
		"64 hex digits that seal every secret in the store, mode 0600; made together with "
		"it, to be backed up apart from it"),
	NUMBER_OF("iterations", false, iterations, 1000, 10000000, P1_ITERATIONS_DEFAULT,
		  "PBKDF2 iterations",
		  "for accounts registered from now on; PN GWs and PNEs refuse fewer than their "
		  "floor, 100000 by default"),
	NUMBER_OF("key_set_max", false, key_set_max, 1, 64, 64, "keys",
		  "largest EUKey set of Figure 7"),
	NUMBER_OF("answer_days", false, answer_days, 1, 3650, 30, "days",
		  "how long answers are kept for repeated requests"),
	NUMBER_OF("nonce_seconds", false, nonce_seconds, 5, 3600, 120, "seconds",
		  "how long a digest challenge can be answered"),
	NUMBER_OF("max_connections", false, max_connections, 1, 65536, 1024, "connections",
		  "TLS connections at once"),
	NUMBER_OF("max_streams", false, max_streams, 1, 1024, 128, "requests",
		  "requests at once on one connection"),
	NUMBER_OF("max_derivations", false, max_derivations, 1, 1024, 64, "registrations",
		  "password hashes waiting or under way; more registrations are answered Busy"),
	NUMBER_OF("idle_seconds", false, idle_seconds, 1, 86400, 120, "seconds",
		  "a connection without requests is closed after"),
#undef NUMBER_OF
#undef PATH_OF
#undef TEXT_OF
#undef GROUP_OF
#undef AT
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))
_Static_assert(sizeof(rows) / sizeof(rows[0]) <= SERVER_CONFIG_ROWS, "lines has room");

unsigned server_config_line(const struct server_config *config, const char *path)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].path, path) == 0)
			return config->lines[i];
	}
	return 0;
}

struct place {
	const char *file;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct place *p, unsigned line,
							const char *format, ...)
{
	int n = snprintf(p->why, p->why_size, "%s:%u: ", p->file, line);
	va_list ap;

	if (n < 0 || (size_t)n >= p->why_size)
		return -EINVAL;
	va_start(ap, format);
	(void)vsnprintf(p->why + n, p->why_size - (size_t)n, format, ap);
	va_end(ap);
	return -EINVAL;
}

static void set_number(struct server_config *out, const struct row *row, long value)
{
	char *at = (char *)out + row->offset;

	if (row->size == sizeof(uint16_t))
		*(uint16_t *)(void *)at = (uint16_t)value;
	else
		*(uint32_t *)(void *)at = (uint32_t)value;
}

static int read_number(const struct place *p, const struct row *row, const config_setting_t *s,
		       struct server_config *out)
{
	const int type = config_setting_type(s);
	long long value;

	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return refuse(p, config_setting_source_line(s), "%s must be a whole number",
			      row->path);
	value = config_setting_get_int64(s);
	if (value < row->low || value > row->high)
		return refuse(p, config_setting_source_line(s), "%s must be %ld to %ld", row->path,
			      row->low, row->high);
	set_number(out, row, (long)value);
	return 0;
}

static int read_text(const struct place *p, const struct row *row, const config_setting_t *s,
		     struct server_config *out)
{
	const char *value = config_setting_get_string(s);
	const unsigned line = config_setting_source_line(s);
	size_t size;

	if (!value)
		return refuse(p, line, "%s must be a string", row->path);
	size = strlen(value);
	if (size < (size_t)row->low || size > (size_t)row->high)
		return refuse(p, line, "%s must have %ld to %ld characters", row->path, row->low,
			      row->high);
	if (row->kind == ENTITY) {
		if (!entity_id_valid(bytes_text(value)))
			return refuse(p, line,
				      "%s must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -",
				      row->path);
		return name_set(&out->entity_id, bytes_text(value));
	}
	if (row->offset == offsetof(struct server_config, listen_path) && value[0] != '/')
		return refuse(p, line, "%s must begin with /", row->path);
	return bytes_to_text(bytes_text(value), (char *)out + row->offset, row->size);
}

static int read_row(const struct place *p, const struct row *row, const config_setting_t *s,
		    struct server_config *out)
{
	switch (row->kind) {
	case GROUP:
		if (!config_setting_is_group(s))
			return refuse(p, config_setting_source_line(s),
				      "%s must be a group { ... }", row->path);
		return 0;
	case NUMBER:
		return read_number(p, row, s, out);
	case BOOLEAN:
		if (config_setting_type(s) != CONFIG_TYPE_BOOL)
			return refuse(p, config_setting_source_line(s), "%s must be true or false",
				      row->path);
		*(bool *)(void *)((char *)out + row->offset) = config_setting_get_bool(s);
		return 0;
	case STRING:
	case PATH:
	case ENTITY:
		return read_text(p, row, s, out);
	}
	return -EINVAL;
}

/* Every setting of the group must have a row; prefix is "" or "group.". */
static int refuse_unknown(const struct place *p, const config_setting_t *group, const char *prefix)
{
	const int count = config_setting_length(group);

	for (int i = 0; i < count; i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		char path[128], below[130];
		bool known = false;
		int r = 0;

		(void)snprintf(path, sizeof(path), "%s%s", prefix, config_setting_name(s));
		for (size_t k = 0; k < ROWS; k++)
			known = known || strcmp(path, rows[k].path) == 0;
		if (!known)
			return refuse(p, config_setting_source_line(s), "unknown setting %s", path);
		(void)snprintf(below, sizeof(below), "%s.", path);
		if (config_setting_is_group(s))
			r = refuse_unknown(p, s, below);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * From here on they are paths. Who was started without credentials, such as cpns-server-admin,
 * finds no file of that name, and seldom needs it.
 */
static int find_credentials(const struct place *p, struct server_config *c)
{
	char *const files[] = {c->tls_certificate, c->tls_key, c->tls_client_ca, c->tls_psk_file};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int r = credential_path(files[i], path, sizeof(path), p->why, p->why_size);

		if (r == 0)
			(void)snprintf(files[i], PATH_MAX, "%s", path);
		else if (r != -ENOENT)
			return r;
	}
	return 0;
}

/* What no single setting can tell. */
static int check_together(const struct place *p, const config_t *file,
			  const struct server_config *c)
{
	const unsigned line = config_setting_source_line(config_lookup(file, "tls"));

	if ((c->tls_certificate[0] == '\0') != (c->tls_key[0] == '\0'))
		return refuse(p, line, "tls.certificate and tls.key go together");
	if (c->tls_certificate[0] == '\0' && c->tls_psk_file[0] == '\0')
		return refuse(p, line, "tls needs a certificate and key, or a psk_file");
	return 0;
}

static int read_all(const struct place *p, const config_t *file, struct server_config *out)
{
	int r = refuse_unknown(p, config_root_setting(file), "");

	for (size_t i = 0; i < ROWS && r == 0; i++) {
		const config_setting_t *s = config_lookup(file, rows[i].path);

		out->lines[i] = s ? config_setting_source_line(s) : 0;
		if (s)
			r = read_row(p, &rows[i], s, out);
		else if (rows[i].required)
			r = refuse(p, 1, "%s is missing", rows[i].path);
		else if (rows[i].kind == NUMBER)
			set_number(out, &rows[i], rows[i].preset);
		else if (rows[i].text)
			(void)snprintf((char *)out + rows[i].offset, rows[i].size, "%s",
				       rows[i].text);
	}
	if (r == 0)
		r = check_together(p, file, out);
	return r < 0 ? r : find_credentials(p, out);
}

int server_config_read(const char *path, struct server_config *out, char *why, size_t why_size)
{
	const struct place p = {path, why, why_size};
	struct server_config c = {.iterations = 0};
	config_t file;
	int r;

	config_init(&file);
	if (config_read_file(&file, path) != CONFIG_TRUE) {
		r = config_error_type(&file) == CONFIG_ERR_PARSE
			    ? refuse(&p, (unsigned)config_error_line(&file), "%s",
				     config_error_text(&file))
			    : -EIO;
		if (r == -EIO)
			(void)snprintf(why, why_size, "%s: cannot be read", path);
	} else {
		r = read_all(&p, &file, &c);
	}
	config_destroy(&file);
	if (r == 0)
		*out = c;
	return r;
}

static void write_type(FILE *out, const struct row *row)
{
	switch (row->kind) {
	case GROUP:
		return;
	case NUMBER:
		(void)fprintf(out, "%ld..%ld, %s", row->low, row->high, row->unit);
		return;
	case BOOLEAN:
		(void)fputs("true, false", out);
		return;
	case STRING:
		(void)fprintf(out, "text, %ld..%ld characters", row->low, row->high);
		return;
	case PATH:
		(void)fputs("path", out);
		return;
	case ENTITY:
		(void)fputs("Entity ID", out);
		return;
	}
}

static void write_default(FILE *out, const struct row *row)
{
	if (row->required)
		(void)fputs("must be given", out);
	else if (row->kind == NUMBER)
		(void)fprintf(out, "%ld", row->preset);
	else if (row->kind == BOOLEAN)
		(void)fputs("false", out);
	else if (row->text)
		(void)fprintf(out, "`\"%s\"`", row->text);
	else
		(void)fputs("none", out);
}

void server_config_write_markdown(FILE *out)
{
	(void)fputs("| setting | type, range, unit | default | meaning |\n|---|---|---|---|\n",
		    out);
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].kind == GROUP)
			continue;
		(void)fprintf(out, "| `%s` | ", rows[i].path);
		write_type(out, &rows[i]);
		(void)fputs(" | ", out);
		write_default(out, &rows[i]);
		(void)fprintf(out, " | %s |\n", rows[i].meaning);
	}
}
