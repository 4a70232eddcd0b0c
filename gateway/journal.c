#include "gateway/journal.h"

#include <config.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef HAVE_JOURNAL
/* Which line of the source logged it is nobody's business. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define SOCKET     "/run/systemd/journal/socket"
#define FIELDS_MAX 16
#define FIELD_SIZE 1100

bool gateway_journal_is(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t device, inode;
	struct stat st;
	char *end;

	if (!stream || fstat(fd, &st) != 0)
		return false;
	device = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	inode = strtoull(end + 1, &end, 10);
	return *end == '\0' && st.st_dev == device && st.st_ino == inode &&
	       access(SOCKET, W_OK) == 0;
}

struct fields {
	char text[FIELDS_MAX][FIELD_SIZE];
	struct iovec list[FIELDS_MAX];
	int count;
};

__attribute__((format(printf, 2, 3))) static void add(struct fields *f, const char *format, ...)
{
	va_list list;
	char *text;
	int n;

	if (f->count >= FIELDS_MAX)
		return;
	text = f->text[f->count];
	va_start(list, format);
	n = vsnprintf(text, FIELD_SIZE, format, list);
	va_end(list);
	if (n < 0)
		return;
	f->list[f->count].iov_base = text;
	f->list[f->count].iov_len = n < FIELD_SIZE ? (size_t)n : FIELD_SIZE - 1;
	f->count++;
}

static void add_verdict(struct fields *f, const struct verdict *v)
{
	add(f, "MESSAGE_ID=" JOURNAL_VERDICT);
	add(f, "PNGW_VERDICT=%s", verdict_name(v->id));
	add(f, "PNGW_VERDICT_NUMBER=%d", (int)v->id);
	add(f, "PNGW_LEG=%s", leg_name(verdict_leg(v->id)));
	add(f, "PNGW_RETRY=%s", retry_name(verdict_retry(v->id)));
	if (v->key_index != 0)
		add(f, "PNGW_KEY_INDEX=%" PRIu32, v->key_index);
}

int gateway_journal_send(const struct journal_entry *e)
{
	const struct verdict *v = e->verdict;
	enum figure figure = v ? v->figure : e->figure;
	const struct name *entity = v ? &v->entity : e->entity;
	struct fields f = {.count = 0};

	add(&f, "MESSAGE=%s", e->text);
	add(&f, "PRIORITY=%d", e->priority);
	add(&f, "SYSLOG_IDENTIFIER=pngwd");
	add(&f, "PNGW_GATEWAY=%s", e->gateway);
	if (v)
		add_verdict(&f, v);
	else if (figure != FIGURE_NONE)
		add(&f, "MESSAGE_ID=" JOURNAL_STEP);
	if (figure != FIGURE_NONE) {
		add(&f, "PNGW_FIGURE=%d", (int)figure);
		add(&f, "PNGW_STEP=%u", v ? v->step : e->step);
	}
	if (entity && entity->text[0])
		add(&f, "PNGW_ENTITY=%s", entity->text);
	return sd_journal_sendv(f.list, f.count);
}
#else
bool gateway_journal_is(int fd)
{
	(void)fd;
	return false;
}

int gateway_journal_send(const struct journal_entry *e)
{
	(void)e;
	return -ENOSYS;
}
#endif
