#ifndef PNGW_PNE_DEVICE_H
#define PNGW_PNE_DEVICE_H

/*
 * A PNE on a libuv loop: core, vault, and a link to a PN GW over a bearer, made again with growing
 * pauses whenever it is lost. Any number of them may share a loop.
 */

#include <uv.h>

#include "pan/bearer.h"
#include "pne/core.h"

struct pne_device;

/* Makes the bearer of a device; as bearer_local_new(). */
typedef int pne_device_bearer_fn(void *arg, uv_loop_t *loop,
				 const struct bearer_callbacks *callbacks, void *callbacks_arg,
				 struct bearer **out);

struct pne_device_options {
	struct pne_core_options core;
	/* As for bearer_connect(); NULL: the PN GW comes by itself. */
	const char *connect;
	struct vault_options vault;
	pne_device_bearer_fn *bearer; /* NULL: a local one */
	void *bearer_arg;
	enum pan_security security;    /* this PNE's own view of the PAN of a local bearer */
	enum pan_security secure_from; /* the least level that counts as secure */
	bool ui;
	/* Burnt in when the vault has none yet; NULL where there is none. Borrowed. */
	const struct secret *temporary_key;
};

struct pne_device_callbacks {
	void (*line)(void *arg, const char *text); /* one line of progress, without a line end */
	void (*verdict)(void *arg, struct pne_device *d, const struct verdict *v);
	/* After pne_device_settle(): the PN GW has everything that was sent, or the link is down.
	 */
	void (*settled)(void *arg, struct pne_device *d);
	void (*stopped)(void *arg, struct pne_device *d); /* last; d is freed when it returns */
};

/*
 * Opens the vault (making it when options say so) and makes the device, which does nothing before
 * pne_device_start(). What options point to is copied. 0; a positive outcome of vault_open(); or a
 * negative errno; why then holds one sentence for a person.
 */
int pne_device_new(uv_loop_t *loop, const struct pne_device_options *options,
		   const struct pne_device_callbacks *callbacks, void *arg, struct pne_device **out,
		   char *why, size_t why_size);

void pne_device_start(struct pne_device *d);

/* Closes everything; stopped() follows from the loop. A second call does nothing. */
void pne_device_stop(struct pne_device *d);

/* Figure 5 with what the user has entered. */
void pne_device_enter(struct pne_device *d, const struct name *user, struct secret *password);

/* Asks for settled(), which may come from within this call. */
void pne_device_settle(struct pne_device *d);

/* What a bearer has to tell, d being the arg of its callbacks. */
void pne_device_note(void *d, const char *text);

const struct pne_core *pne_device_core(const struct pne_device *d);

#endif
