/* pngw-replay: steps through what a PN GW has recorded, without the PN GW. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/replay.h"
#include "gateway/trace.h"

#define FILE_MAX (64U * 1024U * 1024U)

enum { EXIT_SAME = 0, EXIT_DIVERGED = 1, EXIT_UNREADABLE = 2, EXIT_WRONG_USAGE = 64 };

struct show {
	struct replay *replay;
	const char *file;
	bool quiet, step;
	int error;
};

static void write_usage(FILE *out)
{
	(void)fputs("usage: pngw-replay [--step | --verify] [--edited] FILE...\n"
		    "  --step     go on with the next entry when Enter is pressed; q ends\n"
		    "  --verify   print only what became of the verdicts\n"
		    "  --edited   replay a file whose checksum does not fit: one that was edited\n"
		    "  --help     this text, and end\n"
		    "Exit code: 0 all verdicts are reached again, 1 one is not, 2 a file cannot be "
		    "read, 64 usage.\n",
		    out);
}

static void did(void *arg, uint64_t number, const char *text)
{
	const struct show *s = arg;

	(void)number;
	if (!s->quiet)
		(void)printf("    %s\n", text);
}

static void diverged(void *arg, uint64_t number, const char *why)
{
	const struct show *s = arg;

	(void)printf("%s: DIVERGED at entry %" PRIu64 ": %s\n", s->file, number, why);
}

/* False when whoever looks on wants no more. */
static bool wait_for_enter(void)
{
	int c = getchar();

	if (c == 'q' || c == EOF)
		return false;
	while (c != '\n' && c != EOF)
		c = getchar();
	return true;
}

static bool show_entry(void *arg, uint64_t number, struct bytes note)
{
	struct show *s = arg;
	char text[TRACE_TEXT_SIZE];

	if (!s->quiet)
		(void)printf("%6" PRIu64 " %s\n", number,
			     gateway_trace_text(note, text, sizeof(text)));
	s->error = gateway_replay_entry(s->replay, number, note);
	if (s->error != 0)
		return false;
	(void)fflush(stdout);
	return !s->step || wait_for_enter();
}

static int read_all(const char *file, char **out, size_t *size)
{
	FILE *f = fopen(file, "re");
	struct stat st;
	char *text;
	int r = 0;

	if (!f)
		return -errno;
	if (fstat(fileno(f), &st) != 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if (st.st_size > FILE_MAX)
		r = -EFBIG;
	text = r == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	if (r == 0 && !text)
		r = -ENOMEM;
	if (r == 0) {
		*size = fread(text, 1, (size_t)st.st_size, f);
		if (ferror(f)) {
			r = -EIO;
			free(text);
		} else {
			*out = text;
		}
	}
	(void)fclose(f);
	return r;
}

static int summary(const struct show *s)
{
	const struct replay_result *r = gateway_replay_result(s->replay);

	(void)printf("%s: %zu entries; verdicts reached again: %zu, other than recorded: %zu, not "
		     "recorded from their beginning: %zu\n",
		     s->file, r->entries, r->same, r->diverged, r->unknown);
	return r->diverged > 0 ? EXIT_DIVERGED : EXIT_SAME;
}

static int replay_text(struct show *s, struct bytes text, bool edited)
{
	static const struct replay_watcher watcher = {.did = did, .diverged = diverged};
	char why[256];
	int r = gateway_bundle_check(text, why, sizeof(why));

	if (r == BUNDLE_ALTERED && edited)
		r = 0;
	s->replay = r == 0 ? gateway_replay_new(NULL, &watcher, s) : NULL;
	if (r == 0 && !s->replay) {
		r = -ENOMEM;
		(void)snprintf(why, sizeof(why), "out of memory");
	}
	if (r == 0)
		r = gateway_bundle_each(text, show_entry, s, why, sizeof(why));
	if (r == 0 && s->error != 0) {
		r = s->error;
		(void)snprintf(why, sizeof(why), "%s", strerror(-s->error));
	}
	if (r != 0)
		(void)fprintf(stderr, "pngw-replay: %s: %s\n", s->file, why);
	r = r != 0 ? EXIT_UNREADABLE : summary(s);
	gateway_replay_free(s->replay);
	return r;
}

static int replay_file(const char *file, bool quiet, bool step, bool edited)
{
	struct show s = {.file = file, .quiet = quiet, .step = step};
	char *text = NULL;
	size_t size = 0;
	int r = read_all(file, &text, &size);

	if (r != 0) {
		(void)fprintf(stderr, "pngw-replay: %s: %s\n", file, strerror(-r));
		return EXIT_UNREADABLE;
	}
	r = replay_text(&s, bytes_of(text, size), edited);
	free(text);
	return r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"step", no_argument, NULL, 's'},
		{"verify", no_argument, NULL, 'v'},
		{"edited", no_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool quiet = false, step = false, edited = false;
	int worst = EXIT_SAME;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			step = true;
			break;
		case 'v':
			quiet = true;
			break;
		case 'e':
			edited = true;
			break;
		case 'h':
			write_usage(stdout);
			return EXIT_SAME;
		default:
			write_usage(stderr);
			return EXIT_WRONG_USAGE;
		}
	}
	if (optind == argc || (quiet && step)) {
		write_usage(stderr);
		return EXIT_WRONG_USAGE;
	}
	for (int i = optind; i < argc; i++) {
		int r = replay_file(argv[i], quiet, step, edited);

		if (r > worst)
			worst = r;
	}
	return worst;
}
