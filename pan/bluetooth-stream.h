#ifndef PNGW_PAN_BLUETOOTH_STREAM_H
#define PNGW_PAN_BLUETOOTH_STREAM_H

/*
 * A byte stream on a connected socket that came from elsewhere: RFCOMM as BlueZ hands it over, or
 * an L2CAP channel that keeps the boundaries of what was written, which are of no meaning here.
 * Used from the loop's thread only.
 */

#include <uv.h>

#include "pan/bearer.h"

struct bluetooth_stream;

#define BLUETOOTH_STREAM_INPUT 65536 /* the largest SDU that L2CAP knows */

struct bluetooth_stream_options {
	bool connecting; /* a connect(2) is under way: connected() tells its end */
	bool packets;    /* it keeps boundaries: BT_SNDMTU says how much may be written at once */
	size_t quota;    /* bytes waiting to be sent */
	uint8_t *input;  /* BLUETOOTH_STREAM_INPUT bytes, shared by streams of one loop */
};

/* All from the loop. A callback may call everything here. */
struct bluetooth_stream_callbacks {
	void (*connected)(void *arg); /* only when it was connecting; then bytes() may follow */
	void (*bytes)(void *arg, struct bytes input); /* valid during the call */
	/*
	 * Exactly once: the stream is over, or it could not be connected, and it has been freed.
	 * error: negative errno or 0.
	 */
	void (*ended)(void *arg, enum bearer_down why, int error);
};

/*
 * fd: made non-blocking here; the stream's own on success, the caller's on failure. 0 and *out, or
 * a negative errno.
 */
int bluetooth_stream_new(uv_loop_t *loop, int fd, const struct bluetooth_stream_options *options,
			 const struct bluetooth_stream_callbacks *callbacks, void *arg,
			 struct bluetooth_stream **out);

/*
 * Queues a copy of output. 0; -ENOMEM; -ENOTCONN when it is being closed; -EDQUOT when more than
 * the quota waits: ended(BEARER_DOWN_QUOTA) then follows.
 */
int bluetooth_stream_send(struct bluetooth_stream *s, struct bytes output);

/*
 * ended(why, error) follows. The connection is shut down at once, also where BlueZ keeps a
 * descriptor of it; what still waits to be sent is lost.
 */
void bluetooth_stream_close(struct bluetooth_stream *s, enum bearer_down why, int error);

int bluetooth_stream_fd(const struct bluetooth_stream *s);

#endif
