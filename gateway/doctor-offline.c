/* pngwd --doctor: the same examination where the daemon does not run, and its report on paper. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/doctor-internal.h"
#include "gateway/opening.h"
#include "wan/library.h"

/* How long BlueZ may take to tell its state, in milliseconds. */
#define BLUEZ_MS 3000

static void time_text(uint64_t at, char out[32])
{
	time_t seconds = (time_t)at;
	struct tm utc;

	out[0] = '\0';
	if (gmtime_r(&seconds, &utc))
		(void)strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void gateway_doctor_print(const struct doctor_report *report, FILE *out)
{
	static const char *const marks[] = {[DOCTOR_OK] = "ok",
					    [DOCTOR_WARNING] = "WARNING",
					    [DOCTOR_FAILED] = "FAILED",
					    [DOCTOR_NOT_APPLICABLE] = "-"};

	for (size_t i = 0; i < DOCTOR_CHECKS; i++) {
		const struct doctor_check *c = &report->checks[i];

		(void)fprintf(out, "%-8s %s: %s\n", marks[c->state], c->id, c->finding);
		if (c->remedy[0])
			(void)fprintf(out, "         %s\n", c->remedy);
	}
	(void)fprintf(out, "%d checks: %zu ok, %zu warnings, %zu failed, %zu not applicable\n",
		      DOCTOR_CHECKS, gateway_doctor_count(report, DOCTOR_OK),
		      gateway_doctor_count(report, DOCTOR_WARNING),
		      gateway_doctor_count(report, DOCTOR_FAILED),
		      gateway_doctor_count(report, DOCTOR_NOT_APPLICABLE));
}

static void put_string(FILE *out, const char *text)
{
	(void)fputc('"', out);
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if (*at == '"' || *at == '\\')
			(void)fprintf(out, "\\%c", *at);
		else if (*at < 0x20 || *at == 0x7f)
			(void)fprintf(out, "\\u%04x", *at);
		else
			(void)fputc(*at, out);
	}
	(void)fputc('"', out);
}

static void put_member(FILE *out, const char *before, const char *name, const char *value)
{
	(void)fprintf(out, "%s\"%s\": ", before, name);
	put_string(out, value);
}

void gateway_doctor_print_json(const struct doctor_report *report, FILE *out)
{
	char at[32];

	time_text(report->at, at);
	(void)fputs("{", out);
	put_member(out, "", "time", at);
	(void)fprintf(out, ", \"milliseconds\": %u, \"checks\": [", report->took_ms);
	for (size_t i = 0; i < DOCTOR_CHECKS; i++) {
		const struct doctor_check *c = &report->checks[i];

		put_member(out, i ? ",\n  {" : "\n  {", "id", c->id);
		put_member(out, ", ", "title", c->title);
		put_member(out, ", ", "leg", leg_name(c->leg));
		put_member(out, ", ", "state", doctor_state_name(c->state));
		put_member(out, ", ", "finding", c->finding);
		put_member(out, ", ", "remedy", c->remedy);
		(void)fputs("}", out);
	}
	(void)fputs("\n]}\n", out);
}

struct visit {
	uv_loop_t loop;
	struct doctor_subject subject;
	char vault_why[OPENING_WHY_SIZE];
	uv_timer_t patience;
	struct bluez_watcher watcher;
	bool watching, json, waiting;
	int code;
};

static void bluez_gone(void *arg)
{
	(void)arg;
}

static void report_is_there(void *arg, const struct doctor_report *report)
{
	struct visit *v = arg;

	if (v->json)
		gateway_doctor_print_json(report, stdout);
	else
		gateway_doctor_print(report, stdout);
	v->code = gateway_doctor_count(report, DOCTOR_FAILED) > 0 ? 1 : 0;
	if (v->subject.bluez)
		bluez_stop(v->subject.bluez, bluez_gone, NULL);
	v->subject.bluez = NULL;
}

