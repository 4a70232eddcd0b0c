/* The daemon's connection to the server. */

#include "gateway/daemon-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/pool.h"
#include "gateway/records.h"
#include "protocol/clock.h"
#include "protocol/notify.h"
#include "wan/library.h"
#include "wan/tls-config.h"
#include <config.h>

struct post {
	struct gateway_daemon *daemon;
	struct wan_request *request;
	uint64_t token;
};

static void bad_answer(struct core *core, uint64_t token, int status)
{
	char why[64] = "the stream was reset, or its answer is too large";

	if (status != 0)
		(void)snprintf(why, sizeof(why), "HTTP status %d%s", status,
			       status < 300 ? " with what is no CPNS message" : "");
	gateway_core_wan_refused(core, token, gateway_http_verdict(status), why);
}

static void post_answered(void *arg, const struct wan_answer *answer)
{
	struct post *post = arg;
	struct core *core = post->daemon->core;
	uint64_t token = post->token;

	free(post);
	if (!core)
		return;
	switch (answer->result) {
	case WAN_ANSWERED:
		gateway_core_answered(core, token, answer->body);
		return;
	case WAN_DOWN:
		gateway_core_wan_failed(core, token, WAN_FAILURE_DOWN);
		return;
	case WAN_LOST:
	case WAN_CANCELLED:
		gateway_core_wan_failed(core, token, WAN_FAILURE_LOST);
		return;
	case WAN_DEADLINE:
		gateway_core_wan_failed(core, token, WAN_FAILURE_SILENT);
		return;
	case WAN_BAD_ANSWER:
		bad_answer(core, token, answer->http);
		return;
	case WAN_UNREAD:
		gateway_core_wan_refused(core, token, VERDICT_SERVER_BUSY,
					 "it sends requests back unread");
		return;
	}
}

int gateway_daemon_post(void *arg, struct bytes xml, unsigned deadline_ms, uint64_t pin,
			uint64_t token, void **request)
{
	struct gateway_daemon *d = arg;
	struct post *post;
	int r;

	if (!d->wan)
		return -ENOTCONN;
	post = malloc(sizeof(*post));
	if (!post)
		return -ENOMEM;
	post->daemon = d;
	post->token = token;
	r = wan_post(d->wan, xml, deadline_ms, pin, post_answered, post, &post->request);
	if (r != 0) {
		free(post);
		return r;
	}
	*request = post;
	return 0;
}

void gateway_daemon_post_cancel(void *arg, void *request)
{
	struct post *post = request;

	(void)arg;
	wan_cancel(post->request);
	free(post);
}

static enum verdict_id tls_verdict(enum tls_cause cause)
{
	switch (cause) {
	case TLS_CAUSE_CLOCK:
		return VERDICT_GATEWAY_CLOCK;
	case TLS_CAUSE_EXPIRED:
		return VERDICT_WAN_CERTIFICATE_EXPIRED;
	case TLS_CAUSE_NOT_YET:
		return VERDICT_WAN_CERTIFICATE_NOT_YET;
	case TLS_CAUSE_AUTHORITY:
		return VERDICT_WAN_UNKNOWN_AUTHORITY;
	case TLS_CAUSE_NAME:
		return VERDICT_WAN_OTHER_NAME;
	case TLS_CAUSE_OWN_REFUSED:
		return VERDICT_WAN_CERTIFICATE_REFUSED;
	case TLS_CAUSE_OWN_MISSING:
		return VERDICT_WAN_CERTIFICATE_WANTED;
	case TLS_CAUSE_PSK:
		return VERDICT_WAN_PSK_REFUSED;
	case TLS_CAUSE_VERSION:
		return VERDICT_WAN_TLS_VERSION;
	case TLS_CAUSE_NOT_TLS:
		return VERDICT_WAN_NOT_TLS;
	case TLS_CAUSE_NONE:
	case TLS_CAUSE_OTHER:
		break;
	}
	return VERDICT_WAN_TLS_REFUSED;
}

static enum verdict_id down_verdict(const struct wan_state *state)
{
	switch (state->cause) {
	case WAN_CAUSE_NONE:
		break;
	case WAN_CAUSE_RESOLVE:
		return VERDICT_WAN_NO_NAME;
	case WAN_CAUSE_ROUTE:
		return VERDICT_WAN_NO_ROUTE;
	case WAN_CAUSE_REFUSED:
		return VERDICT_WAN_REFUSED;
	case WAN_CAUSE_SILENT:
		return VERDICT_WAN_NO_ANSWER;
	case WAN_CAUSE_MUTE:
		return VERDICT_WAN_MUTE;
	case WAN_CAUSE_CUT:
		return VERDICT_WAN_CUT;
	case WAN_CAUSE_TLS:
		return tls_verdict(state->tls);
	case WAN_CAUSE_HTTP:
		return VERDICT_WAN_NOT_CPNS;
	case WAN_CAUSE_DEAF:
		return VERDICT_WAN_SILENT;
	case WAN_CAUSE_LOST:
		return VERDICT_WAN_LOST;
	case WAN_CAUSE_OWN:
		return VERDICT_GATEWAY_MEMORY;
	}
	return VERDICT_WAN_DOWN;
}

