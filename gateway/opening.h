#ifndef PNGW_GATEWAY_OPENING_H
#define PNGW_GATEWAY_OPENING_H

/*
 * Opens the vault that a configuration names on a thread of libuv's pool: a passphrase is made slow
 * to try on purpose, and a migration rewrites the file. The loop runs meanwhile.
 */

#include <uv.h>

#include "gateway/config.h"

#define OPENING_WHY_SIZE 512

struct gateway_opening;

/*
 * result as of vault_open(). v is the callee's where result is 0, NULL otherwise; why is a
 * sentence, on 0 a warning about a key that is configured and of no use, or empty; it lives during
 * the call. The opening is freed when it returns.
 */
typedef void gateway_opened_fn(void *arg, int result, struct vault *v, const char *why);

/*
 * Whether pngw-handover was cut short while it put another vault, with its settings and
 * credentials, here: then nothing is opened, and why says so.
 */
bool gateway_opening_cut_short(const struct config *config, char *why, size_t why_size);

/* opened is called once, from the loop, unless it is abandoned. 0 or a negative errno. */
int gateway_opening_start(uv_loop_t *loop, const struct config *config, gateway_opened_fn *opened,
			  void *arg, struct gateway_opening **out);

/* opened will not be called; the loop goes on until the thread has ended and its vault is closed.
 */
void gateway_opening_abandon(struct gateway_opening *o);

#endif
