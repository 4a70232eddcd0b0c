#ifndef PNGW_GATEWAY_API_INTERNAL_H
#define PNGW_GATEWAY_API_INTERNAL_H

/* What the files of the control API share. */

#include "gateway/api.h"
#include "gateway/bluetooth.h"
#include "gateway/names.h"
#include "gateway/pins.h"
#include "pan/bus.h"
#include "protocol/sd-bus.h"

#define API_NAME      "org.pngw"
#define API_PATH      "/org/pngw"
#define API_GATEWAY   "org.pngw.Gateway1"
#define API_PROCEDURE "org.pngw.Procedure1"

#define API_ENTITIES_MAX 600
#define API_LOG_LINES    256
#define API_TEXT_SIZE    512

/* Bits of a set. */
enum api_right {
	RIGHT_NONE = 0,
	RIGHT_LOOK = 1,
	RIGHT_PAIR = 2,
	RIGHT_ASSIGN = 4,
	RIGHT_ADMINISTER = 8,
	RIGHT_OF_PROCEDURE = 16, /* that of the start of the procedure at the path */
};
#define API_RIGHTS 4

enum api_when { WHEN_ALWAYS, WHEN_READY }; /* READY: once the vault is open */

struct api_call;

struct api_method {
	enum api_right right;
	enum api_when when;
	/* Replies exactly once, now or later: the call is gone when it returns. */
	void (*carry_out)(struct api_call *call);
};

/* A connection to the bus that has called something. */
struct api_client {
	struct api_client *next;
	struct gateway_api *api;
	char *name; /* unique, ":1.42" */
	bool identified;
	uid_t uid;
	bool trusted; /* root, or pngwd's own user */
	enum api_role role;
	bool looked; /* has had the right to look: may read properties */
	char *agent; /* its path, or NULL */
	bool agent_default;
	sd_bus_slot *watch, *credentials;
	struct api_call *calls; /* not carried out yet, in their order */
};

struct api_call {
	struct api_call *next;
	struct gateway_api *api;
	struct api_client *client;
	const struct api_method *method;
	sd_bus_message *m; /* read from its beginning */
	sd_bus_slot *polkit;
};

/* The ring of logged lines. */
struct api_log {
	char *lines[API_LOG_LINES];
	size_t next;
};

/* Wrong PINs of one user id. */
struct api_failures {
	bool known;
	bool trying;
	uid_t uid;
	unsigned count;
	unsigned lockouts; /* in a row */
	uint64_t until;    /* uv_now(); locked until then */
	uint64_t last;     /* of the last wrong one; may be before the clock's 0, and wrap */
};
#define API_FAILURES_MAX 64

/* What is known of a PNE. */
struct api_element {
	struct name entity, owner;
	bool connected, screen, revoked;
	enum pan_security level;
	char peer[64];
	char address[BLUETOOTH_ADDRESS_SIZE]; /* "": not known */
	struct core_pool_info pool;
	uint64_t read_at; /* uv_now() */
};

struct api_procedure;

struct api_reader;

struct gateway_api {
	uv_loop_t *loop;
	struct gateway_api_options options;
	struct bus *bus;
	sd_bus *connection; /* NULL while the bus is away */
	int bus_error;      /* why it cannot be reached, as was told; 0: nothing */
	struct core *core;  /* NULL until ready */
	struct vault *vault;
	struct gateway_bluetooth *bluetooth;
	struct api_client *clients;
	size_t client_count;
	struct api_reader *readers;
	struct api_pairings *pairings; /* NULL without Bluetooth */
	struct api_unbond *unbonds;
	struct api_examine *examines;     /* who waits for the report */
	struct api_listing *listings;     /* answers that are being written */
	struct api_procedure *procedures; /* the newest first */
	uint32_t last_procedure;
	uint64_t last_run;
	uv_timer_t timer;     /* procedures that have ended go after a minute */
	uv_idle_t idle;       /* what has changed in a turn is told in the next */
	struct name *touched; /* elements of which something may have changed */
	size_t touched_count;
	bool all_touched;
	bool emitting; /* it is pngwd itself that reads a property */
	bool stopping;
	unsigned holds; /* handles, jobs on threads: the last one frees */
	struct api_log log;
	struct api_failures failures[API_FAILURES_MAX];
	bool failures_saving, failures_changed; /* on a thread; since that began */
	bool pin_setting;                       /* the file of the PINs is being changed on one */
	struct api_element *elements;           /* for which there is an object */
	size_t element_count, element_room;
	struct names element_names; /* in the same places */
	struct names users;
	bool looking; /* at everything */
	struct names looked_at;
	size_t look_next; /* of looked_at */
	struct vault_cursor look_from;
};

