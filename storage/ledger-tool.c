#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "protocol/file.h"
#include "storage/anchor.h"
#include "storage/ledger-check.h"

/* Proves or shows a ledger file. It needs neither the vault nor its keys. */

enum { NOT_PROVEN = 1 };

struct options {
	const char *file;
	const char *anchor;
	struct ledger_expected head;
	bool has_key;
	uint8_t key[KEY_SIZE];
	bool account;
	bool complete; /* only then it is proven */
	uint32_t from;
};

static const char usage_text[] =
	"Usage: pngw-ledger verify FILE [--key HEX] [--head N:HEX] [--anchor FILE] [--complete]\n"
	"                          [--account]\n"
	"       pngw-ledger show FILE [--from N]\n"
	"\n"
	"verify proves that every entry is signed and in its place, that no key was issued or\n"
	"spent twice, none used after its revocation or erasure, and names the first thing that\n"
	"is wrong. Whether the newest entries were cut off shows only against what somebody saw:\n"
	"  --head N:HEX   entry N and its hash, as the CPNS Server or an earlier run told\n"
	"  --anchor FILE  the vault's anchor file\n"
	"  --complete     refuses to go by the file alone: one of these two must be given\n"
	"  --key HEX      the ledger's public key, so that another's ledger does not pass\n"
	"  --account      also says what became of the keys of each PNE\n"
	"show prints the entries, with --from those from entry N on, and proves nothing.\n"
	"--help prints this.\n"
	"Exit: 0 proven (without --head or --anchor: as far as the file goes), 1 not proven or not "
	"readable, 64 wrong usage\n";

static int usage(const char *what)
{
	(void)fprintf(stderr, "pngw-ledger: %s\n%s", what, usage_text);
	return EX_USAGE;
}

static int failed(const char *file, int r)
{
	(void)fprintf(stderr, "pngw-ledger: %s: %s\n", file, strerror(-r));
	return NOT_PROVEN;
}

static bool parse_number(const char *text, size_t size, uint32_t *out)
{
	uint64_t value = 0;

	if (size == 0 || size > 10)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = 10 * value + (uint64_t)(text[i] - '0');
	}
	*out = (uint32_t)value;
	return value > 0 && value <= UINT32_MAX;
}

static bool parse_hex(const char *text, uint8_t out[32])
{
	uint8_t value[32];
	size_t size = 0;

	if (hex_decode(bytes_text(text), value, sizeof(value), &size) != 0 || size != sizeof(value))
		return false;
	memcpy(out, value, sizeof(value));
	return true;
}

static bool parse_head(const char *text, struct ledger_expected *out)
{
	const char *colon = strchr(text, ':');

	out->who = "the one that --head quotes";
	return colon && parse_number(text, (size_t)(colon - text), &out->sequence) &&
	       parse_hex(colon + 1, out->head);
}

static int parse(int argc, char **argv, struct options *o, bool verify)
{
	static const struct option both[] = {
		{"key", required_argument, NULL, 'k'},
		{"head", required_argument, NULL, 'h'},
		{"anchor", required_argument, NULL, 'a'},
		{"account", no_argument, NULL, 'c'},
		{"from", required_argument, NULL, 'f'},
		{"complete", no_argument, NULL, 'p'},
		{NULL, 0, NULL, 0},
	};
	bool good = true;
	int c;

	while (good && (c = getopt_long(argc, argv, "", both, NULL)) != -1) {
		if (c == 'k') {
			o->has_key = true;
			good = verify && parse_hex(optarg, o->key);
		} else if (c == 'h') {
			good = verify && parse_head(optarg, &o->head);
		} else if (c == 'a') {
			o->anchor = optarg;
			good = verify;
		} else if (c == 'c') {
			o->account = true;
			good = verify;
		} else if (c == 'p') {
			o->complete = true;
			good = verify;
		} else if (c == 'f') {
			good = !verify && parse_number(optarg, strlen(optarg), &o->from);
		} else {
			good = false;
		}
	}
	if (!good)
		return usage("an option is not what it should be");
	if (optind + 1 != argc)
		return usage("one file is needed");
	if (o->complete && !o->anchor && o->head.sequence == 0)
		return usage("--complete needs --head or --anchor: what somebody else has seen");
	o->file = argv[optind];
	return 0;
}

