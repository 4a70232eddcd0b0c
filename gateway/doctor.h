#ifndef PNGW_GATEWAY_DOCTOR_H
#define PNGW_GATEWAY_DOCTOR_H

/*
 * The doctor: examines everything that pngwd stands on and says of each thing whether it is well,
 * what was found, and what mends it. doc/doctor.md lists the checks, which are made from
 * doctor-checks.def.
 *
 * It changes nothing but a small file beside the vault that is written and removed again. What may
 * take long runs on another thread or asynchronously; an examination ends within DOCTOR_DEADLINE_MS
 * whatever hangs.
 */

#include <stdio.h>
#include <uv.h>

#include "gateway/bluetooth.h"
#include "gateway/config.h"
#include "wan/client.h"

#define DOCTOR_DEADLINE_MS 15000

enum doctor_id {
#define CHECK(name, id, leg, title, remedy) DOCTOR_##name,
#include "gateway/doctor-checks.def"
#undef CHECK
	DOCTOR_CHECKS
};

/* NOT_APPLICABLE: it is not configured, or what it needs is not there; the finding says which. */
enum doctor_state { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAILED, DOCTOR_NOT_APPLICABLE };
const char *doctor_state_name(enum doctor_state state); /* "not-applicable" */

#define DOCTOR_TEXT_SIZE 320

struct doctor_check {
	const char *id;
	const char *title;
	enum leg leg;
	enum doctor_state state;
	char finding[DOCTOR_TEXT_SIZE]; /* a sentence, no secrets */
	char remedy[DOCTOR_TEXT_SIZE];  /* a sentence; "" where nothing is to be done */
};

struct doctor_report {
	uint64_t at; /* seconds since 1970 */
	unsigned took_ms;
	struct doctor_check checks[DOCTOR_CHECKS];
};

/* What is examined. The pointers are borrowed until done or cancel. */
struct doctor_subject {
	const char *file;            /* of the configuration */
	const struct config *config; /* copied */
	/* The daemon's that runs; NULL in an examination without it. */
	struct core *core;
	const struct wan_state *wan; /* copied */
	/* NULL: not open, vault_why says why. */
	struct vault *vault;
	const char *vault_why; /* copied */
	bool vault_in_use;     /* that is because another process, the daemon, has it */
	struct bluez *bluez;   /* NULL without Bluetooth */
	const char *bus_name;  /* copied; the daemon's own on the control bus; NULL: none */
	uint64_t loop_lag_ms;  /* the worst of late; 0 */
};

struct doctor;

/* Once, from the loop; the report is borrowed during the call and the doctor freed after it. */
typedef void doctor_done(void *arg, const struct doctor_report *report);

/* 0 and *out, borrowed until done; or a negative errno. */
int gateway_doctor_start(uv_loop_t *loop, const struct doctor_subject *subject, doctor_done *done,
			 void *arg, struct doctor **out);
/* done will not be called, the subject is not used any more. The loop goes on until all is closed.
 */
void gateway_doctor_cancel(struct doctor *d);

/* How many checks of a report are in that state. */
size_t gateway_doctor_count(const struct doctor_report *report, enum doctor_state state);
void gateway_doctor_print(const struct doctor_report *report, FILE *out);
void gateway_doctor_print_json(const struct doctor_report *report, FILE *out);
/* The table of checks for doc/doctor.md. */
void gateway_doctor_write_markdown(FILE *out);

/* The examination of a system whose daemon does not run: an exit code, 1 where a check failed. */
int gateway_doctor_offline(const char *file, bool json);

#endif
