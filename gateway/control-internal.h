#ifndef PNGW_GATEWAY_CONTROL_INTERNAL_H
#define PNGW_GATEWAY_CONTROL_INTERNAL_H

/* What the commands of the control socket see of their client. */

#include "gateway/control.h"

#define CONTROL_WORDS_MAX 600

struct control_client;

/* A line split at spaces; word 0 (and 1) is the command. */
struct control_words {
	char *word[CONTROL_WORDS_MAX];
	size_t count;
};

/*
 * Carries a command out. first is the place of the first argument. Ends with exactly one
 * gateway_control_end(), at once or later; the words are gone when it returns.
 */
typedef void control_command_fn(struct control_client *client, const struct control_words *w,
				size_t first);

/* gateway/control-core.c, control-vault.c, control-devices.c, control-bluetooth.c */
#define COMMAND(name, function, needs, arguments, meaning) \
	control_command_fn gateway_control_##function;
#include "gateway/commands.def"
#undef COMMAND

struct core *gateway_control_core(const struct control_client *client);
struct vault *gateway_control_vault(const struct control_client *client);
/* NULL without Bluetooth. */
struct gateway_bluetooth *gateway_control_bluetooth(const struct control_client *client);
const struct gateway_control_options *
gateway_control_options_of(const struct control_client *client);
uv_loop_t *gateway_control_loop(const struct control_client *client);

/* One line; longer than a verdict's text plus 256 bytes is cut. Nothing happens for a client that
 * is going. */
__attribute__((format(printf, 2, 3))) void gateway_control_say(struct control_client *client,
							       const char *format, ...);
/* The last line. */
void gateway_control_end(struct control_client *client, int code);
/* What the command's arguments are, and the end. */
void gateway_control_usage(struct control_client *client);

/*
 * For a command that goes on: gone is called with job when the client closes first or the daemon
 * stops; the job must then not touch the client. gone NULL: the job is over.
 */
void gateway_control_job(struct control_client *client, void *job, void (*gone)(void *job));

/* A backup was finished, and when the last one was; the text lives until the next call. */
void gateway_control_backed_up(struct control_client *client);
const char *gateway_control_last_backup(struct control_client *client);

/*
 * For a command that starts procedures. Begin gives the run; verdicts are counted from then on.
 * Expect says how many there are in all, or a negative errno: none were started.
 */
uint64_t gateway_control_run_begin(struct control_client *client);
void gateway_control_run_expect(struct control_client *client, int verdicts);
/* The exit code will be at least that bad. */
void gateway_control_worse(struct control_client *client, int code);
/* What was typed; the caller drops it. */
struct secret *gateway_control_take_password(struct control_client *client);

/* Fills entities (CONTROL_WORDS_MAX of them) from the words from first on. False for one that is no
 * Entity ID. */
bool gateway_control_entities(const struct control_words *w, size_t first, struct name *entities);

#endif
