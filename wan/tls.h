#ifndef PNGW_WAN_TLS_H
#define PNGW_WAN_TLS_H

/*
 * TLS as a byte transformer over wolfSSL: cipher text in, plain text out, and the reverse. No
 * socket. TLS 1.3, and 1.2 where the options allow it. The server is always verified: by its
 * certificate and name, or by the PSK. X25519 first, ChaCha20-Poly1305 first.
 */

#include "protocol/bytes.h"
#include "protocol/secret.h"

struct tls_context; /* credentials and policy, shared by connections */
struct tls;         /* one connection */

enum tls_side { TLS_CLIENT, TLS_SERVER };

/* How the peer proved who it is. */
enum tls_auth { TLS_AUTH_NONE, TLS_AUTH_CERTIFICATE, TLS_AUTH_PSK };

/* What a refused connection failed at: each has a remedy of its own. */
enum tls_cause {
	TLS_CAUSE_NONE,
	TLS_CAUSE_CLOCK,     /* the certificate's dates do not fit, for our clock cannot be right */
	TLS_CAUSE_EXPIRED,   /* the peer's certificate */
	TLS_CAUSE_NOT_YET,   /* the peer's certificate is not valid yet */
	TLS_CAUSE_AUTHORITY, /* it comes from an unknown CA, or is forged */
	TLS_CAUSE_NAME,      /* it is for another name */
	TLS_CAUSE_OWN_REFUSED, /* the peer does not take our certificate */
	TLS_CAUSE_OWN_MISSING, /* the peer wants a certificate */
	TLS_CAUSE_PSK,         /* the pre-shared key, or its identity, is not the peer's */
	TLS_CAUSE_VERSION,     /* no version or cipher in common */
	TLS_CAUSE_NOT_TLS,     /* what answers does not speak TLS */
	TLS_CAUSE_OTHER,
};

/* What a context is made of. */
enum tls_part { TLS_PART_NONE, TLS_PART_CA, TLS_PART_CERTIFICATE, TLS_PART_KEY, TLS_PART_PSK };

/* Borrowed for tls_context_new() only. */
struct tls_options {
	enum tls_side side;
	bool allow_tls12;
	const char *ca_file; /* client: whom to trust (required unless psk). server: whose client
				certificates to take, or NULL */
	const char *certificate_file; /* own chain, PEM. server: required unless psk */
	const char *key_file;
	/*
	 * 3GPP GBA: a text file, mode 0600, of lines "IDENTITY HEXKEY [ENTITY-ID]". Client: one
	 * line, its B-TID and Ks_NAF. Server: any number, each with the Entity ID that the identity
	 * stands for.
	 */
	const char *psk_file;
	const char *const *alpn; /* NULL-terminated, most wanted first: "h2", "http/1.1" */
	enum tls_part *part;     /* NULL, or: which file a failure is about */
	int64_t clock_floor;     /* seconds since 1970 that it was already; a clock that says less
				    cannot be right. 0: nothing is known */
};

/*
 * 0 and *out, or a negative errno and one sentence in why: which file, which line, what is wrong (a
 * key that does not match its certificate, a certificate that has expired, ...).
 * While the clock cannot be right (protocol/clock.h, clock_floor) no dates are looked at here: a
 * device that starts without the time is to come up, and says TLS_CAUSE_CLOCK until it has it. A
 * clock behind the first day of certificate_file or of the first CA cannot be right either.
 */
int tls_context_new(const struct tls_options *options, struct tls_context **out, char *why,
		    size_t why_size);
/* It was that late already, as is known only now; never lowers the floor. */
void tls_context_clock_floor(struct tls_context *c, int64_t seconds);
/* References: connections keep their context alive. */
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);

/* A connection; name is the host name to verify (client), ignored for a server. */
int tls_new(struct tls_context *c, const char *name, struct tls **out);
void tls_free(struct tls *t);

/* Positive outcomes of tls_step(). */
enum {
	TLS_CLOSED = 1,  /* the peer closed properly */
	TLS_REFUSED = 2, /* the handshake or a record failed: tls_error() says why */
};

/* Cipher text from the peer, copied. -ENOMEM. */
int tls_feed(struct tls *t, struct bytes cipher);

/* Plain text to the peer, queued until the handshake is done. -ENOMEM. */
int tls_write(struct tls *t, struct bytes plain);

/*
 * Moves the connection on as far as the input allows: handshake, decrypt what was fed (to plain(),
 * any number of times), encrypt what was written. plain must not free t. 0 or a positive outcome.
 */
typedef void tls_plain_fn(void *arg, struct bytes plain);
int tls_step(struct tls *t, tls_plain_fn *plain, void *arg);

/* Cipher text to put on the socket. tls_output_taken() after it was copied or written. */
struct bytes tls_output(const struct tls *t);
void tls_output_taken(struct tls *t, size_t size);

/* Queues close_notify; step and send the output once more. What is fed from now on is dropped. */
void tls_close(struct tls *t);

bool tls_established(const struct tls *t);
const char *tls_error(const struct tls *t); /* one clause for a person: certificate expired, name
					       does not match, ... */
enum tls_cause tls_cause(const struct tls *t);
const char *tls_alpn(const struct tls *t);    /* "" when none was negotiated */
const char *tls_version(const struct tls *t); /* "TLSv1.3" */
bool tls_resumed(const struct tls *t);
/*
 * From when and until when the certificate that the peer showed is valid, in seconds since 1970;
 * false when it showed none in this connection.
 */
bool tls_peer_validity(const struct tls *t, int64_t *from, int64_t *until);

/*
 * Who the peer is. For a server: the Entity ID in the subject CN of the client's certificate, or
 * that of the PSK identity; kept across resumption. For a client: the server's name.
 * Mutual means that each side proved itself to the other in this connection (or the one it
 * resumes).
 */
enum tls_auth tls_peer_auth(const struct tls *t);
const struct name *tls_peer_entity(const struct tls *t);
bool tls_mutual(const struct tls *t);

/* KEY_SIZE bytes of keying material exporter (RFC 8446 section 7.5), label P1_EXPORTER_LABEL, empty
 * context. */
int tls_exporter(struct tls *t, struct secret **out);

/*
 * Client, of a connection that has ended: the next tls_new() of the context resumes the session of
 * t, or none if t was refused, also after the client's half of the handshake, or did not come up
 * with the session it offered.
 */
void tls_keep_session(struct tls *t);

#endif