/* api-failures.c. How long the login is closed the so many-th time in a row. */
uint64_t gateway_api_lockout_ms(const struct gateway_api *api, unsigned lockouts);
/* How often a user id has been wrong. */
struct api_failures *gateway_api_failures_of(struct gateway_api *api, uid_t uid);
/* It was wrong once more. True: that closes the login. */
bool gateway_api_failures_add(struct gateway_api *api, struct api_failures *f);
/* It has shown that it need not guess. */
void gateway_api_failures_forget(struct gateway_api *api, struct api_failures *f);
/* What was written down before; what is to be written down, on another thread. */
void gateway_api_failures_load(struct gateway_api *api);
void gateway_api_failures_changed(struct gateway_api *api);

/* api.c. A job that outlives a call of the loop keeps the API in memory. */
void gateway_api_hold(struct gateway_api *api);
void gateway_api_unhold(struct gateway_api *api);
/* Something is to be told: the loop does not sleep before that. */
void gateway_api_soon(struct gateway_api *api);
__attribute__((format(printf, 3, 4))) void
gateway_api_say(struct gateway_api *api, enum log_level level, const char *format, ...);

/* api-access.c. Takes a method call: it is carried out once its sender's right is known. */
int gateway_api_take(struct gateway_api *api, sd_bus_message *m, const struct api_method *method);
/* Whether the message may read properties. 0, or an error is set. */
int gateway_api_may_read(struct gateway_api *api, sd_bus_message *m, sd_bus_error *error);
void gateway_api_clients_end(struct gateway_api *api);
/* Whether the client has that right without polkit. */
bool gateway_api_has(const struct api_client *client, enum api_right right);
const char *gateway_api_right_name(enum api_right right);
unsigned gateway_api_role_rights(enum api_role role);

/* api-values.c. A message that is being written: after a failure nothing more is, and it is not
 * sent. */
struct api_writer {
	sd_bus_message *m;
	sd_bus_message *call; /* what it answers, or NULL */
	sd_bus *connection;
	int r;
};
void gateway_api_reply_begin(struct api_writer *w, sd_bus_message *call);
/* NULL connection: everything is in vain. */
void gateway_api_signal_begin(struct api_writer *w, struct gateway_api *api, const char *path,
			      const char *interface, const char *member);
/* Sends, or answers with the error; frees. */
void gateway_api_send(struct api_writer *w);
void gateway_api_list_begin(struct api_writer *w, const char *contents);
void gateway_api_list_end(struct api_writer *w);
void gateway_api_dict_begin(struct api_writer *w);
void gateway_api_dict_end(struct api_writer *w);
/* A text that is no UTF-8 is sent with question marks. */
void gateway_api_put_text(struct api_writer *w, const char *text);
void gateway_api_text(struct api_writer *w, const char *key, const char *value);
void gateway_api_flag(struct api_writer *w, const char *key, bool value);
void gateway_api_u32(struct api_writer *w, const char *key, uint64_t value);
void gateway_api_u64(struct api_writer *w, const char *key, uint64_t value);
void gateway_api_i64(struct api_writer *w, const char *key, int64_t value);
void gateway_api_i16(struct api_writer *w, const char *key, int16_t value);
void gateway_api_names(struct api_writer *w, const char *key, const struct name *names,
		       size_t count);
void gateway_api_texts(struct api_writer *w, const char *key, const char *const *texts,
		       size_t count);
/* Replies with org.pngw.Error.NAME. */
__attribute__((format(printf, 3, 4))) void gateway_api_error(sd_bus_message *call, const char *name,
							     const char *format, ...);
