/* The commands about the vault and its ledger. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/command-internal.h"
#include "console/procedure.h"

#define LEDGER_LINES 20
#define LEDGER_WIDE  120 /* with that many columns the sentence has room beside the others */

int command_vault_status(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"file", "vault", COLUMN_PLAIN},
		{"schema", "schema", COLUMN_PLAIN},
		{"records", "records", COLUMN_PLAIN},
		{"generation", "generation", COLUMN_PLAIN},
		{"rekeying", "re-keying", COLUMN_PLAIN},
		{"ledger_entries", "ledger entries", COLUMN_PLAIN},
		{"ledger_head", "ledger head", COLUMN_PLAIN},
		{"ledger_text", "ledger", COLUMN_PLAIN},
		{"anchor", "anchor", COLUMN_PLAIN},
		{"rolled_back", "rolled back", COLUMN_PLAIN},
		{"last_backup", "last backup", COLUMN_PLAIN},
		{"damaged", "damaged", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};

	json_object *status = NULL, *behind;
	int code = console_connect(console);

	(void)call;
	if (code == 0)
		code = console_get(console, CLIENT_VAULT, "GetStatus", &status);
	if (code != 0)
		return code;
	/* A "-" there would read as no ledger at all. */
	if (console->writer.form == WRITER_TEXT &&
	    json_object_object_get_ex(status, "ledger_text", &behind) &&
	    json_object_get_string_len(behind) == 0)
		(void)json_object_object_add(status, "ledger_text",
					     json_object_new_string("complete"));
	writer_record(&console->writer, columns, status);
	(void)json_object_put(status);
	return EXIT_DONE;
}

int command_vault_wraps(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"slot", "SLOT", COLUMN_PLAIN},
		{"kind", "KIND", COLUMN_PLAIN},
		{"label", "LABEL", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};

	(void)call;
	return command_list(console, CLIENT_VAULT, "ListWraps", columns, "nothing opens it");
}

/* types: of the arguments that follow; text, and numbers of 32 bits as "u". */
static int run(struct console *console, struct call *call, bool asks, const char *method,
	       const char *types, const char *const *words)
{
	struct procedure p = {.words = call, .asks = asks, .password_file = console->password_file};
	int code = console_connect(console);

	if (code != 0)
		return code;
	p.call = client_call_new(console->client, CLIENT_VAULT, method);
	for (size_t i = 0; p.call && types[i]; i++) {
		if (types[i] == 'u')
			(void)sd_bus_message_append(p.call, "u",
						    (uint32_t)strtoul(words[i], NULL, 10));
		else
			(void)sd_bus_message_append(p.call, "s", words[i]);
	}
	return procedure_run(console, &p);
}

/* The word at index, or "". */
static const char *word_or_none(const struct call *call, size_t index)
{
	return index < call->count ? call->word[index] : "";
}

int command_vault_check(struct console *console, struct call *call)
{
	return run(console, call, false, "Check", "", NULL);
}

int command_vault_backup(struct console *console, struct call *call)
{
	/* pngwd has another working directory than whoever types. */
	char *absolute = NULL;
	const char *file = call->word[0];
	int code;

	if (file[0] != '/') {
		char *here = getcwd(NULL, 0);

		if (!here || asprintf(&absolute, "%s/%s", here, file) < 0)
			absolute = NULL;
		free(here);
		if (!absolute)
			return console_failed(console, EXIT_RETRY, "out of memory");
		file = absolute;
	}
	code = run(console, call, false, "Backup", "s", &file);
	free(absolute);
	return code;
}

int command_vault_rekey(struct console *console, struct call *call)
{
	return run(console, call, false, "Rekey", "", NULL);
}

int command_vault_add_wrap(struct console *console, struct call *call)
{
	const char *words[] = {call->word[0], word_or_none(call, 1)};

	return run(console, call, false, "AddWrap", "ss", words);
}

int command_vault_add_passphrase(struct console *console, struct call *call)
{
	const char *words[] = {word_or_none(call, 0)};

	return run(console, call, true, "AddPassphrase", "s", words);
}

int command_vault_rotate_wrap(struct console *console, struct call *call)
{
	const char *words[] = {call->word[0], call->word[1], word_or_none(call, 2)};

	return run(console, call, false, "RotateWrap", "uss", words);
}

int command_vault_remove_wrap(struct console *console, struct call *call)
{
	sd_bus_message *m;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_VAULT, "RemoveWrap");
	if (m)
		(void)sd_bus_message_append(m, "u", (uint32_t)strtoul(call->word[0], NULL, 10));
	code = command_call(console, m, NULL);
	return code != 0 ? code : command_done(console, "removed");
}

/* What the sentence says beyond the columns: the reason at its end. */
static void add_why(json_object *entry)
{
	const char *why = strstr(client_text(entry, "text"), ": ");

	(void)json_object_object_add(entry, "why", json_object_new_string(why ? why + 2 : ""));
}

int command_ledger(struct console *console, struct call *call)
{
	static const struct column columns[] = {
		{"sequence", "NO", COLUMN_PLAIN},   {"time", "TIME", COLUMN_TIME},
		{"event", "EVENT", COLUMN_PLAIN},   {"figure", "FIGURE", COLUMN_PLAIN},
		{"entity", "ENTITY", COLUMN_PLAIN}, {"user", "USER", COLUMN_PLAIN},
		{"key_index", "KEY", COLUMN_PLAIN}, {"text", "", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	static const struct column narrow[] = {
		{"sequence", "NO", COLUMN_PLAIN},   {"time", "TIME", COLUMN_TIME},
		{"event", "EVENT", COLUMN_PLAIN},   {"figure", "FIGURE", COLUMN_PLAIN},
		{"entity", "ENTITY", COLUMN_PLAIN}, {"user", "USER", COLUMN_PLAIN},
		{"key_index", "KEY", COLUMN_PLAIN}, {"why", "WHY", COLUMN_PLAIN},
		{NULL, NULL, COLUMN_PLAIN},
	};
	bool is_narrow = console->writer.form == WRITER_TEXT && console->writer.width > 0 &&
			 console->writer.width < LEDGER_WIDE;
	unsigned long lines = call->count > 0 ? strtoul(call->word[0], NULL, 10) : LEDGER_LINES;
	sd_bus_message *m;
	json_object *rows = NULL;
	int code = console_connect(console);

	if (code != 0)
		return code;
	m = client_call_new(console->client, CLIENT_VAULT, "ListLedger");
	if (m)
		(void)sd_bus_message_append(m, "u", (uint32_t)lines);
	code = command_call(console, m, &rows);
	if (code != 0)
		return code;
	for (size_t i = 0; is_narrow && i < json_object_array_length(rows); i++)
		add_why(json_object_array_get_idx(rows, i));
	writer_table(&console->writer, is_narrow ? narrow : columns, rows, "the ledger is empty");
	(void)json_object_put(rows);
	return EXIT_DONE;
}
