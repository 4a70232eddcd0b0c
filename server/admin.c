#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "protocol/p1.h"
#include "protocol/process.h"
#include "server/admin.h"
#include "server/import.h"

int admin_fail(const char *what, int r)
{
	(void)fprintf(stderr, "cpns-server-admin: %s: %s\n", what,
		      r < 0                 ? strerror(-r)
		      : r == STORE_ABSENT   ? "there is no such record"
		      : r == STORE_CONFLICT ? "somebody else changed it at the same time, try again"
		      : r == STORE_DAMAGED  ? "the record is damaged, or the key file is another"
		      : r == STORE_NEWER    ? "written by a newer version"
		      : r == STORE_KEY_FILE ? "the key file is not usable"
					    : "unknown outcome");
	return EXIT_FAILURE;
}

int admin_refuse(const char *text)
{
	(void)fprintf(stderr, "cpns-server-admin: %s\n", text);
	return 2;
}

/* One line from standard input, without echo when it is a terminal, straight into secret memory. */
static int read_password(struct secret **out)
{
	struct secret *typed = secret_new(SECRET_MAX_SIZE);
	struct termios before, quiet;
	const bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
	size_t size = 0;
	ssize_t n = 1;
	int r;

	if (!typed)
		return -ENOMEM;
	if (terminal) {
		(void)fputs("Password: ", stderr);
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	while (n > 0 && size < SECRET_MAX_SIZE) {
		n = read(STDIN_FILENO, secret_buffer(typed) + size, 1);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n > 0 && secret_buffer(typed)[size] == '\n')
			break;
		size += n > 0 ? 1 : 0;
	}
	if (terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)fputc('\n', stderr);
	}
	r = n < 0 ? -errno : p1_password(bytes_of(secret_buffer(typed), size), out);
	secret_unref(typed);
	return r;
}

static int add_user(struct admin *a)
{
	struct store_account account = {.iterations = a->config->iterations};
	struct store_batch batch = {0};
	SCOPED_SECRET *password = NULL;
	int r;

	if (!user_id_valid(bytes_text(a->argv[0])) ||
	    name_set(&account.user, bytes_text(a->argv[0])) < 0)
		return admin_refuse(
			"a User ID is 1 to 64 bytes of text without : \" \\ and without "
			"spaces at its ends");
	r = read_password(&password);
	if (r == -EINVAL)
		return admin_refuse("a password is 1 to 128 bytes of text");
	if (r == 0)
		r = p1_random(account.salt, sizeof(account.salt));
	if (r == 0)
		r = p1_password_hash(password, account.salt, account.iterations, &account.ph);
	if (r == 0) {
		store_batch_account(&batch, &account);
		r = store_commit(a->store, &batch);
		store_batch_clear(&batch);
	}
	store_account_clear(&account);
	if (r == STORE_CONFLICT)
		return admin_refuse("that User ID is registered already");
	return r == 0 ? EXIT_SUCCESS : admin_fail("add-user", r);
}

static int print_account(void *arg, struct bytes user, uint32_t iterations, bool blocked)
{
	(void)arg;
	(void)printf("%.*s\titerations %lu%s\n", (int)user.size, (const char *)user.data,
		     (unsigned long)iterations, blocked ? "\tblocked" : "");
	return 0;
}

static int print_element(void *arg, const struct store_element *e)
{
	(void)arg;
	(void)printf("%s\t%s\t%s\tlast key index %lu\n", e->entity.text,
		     e->mode == ENTITY_PNGW ? "PN GW" : "PNE",
		     e->owner.text[0] ? e->owner.text : "(nobody)", (unsigned long)e->last_index);
	return 0;
}

static int print_key(void *arg, const struct store_key_row *row)
{
	(void)arg;
	(void)printf("%.*s\t%.*s\t%lu\t%s\n", (int)row->user.size, (const char *)row->user.data,
		     (int)row->entity.size, (const char *)row->entity.data,
		     (unsigned long)row->index,
		     !row->key   ? "damaged"
		     : row->held ? "held"
				 : "issued");
	return 0;
}

