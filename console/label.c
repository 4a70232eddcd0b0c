#include "console/label.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/p1.h"

#define HEAD        "pngw1:"
#define CHECK_FIELD ";c="
#define CHECK_SIZE  4

static const char upper_hex[] = "0123456789ABCDEF";

int label_address(const char *text, char out[LABEL_ADDRESS_SIZE])
{
	char address[LABEL_ADDRESS_SIZE] = "";

	if (strlen(text) != LABEL_ADDRESS_SIZE - 1)
		return -EINVAL;
	for (size_t i = 0; text[i]; i++) {
		char c = text[i];

		if (c >= 'a' && c <= 'f')
			c = (char)(c - 'a' + 'A');
		if (i % 3 == 2 ? c != ':' : !strchr(upper_hex, c))
			return -EINVAL;
		address[i] = c;
	}
	memcpy(out, address, sizeof(address));
	return 0;
}

static bool plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("-._~@", c));
}

/* A check that a character was not lost between the scanner and here; no protection from forgers.
 */
static int check(const char *text, size_t size, char out[CHECK_SIZE + 1])
{
	uint8_t hash[32];
	int r = p1_sha256(bytes_of(text, size), hash);

	for (size_t i = 0; r == 0 && i < CHECK_SIZE; i++)
		out[i] = upper_hex[i % 2 ? hash[i / 2] & 15 : hash[i / 2] >> 4];
	out[CHECK_SIZE] = '\0';
	return r;
}

static size_t escape(const char *user, char *out)
{
	size_t n = 0;

	for (; *user; user++) {
		uint8_t c = (uint8_t)*user;

		if (plain(*user)) {
			out[n++] = *user;
			continue;
		}
		out[n++] = '%';
		out[n++] = upper_hex[c >> 4];
		out[n++] = upper_hex[c & 15];
	}
	out[n] = '\0';
	return n;
}

int label_write(const struct label *label, char out[LABEL_TEXT_SIZE])
{
	char escaped[3 * NAME_MAX_SIZE + 1], digits[CHECK_SIZE + 1], address[LABEL_ADDRESS_SIZE];
	struct bytes name = name_bytes(&label->name);
	int n = 0, r;

	switch (label->kind) {
	case LABEL_PNE:
		if (!entity_id_valid(name) ||
		    (label->address[0] && label_address(label->address, address) != 0))
			return -EINVAL;
		n = snprintf(out, LABEL_TEXT_SIZE, HEAD "pne:e=%s%s%s", label->name.text,
			     label->address[0] ? ";a=" : "", label->address[0] ? address : "");
		break;
	case LABEL_USER:
		if (!user_id_valid(name))
			return -EINVAL;
		(void)escape(label->name.text, escaped);
		n = snprintf(out, LABEL_TEXT_SIZE, HEAD "user:u=%s", escaped);
		break;
	}
	r = check(out, (size_t)n, digits);
	if (r == 0)
		(void)snprintf(out + n, LABEL_TEXT_SIZE - (size_t)n, CHECK_FIELD "%s", digits);
	return r;
}

struct reading {
	const char *text;
	size_t at;
	char *why;
	size_t why_size;
};

