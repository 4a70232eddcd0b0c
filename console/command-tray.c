/* tray: where the manifest comes from, where the files go, and what is said at the end. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "console/command-internal.h"
#include "console/pace.h"
#include "console/pager.h"
#include "console/signals.h"
#include "console/terminal.h"
#include "console/tray.h"
#include "protocol/p1.h"

#define PARALLEL 4
#define SCANNED  "scanned-"

/* Where errors of the manifest go: all of them are told. */
struct errors {
	struct console *console;
	const char *name;
};

static void on_wrong(void *arg, size_t line, const char *what)
{
	const struct errors *e = arg;

	if (line > 0)
		(void)console_failed(e->console, 0, "%s: line %zu: %s", e->name, line, what);
	else
		(void)console_failed(e->console, 0, "%s: %s", e->name, what);
}

struct scanner {
	char line[LABEL_TEXT_SIZE + 2];
	size_t size;
	size_t number; /* of the line */
	bool too_long, done;
};

static void end_of_line(struct scanner *s, struct console *console, struct manifest *m)
{
	size_t before = m->count;

	s->number++;
	s->line[s->size] = '\0';
	if (s->too_long)
		(void)manifest_scan(m, s->number, "?");
	else if (strcmp(s->line, ".") == 0)
		s->done = true;
	else
		(void)manifest_scan(m, s->number, s->line);
	if (m->count > before)
		writer_say(&console->writer, "%3zu  %s", m->count, m->unit[before].entity.text);
	s->size = 0;
	s->too_long = false;
}

/* A scanner ends its line with CR, LF or both. */
static void take_input(struct scanner *s, struct console *console, struct manifest *m,
		       const char *data, size_t size)
{
	for (size_t i = 0; i < size && !s->done; i++) {
		if (data[i] == '\r' || data[i] == '\n') {
			if (s->size > 0 || s->too_long || data[i] == '\n')
				end_of_line(s, console, m);
		} else if (s->size + 1 < sizeof(s->line)) {
			s->line[s->size++] = data[i];
		} else {
			s->too_long = true;
		}
	}
}

/* Until its end, or a line with a dot. 0 or an exit code, said. */
static int scan_labels(struct console *console, struct manifest *m)
{
	struct scanner s = {.size = 0};
	bool person = isatty(STDIN_FILENO);
	uint64_t since = pace_now_ms();
	char data[256];

	if (person)
		writer_say(&console->writer,
			   "scan the labels; a line with a dot, or Ctrl-D, ends the list");
	while (!s.done) {
		struct pollfd fd = {.fd = terminal_input(), .events = POLLIN};
		int left = console_idle_left(console, since), r = signals_wait(&fd, 1, left);
		ssize_t n;

		if (left == 0 || (r == 0 && console_idle_left(console, since) == 0)) {
			console->leaving = true;
			return console_failed(console, EXIT_RETRY,
					      "nothing was typed for %d s; nothing was begun",
					      console->idle_ms / 1000);
		}
		if (r < 0) {
			if (signals_interrupted() || signals_ending())
				return console_failed(console, EXIT_RETRY,
						      "interrupted; nothing was begun");
			(void)signals_resized();
			continue;
		}
		n = read(fd.fd, data, sizeof(data));
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			break;
		since = pace_now_ms();
		take_input(&s, console, m, data, (size_t)n);
	}
	if (s.size > 0 || s.too_long)
		end_of_line(&s, console, m);
	/* A person has seen it and scans again; a file is right or not. */
	if (person)
		m->errors = 0;
	manifest_end(m);
	return 0;
}

/* Its text is what is scanned; so is the digest. */
static int digest_of_units(const struct manifest *m, uint8_t digest[32])
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < m->count; i++)
		(void)fprintf(out, "%s\n%s\n%s\n", m->unit[i].entity.text, m->unit[i].user.text,
			      m->unit[i].address);
	r = fclose(out) == 0 ? p1_sha256(bytes_of(text, size), digest) : -ENOMEM;
	free(text);
	return r;
}

/* 0 or an exit code, said: every error with its line, and nothing was begun. */
static int read_manifest(struct tray *t, struct call *call, struct manifest *m)
{
	bool scanned = strcmp(call->word[0], "-") == 0;
	const char *name = scanned ? "standard input" : call->word[0];
	const char *user = call_option(call, "--user");
	uint8_t digest[32];
	int r = 0, code;

	if (user)
		(void)name_set(&m->user, bytes_text(user));
	if (scanned) {
		code = scan_labels(t->console, m);
		if (code != 0)
			return code;
		r = digest_of_units(m, digest);
	} else {
		r = manifest_read(m, call->word[0], digest);
	}
	if (r < 0 && m->errors == 0)
		return console_failed(t->console, EXIT_REFUSED, "%s: %s", name, strerror(-r));
	if (m->errors > 0)
		return console_failed(t->console, EXIT_WRONG_USAGE,
				      "%s: nothing was begun, because of %zu error%s in it", name,
				      m->errors, m->errors == 1 ? "" : "s");
	(void)hex_encode(bytes_of(digest, sizeof(digest)), t->digest, sizeof(t->digest));
	t->count = m->count;
	for (size_t i = 0; i < m->count; i++)
		t->unit[i].what = m->unit[i];
	return 0;
}