/* Of a negative errno. */
void gateway_api_errno(sd_bus_message *call, int error);
/* Nothing is known of entity: the verdict DEVICE_UNKNOWN as an error. */
void gateway_api_unknown(sd_bus_message *call, const struct name *entity);
/* What is refused without a procedure, in the words of a verdict. name: as above. */
void gateway_api_refuse(sd_bus_message *call, const char *name, const struct verdict *v);
void gateway_api_done(sd_bus_message *call); /* an empty reply */

/* Arguments. False: the caller got an error. */
struct api_option {
	const char *key;
	char type; /* 'b' bool, 'u' uint32_t, 'n' int16_t, 's' const char * (borrowed) */
	void *value;
};
bool gateway_api_read_options(sd_bus_message *m, const struct api_option *options, size_t count);
bool gateway_api_read_text(sd_bus_message *m, const char **out);
bool gateway_api_read_user(sd_bus_message *m, struct name *out);
bool gateway_api_read_entity(sd_bus_message *m, struct name *out);
/* At least min; *out is the caller's to free(). */
bool gateway_api_read_entities(sd_bus_message *m, size_t min, struct name **out, size_t *count);
bool gateway_api_read_u32(sd_bus_message *m, uint32_t *out);

/* api-secret.c. Reads what a pipe carries into locked memory, a newline at its end left off. */
/*
 * done comes from the loop, once, unless it is dropped first: 0 and the secret, borrowed, NULL when
 * it is empty; -EMSGSIZE: longer than max; -ETIMEDOUT; or another negative errno.
 */
typedef void api_secret_fn(void *arg, int error, struct secret *secret);
/* fd is duplicated. 0, -EBADF: not the end of a pipe that can be read; or another negative errno.
 */
int gateway_api_reader_new(struct gateway_api *api, int fd, size_t max, unsigned ms,
			   api_secret_fn *done, void *arg, struct api_reader **out);
void gateway_api_reader_drop(struct api_reader *r);
/* All that are left get -ECANCELED. */
void gateway_api_readers_end(struct gateway_api *api);
#define API_PASSWORD_MAX 400

/* api-agent.c. One question to a client's agent; embedded. */
struct api_question {
	struct gateway_api *api;
	char *client, *agent; /* who is asked */
	sd_bus_slot *slot;
	struct api_reader *reader;
	char expects; /* 'h', 'b', 0 */
	/* error: 0, or a negative errno and why, a few words. */
	void (*answered)(void *arg, int error, const char *why, struct secret *secret, bool yes);
	void *arg;
};
/* Whether the caller has an agent; false: it got an error. */
bool gateway_api_has_agent(struct api_call *call);
/* The call of a method of the client's agent, to be filled in. */
int gateway_api_question_begin(struct api_question *q, const struct api_client *client,
			       const char *member, sd_bus_message **out);
/* Takes m over. answered() follows from the loop, unless it is dropped. 0 or a negative errno. */
int gateway_api_question_send(struct api_question *q, sd_bus_message *m);
/*
 * Nobody waits for the answer any more, or the call that was begun is not sent; the agent is told
 * why where it was asked and has not answered.
 */
void gateway_api_question_drop(struct api_question *q, const char *why);

/* api-procedure.c */
enum api_state { API_ASKING, API_RUNNING, API_ENDED };
enum api_result { API_RESULT_DONE, API_RESULT_REFUSED, API_RESULT_RETRY };

/* What is to be done once the agent has given the password. */
struct api_begin {
	enum figure figure;
	enum figure6_part part;
	enum key_set_kind set_kind;
	unsigned set_count;
};

struct api_procedure {
	struct api_procedure *next;
	struct gateway_api *api;
	struct api_client *client; /* NULL: gone, or it does not care */
	uint32_t number;
	char path[48];
	const char *kind;
	enum api_right right;
	char owner[32]; /* the client's unique name, also when it has gone */
	struct name user;
	struct name *entities;
	size_t count;
	enum api_state state;
	enum api_result result;
	uint64_t run; /* 0: not of the core */
	struct verdict *verdicts;
	size_t told, room, expected;
	size_t missed; /* verdicts that were signalled and are not kept */
	uint64_t started, ended;
	struct api_question question;
	/* Goes on with what was asked for; secret is borrowed. */
	void (*begin)(struct api_procedure *p, struct secret *secret);
	struct api_begin figure;
	char label[64];
	/* Of those that are not the core's: frees the job, ends nothing. */
	void *job;
	void (*job_cancel)(struct api_procedure *p);
};

