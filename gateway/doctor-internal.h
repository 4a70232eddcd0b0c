#ifndef PNGW_GATEWAY_DOCTOR_INTERNAL_H
#define PNGW_GATEWAY_DOCTOR_INTERNAL_H

/* What the files of the doctor share. */

#include "gateway/doctor.h"
#include "pan/bluez-features.h"
#include "storage/vault-manage.h"
#include "wan/probe.h"

/* Checks as they are found out, on one thread. */
struct doctor_findings {
	struct doctor_finding {
		bool set;
		enum doctor_state state;
		char finding[DOCTOR_TEXT_SIZE];
		char remedy[DOCTOR_TEXT_SIZE];
	} of[DOCTOR_CHECKS];
};

/* Sets a check, the table's remedy with it unless there is nothing to mend. */
__attribute__((format(printf, 4, 5))) void doctor_find(struct doctor_findings *f, enum doctor_id id,
						       enum doctor_state state, const char *format,
						       ...);
/* Whether it was set and is neither failed nor not applicable. */
bool doctor_stands(const struct doctor_findings *f, enum doctor_id id);

/* What opens the vault, found on the other thread and tried on the vault's. */
#define DOCTOR_SECRETS_MAX (2 + VAULT_SLOTS)
struct doctor_secret {
	enum doctor_id id;
	enum vault_source source;
	uint8_t slot; /* that it was made for; 0: any */
	struct secret *secret;
	char why[160]; /* there is none */
};

/* The part on the other thread: a copy of what it needs, so that it may outlive the examination. */
struct doctor_work {
	uv_work_t work;
	struct doctor *doctor; /* NULL: nobody waits for it */
	bool stop;             /* atomically: nobody does */
	char file[CONFIG_TEXT_MAX];
	struct config config;
	bool runs; /* it is the daemon that is examined */
	bool vault_open;
	bool ledger_behind; /* the vault has entries that the ledger's file has not */
	struct ledger_state ledger;
	struct vault_wrap wraps[VAULT_SLOTS];
	size_t wrap_count;
	struct doctor_secret secrets[DOCTOR_SECRETS_MAX];
	size_t secret_count;
	struct doctor_findings findings;
};
bool doctor_work_stopped(struct doctor_work *w);

/* doctor-process.c, doctor-files.c, doctor-tls.c, doctor-ledger.c: on the other thread. */
void doctor_examine_process(struct doctor_work *w);
void doctor_examine_files(struct doctor_work *w);
void doctor_examine_tls(struct doctor_work *w);
void doctor_examine_ledger(struct doctor_work *w);
void doctor_make_secrets(struct doctor_work *w);
void doctor_examine_listeners(struct doctor_work *w);

/* doctor-vault.c, on the loop. */
void doctor_examine_vault(struct doctor_findings *f, const struct doctor_subject *s);
/* How the vault's keys fare, from what the other thread made of them. */
void doctor_try_secrets(struct doctor_findings *f, const struct doctor_subject *s,
			const struct doctor_work *w);
/*
 * doctor-keys.c: what the vault tells about PNEs, of which there may be very many: a piece in each
 * turn of the loop, until a step is true. NULL: nothing can be found out, and that is in f.
 */
struct doctor_keys;
struct doctor_keys *doctor_keys_new(struct doctor_findings *f, const struct doctor_subject *s);
bool doctor_keys_step(struct doctor_keys *k, struct doctor_findings *f,
		      const struct doctor_subject *s);
void doctor_keys_free(struct doctor_keys *k); /* NULL is allowed */
/* doctor-network.c: why is what kept the probe from being made. */
void doctor_judge_network(struct doctor_findings *f, const struct doctor_subject *s,
			  const struct wan_probe_result *r, const char *why);
/*
 * doctor-control.c. Asks the control bus who is org.pngw. done comes from the loop, once, unless it
 * is abandoned first: error is 0 or a negative errno, owner the unique name, "" where nobody is.
 */
struct doctor_control;
typedef void doctor_control_done(void *arg, int error, const char *owner);
int doctor_control_start(uv_loop_t *loop, const struct config *config, doctor_control_done *done,
			 void *arg, struct doctor_control **out);
void doctor_control_abandon(struct doctor_control *c);
void doctor_judge_control(struct doctor_findings *f, const struct doctor_subject *s, int error,
			  const char *owner);
/* doctor-bluetooth.c. features: NULL when bluetoothd did not tell. */
void doctor_examine_bluetooth(struct doctor_findings *f, const struct doctor_subject *s,
			      const struct bluez_features *features);

#endif
