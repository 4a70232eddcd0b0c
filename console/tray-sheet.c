/* The sheet a tray ends in: JSON that the PN GW signs, and a page to print that says the same. */

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "console/tray.h"
#include "protocol/sheet.h"

#define FORMAT         "pngw tray sheet 1"
#define PAGE_WIDTH     80
#define SHEET_SIZE_MAX (8 << 20)
#define PLAIN          (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

static void add_text(json_object *o, const char *key, const char *value)
{
	(void)json_object_object_add(o, key, json_object_new_string(value));
}

static void add_number(json_object *o, const char *key, int64_t value)
{
	(void)json_object_object_add(o, key, json_object_new_int64(value));
}

static int64_t number_of(json_object *o, const char *key)
{
	return json_object_get_int64(json_object_object_get(o, key));
}

static json_object *row(const struct tray_unit *u, size_t number)
{
	static const char *const texts[] = {"verdict", "text", "retry", "fingerprint"};
	static const char *const numbers[] = {"figure", "key_index", "attempts", "time"};
	json_object *o = json_object_new_object();

	add_number(o, "number", (int64_t)number);
	add_text(o, "entity", u->what.entity.text);
	add_text(o, "label", u->what.label);
	add_text(o, "address", u->what.address);
	add_text(o, "user", u->what.user.text);
	add_text(o, "result", u->state == TRAY_PASSED ? "pass" : "fail");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		add_text(o, texts[i], client_text(u->outcome, texts[i]));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		add_number(o, numbers[i], number_of(u->outcome, numbers[i]));
	return o;
}

static json_object *sheet_of(const struct tray *t)
{
	json_object *o = json_object_new_object(), *rows = json_object_new_array();
	const struct passwd *who = getpwuid(getuid());

	add_text(o, "format", FORMAT);
	add_text(o, "gateway", t->gateway.text);
	add_text(o, "technician", who ? who->pw_name : "");
	add_text(o, "manifest", t->manifest);
	add_text(o, "manifest_sha256", t->digest);
	add_number(o, "started", t->started);
	add_number(o, "ended", time(NULL));
	add_text(o, "challenge", t->challenge);
	add_number(o, "passed", (int64_t)tray_count(t, TRAY_PASSED));
	add_number(o, "failed", (int64_t)tray_count(t, TRAY_FAILED));
	for (size_t i = 0; i < t->count; i++)
		(void)json_object_array_add(rows, row(&t->unit[i], i + 1));
	(void)json_object_object_add(o, "units", rows);
	return o;
}

static void time_text(int64_t seconds, char out[32])
{
	time_t t = (time_t)seconds;
	struct tm utc;

	out[0] = '\0';
	if (gmtime_r(&t, &utc))
		(void)strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &utc);
}

/* name and text, wrapped below itself. */
static void put_line(FILE *out, const char *name, const char *text)
{
	char *clean = writer_clean(text);

	(void)fprintf(out, "%-14s", name);
	writer_wrap(out, clean ? clean : "", PAGE_WIDTH, 14, 14);
	(void)fputc('\n', out);
	free(clean);
}

static void put_time(FILE *out, const char *name, int64_t seconds)
{
	char text[32];

	time_text(seconds, text);
	put_line(out, name, text);
}

static void put_row(FILE *out, json_object *o)
{
	char *label = writer_clean(client_text(o, "label")),
	     *text = writer_clean(client_text(o, "text"));
	char when[32], line[256];

	time_text(number_of(o, "time"), when);
	(void)snprintf(line, sizeof(line), "%3lld  %s  %s", (long long)number_of(o, "number"),
		       strcmp(client_text(o, "result"), "pass") == 0 ? "PASS" : "FAIL",
		       client_text(o, "entity"));
	(void)fprintf(out, "%s%s%s\n", line, label && label[0] ? "  " : "", label ? label : "");
	(void)fprintf(out, "           %s", when);
	if (number_of(o, "key_index") > 0)
		(void)fprintf(out, "  key index %lld", (long long)number_of(o, "key_index"));
	if (number_of(o, "figure") > 0)
		(void)fprintf(out, "  Figure %lld", (long long)number_of(o, "figure"));
	if (client_text(o, "fingerprint")[0])
		(void)fprintf(out, "  fingerprint %s", client_text(o, "fingerprint"));
	(void)fputs("\n           ", out);
	(void)fprintf(out, "user %s", client_text(o, "user"));
	if (client_text(o, "address")[0])
		(void)fprintf(out, ", %s", client_text(o, "address"));
	(void)fputs("\n           ", out);
	writer_wrap(out, text ? text : "", PAGE_WIDTH, 11, 11);
	(void)fputc('\n', out);
	free(label);
	free(text);
}