/* The newest tray that was scanned, for --resume without anything to scan. */
static bool find_scanned(struct tray *t)
{
	char pattern[3200];
	glob_t found;
	bool there;

	(void)snprintf(pattern, sizeof(pattern), "%s/" SCANNED "*.journal", t->folder);
	there = glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0;
	if (there) {
		const char *path = found.gl_pathv[found.gl_pathc - 1],
			   *name = strrchr(path, '/') + 1;

		(void)snprintf(t->name, sizeof(t->name), "%.*s",
			       (int)(strlen(name) - strlen(".journal")), name);
	}
	globfree(&found);
	return there;
}

static void name_files(struct tray *t, const char *manifest)
{
	const char *slash = strrchr(manifest, '/'), *name = slash ? slash + 1 : manifest;
	size_t size = strcspn(name, ".");
	time_t now = time(NULL);
	struct tm utc;

	if (strcmp(manifest, "-") == 0) {
		if (gmtime_r(&now, &utc))
			(void)strftime(t->name, sizeof(t->name), SCANNED "%Y%m%d-%H%M%S", &utc);
		return;
	}
	(void)snprintf(t->name, sizeof(t->name), "%.*s", (int)(size > 0 ? size : strlen(name)),
		       name);
}

/* Before anybody scans 200 labels for it. 0 or a negative errno. */
static int try_folder(const char *folder)
{
	char path[4096];
	int fd;

	if (mkdir(folder, 0755) != 0 && errno != EEXIST)
		return -errno;
	(void)snprintf(path, sizeof(path), "%s/.tray-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)close(fd);
	return unlink(path) == 0 ? 0 : -errno;
}

static int prepare_folder(struct tray *t, struct call *call, bool resume)
{
	const char *folder = call_option(call, "--sheet");
	int r;

	/* At a serial console nobody knows which folder is the current one. */
	if (folder || !t->console->serial || !getcwd(t->folder, sizeof(t->folder)))
		(void)snprintf(t->folder, sizeof(t->folder), "%s", folder ? folder : ".");
	(void)snprintf(t->manifest, sizeof(t->manifest), "%s", call->word[0]);
	r = try_folder(t->folder);
	if (r != 0)
		return console_failed(t->console, EXIT_REFUSED,
				      "nothing can be written to %s, so nothing was begun: %s; "
				      "give another folder with --sheet",
				      t->folder, strerror(-r));
	name_files(t, call->word[0]);
	if (resume && strcmp(call->word[0], "-") == 0 && !find_scanned(t))
		return console_failed(t->console, EXIT_REFUSED,
				      "there is no journal of scanned labels in %s", t->folder);
	(void)snprintf(t->journal.path, sizeof(t->journal.path), "%s/%s.journal", t->folder,
		       t->name);
	return 0;
}

/* Takes up the work of that journal. wanted: the digest of the manifest that was given, "" none. */
static int take_up(struct tray *t, const char *wanted)
{
	size_t line;
	int r = tray_journal_open(t, &line);

	if (r == -EBADMSG)
		return console_failed(t->console, EXIT_REFUSED,
				      "%s: line %zu is damaged; what it says of units that passed "
				      "cannot be trusted: look at \"pngwctl elements\" before you "
				      "move it away",
				      t->journal.path, line);
	if (r == -EWOULDBLOCK)
		return console_failed(t->console, EXIT_RETRY, "%s: another pngwctl works on it",
				      t->journal.path);
	if (r < 0)
		return console_failed(t->console, EXIT_REFUSED, "%s: %s", t->journal.path,
				      strerror(-r));
	if (wanted[0] && strcmp(wanted, t->digest) != 0)
		return console_failed(t->console, EXIT_REFUSED,
				      "%s is of another manifest: give another --sheet, or move it "
				      "away",
				      t->journal.path);
	writer_say(&t->console->writer, "going on: %zu of %zu passed before",
		   tray_count(t, TRAY_PASSED), t->count);
	return 0;
}

static int begin_new(struct tray *t)
{
	uint8_t challenge[TRAY_CHALLENGE_SIZE];
	json_object *status = NULL;
	int code, r = p1_random(challenge, sizeof(challenge));

	code = console_get(t->console, CLIENT_GATEWAY, "GetStatus", &status);
	if (code != 0)
		return code;
	(void)name_set(&t->gateway, bytes_text(client_text(status, "entity")));
	(void)json_object_put(status);
	t->started = time(NULL);
	(void)hex_encode(bytes_of(challenge, sizeof(challenge)), t->challenge,
			 sizeof(t->challenge));
	if (r == 0)
		r = tray_journal_create(t);
	if (r < 0)
		return console_failed(t->console, EXIT_REFUSED, "%s: %s", t->journal.path,
				      strerror(-r));
	return 0;
}

static int prepare(struct tray *t, struct call *call)
{
	bool resume = call_option(call, "--resume") != NULL,
	     scanned = strcmp(call->word[0], "-") == 0;
	char wanted[sizeof(t->digest)] = "";
	struct errors errors = {t->console, scanned ? "standard input" : call->word[0]};
	struct manifest *m;
	int code = prepare_folder(t, call, resume);

	if (code == 0 && scanned && !resume && !isatty(STDIN_FILENO) && !t->console->password_file)
		code = console_failed(t->console, EXIT_WRONG_USAGE,
				      "tray: the labels come from standard input, so the password "
				      "cannot: give it with --password-file");
	if (code == 0 && !(scanned && resume)) {
		m = calloc(1, sizeof(*m));
		if (m) {
			m->wrong = on_wrong;
			m->arg = &errors;
		}
		code = m ? read_manifest(t, call, m)
			 : console_failed(t->console, EXIT_RETRY, "there is no memory");
		free(m);
	}
	if (code != 0)
		return code;
	if (access(t->journal.path, F_OK) == 0) {
		memcpy(wanted, t->digest, sizeof(wanted));
		memset(t->unit, 0, sizeof(t->unit));
		t->count = 0;
		code = take_up(t, wanted);
	} else if (resume) {
		code = console_failed(t->console, EXIT_REFUSED,
				      "there is no journal %s to go on with", t->journal.path);
	}
	if (code == 0)
		code = console_connect(t->console);
	return code == 0 && t->journal.fd < 0 ? begin_new(t) : code;
}

static int say_end(struct tray *t)
{
	const struct writer *w = &t->console->writer;
	json_object *o = json_object_new_object();
	size_t passed = tray_count(t, TRAY_PASSED), failed = tray_count(t, TRAY_FAILED);
	int code = EXIT_DONE;
	char text[8192];

	for (size_t i = 0; i < t->count; i++) {
		const struct tray_unit *u = &t->unit[i];

		if (u->state != TRAY_FAILED)
			continue;
		if (w->width > 0)
			writer_say(w, "%s failed: %s", u->what.entity.text,
				   client_text(u->outcome, "text"));
		if (strcmp(client_text(u->outcome, "retry"), "no") == 0)
			code = EXIT_REFUSED;
		else if (code == EXIT_DONE)
			code = EXIT_RETRY;
	}
	(void)json_object_object_add(o, "passed", json_object_new_int64((int64_t)passed));
	(void)json_object_object_add(o, "failed", json_object_new_int64((int64_t)failed));
	(void)snprintf(text, sizeof(text), "%s/%s.json", t->folder, t->name);
	(void)json_object_object_add(o, "sheet", json_object_new_string(text));
	(void)snprintf(text, sizeof(text),
		       "%zu passed, %zu failed; signed sheet %s/%s.json, to print: %s.txt", passed,
		       failed, t->folder, t->name, t->name);
	writer_event(w, "tray", o, text, 2, failed ? MARK_BAD : MARK_GOOD);
	(void)json_object_put(o);
	return code;
}

int command_tray(struct console *console, struct call *call)
{
	const char *sheet = call_option(call, "--verify");
	struct tray *t;
	int code;

	if ((sheet != NULL) == (call->count > 0) || (!sheet && call_option(call, "--signer")))
		return console_failed(console, EXIT_WRONG_USAGE,
				      "tray: it takes a MANIFEST, or --verify SHEET with --signer "
				      "KEY as wanted");
	if (sheet)
		return tray_sheet_verify(console, sheet, call_option(call, "--signer"));
	t = calloc(1, sizeof(*t));
	if (!t)
		return console_failed(console, EXIT_RETRY, "there is no memory");
	console->writer.stream = true;
	/* Whoever stands before a tray sees how far it is; what failed is on its sheet too. */
	pager_live(console->writer.pager);
	t->console = console;
	t->journal.fd = -1;
	t->parallel = (unsigned)call_number(call, "--parallel", PARALLEL);
	code = prepare(t, call);
	if (code == 0)
		code = tray_work(t);
	if (code == 0)
		code = tray_sheet_write(t);
	if (code == 0)
		code = say_end(t);
	tray_free(t);
	return code;
}
