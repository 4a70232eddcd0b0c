/* How far a tray is: a line that is rewritten on a terminal, else a line for each change. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/terminal.h"
#include "console/tray.h"

#define EVERY_MS  1000
#define BAR_WIDTH 20

static bool on_terminal(const struct tray_show *s)
{
	const struct writer *w = &s->tray->console->writer;

	return w->form == WRITER_TEXT && (w->out == stdout || w->pager) && isatty(STDOUT_FILENO);
}

/* Ends the progress line, so that something else can be written. */
static void leave_line(struct tray_show *s)
{
	if (s->open)
		(void)fputc('\n', s->tray->console->writer.out);
	if (s->open)
		s->line[0] = '\0';
	s->open = false;
}

void tray_show_say(struct tray_show *s, const char *text)
{
	leave_line(s);
	writer_say(&s->tray->console->writer, "%s", text);
}

void tray_show_unit(struct tray_show *s, const struct tray_unit *unit, const char *is,
		    const char *text)
{
	const struct writer *w = &s->tray->console->writer;
	json_object *data;
	char line[1200];

	/* There the progress line and the list at the end say it, however slow the line is. */
	if (on_terminal(s))
		return;
	data = json_object_new_object();
	(void)json_object_object_add(data, "entity",
				     json_object_new_string(unit->what.entity.text));
	(void)json_object_object_add(data, "state", json_object_new_string(is));
	(void)json_object_object_add(data, "attempt", json_object_new_int64(unit->attempts));
	(void)json_object_object_add(data, "text", json_object_new_string(text));
	(void)snprintf(line, sizeof(line), "%s: %s%s%s", unit->what.entity.text, is,
		       text[0] ? ": " : "", text);
	writer_event(w, "unit", data, line, 2,
		     unit->state == TRAY_PASSED   ? MARK_GOOD
		     : unit->state == TRAY_FAILED ? MARK_BAD
						  : MARK_NONE);
	(void)json_object_put(data);
}

static void compose(const struct tray *t, char *line, size_t size)
{
	size_t passed = tray_count(t, TRAY_PASSED), failed = tray_count(t, TRAY_FAILED),
	       width = t->console->writer.width, n;
	char bar[BAR_WIDTH + 1];

	for (size_t i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < (passed + failed) * BAR_WIDTH / t->count ? '#' : '-';
	bar[BAR_WIDTH] = '\0';
	n = (size_t)snprintf(line, size, "[%s] %zu/%zu passed", bar, passed, t->count);
	if (failed > 0)
		n += (size_t)snprintf(line + n, size - n, ", %zu failed", failed);
	for (size_t i = 0; i < t->count && n < size; i++) {
		const struct tray_unit *unit = &t->unit[i];

		if (unit->state == TRAY_CONNECTING || unit->state == TRAY_ASSIGNING)
			n += (size_t)snprintf(line + n, size - n, "  %s %s", unit->what.entity.text,
					      unit->doing);
	}
	/* The last column stays free: some terminals go to the next line from it. */
	if (width > 0 && width < size)
		line[width - 1] = '\0';
}

void tray_show_progress(struct tray_show *s, bool last)
{
	FILE *out = s->tray->console->writer.out;
	int64_t now = tray_now();
	char line[sizeof(s->line)];

	if (s->ended || !on_terminal(s) || (!last && now - s->shown_at < EVERY_MS))
		return;
	compose(s->tray, line, sizeof(line));
	if (strcmp(line, s->line) != 0) {
		if (terminal_erases(STDOUT_FILENO)) {
			(void)fprintf(out, "\r%s\033[K", line);
			s->open = true;
		} else {
			(void)fprintf(out, "%s\n", line);
		}
		(void)snprintf(s->line, sizeof(s->line), "%s", line);
		s->shown_at = now;
	}
	if (last)
		leave_line(s);
	s->ended = last;
	(void)fflush(out);
}