/* The page of a signed document; to be freed. NULL: no memory. */
static char *page_of(json_object *document)
{
	json_object *sheet = json_object_object_get(document, "sheet"),
		    *signature = json_object_object_get(document, "signature"),
		    *rows = json_object_object_get(sheet, "units");
	char *text = NULL, total[128];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	(void)snprintf(total, sizeof(total), "%zu headsets: %lld PASS, %lld FAIL",
		       json_object_array_length(rows), (long long)number_of(sheet, "passed"),
		       (long long)number_of(sheet, "failed"));
	(void)fputs("EUKeys OF A TRAY OF HEADSETS\n\n", out);
	put_line(out, "PN GW", client_text(sheet, "gateway"));
	put_line(out, "Technician", client_text(sheet, "technician"));
	put_line(out, "Manifest", client_text(sheet, "manifest"));
	put_time(out, "Begun", number_of(sheet, "started"));
	put_time(out, "Ended", number_of(sheet, "ended"));
	put_line(out, "Result", total);
	put_line(out, "Challenge", client_text(sheet, "challenge"));
	(void)fputc('\n', out);
	for (size_t i = 0; i < json_object_array_length(rows); i++)
		put_row(out, json_object_array_get_idx(rows, i));
	(void)fputs("\nSigned by the PN GW with the key of its ledger (Ed25519):\n", out);
	put_time(out, "Signed", number_of(signature, "time"));
	put_line(out, "Sheet SHA-256", client_text(signature, "digest"));
	put_line(out, "Public key", client_text(signature, "public_key"));
	put_line(out, "Vault", client_text(signature, "vault_id"));
	(void)snprintf(total, sizeof(total), "%lld entries",
		       (long long)number_of(signature, "ledger_entries"));
	put_line(out, "Ledger", total);
	put_line(out, "Ledger head", client_text(signature, "ledger_head"));
	put_line(out, "Signature", client_text(signature, "signature"));
	(void)fputs("\nTechnician's signature: ______________________________\n", out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int digest_of(json_object *sheet, uint8_t digest[SHEET_DIGEST_SIZE])
{
	return p1_sha256(bytes_text(json_object_to_json_string_ext(sheet, PLAIN)), digest);
}

/* The PN GW's answer, with the digest in it. 0 or an exit code, said. */
static int have_signed(struct console *console, json_object *sheet, json_object **out)
{
	uint8_t digest[SHEET_DIGEST_SIZE];
	char hex[2 * SHEET_DIGEST_SIZE + 1];
	struct client_failure failure;
	sd_bus_message *reply = NULL, *m;
	int code;

	if (digest_of(sheet, digest) != 0)
		return console_failed(console, EXIT_RETRY, "there is no memory");
	m = client_call_new(console->client, CLIENT_GATEWAY, "SignSheet");
	if (m)
		(void)sd_bus_message_append_array(m, 'y', digest, sizeof(digest));
	if (client_call(console->client, m, &reply, &failure) != 0)
		return console_failed(console, failure.code,
				      "the sheet is not signed: %s; the same command tries that "
				      "again and gives no key twice",
				      failure.message);
	code = console_decode(console, reply, out);
	if (code == 0 && hex_encode(bytes_of(digest, sizeof(digest)), hex, sizeof(hex)) == 0)
		add_text(*out, "digest", hex);
	return code;
}

static int put_file(struct tray *t, const char *end, const char *text)
{
	char path[4096];
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s%s", t->folder, t->name, end);
	r = text ? tray_file_write(path, text, strlen(text)) : -ENOMEM;
	if (r < 0)
		return console_failed(t->console, EXIT_RETRY, "%s: %s", path, strerror(-r));
	return 0;
}

/* What is kept of it: this very text, and nothing before or after it. To be freed. */
static char *text_of(json_object *document)
{
	char *text = NULL;

	return asprintf(&text, "%s\n", json_object_to_json_string_ext(document, PLAIN)) < 0 ? NULL
											    : text;
}

int tray_sheet_write(struct tray *t)
{
	json_object *document = json_object_new_object(), *sheet = sheet_of(t), *signature = NULL;
	char *text, *page;
	int code = have_signed(t->console, sheet, &signature);

	(void)json_object_object_add(document, "sheet", sheet);
	(void)json_object_object_add(document, "signature", signature);
	if (code == 0) {
		text = text_of(document);
		page = page_of(document);
		code = put_file(t, ".txt", page);
		if (code == 0)
			code = put_file(t, ".json", text);
		free(text);
		free(page);
	}
	(void)json_object_put(document);
	return code;
}

static char *read_file(const char *path, size_t *size)
{
	FILE *in = fopen(path, "re");
	char *data = in ? calloc(1, SHEET_SIZE_MAX + 1) : NULL;

	*size = data ? fread(data, 1, SHEET_SIZE_MAX, in) : 0;
	if (in)
		(void)fclose(in);
	return data;
}

static bool take_hex(json_object *o, const char *key, uint8_t *out, size_t size)
{
	size_t written = 0;

	return hex_decode(bytes_text(client_text(o, key)), out, size, &written) == 0 &&
	       written == size;
}

static bool read_signature(json_object *o, struct sheet_signature *s)
{
	s->time = (uint64_t)number_of(o, "time");
	s->ledger_sequence = (uint32_t)number_of(o, "ledger_entries");
	return take_hex(o, "public_key", s->public_key, sizeof(s->public_key)) &&
	       take_hex(o, "vault_id", s->vault_id, sizeof(s->vault_id)) &&
	       take_hex(o, "ledger_head", s->ledger_head, sizeof(s->ledger_head)) &&
	       take_hex(o, "signature", s->signature, sizeof(s->signature));
}

/* What is wrong with it; NULL: nothing. */
static const char *check_document(json_object *document, const char *data)
{
	json_object *sheet = json_object_object_get(document, "sheet"),
		    *signature = json_object_object_get(document, "signature");
	const char *gateway = client_text(sheet, "gateway");
	uint8_t digest[SHEET_DIGEST_SIZE];
	struct sheet_signature s;
	char hex[2 * SHEET_DIGEST_SIZE + 1], *text;
	bool same;

	if (strcmp(client_text(sheet, "format"), FORMAT) != 0 ||
	    !json_object_is_type(json_object_object_get(sheet, "units"), json_type_array))
		return "it is no sheet of a tray";
	/* One text for one sheet: a reader that takes JSON differently reads the same. */
	text = text_of(document);
	same = text && strcmp(text, data) == 0;
	free(text);
	if (!same)
		return "it is not written as the sheet was";
	if (!read_signature(signature, &s) || digest_of(sheet, digest) != 0 ||
	    hex_encode(bytes_of(digest, sizeof(digest)), hex, sizeof(hex)) != 0)
		return "its signature is malformed";
	if (strcmp(client_text(signature, "digest"), hex) != 0)
		return "the sheet was altered";
	if (strcmp(client_text(signature, "entity"), gateway) != 0)
		return "another PN GW than the one it names has signed it";
	if (sheet_verify(&s, bytes_text(gateway), digest) != 0)
		return "the signature does not belong to it";
	return NULL;
}

/* The page beside the sheet, where there is one. */
static const char *check_page(json_object *document, const char *path)
{
	size_t size = strlen(path), page_size;
	char *other, *page, *wanted;
	const char *wrong = NULL;

	if (size < 5 || strcmp(path + size - 5, ".json") != 0 ||
	    asprintf(&other, "%.*s.txt", (int)size - 5, path) < 0)
		return NULL;
	page = read_file(other, &page_size);
	wanted = page ? page_of(document) : NULL;
	if (page && (!wanted || strcmp(page, wanted) != 0))
		wrong = "the page beside it says something else";
	free(page);
	free(wanted);
	free(other);
	return wrong;
}

static int tell(struct console *console, json_object *document, bool known)
{
	json_object *signature = json_object_object_get(document, "signature"),
		    *sheet = json_object_object_get(document, "sheet"),
		    *told = json_object_new_object();

	add_text(told, "result", "done");
	add_text(told, "gateway", client_text(sheet, "gateway"));
	add_text(told, "public_key", client_text(signature, "public_key"));
	(void)json_object_object_add(told, "known", json_object_new_boolean(known));
	add_number(told, "passed", number_of(sheet, "passed"));
	add_number(told, "failed", number_of(sheet, "failed"));
	add_number(told, "time", number_of(signature, "time"));
	switch (console->writer.form) {
	case WRITER_TEXT:
		writer_say(&console->writer,
			   "the sheet is as %s signed it: %lld passed, %lld failed",
			   client_text(sheet, "gateway"), (long long)number_of(sheet, "passed"),
			   (long long)number_of(sheet, "failed"));
		writer_say(
			&console->writer,
			known ? "the signer's key is the one that was given: %s"
			      : "nothing shows yet that the key is that PN GW's: compare %s with "
				"the key that pngw-ledger shows of its ledger, or give it with "
				"--signer",
			client_text(signature, "public_key"));
		break;
	case WRITER_JSON:
		writer_json(&console->writer, told);
		break;
	case WRITER_KV:
		writer_kv(&console->writer, NULL, told);
		break;
	}
	(void)json_object_put(told);
	return EXIT_DONE;
}

int tray_sheet_verify(struct console *console, const char *path, const char *signer)
{
	size_t size;
	char *data = read_file(path, &size);
	json_object *document;
	const char *wrong;
	int code;

	if (!data)
		return console_failed(console, EXIT_REFUSED, "%s: %s", path, strerror(errno));
	document = strlen(data) == size ? json_tokener_parse(data) : NULL;
	wrong = json_object_is_type(document, json_type_object) ? check_document(document, data)
								: "it is no sheet of a tray";
	if (!wrong)
		wrong = check_page(document, path);
	if (!wrong && signer &&
	    strcasecmp(signer, client_text(json_object_object_get(document, "signature"),
					   "public_key")) != 0)
		wrong = "it was signed with another key than the one given";
	code = wrong ? console_failed(console, EXIT_REFUSED, "%s: %s", path, wrong)
		     : tell(console, document, signer != NULL);
	(void)json_object_put(document);
	free(data);
	return code;
}
