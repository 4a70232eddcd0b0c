#include "console/kind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "console/label.h"
#include "protocol/bytes.h"

bool kind_number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
	unsigned long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || *end || n < min || n > max)
		return false;
	*out = n;
	return true;
}

static bool is_number(const char *text, unsigned long min, unsigned long max)
{
	unsigned long n;

	return kind_number(text, min, max, &n);
}

static bool is_user(const char *text)
{
	return user_id_valid(bytes_text(text));
}

static bool is_entity(const char *text)
{
	return entity_id_valid(bytes_text(text));
}

static bool is_address(const char *text)
{
	char address[LABEL_ADDRESS_SIZE];

	return label_address(text, address) == 0;
}

static bool is_seconds(const char *text)
{
	return is_number(text, 0, 86400);
}

static bool is_count(const char *text)
{
	return is_number(text, 1, 64);
}

static bool is_lines(const char *text)
{
	return is_number(text, 1, 100000);
}

static bool is_slot(const char *text)
{
	return is_number(text, 1, 255);
}

static bool is_figure(const char *text)
{
	return strcmp(text, "6") == 0 || strcmp(text, "7") == 0;
}

static bool is_rssi(const char *text)
{
	return is_number(text[0] == '-' ? text + 1 : text, 1, 127);
}

static bool is_hex(const char *text)
{
	uint8_t bytes[64];
	size_t size;

	return hex_decode(bytes_text(text), bytes, sizeof(bytes), &size) == 0 && size >= 8;
}

static bool is_key(const char *text)
{
	uint8_t bytes[32];
	size_t size;

	return hex_decode(bytes_text(text), bytes, sizeof(bytes), &size) == 0 &&
	       size == sizeof(bytes);
}

static bool is_text(const char *text)
{
	return text[0] != '\0';
}

/* pngwd has another working directory than whoever types. */
static bool is_key_file(const char *text)
{
	return text[0] == '/' || strncmp(text, "credential:", 11) == 0;
}

static bool is_reply(const char *text)
{
	return strcmp(text, "yes") == 0 || strcmp(text, "no") == 0;
}

static bool is_on_off(const char *text)
{
	return strcmp(text, "on") == 0 || strcmp(text, "off") == 0;
}

static bool is_role(const char *text)
{
	return strcmp(text, "viewer") == 0 || strcmp(text, "technician") == 0 ||
	       strcmp(text, "administrator") == 0;
}

static const struct kind kinds[] = {
	{"USER", is_user, "a User ID: up to 64 bytes without colon, quote or backslash",
	 COMPLETE_USERS, NULL},
	{"ENTITY", is_entity, "an Entity ID: 1 to 64 of A-Z a-z 0-9 . _ : -", COMPLETE_ENTITIES,
	 NULL},
	{"ADDRESS", is_address, "a Bluetooth address: 00:11:22:33:44:55", COMPLETE_NOTHING, NULL},
	{"DEVICE", is_entity, "a Bluetooth address or an Entity ID", COMPLETE_DEVICES, NULL},
	{"SECONDS", is_seconds, "a number of seconds, 0 to 86400", COMPLETE_NOTHING, NULL},
	{"COUNT", is_count, "a number of EUKeys, 1 to 64", COMPLETE_NOTHING, NULL},
	{"LINES", is_lines, "a number of lines, 1 to 100000", COMPLETE_NOTHING, NULL},
	{"SLOT", is_slot, "the number of a slot, as in vault wraps", COMPLETE_NOTHING, NULL},
	{"FIGURE", is_figure, "6 or 7", COMPLETE_WORDS, "6 7"},
	{"RSSI", is_rssi, "a signal strength in dBm, -127 to -1", COMPLETE_NOTHING, NULL},
	{"HEX", is_hex, "8 to 64 bytes in hex", COMPLETE_NOTHING, NULL},
	{"KEY", is_key, "a public key: 32 bytes in hex", COMPLETE_NOTHING, NULL},
	{"FILE", is_text, "a file", COMPLETE_FILES, NULL},
	{"MANIFEST", is_text, "a list of headsets, CSV or PSKC; -: labels from a scanner",
	 COMPLETE_FILES, NULL},
	{"FOLDER", is_text, "a folder", COMPLETE_FILES, NULL},
	{"SHEET", is_text, "the JSON of a tray's sheet", COMPLETE_FILES, NULL},
	{"PARALLEL", is_count, "how many at a time, 1 to 64", COMPLETE_NOTHING, NULL},
	{"KEYFILE", is_key_file, "the absolute path of a key file, or credential:NAME",
	 COMPLETE_FILES, NULL},
	{"LABEL", is_text, "a label", COMPLETE_NOTHING, NULL},
	{"PART", is_text, "a part of a name", COMPLETE_NOTHING, NULL},
	{"REPLY", is_reply,
	 "yes or no; a PIN or passkey is never typed here: leave it out and it is asked for",
	 COMPLETE_WORDS, "yes no"},
	{"ONOFF", is_on_off, "on or off", COMPLETE_WORDS, "on off"},
	{"ROLE", is_role, "viewer, technician or administrator", COMPLETE_WORDS,
	 "viewer technician administrator"},
	{"COMMAND", is_text, "a command", COMPLETE_COMMANDS, NULL},
	{"BUS", is_text, "system, session or the address of a bus", COMPLETE_WORDS,
	 "system session"},
};

const struct kind *kind_at(size_t index)
{
	return index < sizeof(kinds) / sizeof(kinds[0]) ? &kinds[index] : NULL;
}

const struct kind *kind_of(const char *name, size_t size)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strlen(kinds[i].name) == size && memcmp(kinds[i].name, name, size) == 0)
			return &kinds[i];
	}
	return NULL;
}