static void wan_changed(void *arg, const struct wan_state *state)
{
	struct gateway_daemon *d = arg;
	struct core_wan wan = {.up = state->up,
			       .mutual = state->mutual,
			       .tls_refused = state->tls_refused,
			       .down = down_verdict(state),
			       .why = state->why};
	char text[256];

	gateway_metrics_wan(d->metrics.metrics, state->up);
	if (!d->core || !d->wan)
		return;
	if (state->up) {
		wan.exporter = wan_exporter(d->wan);
		wan.generation = wan_generation(d->wan);
		(void)snprintf(text, sizeof(text), "WAN is up: %s, %s%s",
			       state->http2 ? "HTTP/2" : "HTTP/1.1",
			       state->mutual ? "mutually authenticated"
					     : "only the server is authenticated",
			       state->resumed ? ", session resumed" : "");
	} else {
		(void)snprintf(text, sizeof(text), "WAN is down: %s", state->why);
	}
	if (strcmp(text, d->last_wan) != 0) {
		(void)snprintf(d->last_wan, sizeof(d->last_wan), "%s", text);
		gateway_daemon_log(d, state->up ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, text);
		gateway_api_changed(d->api, "wan");
		notify_status(text);
	}
	gateway_core_wan_state(d->core, &wan);
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

const char *const gateway_daemon_tls_names[] = {[TLS_PART_NONE] = "server.tls",
						[TLS_PART_CA] = "server.tls.ca",
						[TLS_PART_CERTIFICATE] = "server.tls.certificate",
						[TLS_PART_KEY] = "server.tls.key",
						[TLS_PART_PSK] = "server.tls.psk_file"};

void gateway_daemon_tls_options(const struct config *config, struct tls_options *out)
{
	*out = (struct tls_options){
		.side = TLS_CLIENT,
		.allow_tls12 = config->tls_allow_tls12,
		.ca_file = or_null(config->tls_ca),
		.certificate_file = or_null(config->tls_certificate),
		.key_file = or_null(config->tls_key),
		.psk_file = or_null(config->tls_psk_file),
		.alpn = http_protocols,
		.clock_floor = (int64_t)BUILD_TIME - CLOCK_DRIFT,
	};
}

int gateway_daemon_tls(const struct config *config, struct tls_context **out, char *why,
		       size_t why_size)
{
	struct tls_options options;

	gateway_daemon_tls_options(config, &options);
	return tls_config_new(&options, gateway_daemon_tls_names, out, why, why_size);
}

void gateway_daemon_clock(struct gateway_daemon *d)
{
	struct clock_mark mark;
	time_t now = time(NULL), last;
	char is[16] = "", was[16] = "", text[128];
	struct tm tm;

	if (records_get_clock(d->vault, &mark) != 0 || mark.wall > CLOCK_LAST ||
	    !clock_plausible((int64_t)mark.wall))
		return;
	last = (time_t)mark.wall;
	d->clock_floor = (int64_t)mark.wall - CLOCK_DRIFT;
	tls_context_clock_floor(d->tls, d->clock_floor);
	if (now >= d->clock_floor)
		return;
	if (gmtime_r(&now, &tm))
		(void)strftime(is, sizeof(is), "%Y-%m-%d", &tm);
	if (gmtime_r(&last, &tm))
		(void)strftime(was, sizeof(was), "%Y-%m-%d", &tm);
	(void)snprintf(text, sizeof(text),
		       "the clock says %s, but it was %s already: set the clock", is, was);
	gateway_daemon_log(d, LOG_LEVEL_WARNING, text);
}

static void wan_stopped(void *arg);

int gateway_daemon_start_wan(struct gateway_daemon *d)
{
	struct wan_options options = {
		.host = d->config.host,
		.verify_name = or_null(d->config.verify_name),
		.port = (uint16_t)d->config.port,
		.path = d->config.path,
		.tls = d->tls,
		.max_in_flight = 100,
		.max_waiting = d->config.max_requests + d->config.max_procedures,
		.connect_timeout_ms = d->config.connect_timeout,
		.backoff_min_ms = d->config.backoff_min,
		.backoff_max_ms = d->config.backoff_max,
		.keepalive_ms = d->config.keepalive,
	};
	static const struct wan_callbacks callbacks = {.state = wan_changed,
						       .stopped = wan_stopped};
	const struct core_wan down = {.why = "the first attempt to connect is still under way"};
	int r = wan_new(d->loop, &options, &callbacks, d, &d->wan);

	gateway_core_wan_state(d->core, &down);
	if (r == 0)
		wan_start(d->wan);
	return r;
}

/* After a reload the next connection has the new credentials. */
static void wan_stopped(void *arg)
{
	struct gateway_daemon *d = arg;
	int r;

	if (d->stopping)
		return;
	r = gateway_daemon_start_wan(d);
	if (r != 0) {
		gateway_daemon_log(d, LOG_LEVEL_ERROR,
				   "the WAN connection cannot be made: stopping");
		gateway_daemon_stop(d);
	}
}

void gateway_daemon_renew_wan(struct gateway_daemon *d)
{
	struct core_wan down = {.why = "new credentials"};
	struct wan *old = d->wan;

	if (!old)
		return;
	d->wan = NULL;
	d->last_wan[0] = '\0';
	gateway_metrics_wan(d->metrics.metrics, false);
	gateway_core_wan_state(d->core, &down);
	wan_stop(old);
}
