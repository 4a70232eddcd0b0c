#include "gateway/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct line {
	char *out;
	size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *format, ...)
{
	va_list arguments;
	int n;

	if (l->used + 1 >= l->size)
		return;
	va_start(arguments, format);
	n = vsnprintf(l->out + l->used, l->size - l->used, format, arguments);
	va_end(arguments);
	if (n > 0)
		l->used += (size_t)n;
	if (l->used >= l->size)
		l->used = l->size - 1;
}

static void add_name(struct line *l, const char *before, struct note_reader *r, enum note_tag tag)
{
	struct name n;

	if (note_take_name(r, tag, &n))
		add(l, "%s%s", before, n.text);
}

static const char *choice(enum note_tag tag, uint64_t value)
{
	const char *name = note_choice(tag, value);

	return name ? name : "?";
}

static void add_verdict(struct line *l, const struct note_field *first, struct note_reader *r)
{
	char detail[96];
	uint64_t figure = note_take_number(r, NOTE_figure);
	uint64_t step = note_take_number(r, NOTE_step);

	add(l, "verdict %s", choice(NOTE_verdict, first->number));
	if (figure != 0)
		add(l, ", Figure %" PRIu64 " step %" PRIu64, figure, step);
	add_name(l, ", user ", r, NOTE_user);
	add_name(l, ", ", r, NOTE_entity);
	(void)note_take_number(r, NOTE_key_index);
	note_take_text(r, NOTE_detail, detail, sizeof(detail));
	if (detail[0])
		add(l, " (%s)", detail);
}

static void add_actions(struct line *l, struct note_reader *r)
{
	const char *separator = " -> ";
	struct note_field f;

	while (note_next(r, &f)) {
		if (f.tag == NOTE_message)
			add(l, " %s", note_xml_root(f.bytes));
		if (f.tag == NOTE_status)
			add(l, " %s", choice(f.tag, f.number));
		if (f.tag == NOTE_step)
			add(l, " %" PRIu64, f.number);
		if (f.tag == NOTE_verdict)
			add(l, " %s", choice(f.tag, f.number));
		if (f.tag == NOTE_action) {
			add(l, "%s%s", separator, choice(f.tag, f.number));
			separator = ", ";
		}
	}
}

static void about_procedure(struct line *l, struct note_reader r)
{
	struct note_field f = {.tag = NOTE_end};

	add(l, "procedure %" PRIu64, note_take_number(&r, NOTE_procedure));
	if (note_take(&r, NOTE_type, &f)) {
		add(l, " (%.*s", (int)f.bytes.size, (const char *)f.bytes.data);
		add_name(l, ", user ", &r, NOTE_user);
		add_name(l, ", ", &r, NOTE_entity);
		add(l, ")");
	}
	if (!note_find(&r, NOTE_event, &f)) {
		add(l, ": too large to be recorded");
		return;
	}
	add(l, ": %s", choice(NOTE_event, f.number));
	if (note_take(&r, NOTE_message, &f))
		add(l, " %s", note_xml_root(f.bytes));
	if (note_take(&r, NOTE_receipt, &f))
		add(l, " %s", choice(NOTE_status, note_take_number(&r, NOTE_status)));
	if (note_take(&r, NOTE_failure, &f))
		add(l, " %s", choice(NOTE_failure, f.number));
	if (note_take(&r, NOTE_error, &f))
		add(l, " %s", strerror((int)f.number));
	if (note_take(&r, NOTE_verdict, &f)) {
		add(l, " ");
		add_verdict(l, &f, &r);
	}
	add_actions(l, &r);
}

static void about_relay(struct line *l, struct note_reader r)
{
	struct note_field f;

	add(l, "relay: %s", choice(NOTE_call, note_take_number(&r, NOTE_call)));
	while (note_next(&r, &f)) {
		if (f.tag == NOTE_message)
			add(l, " %s", note_xml_root(f.bytes));
		else if (f.tag == NOTE_entity)
			add(l, " %.*s", (int)f.bytes.size, (const char *)f.bytes.data);
		else if (f.tag == NOTE_failure || f.tag == NOTE_status)
			add(l, " %s", choice(f.tag, f.number));
		else if (f.tag == NOTE_error)
			add(l, " %s", strerror((int)f.number));
		else if (f.tag == NOTE_action)
			break;
	}
	if (f.tag == NOTE_action) {
		add(l, " -> %s", choice(f.tag, f.number));
		add_actions(l, &r);
	}
}

