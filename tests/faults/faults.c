#include "tests/faults/faults.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS_MAX      400
#define LINE_SIZE     512
#define PATIENCE_MS   120000
#define AT_A_TIME_MAX 64

static struct fault_row rows[ROWS_MAX];
static size_t rows_count;

static char *trimmed(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && strchr(" \t\n", end[-1]))
		end--;
	*end = '\0';
	return text;
}

static const char *verdict_defect(const char *name)
{
#define VERDICT(id, number, leg, retry, cause, next) \
	if (strcmp(name, #id) == 0)                  \
		return NULL;
#include "protocol/verdicts.def"
#undef VERDICT
	return "no such verdict";
}

/* Two faults are the same where what is injected, and into what, is. */
static const char *row_defect(const struct fault_row *row)
{
	for (size_t i = 0; i < rows_count; i++) {
		if (strcmp(rows[i].name, row->name) == 0)
			return "the name is there twice";
		if (strcmp(rows[i].given, row->given) == 0 &&
		    strcmp(rows[i].fault, row->fault) == 0)
			return "the fault is there twice";
	}
	return verdict_defect(row->verdict);
}

static bool read_line(char *text, unsigned number, const char *table)
{
	struct fault_row row = {.line = number};
	const char **fields[] = {&row.name, &row.given, &row.fault, &row.verdict, &row.leg};
	const char *defect = NULL;
	char *copy, *rest;

	text = trimmed(text);
	if (text[0] == '\0' || text[0] == '#')
		return true;
	copy = rest = strdup(text);
	for (size_t i = 0; i < 5 && !defect; i++) {
		char *field = strsep(&rest, "|");

		if (!field)
			defect = "five fields are wanted";
		else
			*fields[i] = trimmed(field);
	}
	if (!defect && rest)
		defect = "five fields are wanted";
	if (!defect)
		defect = rows_count == ROWS_MAX ? "too many faults" : row_defect(&row);
	if (defect) {
		(void)fprintf(stderr, "%s:%u: %s\n", table, number, defect);
		free(copy);
		return false;
	}
	rows[rows_count++] = row; /* for as long as the process lives */
	return true;
}

static bool read_table(const char *table)
{
	FILE *f = fopen(table, "r");
	char line[LINE_SIZE];
	unsigned number = 0;
	bool good = true;

	if (!f) {
		(void)fprintf(stderr, "%s: %s\n", table, strerror(errno));
		return false;
	}
	while (fgets(line, sizeof(line), f))
		good = read_line(line, ++number, table) && good;
	(void)fclose(f);
	return good && rows_count > 0;
}

/* What nobody can act on. */
static const char *vagueness(const char *sentence)
{
	static const char *const empty[] = {": timeout (",     ": timeout. ",   ": timed out (",
					    ": timed out. ",   ": unknown (",   ": unknown. ",
					    ": unknown error", ": error (",     ": error. ",
					    ": failed. ",      "Next: . Retry", "Next: see ",
					    "(timeout)",       "(unknown)",     "Unknown error"};
	const char *next = strstr(sentence, "Next: ");

	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		if (strstr(sentence, empty[i]))
			return "it is vague";
	}
	if (!next || !strstr(sentence, "Retry: "))
		return "it does not say what to do";
	if ((strstr(next, "the detail") || strstr(sentence, "[WAN_DOWN]")) &&
	    !strstr(sentence, ")"))
		return "it refers to a detail that is not there";
	return NULL;
}

const char *faults_judge(const struct fault_row *row, const char *sentence)
{
	char id[64], leg[32];

	if (sentence[0] == '\0')
		return "no sentence came";
	(void)snprintf(id, sizeof(id), "[%s]", row->verdict);
	(void)snprintf(leg, sizeof(leg), "leg %s: ", row->leg);
	if (!strstr(sentence, id))
		return "it is another verdict";
	if (!strstr(sentence, leg))
		return "it is another leg";
	return vagueness(sentence);
}

struct running {
	const struct fault_row *row;
	pid_t pid;
	int from;
	char sentence[VERDICT_TEXT_SIZE];
};

static void begin(struct running *r, const struct fault_row *row, fault_inject_fn *inject)
{
	char out[VERDICT_TEXT_SIZE] = "";
	int ends[2];

	if (pipe(ends) != 0) {
		perror("pipe");
		exit(99);
	}
	(void)fflush(NULL);
	r->row = row;
	r->from = ends[0];
	r->pid = fork();
	if (r->pid < 0) {
		perror("fork");
		exit(99);
	}
	if (r->pid == 0) {
		(void)close(ends[0]);
		inject(row, out);
		_exit(write(ends[1], out, sizeof(out)) == (ssize_t)sizeof(out) ? 0 : 1);
	}
	(void)close(ends[1]);
}

/* True when it answered as it should. */
static bool finish(struct running *r)
{
	const char *defect;
	ssize_t got = read(r->from, r->sentence, sizeof(r->sentence));
	int status = 0;

	if (got != (ssize_t)sizeof(r->sentence))
		r->sentence[0] = '\0';
	r->sentence[sizeof(r->sentence) - 1] = '\0';
	(void)close(r->from);
	(void)waitpid(r->pid, &status, 0);
	defect = faults_judge(r->row, r->sentence);
	if (!defect && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		defect = "the process did not end well";
	if (defect)
		(void)printf("wrong, %s (%s): %s\n    wanted %s, leg %s\n    got    %s\n",
			     r->row->name, r->row->fault, defect, r->row->verdict, r->row->leg,
			     r->sentence);
	else if (getenv("FAULTS_VERBOSE"))
		(void)printf("right, %s: %s\n", r->row->name, r->sentence);
	return defect == NULL;
}

/* Waits for one of them; it is then taken out. */
static unsigned await_one(struct running *running, unsigned *count)
{
	struct pollfd fds[AT_A_TIME_MAX];
	unsigned right;
	unsigned i = 0;

	for (unsigned n = 0; n < *count; n++)
		fds[n] = (struct pollfd){.fd = running[n].from, .events = POLLIN};
	if (poll(fds, *count, PATIENCE_MS) <= 0) {
		(void)fprintf(stderr, "%s: it does not end\n", running[0].row->name);
		exit(99);
	}
	while (fds[i].revents == 0)
		i++;
	right = finish(&running[i]);
	running[i] = running[--*count];
	return right;
}

int faults_run(const char *table, unsigned at_a_time, fault_inject_fn *inject)
{
	const char *sample = getenv("PNGW_FAULTS_EVERY");
	unsigned long every = sample ? strtoul(sample, NULL, 10) : 1;
	struct running running[AT_A_TIME_MAX];
	unsigned count = 0, right = 0, all = 0;

	if (every == 0 || at_a_time == 0 || at_a_time > AT_A_TIME_MAX || !read_table(table))
		return 99;
	for (size_t i = 0; i < rows_count; i += every) {
		if (count == at_a_time)
			right += await_one(running, &count);
		begin(&running[count++], &rows[i], inject);
		all++;
	}
	while (count > 0)
		right += await_one(running, &count);
	(void)printf("score %u %u\n", right, all);
	return 0;
}