/* out: defect, or the sentence about an anchor that is of no use here. */
static int expect_anchor(struct ledger_check *c, const struct options *o, const uint8_t *header)
{
	struct ledger_expected e = {.who = "the anchor"};
	uint8_t vault_id[LEDGER_VAULT_ID_SIZE];
	uint8_t public_key[KEY_SIZE];
	struct ledger_state seen;
	char why[256];
	int r = ledger_header_check(header, vault_id, public_key);

	/* The verifier names what is wrong with the header. */
	if (r != 0)
		return r < 0 ? r : 0;
	r = anchor_file_read(o->anchor, vault_id, public_key, &seen, why, sizeof(why));
	if (r != 0) {
		(void)fprintf(stderr, "pngw-ledger: %s\n", why);
		return NOT_PROVEN;
	}
	e.sequence = seen.sequence;
	memcpy(e.head, seen.head, sizeof(e.head));
	return ledger_check_expect(c, &e);
}

static int feed_file(struct ledger_check *c, const struct options *o, int fd)
{
	static uint8_t buffer[64 * LEDGER_ENTRY_SIZE];
	ssize_t n = file_read_all(fd, buffer, LEDGER_HEADER_SIZE);
	int r = 0;

	if (n == LEDGER_HEADER_SIZE && o->anchor)
		r = expect_anchor(c, o, buffer);
	while (n > 0 && r == 0) {
		r = ledger_check_feed(c, bytes_of(buffer, (size_t)n));
		n = r == 0 ? file_read_all(fd, buffer, sizeof(buffer)) : n;
	}
	if (r == 0)
		r = n < 0 ? (int)n : ledger_check_end(c);
	return r;
}

static void print_gap(void *arg, uint32_t first, uint32_t last, uint32_t at)
{
	(void)arg;
	printf("gap: entries %" PRIu32 "..%" PRIu32 " are missing, entry %" PRIu32
	       " declares that they were lost by a rollback\n",
	       first, last, at);
}

static void print_counts(const struct ledger_account *a)
{
	printf("issued %" PRIu32 " = spent %" PRIu32 " + relayed %" PRIu32
	       " + erased unspent %" PRIu32 " + revoked unspent %" PRIu32
	       " + lost by rollback %" PRIu32 " + in the pool %" PRIu32 "; installed %" PRIu32
	       "; issue not in the ledger %" PRIu32 "\n",
	       a->issued, a->spent, a->relayed, a->erased, a->revoked, a->lost, a->pool,
	       a->installed, a->unseen);
}

static void print_entity(void *arg, const uint8_t entity[LEDGER_TAG_SIZE],
			 const struct ledger_account *account, uint32_t revoked)
{
	char tag[2 * LEDGER_TAG_SIZE + 1];

	(void)arg;
	(void)hex_encode(bytes_of(entity, LEDGER_TAG_SIZE), tag, sizeof(tag));
	printf("%s: ", tag);
	if (revoked > 0)
		printf("revoked up to %" PRIu32 "; ", revoked);
	print_counts(account);
}

static void print_hex(const char *name, struct bytes b)
{
	char text[2 * 64 + 1];

	(void)hex_encode(b, text, sizeof(text));
	printf("%s %s\n", name, text);
}

static int print_proven(const struct ledger_check *c, const struct options *o)
{
	const struct ledger_state *s = ledger_check_state(c);
	struct ledger_account a;
	char head[2 * LEDGER_HASH_SIZE + 1];
	int r = 0;

	ledger_check_account(c, &a);
	if (o->account)
		r = ledger_check_entities(c, print_entity, NULL);
	print_counts(&a);
	print_hex("vault", bytes_of(s->vault_id, sizeof(s->vault_id)));
	print_hex("key", bytes_of(ledger_check_public_key(c), KEY_SIZE));
	(void)hex_encode(bytes_of(s->head, sizeof(s->head)), head, sizeof(head));
	printf("head %" PRIu32 ":%s\n", s->sequence, head);
	printf("proven: %" PRIu32 " entries%s\n", ledger_check_entries(c),
	       o->anchor || o->head.sequence > 0
		       ? ""
		       : "; without --head or --anchor nothing says that the newest are all here");
	return r;
}

