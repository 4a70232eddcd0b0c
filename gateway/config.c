#include "gateway/config.h"

#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "pan/bearer-local.h"
#include "pan/bluetooth.h"
#include "pan/bridge.h"
#include "protocol/config-check.h"
#include "protocol/credential.h"
#include <config.h>

enum kind { KIND_TEXT, KIND_ENTITY_ID, KIND_NUMBER, KIND_FLAG, KIND_CHOICE };

static const struct setting {
	const char *path;
	const char *fallback_text; /* KIND_TEXT */
	const char *names;         /* KIND_CHOICE */
	const char *unit;
	const char *meaning;
	size_t offset;
	enum kind kind;
	unsigned min, max; /* KIND_NUMBER */
	unsigned fallback;
} settings[] = {
#define TEXT(p, member, d, m)                       \
	{.path = p,                                 \
	 .kind = KIND_TEXT,                         \
	 .offset = offsetof(struct config, member), \
	 .fallback_text = d,                        \
	 .meaning = m},
#define ENTITY_ID(p, member, m)                     \
	{.path = p,                                 \
	 .kind = KIND_ENTITY_ID,                    \
	 .offset = offsetof(struct config, member), \
	 .meaning = m},
#define NUMBER(p, member, lo, hi, d, u, m)          \
	{.path = p,                                 \
	 .kind = KIND_NUMBER,                       \
	 .offset = offsetof(struct config, member), \
	 .min = lo,                                 \
	 .max = hi,                                 \
	 .fallback = d,                             \
	 .unit = u,                                 \
	 .meaning = m},
#define FLAG(p, member, d, m)                       \
	{.path = p,                                 \
	 .kind = KIND_FLAG,                         \
	 .offset = offsetof(struct config, member), \
	 .fallback = d,                             \
	 .meaning = m},
#define CHOICE(p, member, type, d, n, m)            \
	{.path = p,                                 \
	 .kind = KIND_CHOICE,                       \
	 .offset = offsetof(struct config, member), \
	 .fallback = d,                             \
	 .names = n,                                \
	 .meaning = m},
#include "gateway/settings.def"
#undef TEXT
#undef ENTITY_ID
#undef NUMBER
#undef FLAG
#undef CHOICE
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))
_Static_assert(sizeof(settings) / sizeof(settings[0]) == CONFIG_SETTINGS, "lines has room");
#define SECURITY_NAMES "none, encrypted, authenticated"
#define LISTEN         "pan.listen"

struct reader {
	const char *file;
	char *why;
	size_t why_size;
	struct config config;
};

__attribute__((format(printf, 3, 4))) static int wrong(struct reader *r, const config_setting_t *at,
						       const char *format, ...)
{
	char text[384];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	(void)snprintf(r->why, r->why_size, "%s:%d: %s", r->file, config_setting_source_line(at),
		       text);
	return -EINVAL;
}

/* The same of a setting by its path, after all were read. */
__attribute__((format(printf, 3, 4))) static int unfit(struct reader *r, const char *path,
						       const char *format, ...)
{
	char place[CONFIG_PLACE_SIZE], text[384];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	(void)snprintf(r->why, r->why_size, "%s: %s",
		       config_place(r->file, gateway_config_line(&r->config, path), path, place),
		       text);
	return -EINVAL;
}

unsigned gateway_config_line(const struct config *config, const char *path)
{
	if (strcmp(path, LISTEN) == 0)
		return config->listen_line;
	for (size_t i = 0; i < SETTINGS; i++) {
		if (strcmp(settings[i].path, path) == 0)
			return config->lines[i];
	}
	return 0;
}

/* The place of text in "a, b, c", or -1. */
static int choice_of(const char *names, const char *text)
{
	size_t size = strlen(text);

	for (int i = 0; *names; i++) {
		size_t n = strcspn(names, ",");

		if (n == size && strncmp(names, text, n) == 0)
			return i;
		names += n;
		names += strspn(names, ", ");
	}
	return -1;
}

static void set_number(struct reader *r, const struct setting *s, unsigned value)
{
	char *at = (char *)&r->config + s->offset;

	switch (s->kind) {
	case KIND_FLAG: {
		bool flag = value != 0;

		memcpy(at, &flag, sizeof(flag));
		return;
	}
	case KIND_NUMBER:
	case KIND_CHOICE:
		/* An enum has the size of an unsigned. */
		memcpy(at, &value, sizeof(value));
		return;
	case KIND_TEXT:
	case KIND_ENTITY_ID:
		return;
	}
}

