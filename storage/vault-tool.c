/* pngw-vault: looks after a vault that no daemon has open. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "protocol/process.h"
#include "storage/vault-backup.h"
#include "storage/vault-manage.h"

#define NOT_GOOD     1
#define BACKUP_PAGES 256

struct tool {
	const char *path;
	const char *anchor;
	struct vault_opener openers[VAULT_SLOTS];
	size_t opener_count;
	const char *label;
	const char *new_key_file;
	bool new_passphrase;
	bool drill;
	int argc;
	char **argv; /* what follows the command */
	struct vault *v;
	char why[512];
};

struct command {
	const char *name;
	const char *argument; /* NULL: takes none */
	bool closed;          /* the vault must not be open */
	int (*run)(struct tool *t);
};

static const char usage_text[] =
	"Usage: pngw-vault --vault FILE [--key-file FILE|credential:NAME]... [--passphrase] "
	"COMMAND\n"
	"\n"
	"  status               what it is, its wraps and records, whether an older copy was put "
	"back\n"
	"  check                whether each key opens it and every record opens: run it before "
	"an\n"
	"                       update\n"
	"  scan                 opens every record and names the damaged ones by kind and owner's "
	"hash\n"
	"  wraps                lists the slots and what opens them\n"
	"  add-wrap             gives a slot to --new-key-file FILE (made when it is not there) or "
	"to\n"
	"                       --new-passphrase; --label TEXT says what it is\n"
	"  rotate-wrap SLOT     the same, in the place of that slot's\n"
	"  remove-wrap SLOT     never the last\n"
	"  rekey                seals everything anew under a new master key\n"
	"  backup FILE          a sealed copy that the same keys open\n"
	"  restore FILE         puts a backup in the vault's place, after proving that it opens;\n"
	"                       --drill only proves it\n"
	"\n"
	"Passphrases are read from the terminal or from standard input, one a line: first the one\n"
	"that opens the vault, then the new one. The vault must not be in use, except for\n"
	"restore --drill. --anchor SPEC also compares with the daemon's anchor.\n"
	"--help prints this.\n"
	"Exit: 0 done or good, 1 refused or not good, 64 wrong usage\n";

static int usage(const char *what, const char *detail)
{
	(void)fprintf(stderr, "pngw-vault: %s%s%s\n%s", what, detail ? ": " : "",
		      detail ? detail : "", usage_text);
	return EX_USAGE;
}

/* r is what a call returned that explained itself in t->why. */
static int told(const struct tool *t, int r)
{
	if (r == 0)
		return 0;
	(void)fprintf(stderr, "pngw-vault: %s\n", t->why[0] ? t->why : strerror(r < 0 ? -r : EIO));
	return NOT_GOOD;
}

static int error(const struct tool *t, int r)
{
	(void)fprintf(stderr, "pngw-vault: %s: %s\n", t->path,
		      r < 0 ? strerror(-r) : "its rows are damaged");
	return NOT_GOOD;
}

/* One line of standard input up to its end, straight into secret memory. -ENODATA: no line. */
static int read_line(struct secret *line, size_t *size)
{
	const size_t room = secret_size(line);

	*size = 0;
	for (;;) {
		uint8_t byte;
		ssize_t n = read(STDIN_FILENO, &byte, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return *size > 0 ? 0 : -ENODATA;
		if (byte == '\n')
			return *size > 0 ? 0 : -ENODATA;
		if (*size == room)
			return -EMSGSIZE;
		secret_buffer(line)[(*size)++] = byte;
		wipe(&byte, 1);
	}
}

static int read_passphrase(const char *prompt, struct secret **out)
{
	SCOPED_SECRET *line = secret_new(SECRET_MAX_SIZE);
	struct termios before, quiet;
	const bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
	size_t size = 0;
	int r;

	if (!line)
		return -ENOMEM;
	if (terminal) {
		(void)fprintf(stderr, "%s: ", prompt);
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
			return -errno;
	}
	r = read_line(line, &size);
	if (terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)fputc('\n', stderr);
	}
	if (r < 0)
		return r;
	secret_shrink(line, size);
	*out = secret_ref(line);
	return 0;
}

/* Twice from a terminal, where nobody sees what was typed. */
static int read_new_passphrase(struct tool *t, struct secret **out)
{
	SCOPED_SECRET *first = NULL;
	SCOPED_SECRET *second = NULL;
	int r = read_passphrase("New passphrase", &first);

	if (r == 0 && isatty(STDIN_FILENO)) {
		r = read_passphrase("Again", &second);
		if (r == 0 && !secret_equal(first, second)) {
			snprintf(t->why, sizeof(t->why), "the two are not the same");
			return VAULT_REFUSED;
		}
	}
	if (r < 0)
		snprintf(t->why, sizeof(t->why), "reading the new passphrase: %s", strerror(-r));
	if (r == 0)
		*out = secret_ref(first);
	return r;
}

