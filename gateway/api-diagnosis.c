/* Diagnosis1: what the daemon knows of how it does. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gateway/doctor.h"
#include "gateway/trace.h"

#define TRACE_MAX 2000

/* Examinations. */

struct api_examine {
	struct api_examine *next;
	sd_bus_message *m;
};

static sd_bus_message *take_examine(struct gateway_api *api)
{
	struct api_examine *x = api->examines;
	sd_bus_message *m = x->m;

	api->examines = x->next;
	free(x);
	return m;
}

void gateway_api_examines_end(struct gateway_api *api)
{
	while (api->examines)
		sd_bus_message_unref(take_examine(api));
}

void gateway_api_examine(struct api_call *call)
{
	struct gateway_api *api = call->api;
	struct api_examine *x = calloc(1, sizeof(*x));
	int r = x ? 0 : -ENOMEM;

	/* Whoever comes while one is under way gets its report. */
	if (r == 0 && !api->examines)
		r = api->options.examine(api->options.arg);
	if (r != 0) {
		free(x);
		gateway_api_errno(call->m, r);
		return;
	}
	x->m = sd_bus_message_ref(call->m);
	x->next = api->examines;
	api->examines = x;
}

static void send_report(sd_bus_message *m, const struct doctor_report *report)
{
	struct api_writer w;

	gateway_api_reply_begin(&w, m);
	gateway_api_list_begin(&w, "a{sv}");
	for (size_t i = 0; i < DOCTOR_CHECKS; i++) {
		const struct doctor_check *c = &report->checks[i];

		gateway_api_dict_begin(&w);
		gateway_api_text(&w, "Id", c->id);
		gateway_api_text(&w, "Title", c->title);
		gateway_api_text(&w, "State", doctor_state_name(c->state));
		gateway_api_text(&w, "Finding", c->finding);
		gateway_api_text(&w, "Remedy", c->remedy);
		gateway_api_dict_end(&w);
	}
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

void gateway_api_examined(struct gateway_api *api, const struct doctor_report *report)
{
	/* An answer to a client that has gone meanwhile is the bus's to drop. */
	while (api->examines) {
		sd_bus_message *m = take_examine(api);

		send_report(m, report);
		sd_bus_message_unref(m);
	}
}

void gateway_api_get_metrics(struct api_call *call)
{
	struct gateway_api *api = call->api;
	char *text = api->options.metrics(api->options.arg);
	struct api_writer w;

	if (!text) {
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	gateway_api_reply_begin(&w, call->m);
	gateway_api_put_text(&w, text);
	gateway_api_send(&w);
	free(text);
}

/* The recorder and the log. */

static void put_entry(void *arg, uint64_t number, uint64_t at, const char *text)
{
	struct api_writer *w = arg;

	(void)number;
	gateway_api_dict_begin(w);
	gateway_api_u64(w, "Time", at);
	gateway_api_text(w, "Text", text);
	gateway_api_dict_end(w);
}

void gateway_api_get_trace(struct api_call *call)
{
	struct api_writer w;
	uint32_t count;

	if (!gateway_api_read_u32(call->m, &count))
		return;
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	gateway_trace_last(call->api->options.recorder, count < TRACE_MAX ? count : TRACE_MAX,
			   put_entry, &w);
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

void gateway_api_get_log(struct api_call *call)
{
	const struct api_log *log = &call->api->log;
	struct api_writer w;
	uint32_t count;
	size_t n;

	if (!gateway_api_read_u32(call->m, &count))
		return;
	n = log->next < API_LOG_LINES ? log->next : API_LOG_LINES;
	if (n > count)
		n = count;
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "s");
	for (size_t i = log->next - n; i < log->next; i++) {
		const char *line = log->lines[i % API_LOG_LINES];

		if (line)
			gateway_api_put_text(&w, line);
	}
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

/* The bundle. */

static int write_bundle(struct gateway_api *api, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");

	if (!out) {
		r = -errno;
		if (copy >= 0)
			(void)close(copy);
		return r;
	}
	r = api->options.bundle(api->options.arg, out);
	if (fclose(out) != 0 && r == 0)
		r = -errno;
	/* Who gets it reads from its beginning, and can rely on it that it stays as it is. */
	if (r == 0 &&
	    (lseek(fd, 0, SEEK_SET) != 0 ||
	     fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0))
		r = -errno;
	return r;
}

void gateway_api_bundle(struct api_call *call)
{
	int fd = memfd_create("pngw-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 ? -errno : write_bundle(call->api, fd);

	if (r == 0)
		r = sd_bus_reply_method_return(call->m, "h", fd);
	if (r < 0)
		gateway_api_errno(call->m, r);
	if (fd >= 0)
		(void)close(fd);
}
