#include "server/config.h"

#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "protocol/p1.h"

enum kind { GROUP, NUMBER, BOOLEAN, STRING, PATH, ENTITY };

/* One row a setting. low and high: limits of a number, or of a string's size. */
static const struct row {
	const char *path;
	enum kind kind;
	bool required;
	size_t offset, size;
	long low, high, preset;
} rows[] = {
#define AT(member) \
	offsetof(struct server_config, member), sizeof(((struct server_config *)0)->member)
	{"entity_id", ENTITY, true, AT(entity_id), 1, NAME_MAX_SIZE, 0},
	{"listen", GROUP, true, 0, 0, 0, 0, 0},
	{"listen.address", STRING, true, AT(listen_address), 2, 63, 0},
	{"listen.port", NUMBER, true, AT(listen_port), 0, 65535, 0},
	{"listen.path", STRING, false, AT(listen_path), 1, 128, 0},
	{"tls", GROUP, true, 0, 0, 0, 0, 0},
	{"tls.certificate", PATH, false, AT(tls_certificate), 1, PATH_MAX - 1, 0},
	{"tls.key", PATH, false, AT(tls_key), 1, PATH_MAX - 1, 0},
	{"tls.client_ca", PATH, false, AT(tls_client_ca), 1, PATH_MAX - 1, 0},
	{"tls.psk_file", PATH, false, AT(tls_psk_file), 1, PATH_MAX - 1, 0},
	{"tls.allow_tls12", BOOLEAN, false, AT(tls_allow_tls12), 0, 1, 0},
	{"database", PATH, true, AT(database), 1, PATH_MAX - 1, 0},
	{"key_file", PATH, true, AT(key_file), 1, PATH_MAX - 1, 0},
	{"iterations", NUMBER, false, AT(iterations), 1000, 10000000, P1_ITERATIONS_DEFAULT},
	{"key_set_max", NUMBER, false, AT(key_set_max), 1, 64, 64},
	{"answer_days", NUMBER, false, AT(answer_days), 1, 3650, 30},
	{"nonce_seconds", NUMBER, false, AT(nonce_seconds), 5, 3600, 120},
	{"max_connections", NUMBER, false, AT(max_connections), 1, 65536, 1024},
	{"max_streams", NUMBER, false, AT(max_streams), 1, 1024, 128},
	{"max_derivations", NUMBER, false, AT(max_derivations), 1, 1024, 64},
	{"idle_seconds", NUMBER, false, AT(idle_seconds), 1, 86400, 120},
#undef AT
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

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

		if (s)
			r = read_row(p, &rows[i], s, out);
		else if (rows[i].required)
			r = refuse(p, 1, "%s is missing", rows[i].path);
		else if (rows[i].kind == NUMBER)
			set_number(out, &rows[i], rows[i].preset);
	}
	return r < 0 ? r : check_together(p, file, out);
}

int server_config_read(const char *path, struct server_config *out, char *why, size_t why_size)
{
	const struct place p = {path, why, why_size};
	struct server_config c = {.listen_path = "/cpns"};
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