static void examine(struct visit *v)
{
	struct doctor *d;
	int r;

	v->waiting = false;
	if (v->watching)
		bluez_unwatch(v->subject.bluez, &v->watcher);
	v->watching = false;
	uv_close((uv_handle_t *)&v->patience, NULL);
	r = gateway_doctor_start(&v->loop, &v->subject, report_is_there, v, &d);
	if (r == 0)
		return;
	(void)fprintf(stderr, "pngwd: %s\n", strerror(-r));
	if (v->subject.bluez)
		bluez_stop(v->subject.bluez, bluez_gone, NULL);
	v->subject.bluez = NULL;
}

static void on_patience(uv_timer_t *timer)
{
	examine(timer->data);
}

static void on_state(struct bluez_watcher *w, enum bluez_state state)
{
	struct visit *v = (struct visit *)((char *)w - offsetof(struct visit, watcher));

	/* Not from within bluez_watch(), and not from within BlueZ's own callback. */
	if (state == BLUEZ_READY && v->waiting)
		(void)uv_timer_start(&v->patience, on_patience, 0, 0);
}

/* BlueZ tells its state bit by bit; nothing is switched on here. */
static void start_bluez(struct visit *v)
{
	const struct config *c = v->subject.config;
	struct bluez_options options = {.adapter = c->bluetooth_adapter, .alias = ""};

	if (c->bluetooth && bluez_new(&v->loop, &options, &v->subject.bluez) == 0) {
		v->watcher.state = on_state;
		bluez_watch(v->subject.bluez, &v->watcher);
		v->watching = true;
		bluez_start(v->subject.bluez);
	}
	v->waiting = true;
	(void)uv_timer_start(&v->patience, on_patience, v->subject.bluez ? BLUEZ_MS : 0, 0);
}

static void vault_opened(void *arg, int result, struct vault *vault, const char *why)
{
	struct visit *v = arg;

	v->subject.vault = vault;
	v->subject.vault_in_use = result == VAULT_LOCKED;
	(void)snprintf(v->vault_why, sizeof(v->vault_why), "%s",
		       why[0] ? why : strerror(result < 0 ? -result : EACCES));
	start_bluez(v);
}

/*
 * A vault of somebody else is left alone: what is written beside it would be of the wrong user, and
 * pngwd could not open it any more. 0, or a positive number and why.
 */
static int may_open(const struct config *c, char *why, size_t why_size)
{
	struct stat st;

	if (stat(c->vault_path, &st) != 0)
		(void)snprintf(why, why_size, "%s: %s", c->vault_path, strerror(errno));
	else if (st.st_uid != geteuid())
		(void)snprintf(why, why_size, "it belongs to another user, who can examine it");
	else
		return 0;
	return 1;
}

int gateway_doctor_offline(const char *file, bool json)
{
	struct gateway_opening *opening;
	struct visit v = {.json = json, .code = EXIT_FAILURE};
	struct config config;
	char why[512];

	if (gateway_config_load(file, &config, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "%s\n", why);
		return EXIT_FAILURE;
	}
	config.vault_create = false;
	if (tls_library_start() != 0 || uv_loop_init(&v.loop) != 0) {
		(void)fputs("pngwd: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	(void)uv_timer_init(&v.loop, &v.patience);
	v.patience.data = &v;
	v.subject =
		(struct doctor_subject){.file = file, .config = &config, .vault_why = v.vault_why};
	if (may_open(&config, v.vault_why, sizeof(v.vault_why)) != 0 ||
	    gateway_opening_start(&v.loop, &config, vault_opened, &v, &opening) != 0)
		start_bluez(&v);
	(void)uv_run(&v.loop, UV_RUN_DEFAULT);
	vault_close(v.subject.vault);
	if (uv_loop_close(&v.loop) != 0)
		(void)fputs("pngwd: not everything was closed\n", stderr);
	tls_library_end();
	return v.code;
}