/*
 * NULL: the caller got an error. entities are taken over, also then. The caller then may set what
 * it needs, replies with gateway_api_procedure_reply(), and begins.
 */
struct api_procedure *gateway_api_procedure_new(struct api_call *call, const char *kind,
						const struct name *user, struct name *entities,
						size_t count, bool detach);
void gateway_api_procedure_reply(struct api_procedure *p, struct api_call *call);
/* Asks the client's agent for a password, then p->begin(). */
void gateway_api_procedure_ask(struct api_procedure *p, const char *purpose);
/* A run of the core for it: verdicts are counted from now on; expect: how many there will be, or a
 * negative errno. */
uint64_t gateway_api_procedure_run(struct api_procedure *p);
void gateway_api_procedure_expect(struct api_procedure *p, int verdicts);
void gateway_api_procedure_note(struct api_procedure *p, const char *text);
void gateway_api_procedure_verdict(struct api_procedure *p, const struct verdict *v);
/* With no further verdict. */
void gateway_api_procedure_end(struct api_procedure *p);
/* One verdict, and the end. */
void gateway_api_procedure_finish(struct api_procedure *p, enum verdict_id id, const char *who,
				  const char *detail);
void gateway_api_procedure_cancel(struct api_procedure *p, const char *why);
struct api_procedure *gateway_api_procedure_at(struct gateway_api *api, const char *path);
struct api_procedure *gateway_api_procedure_of_run(struct gateway_api *api, uint64_t run);
void gateway_api_procedures_client_gone(struct gateway_api *api, struct api_client *client);
void gateway_api_procedures_end(struct gateway_api *api);
void gateway_api_procedures_sweep(struct gateway_api *api);
size_t gateway_api_procedures_running(const struct gateway_api *api);
int gateway_api_procedures_export(struct gateway_api *api);
/* The dictionary's content of a verdict. */
void gateway_api_put_verdict(struct api_writer *w, const struct verdict *v);

/* api-bluetooth.c, api-pairing.c. False: the caller got an error. */
bool gateway_api_has_bluetooth(struct api_call *call);
bool gateway_api_read_device(struct api_call *call, char address[BLUETOOTH_ADDRESS_SIZE]);
void gateway_api_pairings_begin(struct gateway_api *api);
void gateway_api_pairings_end(struct gateway_api *api);
void gateway_api_unbonds_end(struct gateway_api *api);

/* api-diagnosis.c. Nobody waits for a report any more. */
void gateway_api_examines_end(struct gateway_api *api);

/* api-lists.c. A piece of the answers that are being written; true where there is more. */
bool gateway_api_listings_step(struct gateway_api *api);
/* Nobody waits for them any more. */
void gateway_api_listings_end(struct gateway_api *api);

/* api-objects.c: Pne1, User1. */
int gateway_api_objects_export(struct gateway_api *api);
/*
 * Tells of what has changed since the last time: a piece of it, true where there is more; or all.
 */
bool gateway_api_objects_step(struct gateway_api *api);
void gateway_api_objects_update(struct gateway_api *api);
void gateway_api_objects_free(struct gateway_api *api);
/* NULL: there is no object of it. Until the next step. */
struct api_element *gateway_api_element_of(struct gateway_api *api, const struct name *entity);
/* Reads e anew, unless that was done in this turn of the loop. */
void gateway_api_element_fresh(struct gateway_api *api, struct api_element *e);
void gateway_api_put_element(struct api_writer *w, const struct api_element *e);
/* The dictionary's content of a user of api->users. */
void gateway_api_put_user(struct api_writer *w, struct gateway_api *api, const struct name *user);

/* Every method: api-methods.def. */
#define X(member, right, when, in, in_names, out, out_names, function) \
	void gateway_api_##function(struct api_call *call);
#include "gateway/api-methods.def"
API_GATEWAY1(X)
API_BLUETOOTH1(X)
API_VAULT1(X)
API_DIAGNOSIS1(X)
API_SESSION1(X)
API_AGENT_MANAGER1(X)
API_PROCEDURE1(X)
#undef X

#endif
