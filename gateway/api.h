#ifndef PNGW_GATEWAY_API_H
#define PNGW_GATEWAY_API_H

/*
 * The control API: pngwd as org.pngw on D-Bus, doc/control-api.md. The bus may be away, come late
 * and be restarted; what it carries is then lost, what it started with Detach is not. Used from the
 * loop's thread only.
 */

#include <stdio.h>
#include <uv.h>

#include "gateway/config.h"

struct doctor_report;
struct gateway_api;
struct gateway_bluetooth;
struct recorder;

/* Runs of the core that the API starts have this bit. */
#define API_RUN (UINT64_C(1) << 63)

/* What the daemon knows of itself besides the core. The texts live until the loop's next turn. */
struct gateway_api_status {
	bool wan_up, wan_mutual;
	char wan_text[256];
	const char *damage[64]; /* what was found when the vault was opened */
	size_t damage_count;
};

struct gateway_api_options {
	const struct config *config; /* borrowed; what it holds may change between two turns */
	void (*log)(void *arg, enum log_level level, const char *text);
	void (*status)(void *arg, struct gateway_api_status *out);
	/* Begins an examination, or joins the one under way. 0: gateway_api_examined() follows from
	 * the loop, once, unless the API is stopped first; or a negative errno. Not called before
	 * that. */
	int (*examine)(void *arg);
	/* The metrics' text of now, the API's to free(); NULL: out of memory. */
	char *(*metrics)(void *arg);
	/* Writes a bundle: 0 or a negative errno. */
	int (*bundle)(void *arg, FILE *out);
	struct recorder *recorder; /* borrowed until gateway_api_stop() */
	void *arg;
};

/* The address that control.bus names, perhaps in room; NULL: the system bus. */
const char *gateway_api_address(const struct config *config, char *room, size_t size);
/* The unique name of its connection; NULL while there is none. Until the loop's next turn. */
const char *gateway_api_bus_name(const struct gateway_api *api);

/* Begins to connect to config->control_bus. 0 and *out, or a negative errno. */
int gateway_api_new(uv_loop_t *loop, const struct gateway_api_options *options,
		    struct gateway_api **out);
/* The vault is open; what is given is borrowed until gateway_api_stop(). bluetooth: NULL without.
 */
void gateway_api_ready(struct gateway_api *api, struct core *core, struct vault *vault,
		       struct gateway_bluetooth *bluetooth);
/* The core must have ended already, Bluetooth must not. Nothing that was borrowed is used
 * afterwards; all is freed from the loop. */
void gateway_api_stop(struct gateway_api *api);

/* Ports of the core; of every run. NULL is allowed. */
void gateway_api_step(struct gateway_api *api, uint64_t run, enum figure figure, unsigned step,
		      const struct name *user, const struct name *entity);
void gateway_api_verdict(struct gateway_api *api, uint64_t run, const struct verdict *v);
void gateway_api_counted(struct gateway_api *api, uint64_t run, int verdicts);
void gateway_api_chosen(struct gateway_api *api, uint64_t run, const struct name *entity,
			enum figure figure, const char *why);
/* What is known of entity may be another now; NULL: of any. Told at the end of the turn. */
void gateway_api_touch(struct gateway_api *api, const struct name *entity);
/* Signal Changed: "wan", "bluetooth", "vault". */
void gateway_api_changed(struct gateway_api *api, const char *what);
/* The examination that was asked for has ended; report is borrowed during the call. */
void gateway_api_examined(struct gateway_api *api, const struct doctor_report *report);
/* A line of the log, for GetLog. */
void gateway_api_logged(struct gateway_api *api, const char *line);

#endif