_Static_assert(sizeof(enum pan_security) == sizeof(unsigned), "set_number() writes it");
_Static_assert(sizeof(enum pairing_capability) == sizeof(unsigned), "set_number() writes it");
_Static_assert(sizeof(enum pairing_policy) == sizeof(unsigned), "set_number() writes it");
_Static_assert(sizeof(enum key_set_kind) == sizeof(unsigned), "set_number() writes it");

static int take(struct reader *r, const struct setting *s, const config_setting_t *at)
{
	char *place = (char *)&r->config + s->offset;
	const char *text = config_setting_get_string(at);
	int type = config_setting_type(at);
	long long number;
	int choice;

	switch (s->kind) {
	case KIND_TEXT:
		if (type != CONFIG_TYPE_STRING || strlen(text) >= CONFIG_TEXT_MAX ||
		    (!s->fallback_text && !text[0]))
			return wrong(r, at, "%s: expected text of at most %d bytes in quotes",
				     s->path, CONFIG_TEXT_MAX - 1);
		memcpy(place, text, strlen(text) + 1);
		return 0;
	case KIND_ENTITY_ID: {
		struct name name;

		if (type != CONFIG_TYPE_STRING || !entity_id_valid(bytes_text(text)) ||
		    name_set(&name, bytes_text(text)) != 0)
			return wrong(r, at,
				     "%s: expected an Entity ID in quotes: 1 to 64 of A-Z a-z 0-9 "
				     ". _ : -",
				     s->path);
		memcpy(place, &name, sizeof(name));
		return 0;
	}
	case KIND_NUMBER:
		number = config_setting_get_int64(at);
		if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) || number < s->min ||
		    number > s->max)
			return wrong(r, at, "%s: expected a number from %u to %u (%s)", s->path,
				     s->min, s->max, s->unit);
		set_number(r, s, (unsigned)number);
		return 0;
	case KIND_FLAG:
		if (type != CONFIG_TYPE_BOOL)
			return wrong(r, at, "%s: expected true or false", s->path);
		set_number(r, s, config_setting_get_bool(at) ? 1 : 0);
		return 0;
	case KIND_CHOICE:
		choice = type == CONFIG_TYPE_STRING ? choice_of(s->names, text) : -1;
		if (choice < 0)
			return wrong(r, at, "%s: expected one of %s, in quotes", s->path, s->names);
		set_number(r, s, (unsigned)choice);
		return 0;
	}
	return 0;
}

static int take_listener(struct reader *r, const config_setting_t *at)
{
	struct config_listen *l;
	const char *address = NULL, *security = NULL;
	int choice;

	if (r->config.listen_count == CONFIG_LISTEN_MAX)
		return wrong(r, at, "pan.listen: expected at most %d listeners", CONFIG_LISTEN_MAX);
	if (config_setting_type(at) != CONFIG_TYPE_GROUP)
		return wrong(r, at,
			     "pan.listen: expected { address = \"...\"; security = \"...\"; }");
	for (int i = 0; i < config_setting_length(at); i++) {
		const config_setting_t *part = config_setting_get_elem(at, (unsigned)i);
		const char *name = config_setting_name(part);

		if (strcmp(name, "address") == 0)
			address = config_setting_get_string(part);
		else if (strcmp(name, "security") == 0)
			security = config_setting_get_string(part);
		else
			return wrong(r, part,
				     "pan.listen.%s: no such setting; expected address or security",
				     name);
	}
	if (!address || strlen(address) >= CONFIG_TEXT_MAX || !bearer_local_address_valid(address))
		return wrong(r, at,
			     "pan.listen.address: expected \"unix:/PATH\" or \"tcp:ADDRESS:PORT\"");
	choice = security ? choice_of(SECURITY_NAMES, security) : -1;
	if (choice < 0)
		return wrong(r, at, "pan.listen.security: expected one of %s, in quotes",
			     SECURITY_NAMES);
	for (size_t i = 0; i < r->config.listen_count; i++) {
		if (strcmp(r->config.listen[i].address, address) == 0)
			return wrong(r, at, "pan.listen.address: %s is there twice", address);
	}
	l = &r->config.listen[r->config.listen_count++];
	memcpy(l->address, address, strlen(address) + 1);
	l->security = (enum pan_security)choice;
	return 0;
}

