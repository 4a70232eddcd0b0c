#include "gateway/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_LINE "pngw-bundle "
#define LAST_LINE  "end sha256="

/* Tokens are numbered in the order in which they appear: nothing of their hashes is in the file. */
struct numbering {
	struct {
		struct note_token token;
		uint64_t number;
	} * rows;
	size_t count, room; /* room: a power of two, more than twice the count */
};

struct writing {
	FILE *out;
	struct numbering numbering;
	bool failed;
};

static size_t place_of(const struct numbering *n, struct note_token t)
{
	size_t at = (size_t)t.number & (n->room - 1);

	while (n->rows[at].number != 0 &&
	       (n->rows[at].token.number != t.number || n->rows[at].token.size != t.size))
		at = (at + 1) & (n->room - 1);
	return at;
}

static bool grow(struct numbering *n)
{
	struct numbering larger = {.count = n->count, .room = n->room ? 2 * n->room : 256};

	larger.rows = calloc(larger.room, sizeof(*larger.rows));
	if (!larger.rows)
		return false;
	for (size_t i = 0; i < n->room; i++) {
		if (n->rows[i].number != 0)
			larger.rows[place_of(&larger, n->rows[i].token)] = n->rows[i];
	}
	free(n->rows);
	*n = larger;
	return true;
}

static uint64_t number_of(void *arg, struct note_token t)
{
	struct numbering *n = arg;
	size_t at;

	if (2 * (n->count + 1) > n->room && !grow(n))
		return 0;
	at = place_of(n, t);
	if (n->rows[at].number == 0) {
		n->rows[at].token = t;
		n->rows[at].number = ++n->count;
	}
	return n->rows[at].number;
}

static bool write_entry(void *arg, uint64_t number, struct bytes note)
{
	struct writing *w = arg;
	struct note_reader r = note_read(note);
	char text[TRACE_TEXT_SIZE], when[32] = "";
	uint64_t now;
	struct tm parts;
	time_t wall;

	(void)note_take_number(&r, NOTE_entry);
	now = note_take_number(&r, NOTE_now);
	wall = (time_t)note_take_number(&r, NOTE_wall);
	if (gmtime_r(&wall, &parts))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
	(void)fprintf(w->out, "@%" PRIu64 " %s %" PRIu64 ".%03" PRIu64 " %s\n  ", number, when,
		      now / 1000, now % 1000, gateway_trace_text(note, text, sizeof(text)));
	w->failed = !note_write_text(w->out, note, number_of, &w->numbering);
	(void)fputc('\n', w->out);
	return !w->failed;
}

static void write_section(FILE *out, const struct bundle_section *s)
{
	const char *at = s->text;

	(void)fprintf(out, "[%s]\n", s->name);
	while (*at) {
		size_t size = strcspn(at, "\n");

		(void)fprintf(out, "| %.*s\n", (int)size, at);
		at += size + (at[size] == '\n');
	}
}

static void write_all(struct writing *w, struct recorder *r, const struct bundle_section *sections,
		      size_t count)
{
	struct recorder_info info;

	(void)fprintf(w->out, FIRST_LINE "%d\n", BUNDLE_VERSION);
	for (size_t i = 0; i < count; i++)
		write_section(w->out, &sections[i]);
	gateway_recorder_info(r, &info);
	(void)fprintf(w->out,
		      "[recorder]\n| size %zu, used %zu, entries %" PRIu64 " to %" PRIu64
		      ", older ones lost: %" PRIu64 "\n",
		      info.size, info.used, info.first, info.next - 1, info.lost);
	gateway_recorder_each(r, info.first, write_entry, w);
}

int gateway_recorder_bundle(struct recorder *r, const struct bundle_section *sections, size_t count,
			    FILE *out)
{
	struct writing w = {.failed = false};
	char *text = NULL, sum[65];
	uint8_t hash[32];
	size_t size = 0;
	int result = 0;

	w.out = open_memstream(&text, &size);
	if (!w.out)
		return -ENOMEM;
	write_all(&w, r, sections, count);
	free(w.numbering.rows);
	if (ferror(w.out) != 0 || fclose(w.out) != 0 || w.failed) {
		free(text);
		return -ENOMEM;
	}
	result = p1_sha256(bytes_of(text, size), hash);
	if (result == 0)
		result = hex_encode(bytes_of(hash, sizeof(hash)), sum, sizeof(sum));
	if (result == 0 && (fwrite(text, 1, size, out) != size ||
			    fprintf(out, LAST_LINE "%s\n", sum) < 0 || fflush(out) != 0))
		result = -EIO;
	free(text);
	return result;
}