static int print_handover(void *arg, struct bytes gateway, const struct store_handover *h)
{
	const time_t since = (time_t)h->since;
	char when[32] = "";
	struct tm tm;

	(void)arg;
	if (gmtime_r(&since, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)printf("%.*s\tterm %lu\tsince %s\n", (int)gateway.size, (const char *)gateway.data,
		     (unsigned long)h->term, when);
	return 0;
}

static int list(struct admin *a)
{
	int r;

	if (strcmp(a->argv[0], "users") == 0)
		r = store_each_account(a->store, print_account, NULL);
	else if (strcmp(a->argv[0], "elements") == 0)
		r = store_each_element(a->store, print_element, NULL);
	else if (strcmp(a->argv[0], "keys") == 0)
		r = store_each_key(a->store, print_key, NULL);
	else if (strcmp(a->argv[0], "revocations") == 0)
		r = admin_list_revocations(a);
	else if (strcmp(a->argv[0], "handovers") == 0)
		r = store_each_handover(a->store, print_handover, NULL);
	else if (strcmp(a->argv[0], "vaults") == 0)
		r = admin_list_vaults(a);
	else
		return admin_refuse("list what? users, elements, keys, revocations, handovers or "
				    "vaults");
	return r == 0 ? EXIT_SUCCESS : admin_fail("list", r);
}

static int release(struct admin *a)
{
	const struct bytes entity = bytes_text(a->argv[0]);
	struct store_batch batch = {0};
	struct store_element element;
	int r = entity_id_valid(entity) ? store_element(a->store, entity, &element) : STORE_ABSENT;

	if (r == 0) {
		store_batch_release(&batch, entity);
		r = store_commit(a->store, &batch);
		store_batch_clear(&batch);
	}
	return r == 0 ? EXIT_SUCCESS : admin_fail(a->argv[0], r);
}

static int forget_handover(struct admin *a)
{
	const struct bytes gateway = bytes_text(a->argv[0]);
	struct store_batch batch = {0};
	struct store_handover h;
	int r = entity_id_valid(gateway) ? store_handover(a->store, gateway, &h) : STORE_ABSENT;

	if (r == 0 || r == STORE_DAMAGED) {
		store_batch_forget_handover(&batch, gateway);
		r = store_commit(a->store, &batch);
		store_batch_clear(&batch);
	}
	return r == 0 ? EXIT_SUCCESS : admin_fail(a->argv[0], r);
}

struct fingerprint {
	struct bytes challenge, user, entity;
	unsigned found, damaged;
};

static int print_fingerprint(void *arg, const struct store_key_row *row)
{
	struct fingerprint *f = arg;
	uint8_t value[P1_FINGERPRINT_SIZE];
	char text[2 * P1_FINGERPRINT_SIZE + 1];
	int r;

	if (!bytes_equal(row->user, f->user) || !bytes_equal(row->entity, f->entity))
		return 0;
	if (!row->key) {
		(void)fprintf(stderr, "cpns-server-admin: EUKey %lu is damaged\n",
			      (unsigned long)row->index);
		f->damaged++;
		return 0;
	}
	r = p1_fingerprint(row->key, f->challenge, row->user, row->entity, row->index, value);
	if (r == 0)
		r = hex_encode(bytes_of(value, sizeof(value)), text, sizeof(text));
	if (r < 0)
		return r;
	(void)printf("%lu %s\n", (unsigned long)row->index, text);
	f->found++;
	return 0;
}

static int fingerprint(struct admin *a)
{
	uint8_t challenge[64];
	size_t size = 0;
	struct fingerprint f = {.user = bytes_text(a->argv[0]), .entity = bytes_text(a->argv[1])};
	int r;

	if (!a->challenge ||
	    hex_decode(bytes_text(a->challenge), challenge, sizeof(challenge), &size) < 0 ||
	    size == 0)
		return admin_refuse("fingerprint needs --challenge of 1 to 64 bytes in hex digits");
	f.challenge = bytes_of(challenge, size);
	r = store_each_key(a->store, print_fingerprint, &f);
	if (r == 0 && f.damaged > 0)
		r = STORE_DAMAGED;
	if (r == 0 && f.found == 0)
		r = STORE_ABSENT;
	return r == 0 ? EXIT_SUCCESS : admin_fail("fingerprint", r);
}

struct import_run {
	struct store_batch batch;
	size_t count;
};

static int take_key(void *arg, struct bytes entity, struct secret *key, bool passphrase)
{
	struct import_run *run = arg;

	store_batch_temporary_key(&run->batch, entity, key, passphrase);
	run->count++;
	return 0;
}

/* One batch: of a file, all keys are taken or none. */
static int import_temporary_keys(struct admin *a)
{
	struct import_run run = {.count = 0};
	char why[512] = "";
	int r = import_file(a->argv[0], take_key, &run, why, sizeof(why));

	if (r != 0) {
		(void)fprintf(stderr, "cpns-server-admin: %s\n", why);
		return EXIT_FAILURE;
	}
	r = store_commit(a->store, &run.batch);
	store_batch_clear(&run.batch);
	if (r != 0)
		return admin_fail("import-temporary-keys", r);
	(void)printf("%zu Temporary Keys imported\n", run.count);
	return EXIT_SUCCESS;
}

static const struct command {
	const char *name;
	int arguments, optional;
	bool creates; /* a store, where there is none yet */
	const char *usage;
	int (*run)(struct admin *a);
} commands[] = {
	{"add-user", 1, 0, true,
	 "add-user USER                register; the password is read from standard input",
	 add_user},
	{"import-temporary-keys", 1, 0, true,
	 "import-temporary-keys FILE   the manufacturer's file: CSV or PSKC (RFC 6030)",
	 import_temporary_keys},
	{"list", 1, 0, false,
	 "list users|elements|keys|revocations|handovers|vaults   what is known; keys are named, "
	 "never shown",
	 list},
	{"release", 1, 0, false,
	 "release ENTITY               take a device from its owner, with its EUKeys", release},
	{"forget-handover", 1, 0, false,
	 "forget-handover GATEWAY      whichever box of that PN GW comes first is it again",
	 forget_handover},
	{"forget-vault", 1, 1, false,
	 "forget-vault GATEWAY [VAULT]   where that PN GW's vault stood, or all of its vaults",
	 admin_forget_vault},
	{"revoke", 1, 0, false,
	 "revoke ENTITY                make every EUKey of a device worthless", admin_revoke},
	{"revoke-user", 1, 0, false,
	 "revoke-user USER             lock a user out, and revoke every device of hers",
	 admin_revoke_user},
	{"allow-user", 1, 0, false, "allow-user USER              let that user in again",
	 admin_allow_user},
	{"revoke-all", 0, 0, false, "revoke-all --yes             revoke every device there is",
	 admin_revoke_all},
	{"fingerprint", 2, 0, false,
	 "fingerprint --challenge HEX USER ENTITY   index and fingerprint of each key kept",
	 fingerprint},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *out)
{
	(void)fputs("usage: cpns-server-admin --config FILE COMMAND\n"
		    "       cpns-server-admin --help\n",
		    out);
	for (size_t i = 0; i < COMMANDS; i++)
		(void)fprintf(out, "  %s\n", commands[i].usage);
}

static int run(const struct command *command, struct admin *a)
{
	const struct store_sqlite_options where = {.path = a->config->database,
						   .key_file = a->config->key_file,
						   .create = command->creates};
	char why[512] = "";
	int r = store_open_sqlite(&where, &a->store, why, sizeof(why));

	if (r != 0) {
		(void)fprintf(stderr, "cpns-server-admin: %s\n", why);
		return EXIT_FAILURE;
	}
	r = command->run(a);
	store_close(a->store);
	if (fflush(stdout) != 0 && r == EXIT_SUCCESS)
		r = admin_fail("standard output", -errno);
	return r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"challenge", required_argument, NULL, 'x'},
						{"yes", no_argument, NULL, 'y'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct server_config config;
	struct admin a = {.config = &config};
	const char *path = NULL;
	char why[512] = "";
	int c;

	process_keep_secrets();
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 'x':
			a.challenge = optarg;
			break;
		case 'y':
			a.yes = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (!path || optind >= argc) {
		usage(stderr);
		return 2;
	}
	a.argc = argc - optind - 1;
	a.argv = argv + optind + 1;
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(argv[optind], commands[i].name) != 0)
			continue;
		if (a.argc < commands[i].arguments ||
		    a.argc > commands[i].arguments + commands[i].optional)
			break;
		if (server_config_read(path, &config, why, sizeof(why)) < 0) {
			(void)fprintf(stderr, "%s\n", why);
			return 2;
		}
		return run(&commands[i], &a);
	}
	usage(stderr);
	return 2;
}