static int take_listeners(struct reader *r, const config_setting_t *at)
{
	int result = 0;

	if (config_setting_type(at) != CONFIG_TYPE_LIST || config_setting_length(at) == 0)
		return wrong(r, at,
			     "pan.listen: expected ( { address = ...; security = ...; }, ... )");
	for (int i = 0; result == 0 && i < config_setting_length(at); i++)
		result = take_listener(r, config_setting_get_elem(at, (unsigned)i));
	r->config.listen_line = (unsigned)config_setting_source_line(at);
	return result;
}

static bool is_group(const char *path)
{
	size_t size = strlen(path);

	for (size_t i = 0; i < SETTINGS; i++) {
		if (strncmp(settings[i].path, path, size) == 0 && settings[i].path[size] == '.')
			return true;
	}
	return false;
}

static int take_leaf(struct reader *r, const config_setting_t *at, const char *path)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		if (strcmp(settings[i].path, path) == 0) {
			r->config.lines[i] = (unsigned)config_setting_source_line(at);
			return take(r, &settings[i], at);
		}
	}
	return wrong(r, at, "%s: no such setting; doc/pngw.conf.md lists them", path);
}

/* Groups are four deep at most: pan.bluetooth.nap.port. */
static int walk(struct reader *r, const config_setting_t *group, const char *prefix, unsigned depth)
{
	int result = 0;

	for (int i = 0; result == 0 && i < config_setting_length(group); i++) {
		const config_setting_t *at = config_setting_get_elem(group, (unsigned)i);
		char path[192];
		int n = snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] ? "." : "",
				 config_setting_name(at));

		if (n < 0 || (size_t)n >= sizeof(path))
			result = wrong(r, at, "no such setting; doc/pngw.conf.md lists them");
		else if (strcmp(path, LISTEN) == 0)
			result = take_listeners(r, at);
		else if (depth < 4 && is_group(path) &&
			 config_setting_type(at) == CONFIG_TYPE_GROUP)
			result = walk(r, at, path, depth + 1);
		else if (is_group(path))
			result = wrong(r, at, "%s: expected a group { ... }", path);
		else
			result = take_leaf(r, at, path);
	}
	return result;
}

static void set_fallbacks(struct reader *r)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];
		char *place = (char *)&r->config + s->offset;

		if (s->kind == KIND_TEXT && s->fallback_text)
			(void)snprintf(place, CONFIG_TEXT_MAX, "%s", s->fallback_text);
		else
			set_number(r, s, s->fallback);
	}
}

static bool is_adapter(const char *text)
{
	size_t digits = strncmp(text, "hci", 3) == 0 ? strspn(text + 3, "0123456789") : 0;

	return !text[0] || (digits > 0 && digits < 5 && !text[3 + digits]) ||
	       bluetooth_address_valid(text);
}

/* Of a URL nothing but the host. */
static bool is_host(const char *text)
{
	const char *colon = strchr(text, ':');

	/* An address of IPv6 has two at least. */
	return text[0] != '\0' && !strpbrk(text, "/@?# \t\r\n") &&
	       (!colon || colon != strrchr(text, ':'));
}

/*
 * Whoever reaches the bus may try to command: a socket of this machine alone, of which the kernel
 * tells who calls.
 */
static bool is_bus(const char *text)
{
	static const char *const kinds[] = {"unix:path=/", "unix:abstract="};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t size = strlen(kinds[i]);

		if (strncmp(text, kinds[i], size) == 0 && text[size] != '\0' && !strchr(text, ';'))
			return true;
	}
	return strcmp(text, "system") == 0 || strcmp(text, "session") == 0;
}

static int check_bluetooth(struct reader *r)
{
	const struct config *c = &r->config;

	if (c->bluetooth_le && !WITH_LE)
		return unfit(r, "pan.bluetooth.le", "this pngwd was built with --disable-le");
	if (!is_adapter(c->bluetooth_adapter))
		return unfit(r, "pan.bluetooth.adapter",
			     "expected \"hci0\" or \"AA:BB:CC:DD:EE:FF\"");
	if (strlen(c->bluetooth_name) > 248)
		return unfit(r, "pan.bluetooth.name", "expected at most 248 bytes");
	if (c->bluetooth_bonds[0] != '/')
		return unfit(r, "pan.bluetooth.bonds", "expected a path that begins with /");
	if (!bridge_name_valid(c->nap_bridge))
		return unfit(r, "pan.bluetooth.nap.bridge",
			     "expected 1 to 15 of A-Z a-z 0-9 . _ -");
	if (!bridge_address_valid(c->nap_address))
		return unfit(r, "pan.bluetooth.nap.address",
			     "expected an IPv4 address and the size of its prefix, 8 to 30: "
			     "\"192.168.44.1/24\"");
	if (c->nap && !c->bluetooth)
		return unfit(r, "pan.bluetooth.nap.enable",
			     "expected only with pan.bluetooth.enable");
	return 0;
}