static void about_judgement(struct line *l, struct note_reader r)
{
	struct note_field f;

	(void)note_take_number(&r, NOTE_run);
	add(l, "judged: %s", choice(NOTE_matter, note_take_number(&r, NOTE_matter)));
	if (note_find(&r, NOTE_verdict, &f)) {
		add(l, " -> ");
		add_verdict(l, &f, &r);
	}
}

static void about_verdict(struct line *l, struct note_reader r)
{
	uint64_t run = note_take_number(&r, NOTE_run);
	struct note_field f;

	if (run != 0)
		add(l, "run %" PRIu64 ": ", run);
	if (note_take(&r, NOTE_verdict, &f))
		add_verdict(l, &f, &r);
}

static void about_command(struct line *l, struct note_reader r)
{
	char text[64];
	uint64_t run, figure;

	note_take_text(&r, NOTE_command, text, sizeof(text));
	run = note_take_number(&r, NOTE_run);
	figure = note_take_number(&r, NOTE_figure);
	add(l, "command %s", text);
	if (figure != 0)
		add(l, " Figure %" PRIu64, figure);
	add_name(l, ", user ", &r, NOTE_user);
	add_name(l, ", ", &r, NOTE_entity);
	add(l, " (run %" PRIu64 ")", run);
}

static void about_link(struct line *l, struct note_reader r)
{
	uint64_t up, level;
	char why[128];

	add_name(l, "link of ", &r, NOTE_entity);
	up = note_take_number(&r, NOTE_up);
	level = note_take_number(&r, NOTE_level);
	note_take_text(&r, NOTE_why, why, sizeof(why));
	add(l, " is %s", up ? "up" : "down");
	if (level <= PAN_SECURITY_AUTHENTICATED)
		add(l, ", security %s", pan_security_name((enum pan_security)level));
	if (why[0])
		add(l, ", %s", why);
}

static void about_wan(struct line *l, struct note_reader r)
{
	uint64_t up = note_take_number(&r, NOTE_up);
	uint64_t mutual = note_take_number(&r, NOTE_wan_mutual);
	char why[160];

	note_take_text(&r, NOTE_why, why, sizeof(why));
	add(l, "WAN is %s%s%s%s", up ? "up" : "down", mutual ? ", mutually authenticated" : "",
	    why[0] ? ": " : "", why);
}

static void about_line(struct line *l, struct note_reader r)
{
	struct note_field f;

	if (note_take(&r, NOTE_line, &f))
		add(l, "%.*s", (int)f.bytes.size, (const char *)f.bytes.data);
}

const char *gateway_trace_text(struct bytes note, char *out, size_t out_size)
{
	struct note_reader r = note_read(note);
	struct line l = {.out = out, .size = out_size};
	uint64_t entry = note_take_number(&r, NOTE_entry);

	out[0] = '\0';
	(void)note_take_number(&r, NOTE_now);
	(void)note_take_number(&r, NOTE_wall);
	switch ((enum note_entry)entry) {
	case ENTRY_PROCEDURE:
		about_procedure(&l, r);
		break;
	case ENTRY_RELAY:
		about_relay(&l, r);
		break;
	case ENTRY_JUDGEMENT:
		about_judgement(&l, r);
		break;
	case ENTRY_VERDICT:
		about_verdict(&l, r);
		break;
	case ENTRY_COMMAND:
		about_command(&l, r);
		break;
	case ENTRY_LINK:
		about_link(&l, r);
		break;
	case ENTRY_WAN:
		about_wan(&l, r);
		break;
	case ENTRY_LINE:
		about_line(&l, r);
		break;
	case ENTRY_BEGIN:
		add(&l, "the PN GW begins");
		break;
	}
	/* One line it is, whatever a peer has put into a name. */
	for (char *at = out; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	}
	return out;
}

struct last {
	trace_line_fn *each;
	void *arg;
};

static bool tell(void *arg, uint64_t number, struct bytes note)
{
	const struct last *last = arg;
	struct note_reader r = note_read(note);
	char text[TRACE_TEXT_SIZE];
	uint64_t wall;

	(void)note_take_number(&r, NOTE_entry);
	(void)note_take_number(&r, NOTE_now);
	wall = note_take_number(&r, NOTE_wall);
	last->each(last->arg, number, wall, gateway_trace_text(note, text, sizeof(text)));
	return true;
}

void gateway_trace_last(struct recorder *r, size_t count, trace_line_fn *each, void *arg)
{
	struct last last = {each, arg};
	struct recorder_info info;

	gateway_recorder_info(r, &info);
	gateway_recorder_each(r, info.next - info.first > count ? info.next - count : info.first,
			      tell, &last);
}