static int verify_with(struct ledger_check *c, const struct options *o)
{
	const struct ledger_defect *d = ledger_check_defect(c);
	int fd, r;

	if (o->has_key)
		ledger_check_key(c, o->key);
	r = ledger_check_expect(c, &o->head);
	if (r != 0)
		return failed(o->file, r);
	fd = open(o->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failed(o->file, -errno);
	r = feed_file(c, o, fd);
	(void)close(fd);
	if (r == 0)
		r = print_proven(c, o);
	if (r < 0)
		return failed(o->file, r);
	if (r == LEDGER_DEFECT && d->sequence == 0)
		printf("not proven: header, byte %" PRIu64 ": %s\n", d->offset, d->text);
	else if (r == LEDGER_DEFECT)
		printf("not proven: entry %" PRIu32 ", byte %" PRIu64 ": %s\n", d->sequence,
		       d->offset, d->text);
	return r == 0 ? 0 : NOT_PROVEN;
}

static int verify(const struct options *o)
{
	struct ledger_check *c = NULL;
	int r = ledger_check_new(print_gap, NULL, &c);

	if (r != 0)
		return failed(o->file, r);
	r = verify_with(c, o);
	ledger_check_free(c);
	return r;
}

static void print_entry(const uint8_t *bytes)
{
	char entity[2 * LEDGER_TAG_SIZE + 1];
	char user[2 * LEDGER_TAG_SIZE + 1];
	char when[32] = "-";
	struct ledger_entry e;
	struct tm tm;
	time_t seconds;

	ledger_entry_decode(bytes, &e);
	seconds = (time_t)e.time;
	if (gmtime_r(&seconds, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)hex_encode(bytes_of(e.entity, sizeof(e.entity)), entity, sizeof(entity));
	(void)hex_encode(bytes_of(e.user, sizeof(e.user)), user, sizeof(user));
	printf("%" PRIu32 " %s %s key=%" PRIu32 " entity=%s user=%s", e.sequence, when,
	       ledger_event_text(e.event), e.key_index, entity, user);
	if (e.figure > 0)
		printf(" figure=%u", e.figure);
	if (e.epoch > 0)
		printf(" epoch=%" PRIu32, e.epoch);
	if (e.reason > 0)
		printf(" reason=%s", ledger_reason_text(e.reason));
	(void)putchar('\n');
}

/* Shows, proves nothing. */
static int show(const struct options *o)
{
	uint8_t piece[LEDGER_ENTRY_SIZE];
	uint8_t vault_id[LEDGER_VAULT_ID_SIZE];
	uint8_t public_key[KEY_SIZE];
	struct ledger_entry e;
	int fd = open(o->file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return failed(o->file, -errno);
	n = file_read_all(fd, piece, LEDGER_HEADER_SIZE);
	if (n != LEDGER_HEADER_SIZE || ledger_header_check(piece, vault_id, public_key) != 0) {
		(void)close(fd);
		(void)fprintf(stderr,
			      "pngw-ledger: %s: the header is not a ledger's, or was altered\n",
			      o->file);
		return NOT_PROVEN;
	}
	print_hex("vault", bytes_of(vault_id, sizeof(vault_id)));
	print_hex("key", bytes_of(public_key, sizeof(public_key)));
	while ((n = file_read_all(fd, piece, sizeof(piece))) == (ssize_t)sizeof(piece)) {
		ledger_entry_decode(piece, &e);
		if (e.sequence >= o->from)
			print_entry(piece);
	}
	(void)close(fd);
	if (n < 0)
		return failed(o->file, (int)n);
	if (n > 0)
		printf("%zd bytes of an entry that is not whole\n", n);
	return n > 0 ? NOT_PROVEN : 0;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	bool is_verify;
	int r;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage_text, stdout);
		return 0;
	}
	if (argc < 2)
		return usage("a command is needed");
	is_verify = strcmp(argv[1], "verify") == 0;
	if (!is_verify && strcmp(argv[1], "show") != 0)
		return usage("there is no such command");
	r = parse(argc - 1, argv + 1, &o, is_verify);
	if (r != 0)
		return r;
	r = is_verify ? verify(&o) : show(&o);
	if (fflush(stdout) != 0)
		return failed("standard output", -errno);
	return r;
}