static int wrong(struct reading *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct reading *r, const char *format, ...)
{
	int used = snprintf(r->why, r->why_size, "character %zu: ", r->at + 1);
	va_list arguments;

	va_start(arguments, format);
	if (used > 0 && (size_t)used < r->why_size)
		(void)vsnprintf(r->why + used, r->why_size - (size_t)used, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

/* Moves behind word where it stands; else at the first character that is another. */
static bool skip(struct reading *r, const char *word)
{
	while (*word && r->text[r->at] == *word) {
		r->at++;
		word++;
	}
	return !*word;
}

/* Whether word stands here; moves on only then. */
static bool take(struct reading *r, const char *word)
{
	if (strncmp(r->text + r->at, word, strlen(word)) != 0)
		return false;
	r->at += strlen(word);
	return true;
}

static int read_entity(struct reading *r, struct label *l)
{
	size_t size = strcspn(r->text + r->at, ";");
	struct bytes id = bytes_of(r->text + r->at, size);

	for (size_t i = 0; i < size; i++) {
		if (entity_id_valid(bytes_of(id.data + i, 1)))
			continue;
		r->at += i;
		return wrong(r, "an Entity ID has no such character, only A-Z a-z 0-9 . _ : -");
	}
	if (!entity_id_valid(id))
		return wrong(r, "an Entity ID has 1 to %d characters, not %zu", NAME_MAX_SIZE,
			     size);
	r->at += size;
	return name_set(&l->name, id);
}

static int read_address(struct reading *r, struct label *l)
{
	const char *from = r->text + r->at;
	size_t size = strcspn(from, ";");
	char address[LABEL_ADDRESS_SIZE] = "";

	if (size == sizeof(address) - 1)
		memcpy(address, from, size);
	if (label_address(address, l->address) != 0 || strcmp(address, l->address) != 0)
		return wrong(r, "this is no Bluetooth address: six pairs of 0-9 A-F with colons");
	r->at += size;
	return 0;
}

static int read_user(struct reading *r, struct label *l)
{
	size_t begin = r->at, size = 0;
	char user[NAME_MAX_SIZE + 1] = "", c;

	while ((c = r->text[r->at]) != '\0' && c != ';') {
		size_t used = 1, written;
		uint8_t byte = (uint8_t)c;

		if (c == '%') {
			const char *digits = r->text + r->at + 1;

			if (!digits[0] || !digits[1] || !strchr(upper_hex, digits[0]) ||
			    !strchr(upper_hex, digits[1]) ||
			    hex_decode(bytes_of(digits, 2), &byte, 1, &written) != 0)
				return wrong(r, "after %% there are two of 0-9 A-F");
			if (plain((char)byte))
				return wrong(r, "%%%.2s is written as %c", digits, byte);
			used = 3;
		} else if (!plain(c)) {
			return wrong(r, "this character is written as %%%02X", byte);
		}
		if (size == NAME_MAX_SIZE)
			return wrong(r, "a User ID has at most %d bytes", NAME_MAX_SIZE);
		user[size++] = (char)byte;
		r->at += used;
	}
	if (!user_id_valid(bytes_of(user, size))) {
		r->at = begin;
		return wrong(r, "this is no User ID");
	}
	return name_set(&l->name, bytes_of(user, size));
}

static int read_check(struct reading *r)
{
	size_t size = r->at;
	char digits[CHECK_SIZE + 1];

	if (!skip(r, CHECK_FIELD))
		return wrong(r, "expected \"" CHECK_FIELD "\" and the check");
	if (check(r->text, size, digits) != 0)
		return wrong(r, "the check cannot be computed");
	if (strlen(r->text + r->at) < CHECK_SIZE)
		return wrong(r, "it ends within the check");
	if (strncmp(r->text + r->at, digits, CHECK_SIZE) != 0)
		return wrong(r, "the check is not that of this text: scan it again");
	r->at += CHECK_SIZE;
	return r->text[r->at] ? wrong(r, "there is more after the check") : 0;
}

int label_read(const char *text, struct label *out, char *why, size_t why_size)
{
	struct reading r = {.text = text, .why = why, .why_size = why_size};
	struct label l = {.address = ""};
	int result;

	if (!skip(&r, HEAD))
		return wrong(&r, "this is no label of a PN GW: it begins with \"" HEAD "\"");
	if (take(&r, "pne:")) {
		l.kind = LABEL_PNE;
		if (!skip(&r, "e="))
			return wrong(&r, "expected \"e=\" and the Entity ID");
		result = read_entity(&r, &l);
		if (result == 0 && take(&r, ";a="))
			result = read_address(&r, &l);
	} else if (take(&r, "user:")) {
		l.kind = LABEL_USER;
		if (!skip(&r, "u="))
			return wrong(&r, "expected \"u=\" and the User ID");
		result = read_user(&r, &l);
	} else {
		return wrong(&r, "expected \"pne:\" or \"user:\"");
	}
	if (result == 0)
		result = read_check(&r);
	if (result == 0)
		*out = l;
	return result;
}
