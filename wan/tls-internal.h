#ifndef PNGW_WAN_TLS_INTERNAL_H
#define PNGW_WAN_TLS_INTERNAL_H

/* Internal to wan/tls*.c: what a context and a connection are made of. */

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include "wan/buffer.h"
#include "wan/tls.h"

#define PSK_IDENTITY_MAX 127
#define PROOFS           4096U

struct psk {
	char identity[PSK_IDENTITY_MAX + 1];
	struct secret *key;
	struct name entity;
	struct psk *next;
};

/* One client that proved itself in a full handshake; tickets refer to it by its serial. */
struct proof {
	uint64_t serial; /* 0: nobody */
	int64_t at;
	enum tls_auth auth;
	struct name entity;
};

struct tls_context {
	unsigned refs;
	enum tls_side side;
	WOLFSSL_CTX *ctx;
	bool has_certificate;
	struct psk *psks;
	char alpn[64];
	int64_t clock_floor;

	/* server: tickets */
	struct secret *ticket_key;
	struct proof *proofs; /* PROOFS of them, by serial modulo PROOFS */
	uint64_t last_serial;

	/* client: the session to resume */
	WOLFSSL_SESSION *session;
	char session_name[256];
	bool session_mutual;
};

struct tls {
	struct tls_context *context;
	WOLFSSL *ssl;
	struct buffer in, out, plain;
	char name[256];
	bool established;
	bool closing, close_sent;
	bool out_of_memory;
	int ended; /* the positive outcome, for ever */
	char error[160];
	enum tls_cause cause;
	bool heard; /* something came */
	bool alien; /* the first byte that came begins no TLS record */

	bool psk_selected; /* server: what our own ServerHello said */
	bool offered, ambiguous;
	bool offered_ticket;
	struct proof offer; /* who the offered PSK or ticket stands for, if it is chosen */

	bool asked; /* client: the server asked for our certificate */
	bool offered_session, session_mutual;

	enum tls_auth auth;
	struct name entity;
	uint64_t serial;
	bool mutual, resumed;
};

/* Whether the clock can be right: where not, it is what is wrong with a certificate's dates. */
bool tls_clock_possible(const struct tls_context *c);

/* For wolfSSL; the argument and wolfSSL_GetIOReadCtx() are the struct tls. */
int tls_read_cipher(WOLFSSL *ssl, char *buf, int size, void *arg);
int tls_write_cipher(WOLFSSL *ssl, char *buf, int size, void *arg);
unsigned tls_psk_server(WOLFSSL *ssl, const char *identity, unsigned char *key, unsigned max,
			const char **suite);
unsigned tls_psk_client(WOLFSSL *ssl, const char *hint, char *identity, unsigned identity_max,
			unsigned char *key, unsigned key_max, const char **suite);
int tls_certificate_asked(WOLFSSL *ssl, void *arg);
/* arg is the context. */
int tls_ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
	       unsigned char iv[WOLFSSL_TICKET_IV_SZ], unsigned char mac[WOLFSSL_TICKET_MAC_SZ],
	       int seal, unsigned char *data, int size, int *out_size, void *arg);

/*
 * Whether a ServerHello accepts a PSK. wolfSSL's own accessors do not tell a PSK that was looked up
 * and then passed over from one whose binder was verified; the hello we send does.
 */
bool tls_hello_selects_psk(struct bytes record);

/* Whether the key in key_file, PEM, made the public key of x. */
bool tls_key_matches(WOLFSSL_X509 *x, const char *key_file);

/* From when and until when x is valid: seconds since 1970; 0 when that is no date. */
int64_t tls_x509_from(const WOLFSSL_X509 *x);
int64_t tls_x509_until(const WOLFSSL_X509 *x);

/* Server: who the client is. Repeating it changes nothing. 0 or TLS_REFUSED. */
int tls_settle_client(struct tls *t);

/* The date by our clock. Returns out. */
const char *tls_today(char out[16]);

/* Ends t for ever; returns TLS_REFUSED. */
int tls_refuse(struct tls *t, enum tls_cause cause, const char *why);

#endif