/* Reading. */

__attribute__((format(printf, 4, 5))) static int wrong(int what, char *why, size_t why_size,
						       const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(why, why_size, format, arguments);
	va_end(arguments);
	return what;
}

/* The line at *at without its newline; false at the end. */
static bool next_line(struct bytes text, size_t *at, struct bytes *line)
{
	const uint8_t *from, *end;

	if (*at >= text.size)
		return false;
	from = text.data + *at;
	end = memchr(from, '\n', text.size - *at);
	*line = bytes_of(from, end ? (size_t)(end - from) : text.size - *at);
	*at += line->size + (end ? 1 : 0);
	return true;
}

static bool begins(struct bytes line, const char *with)
{
	size_t size = strlen(with);

	return line.size >= size && memcmp(line.data, with, size) == 0;
}

static uint64_t number_at(struct bytes b)
{
	uint64_t number = 0;

	for (size_t i = 0; i < b.size && b.data[i] >= '0' && b.data[i] <= '9' && i < 18; i++)
		number = number * 10 + (uint64_t)(b.data[i] - '0');
	return number;
}

static struct bytes behind(struct bytes b, size_t size)
{
	return bytes_of(b.data + size, b.size - size);
}

int gateway_bundle_check(struct bytes text, char *why, size_t why_size)
{
	const size_t last = strlen(LAST_LINE) + 64 + 1;
	struct bytes line, body, sum;
	char expected[65];
	uint8_t hash[32];
	size_t at = 0;

	if (!next_line(text, &at, &line) || !begins(line, FIRST_LINE))
		return wrong(BUNDLE_FOREIGN, why, why_size, "this is no bundle of a PN GW");
	if (number_at(behind(line, strlen(FIRST_LINE))) != BUNDLE_VERSION)
		return wrong(BUNDLE_NEWER, why, why_size,
			     "the bundle's format is %.*s, this program knows %d: take a newer one",
			     (int)(line.size - strlen(FIRST_LINE) > 20
					   ? 20
					   : line.size - strlen(FIRST_LINE)),
			     (const char *)line.data + strlen(FIRST_LINE), BUNDLE_VERSION);
	if (text.size < last || text.data[text.size - 1] != '\n' ||
	    !begins(behind(text, text.size - last), LAST_LINE))
		return wrong(BUNDLE_TRUNCATED, why, why_size,
			     "the bundle is cut off: its last line is missing");
	body = bytes_of(text.data, text.size - last);
	sum = bytes_of(text.data + text.size - 65, 64);
	if (p1_sha256(body, hash) != 0 ||
	    hex_encode(bytes_of(hash, sizeof(hash)), expected, sizeof(expected)) != 0 ||
	    !bytes_equal(sum, bytes_text(expected)))
		return wrong(BUNDLE_ALTERED, why, why_size,
			     "the bundle was altered: its checksum does not fit");
	return 0;
}

int gateway_bundle_each(struct bytes text, recorder_each_fn *each, void *arg, char *why,
			size_t why_size)
{
	static uint8_t room[MESSAGE_MAX_SIZE * 4];
	struct note_writer w = {.data = room, .room = sizeof(room)};
	unsigned long number_of_line = 0;
	bool recorder = false;
	uint64_t number = 0;
	struct bytes line;
	size_t at = 0;

	while (next_line(text, &at, &line)) {
		const char *bad;

		number_of_line++;
		if (begins(line, "["))
			recorder = begins(line, "[recorder]");
		if (!recorder || begins(line, "[") || begins(line, "|") || begins(line, LAST_LINE))
			continue;
		if (begins(line, "@")) {
			number = number_at(behind(line, 1));
			continue;
		}
		if (!begins(line, "  "))
			return wrong(BUNDLE_BAD, why, why_size, "line %lu is none of a bundle's",
				     number_of_line);
		w.size = 0;
		w.overflow = false;
		bad = note_parse_text(behind(line, 2), &w);
		if (bad)
			return wrong(BUNDLE_BAD, why, why_size, "line %lu, entry %llu: %s",
				     number_of_line, (unsigned long long)number, bad);
		if (!each(arg, number, bytes_of(w.data, w.size)))
			break;
	}
	return 0;
}