/*
 * From here on they are paths. A process without credentials may still look at the rest: it finds
 * no file of that name.
 */
static int find_credentials(struct reader *r)
{
	const struct {
		const char *setting;
		char *file;
	} files[] = {{"server.tls.ca", r->config.tls_ca},
		     {"server.tls.certificate", r->config.tls_certificate},
		     {"server.tls.key", r->config.tls_key},
		     {"server.tls.psk_file", r->config.tls_psk_file}};
	char path[CONFIG_TEXT_MAX];
	char why[2 * CONFIG_TEXT_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int result = credential_path(files[i].file, path, sizeof(path), why, sizeof(why));

		if (result == 0)
			(void)snprintf(files[i].file, CONFIG_TEXT_MAX, "%s", path);
		else if (result != -ENOENT)
			return unfit(r, files[i].setting, "%.300s", why);
	}
	return 0;
}

static int check_server(struct reader *r)
{
	const struct config *c = &r->config;

	if (!is_host(c->host))
		return unfit(r, "server.host",
			     "expected a name or an address alone: port and path have settings of "
			     "their own");
	if (c->verify_name[0] && !is_host(c->verify_name))
		return unfit(r, "server.verify_name", "expected a name");
	if (!c->tls_ca[0] && !c->tls_psk_file[0])
		return unfit(r, "server.tls.ca", "must be given unless server.tls.psk_file is");
	if (!c->tls_certificate[0] != !c->tls_key[0])
		return unfit(r, c->tls_key[0] ? "server.tls.key" : "server.tls.certificate",
			     "expected with server.tls.%s: both or none",
			     c->tls_key[0] ? "certificate" : "key");
	if (c->path[0] != '/' || strlen(c->path) > 128)
		return unfit(r, "server.path",
			     "expected a path of at most 128 bytes that begins with /");
	if (c->backoff_min > c->backoff_max)
		return unfit(r, "server.backoff_min", "expected at most server.backoff_max");
	if (name_equal(&c->entity_id, &c->server_entity_id))
		return unfit(r, "server.entity_id", "expected another one than entity_id");
	return 0;
}

static int check_vault(struct reader *r)
{
	const struct config *c = &r->config;

	if (!c->vault_key_file[0] && !c->vault_passphrase_file[0])
		return unfit(r, "vault.key_file", "must be given unless vault.passphrase_file is");
	if (c->vault_second_key_file[0] && !c->vault_key_file[0])
		return unfit(r, "vault.second_key_file", "expected only with vault.key_file");
	return 0;
}

static int check_pne(struct reader *r)
{
	const struct config *c = &r->config;

	if (!c->pne_entity_id[0])
		return 0;
	if (!entity_id_valid(bytes_text(c->pne_entity_id)))
		return unfit(r, "pne.entity_id", "expected an Entity ID");
	if (!c->pne_vault_path[0])
		return unfit(r, "pne.vault_path", "must be given with pne.entity_id");
	if (!c->pne_vault_key_file[0])
		return unfit(r, "pne.vault_key_file", "must be given with pne.entity_id");
	if (c->listen_line == 0)
		return unfit(r, LISTEN, "must be given with pne.entity_id");
	if (strcmp(c->pne_entity_id, c->entity_id.text) == 0)
		return unfit(r, "pne.entity_id", "expected another one than entity_id");
	return 0;
}

/* What cannot be said of one setting alone. */
static int check(struct reader *r)
{
	const struct config *c = &r->config;

	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if (c->lines[i] == 0 &&
		    (s->kind == KIND_ENTITY_ID || (s->kind == KIND_TEXT && !s->fallback_text)))
			return unfit(r, s->path, "must be given: %s", s->meaning);
	}
	if (c->listen_line == 0 && !c->bluetooth)
		return unfit(r, LISTEN,
			     "must be given unless pan.bluetooth.enable is: where PNEs connect to");
	if (check_bluetooth(r) != 0 || find_credentials(r) != 0 || check_server(r) != 0 ||
	    check_vault(r) != 0 || check_pne(r) != 0)
		return -EINVAL;
	if (!is_bus(c->control_bus))
		return unfit(r, "control.bus",
			     "expected \"system\", \"session\" or \"unix:path=/...\": no other bus "
			     "tells who calls");
	return 0;
}

