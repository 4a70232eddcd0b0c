#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/xmlerror.h>
#include <libxml/xmlmemory.h>
#include <pskc/pskc.h>

#include "server/import-internal.h"

/* libxml2 copies the document, keys and all, into many small pieces: each is wiped when it goes. */
static void wiping_free(void *p)
{
	if (p)
		wipe(p, malloc_usable_size(p));
	free(p);
}

static void *wiping_realloc(void *p, size_t size)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q = malloc(size);

	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, old < size ? old : size);
	wiping_free(p);
	return q;
}

/* libxml2 would print its complaints, with pieces of the document in them, to stderr. */
static void __attribute__((format(printf, 2, 3))) no_message(void *context, const char *format, ...)
{
	(void)context;
	(void)format;
}

static void first_line(void *context, xmlErrorPtr error)
{
	int *line = context;

	if (*line == 0)
		*line = error->line;
}

/* libpskc has no call to wipe what it decoded; the memory is its own and not constant. */
static void wipe_value(const char *value, size_t size)
{
	const union {
		const char *constant;
		void *writable;
	} u = {.constant = value};

	if (value)
		wipe(u.writable, size);
}

static int read_key(struct import *i, size_t number, pskc_key_t *key)
{
	size_t size = 0;
	const char *value = pskc_get_key_data_secret(key, &size);
	const char *base64 = pskc_get_key_data_b64secret(key);
	const char *serial = pskc_get_device_serialno(key);
	const char *wrong = NULL;
	struct secret *secret = NULL;

	if (!value || size == 0)
		wrong = "there is no plain key value";
	else if (!serial)
		wrong = "the DeviceInfo has no SerialNo";
	else if (size > SECRET_MAX_SIZE)
		wrong = "the key has not 16 to 64 bytes";
	else
		secret = secret_copy(bytes_of(value, size));
	wipe_value(value, size);
	wipe_value(base64, base64 ? strlen(base64) : 0);
	if (wrong)
		return import_bad(i, number, wrong);
	return import_add(i, number, bytes_text(serial), secret, false);
}

static int bad_document(struct import *i, int line, const char *what)
{
	i->unit = "line";
	return import_bad(i, line > 0 ? (size_t)line : 0, what);
}

static int line_of(struct bytes file, const uint8_t *at)
{
	int line = 1;

	for (const uint8_t *c = file.data; c < at; c++)
		line += *c == '\n';
	return line;
}

/*
 * The schema check and the decoder both pass over stray characters within base64, and libpskc ends
 * a value at a comment: either would make another key of the one in the file. Returns the line
 * where a value is not plain base64 up to its closing tag, 0 for none. The XML is well-formed.
 */
static int stray_character(struct bytes file)
{
	static const char tag[] = "PlainValue";
	const uint8_t *at = file.data;
	const uint8_t *end = file.data + file.size;

	while ((at = memmem(at, (size_t)(end - at), tag, strlen(tag))) != NULL) {
		const uint8_t *open = at;

		while (open > file.data && *open != '<')
			open--;
		while (at < end && *at != '>')
			at++;
		if (open[1] == '/' || at == end)
			continue;
		at++;
		while (at < end && (isalnum(*at) || isspace(*at) || strchr("+/=", *at)))
			at++;
		if (end - at < 2 || at[0] != '<' || at[1] != '/')
			return line_of(file, at);
	}
	return 0;
}

static int read_container(struct import *i, pskc_t *container, struct bytes file, const int *line)
{
	int valid = 0;
	int stray;
	int parsed = pskc_parse_from_memory(container, file.size, (const char *)file.data);
	int r = 0;

	if (parsed == PSKC_XML_ERROR)
		return bad_document(i, *line, "the XML is not well-formed");
	if (pskc_validate(container, &valid) != PSKC_OK)
		return import_bad(i, 0, "the schema of RFC 6030 cannot be used on this system");
	if (!valid || parsed != PSKC_OK)
		return bad_document(i, *line, "the XML is not a PSKC document of RFC 6030");
	stray = stray_character(file);
	if (stray > 0)
		return bad_document(i, stray, "the key is not base64");
	i->unit = "key";
	for (size_t n = 0; r == 0; n++) {
		pskc_key_t *key = pskc_get_keypackage(container, n);

		if (!key)
			break;
		r = read_key(i, n + 1, key);
	}
	return r;
}

static int parse(struct import *i, struct bytes file)
{
	pskc_t *container = NULL;
	int line = 0;
	int r;

	if (pskc_global_init() != PSKC_OK)
		return import_failed(i, -ENOMEM);
	xmlSetGenericErrorFunc(NULL, no_message);
	xmlSetStructuredErrorFunc(&line, first_line);
	if (pskc_init(&container) != PSKC_OK) {
		r = import_failed(i, -ENOMEM);
	} else {
		r = read_container(i, container, file, &line);
		pskc_done(container);
	}
	xmlSetStructuredErrorFunc(NULL, NULL);
	xmlSetGenericErrorFunc(NULL, NULL);
	pskc_global_done();
	return r;
}

static bool contains(struct bytes file, const char *text)
{
	return memmem(file.data, file.size, text, strlen(text)) != NULL;
}

/* Whether the XML declaration, if there is one, says nothing but UTF-8: what is looked for here is
 * looked for in that. */
static bool says_utf8(struct bytes file)
{
	static const char start[] = "<?xml";
	const char *at = (const char *)file.data, *end, *stop;

	if (file.size < strlen(start) || memcmp(at, start, strlen(start)) != 0)
		return true;
	end = memmem(at, file.size, "?>", 2);
	stop = end ? end : at + file.size;
	at = memmem(at, (size_t)(stop - at), "encoding", strlen("encoding"));
	if (!at)
		return true;
	at += strlen("encoding");
	while (at < stop && (isspace((unsigned char)*at) || *at == '='))
		at++;
	return stop - at >= 7 && (*at == '"' || *at == '\'') &&
	       strncasecmp(at + 1, "UTF-8", 5) == 0 && at[6] == *at;
}

int import_pskc(struct import *i, struct bytes file)
{
	int r;

	if (!says_utf8(file))
		return import_bad(i, 0, "the XML is to be in UTF-8");
	if (contains(file, "<!DOCTYPE"))
		return import_bad(i, 0, "a document type declaration is not allowed");
	if (contains(file, "EncryptedValue"))
		return import_bad(i, 0, "encrypted keys are not supported: have them made plain");
	if (xmlMemSetup(wiping_free, malloc, wiping_realloc, strdup) != 0)
		return import_failed(i, -ENOMEM);
	r = parse(i, file);
	xmlMemSetup(free, malloc, realloc, strdup);
	return r;
}