static const char *source_text(enum vault_source source)
{
	switch (source) {
	case VAULT_SOURCE_KEY_FILE:
		return "key file";
	case VAULT_SOURCE_PASSPHRASE:
		return "passphrase";
	}
	return "unknown";
}

static int list_wraps(struct tool *t)
{
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t count = 0;
	int r = vault_wraps(t->v, wraps, &count);

	if (r != 0)
		return error(t, r);
	for (size_t i = 0; i < count; i++)
		(void)printf("slot %u: %s, %s\n", wraps[i].slot, source_text(wraps[i].source),
			     wraps[i].label);
	return 0;
}

/* Whose it is nobody but the vault's owner can tell: the file holds keyed hashes. */
static void print_damaged(void *arg, enum vault_kind kind, int64_t sequence,
			  const uint8_t owner[VAULT_HASH_SIZE])
{
	char digits[2 * VAULT_HASH_SIZE + 1] = "";

	(void)arg;
	(void)hex_encode(bytes_of(owner, VAULT_HASH_SIZE), digits, sizeof(digits));
	(void)printf("damaged: kind %d, sequence %" PRId64 ", owner %s\n", (int)kind, sequence,
		     digits);
}

static int scan(struct tool *t)
{
	struct vault_scan found;
	int r = vault_scan(t->v, print_damaged, NULL, &found);

	if (r != 0)
		return error(t, r);
	(void)printf("records: %zu, damaged: %zu\n", found.records, found.damaged);
	if (found.gaps > 0)
		(void)printf("places that cannot be read: %zu\n", found.gaps);
	if (!found.sound)
		(void)puts("the pages do not fit together: records may be missing");
	return found.damaged == 0 && found.gaps == 0 && found.sound ? 0 : NOT_GOOD;
}

static void tell_ledger(struct tool *t)
{
	const struct vault_rollback *rollback = vault_rollback(t->v);
	struct ledger_state state;
	const char *with;

	vault_ledger_state(t->v, &state);
	(void)printf("ledger: newest entry %" PRIu32 "\n", state.sequence);
	if (vault_ledger_trouble(t->v, &with) < 0)
		(void)printf("the %s is not up to date: %s\n", with,
			     strerror(-vault_ledger_trouble(t->v, &with)));
	if (rollback)
		(void)printf("ROLLED BACK: its newest entry is %" PRIu32 ", the %s knows %" PRIu32
			     ": an older copy was put back\n",
			     rollback->own, rollback->who, rollback->known);
}

static int status(struct tool *t)
{
	struct vault_rekey_progress progress;
	int r;

	vault_rekey_progress(t->v, &progress);
	(void)printf("vault %s: master key generation %" PRIu32 "\n", t->path, progress.to);
	if (progress.from != 0)
		(void)printf("re-keying from generation %" PRIu32 " is under way\n", progress.from);
	tell_ledger(t);
	r = list_wraps(t);
	return r == 0 ? scan(t) : r;
}

static bool check_openers(struct tool *t, bool opened[VAULT_SLOTS + 1])
{
	bool good = true;

	for (size_t i = 0; i < t->opener_count; i++) {
		const struct vault_opener *o = &t->openers[i];
		const char *name = o->path ? o->path : "the passphrase";
		struct vault_opener_check check;

		vault_check_opener(t->v, o, &check);
		if (check.result == 0) {
			(void)printf("%s opens slot %u\n", name, check.slot);
			opened[check.slot] = true;
		} else {
			(void)printf("%s DOES NOT OPEN IT: %s\n", name, check.why);
			good = false;
		}
	}
	return good;
}

static int check(struct tool *t)
{
	bool opened[VAULT_SLOTS + 1] = {false};
	struct vault_wrap wraps[VAULT_SLOTS];
	bool good = check_openers(t, opened);
	size_t count = 0;
	int r = vault_wraps(t->v, wraps, &count);

	if (r != 0)
		return error(t, r);
	for (size_t i = 0; i < count; i++) {
		if (!opened[wraps[i].slot])
			(void)printf("slot %u (%s, %s) was not tried\n", wraps[i].slot,
				     source_text(wraps[i].source), wraps[i].label);
	}
	r = vault_check_rows(t->v, t->why, sizeof(t->why));
	if (r != 0)
		return told(t, r);
	if (scan(t) != 0)
		good = false;
	(void)puts(good ? "it will open again" : "NOT GOOD");
	return good ? 0 : NOT_GOOD;
}