int gateway_config_load(const char *file, struct config *out, char *why, size_t why_size)
{
	struct reader r = {.file = file, .why = why, .why_size = why_size};
	const config_setting_t *root;
	config_t parsed;
	int result;

	set_fallbacks(&r);
	config_init(&parsed);
	if (config_read_file(&parsed, file) != CONFIG_TRUE) {
		if (config_error_type(&parsed) == CONFIG_ERR_FILE_IO)
			(void)snprintf(why, why_size, "%s: cannot be read: %s", file,
				       strerror(errno));
		else
			(void)snprintf(why, why_size, "%s:%d: %s", file, config_error_line(&parsed),
				       config_error_text(&parsed));
		config_destroy(&parsed);
		return -EINVAL;
	}
	root = config_root_setting(&parsed);
	result = walk(&r, root, "", 1);
	if (result == 0)
		result = check(&r);
	config_destroy(&parsed);
	if (result == 0)
		*out = r.config;
	return result;
}

unsigned gateway_config_low_water(const struct config *config)
{
	return config->key_set_low_water < config->key_set_count ? config->key_set_low_water
								 : config->key_set_count - 1;
}

void gateway_config_core_options(const struct config *config, struct core_options *out)
{
	*out = (struct core_options){
		.self = config->entity_id,
		.server = config->server_entity_id,
		.path = config->path,
		.procedures = {.wan_wait_ms = config->wan_wait,
			       .request_ms = config->request_deadline,
			       .pne_ms = config->answer_deadline,
			       .iterations_floor = config->iterations_floor,
			       .card = config->card,
			       .secure_level = config->secure_level},
		.relay = {.capacity = config->max_requests,
			  .quota = config->quota,
			  .wan_wait_ms = config->wan_wait,
			  .request_ms = config->request_deadline,
			  .receipt_ms = config->receipt_deadline,
			  .secure_level = config->secure_level},
		.pool = {.low_water = gateway_config_low_water(config),
			 .size = config->key_set_count,
			 .kind = config->key_set_kind,
			 .lifetime_s = config->key_set_lifetime * 86400U,
			 .renew_s = config->renew_interval},
		.max_procedures = config->max_procedures,
		.ping_ms = config->ping,
		.hello_ms = config->hello_deadline,
	};
}

/* names: "a, b, c". */
static void write_choice(FILE *out, const char *names, unsigned value)
{
	for (unsigned i = 0; i < value; i++) {
		names += strcspn(names, ",");
		names += strspn(names, ", ");
	}
	(void)fprintf(out, "\"%.*s\"", (int)strcspn(names, ","), names);
}

static void write_value(FILE *out, const struct setting *s, const struct config *config)
{
	const char *at = (const char *)config + s->offset;
	unsigned number = 0;
	bool flag = false;

	switch (s->kind) {
	case KIND_TEXT:
	case KIND_ENTITY_ID:
		/* A struct name is its text. */
		(void)fprintf(out, "\"%s\"", at);
		return;
	case KIND_NUMBER:
		memcpy(&number, at, sizeof(number));
		(void)fprintf(out, "%u", number);
		return;
	case KIND_FLAG:
		memcpy(&flag, at, sizeof(flag));
		(void)fputs(flag ? "true" : "false", out);
		return;
	case KIND_CHOICE:
		memcpy(&number, at, sizeof(number));
		write_choice(out, s->names, number);
		return;
	}
}

void gateway_config_write(const struct config *config, FILE *out)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		(void)fprintf(out, "%s = ", settings[i].path);
		write_value(out, &settings[i], config);
		(void)fputc('\n', out);
	}
	for (size_t i = 0; i < config->listen_count; i++)
		(void)fprintf(out, "pan.listen = \"%s\", %s\n", config->listen[i].address,
			      pan_security_name(config->listen[i].security));
}

static void write_default(FILE *out, const struct setting *s)
{
	switch (s->kind) {
	case KIND_TEXT:
		if (!s->fallback_text)
			(void)fputs("must be given", out);
		else if (!s->fallback_text[0])
			(void)fputs("none", out);
		else
			(void)fprintf(out, "`\"%s\"`", s->fallback_text);
		return;
	case KIND_ENTITY_ID:
		(void)fputs("must be given", out);
		return;
	case KIND_NUMBER:
		(void)fprintf(out, "%u", s->fallback);
		return;
	case KIND_FLAG:
		(void)fputs(s->fallback ? "true" : "false", out);
		return;
	case KIND_CHOICE:
		(void)fputc('`', out);
		write_choice(out, s->names, s->fallback);
		(void)fputc('`', out);
		return;
	}
}