static int prepare_new(struct tool *t, struct vault_prepared *out)
{
	struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = t->new_key_file};
	SCOPED_SECRET *passphrase = NULL;
	int r = 0;

	if (t->new_passphrase) {
		opener = (struct vault_opener){.source = VAULT_SOURCE_PASSPHRASE};
		r = read_new_passphrase(t, &passphrase);
		opener.passphrase = passphrase;
	}
	if (r == 0)
		r = vault_wrap_prepare(&opener, t->label, true, out, t->why, sizeof(t->why));
	return r;
}

static bool parse_slot(const char *text, uint8_t *out)
{
	if (text[0] < '1' || text[0] > '0' + VAULT_SLOTS || text[1] != '\0')
		return false;
	*out = (uint8_t)(text[0] - '0');
	return true;
}

static int give_wrap(struct tool *t, uint8_t slot)
{
	struct vault_prepared prepared = {.secret = NULL};
	int r;

	if ((t->new_key_file != NULL) == t->new_passphrase)
		return usage("give either --new-key-file or --new-passphrase", NULL);
	r = prepare_new(t, &prepared);
	if (r == 0 && slot == 0)
		r = vault_wrap_add(t->v, &prepared, &slot, t->why, sizeof(t->why));
	else if (r == 0)
		r = vault_wrap_rotate(t->v, slot, &prepared, t->why, sizeof(t->why));
	vault_prepared_clear(&prepared);
	if (r == 0)
		(void)printf("slot %u: %s\n", slot,
			     t->new_passphrase ? "the new passphrase" : t->new_key_file);
	return told(t, r);
}

static int add_wrap(struct tool *t)
{
	return give_wrap(t, 0);
}

static const char copies_text[] =
	"Older copies of the vault are still opened by what was there: rekey, and destroy them.";

static int rotate_wrap(struct tool *t)
{
	uint8_t slot;
	int r;

	if (!parse_slot(t->argv[0], &slot))
		return usage("not a slot", t->argv[0]);
	r = give_wrap(t, slot);
	if (r == 0)
		(void)puts(copies_text);
	return r;
}

static int remove_wrap(struct tool *t)
{
	uint8_t slot;
	int r;

	if (!parse_slot(t->argv[0], &slot))
		return usage("not a slot", t->argv[0]);
	r = told(t, vault_wrap_remove(t->v, slot, t->why, sizeof(t->why)));
	if (r == 0)
		(void)printf("slot %u is empty\n%s\n", slot, copies_text);
	return r;
}

static int rekey(struct tool *t)
{
	struct vault_rekey_progress progress;
	int r = 0;

	vault_rekey_progress(t->v, &progress);
	if (progress.from == 0)
		r = told(t, vault_rekey_begin(t->v, t->why, sizeof(t->why)));
	if (r != 0)
		return r;
	while (vault_rekey_pending(t->v))
		(void)vault_flush(t->v);
	vault_rekey_progress(t->v, &progress);
	if (progress.error != 0) {
		(void)fprintf(stderr,
			      "pngw-vault: %s: %s; what is done is kept, call rekey again\n",
			      t->path, strerror(-progress.error));
		return NOT_GOOD;
	}
	(void)printf("generation %" PRIu32 ": %" PRIu64 " records sealed anew, damaged: %" PRIu64
		     "\n",
		     progress.to, progress.done, progress.damaged);
	return progress.damaged == 0 ? 0 : NOT_GOOD;
}

static int backup(struct tool *t)
{
	struct vault_backup *b = NULL;
	int r = vault_backup_begin(t->v, t->argv[0], &b, t->why, sizeof(t->why));

	if (r != 0)
		return told(t, r);
	do
		r = vault_backup_step(b, BACKUP_PAGES, t->why, sizeof(t->why));
	while (r == VAULT_BACKUP_MORE);
	vault_backup_end(b);
	if (r == 0)
		(void)printf("%s is a backup of %s\n", t->argv[0], t->path);
	return told(t, r);
}

static struct vault_options options_of(const struct tool *t)
{
	return (struct vault_options){.path = t->path,
				      .openers = t->openers,
				      .opener_count = t->opener_count,
				      .anchor = t->anchor};
}

static int restore(struct tool *t)
{
	const struct vault_options options = options_of(t);
	struct vault_drill d = {.records = 0};
	int r;

	if (t->drill)
		r = vault_restore_check(&options, t->argv[0], &d, t->why, sizeof(t->why));
	else
		r = vault_restore(&options, t->argv[0], &d, t->why, sizeof(t->why));
	if (r != 0)
		return told(t, r);
	(void)printf("%s opens, all %" PRIu64 " records\n", t->argv[0], d.records);
	if (d.other_vault)
		(void)printf("the ledger beside %s is that of another vault\n", t->path);
	else if (d.present_entries > d.backup_entries)
		(void)printf("the ledger has %" PRIu32
			     " entries since: what they tell of is lost with "
			     "it, and keys that were unspent are not used any more\n",
			     d.present_entries - d.backup_entries);
	if (!t->drill)
		(void)printf("it is %s now%s\n", t->path,
			     d.present ? "; what was there is kept as .replaced" : "");
	return 0;
}