static void write_type(FILE *out, const struct setting *s)
{
	switch (s->kind) {
	case KIND_TEXT:
		(void)fputs("text", out);
		return;
	case KIND_ENTITY_ID:
		(void)fputs("Entity ID", out);
		return;
	case KIND_NUMBER:
		(void)fprintf(out, "%u..%u, %s", s->min, s->max, s->unit);
		return;
	case KIND_FLAG:
		(void)fputs("true, false", out);
		return;
	case KIND_CHOICE:
		(void)fprintf(out, "one of %s", s->names);
		return;
	}
}

void gateway_config_write_markdown(FILE *out)
{
	(void)fputs("| setting | type, range, unit | default | meaning |\n|---|---|---|---|\n",
		    out);
	for (size_t i = 0; i < SETTINGS; i++) {
		(void)fprintf(out, "| `%s` | ", settings[i].path);
		write_type(out, &settings[i]);
		(void)fputs(" | ", out);
		write_default(out, &settings[i]);
		(void)fprintf(out, " | %s |\n", settings[i].meaning);
	}
	(void)fputs(
		"| `pan.listen` | list of { address, security } | must be given unless "
		"pan.bluetooth.enable is | where PNEs connect "
		"to: `\"unix:/PATH\"` or `\"tcp:ADDRESS:PORT\"`, and how far that stream can be "
		"trusted: none, encrypted or authenticated |\n",
		out);
}

bool gateway_config_at_start(const char *path)
{
	/* With a dot at the end: the whole group. */
	static const char *const at_start[] = {
		"entity_id",  "server.entity_id", "pan.listen",   "pan.queue",
		"vault.path", "vault.anchor",     "vault.create", "limits.requests",
		"control.",   "pan.bluetooth.",   "pne.",         "recorder.size"};

	for (size_t i = 0; i < sizeof(at_start) / sizeof(at_start[0]); i++) {
		size_t size = strlen(at_start[i]);

		if (strncmp(path, at_start[i], size) == 0 &&
		    (path[size] == '\0' || at_start[i][size - 1] == '.'))
			return true;
	}
	return false;
}

void gateway_config_keep(struct config *fresh, const struct config *running)
{
#define KEEP(path, member)                 \
	if (gateway_config_at_start(path)) \
		memcpy(&fresh->member, &running->member, sizeof(fresh->member));
#define TEXT(path, member, fallback, meaning)                   KEEP(path, member)
#define ENTITY_ID(path, member, meaning)                        KEEP(path, member)
#define NUMBER(path, member, min, max, fallback, unit, meaning) KEEP(path, member)
#define FLAG(path, member, fallback, meaning)                   KEEP(path, member)
#define CHOICE(path, member, type, fallback, names, meaning)    KEEP(path, member)
#include "gateway/settings.def"
#undef TEXT
#undef ENTITY_ID
#undef NUMBER
#undef FLAG
#undef CHOICE
#undef KEEP
	fresh->listen_count = running->listen_count;
	memcpy(fresh->listen, running->listen, sizeof(fresh->listen));
}

const char *gateway_config_difference(const struct config *a, const struct config *b)
{
#define TEXT(path, member, fallback, meaning)  \
	if (strcmp(a->member, b->member) != 0) \
		return path;
#define ENTITY_ID(path, member, meaning)         \
	if (!name_equal(&a->member, &b->member)) \
		return path;
#define NUMBER(path, member, min, max, fallback, unit, meaning) \
	if (a->member != b->member)                             \
		return path;
#define FLAG(path, member, fallback, meaning) \
	if (a->member != b->member)           \
		return path;
#define CHOICE(path, member, type, fallback, names, meaning) \
	if (a->member != b->member)                          \
		return path;
#include "gateway/settings.def"
#undef TEXT
#undef ENTITY_ID
#undef NUMBER
#undef FLAG
#undef CHOICE
	if (a->listen_count != b->listen_count)
		return "pan.listen";
	for (size_t i = 0; i < a->listen_count; i++) {
		if (strcmp(a->listen[i].address, b->listen[i].address) != 0 ||
		    a->listen[i].security != b->listen[i].security)
			return "pan.listen";
	}
	return NULL;
}