static const struct command commands[] = {
	{"status", NULL, false, status},
	{"check", NULL, false, check},
	{"scan", NULL, false, scan},
	{"wraps", NULL, false, list_wraps},
	{"add-wrap", NULL, false, add_wrap},
	{"rotate-wrap", "SLOT", false, rotate_wrap},
	{"remove-wrap", "SLOT", false, remove_wrap},
	{"rekey", NULL, false, rekey},
	{"backup", "FILE", false, backup},
	{"restore", "FILE", true, restore},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int run(struct tool *t, const struct command *c)
{
	const struct vault_options options = options_of(t);
	int r;

	if (c->closed)
		return c->run(t);
	r = vault_open(&options, &t->v, t->why, sizeof(t->why));
	if (r != 0)
		return told(t, r);
	r = c->run(t);
	vault_close(t->v);
	return r;
}

static bool add_opener(struct tool *t, enum vault_source source, const char *path)
{
	if (t->opener_count == VAULT_SLOTS)
		return false;
	t->openers[t->opener_count++] = (struct vault_opener){.source = source, .path = path};
	return true;
}

/* Reads the passphrases of the openers that are one. */
static int ask(struct tool *t)
{
	for (size_t i = 0; i < t->opener_count; i++) {
		int r;

		if (t->openers[i].source != VAULT_SOURCE_PASSPHRASE)
			continue;
		r = read_passphrase("Passphrase", &t->openers[i].passphrase);
		if (r < 0) {
			snprintf(t->why, sizeof(t->why), "reading the passphrase: %s",
				 strerror(-r));
			return r;
		}
	}
	return 0;
}

enum { OPTION_VAULT = 256, OPTION_KEY, OPTION_PASSPHRASE, OPTION_ANCHOR, OPTION_LABEL };
enum { OPTION_NEW_KEY = 512, OPTION_NEW_PASSPHRASE, OPTION_DRILL, OPTION_HELP };

static const struct option long_options[] = {
	{"vault", required_argument, NULL, OPTION_VAULT},
	{"key-file", required_argument, NULL, OPTION_KEY},
	{"passphrase", no_argument, NULL, OPTION_PASSPHRASE},
	{"anchor", required_argument, NULL, OPTION_ANCHOR},
	{"label", required_argument, NULL, OPTION_LABEL},
	{"new-key-file", required_argument, NULL, OPTION_NEW_KEY},
	{"new-passphrase", no_argument, NULL, OPTION_NEW_PASSPHRASE},
	{"drill", no_argument, NULL, OPTION_DRILL},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* false: usage. */
static bool take_option(struct tool *t, int option)
{
	switch (option) {
	case OPTION_VAULT:
		t->path = optarg;
		return true;
	case OPTION_KEY:
		return add_opener(t, VAULT_SOURCE_KEY_FILE, optarg);
	case OPTION_PASSPHRASE:
		return add_opener(t, VAULT_SOURCE_PASSPHRASE, NULL);
	case OPTION_ANCHOR:
		t->anchor = optarg;
		return true;
	case OPTION_LABEL:
		t->label = optarg;
		return true;
	case OPTION_NEW_KEY:
		t->new_key_file = optarg;
		return true;
	case OPTION_NEW_PASSPHRASE:
		t->new_passphrase = true;
		return true;
	case OPTION_DRILL:
		t->drill = true;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	struct tool t = {.path = NULL};
	const struct command *c;
	int option;
	int r;

	process_keep_secrets();
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h' || option == OPTION_HELP)
			return fputs(usage_text, stdout) < 0 ? NOT_GOOD : 0;
		if (!take_option(&t, option))
			return usage("wrong options", NULL);
	}
	if (optind == argc)
		return usage("no command", NULL);
	c = find_command(argv[optind]);
	if (!c)
		return usage("no such command", argv[optind]);
	t.argc = argc - optind - 1;
	t.argv = argv + optind + 1;
	if (t.argc != (c->argument ? 1 : 0))
		return usage(c->argument ? "the command takes one argument"
					 : "the command takes no argument",
			     c->argument);
	if (!t.path || t.opener_count == 0)
		return usage("--vault and a --key-file or --passphrase are needed", NULL);
	r = told(&t, ask(&t));
	if (r == 0)
		r = run(&t, c);
	for (size_t i = 0; i < t.opener_count; i++)
		secret_unref(t.openers[i].passphrase);
	return r;
}
