#include "wan/tls-internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include "protocol/p1.h"

#define PSK_SUITE "TLS13-CHACHA20-POLY1305-SHA256"

/* How old the proof of identity may be that a chain of tickets rests on. */
#define PROOF_SECONDS 86400

static int64_t now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

static bool take(struct bytes *b, size_t size, struct bytes *out)
{
	if (b->size < size)
		return false;
	*out = bytes_of(b->data, size);
	*b = bytes_of(b->data + size, b->size - size);
	return true;
}

static bool take_number(struct bytes *b, size_t size, size_t *out)
{
	struct bytes digits;

	if (!take(b, size, &digits))
		return false;
	*out = 0;
	for (size_t i = 0; i < size; i++)
		*out = *out << 8 | digits.data[i];
	return true;
}

bool tls_hello_selects_psk(struct bytes record)
{
	static const uint8_t retry[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11,
					  0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
					  0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e,
					  0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
	struct bytes at = record, random, skipped, extensions;
	size_t number;

	if (!take_number(&at, 1, &number) || number != 22 || !take(&at, 4, &skipped) ||
	    !take_number(&at, 1, &number) || number != 2 || !take(&at, 3 + 2, &skipped) ||
	    !take(&at, 32, &random) || bytes_equal(random, bytes_of(retry, 32)) ||
	    !take_number(&at, 1, &number) || !take(&at, number + 2 + 1, &skipped) ||
	    !take_number(&at, 2, &number) || !take(&at, number, &extensions))
		return false;
	while (extensions.size > 0) {
		size_t type;

		if (!take_number(&extensions, 2, &type) || !take_number(&extensions, 2, &number) ||
		    !take(&extensions, number, &skipped))
			return false;
		if (type == 41)
			return true;
	}
	return false;
}

/* External PSKs (3GPP GBA) */

static void offer(struct tls *t, const struct proof *who, bool ticket)
{
	if (t->offered &&
	    (t->offer.auth != who->auth || t->offer.serial != who->serial ||
	     t->offered_ticket != ticket || !name_equal(&t->offer.entity, &who->entity)))
		t->ambiguous = true;
	t->offered = true;
	t->offered_ticket = ticket;
	t->offer = *who;
}

unsigned tls_psk_server(WOLFSSL *ssl, const char *identity, unsigned char *key, unsigned max,
			const char **suite)
{
	struct tls *t = wolfSSL_GetIOReadCtx(ssl);

	for (const struct psk *p = t->context->psks; p; p = p->next) {
		struct bytes k = secret_bytes(p->key);
		struct proof who = {.auth = TLS_AUTH_PSK, .entity = p->entity};

		if (strcmp(p->identity, identity) != 0 || k.size > max)
			continue;
		memcpy(key, k.data, k.size);
		*suite = PSK_SUITE;
		offer(t, &who, false);
		return (unsigned)k.size;
	}
	return 0;
}

unsigned tls_psk_client(WOLFSSL *ssl, const char *hint, char *identity, unsigned identity_max,
			unsigned char *key, unsigned key_max, const char **suite)
{
	struct tls *t = wolfSSL_GetIOReadCtx(ssl);
	const struct psk *p = t->context->psks;
	struct bytes k = secret_bytes(p->key);

	(void)hint;
	if (bytes_to_text(bytes_text(p->identity), identity, identity_max) < 0 || k.size > key_max)
		return 0;
	memcpy(key, k.data, k.size);
	*suite = PSK_SUITE;
	return (unsigned)k.size;
}

/* Tickets: sealed by a key of this process; the name carries the serial of the proof. */

static const struct proof *find_proof(const struct tls_context *c, uint64_t serial)
{
	static const struct proof nobody = {.auth = TLS_AUTH_NONE};
	const struct proof *p;

	if (serial == 0)
		return &nobody;
	p = &c->proofs[serial % PROOFS];
	if (p->serial != serial || now_seconds() - p->at > PROOF_SECONDS)
		return NULL;
	return p;
}

static uint64_t serial_of_name(const unsigned char *name)
{
	uint64_t serial;

	memcpy(&serial, name, sizeof(serial));
	return serial;
}

int tls_ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
	       unsigned char iv[WOLFSSL_TICKET_IV_SZ], unsigned char mac[WOLFSSL_TICKET_MAC_SZ],
	       int seal, unsigned char *data, int size, int *out_size, void *arg)
{
	struct tls *t = wolfSSL_GetIOReadCtx(ssl);
	struct tls_context *c = arg;
	const uint8_t *key = secret_bytes(c->ticket_key).data;
	uint8_t tag[CHACHA20_POLY1305_AEAD_AUTHTAG_SIZE];
	const struct proof *who;

	if (seal) {
		/* The ticket is made before accept returns, after the client's Finished. */
		if (tls_settle_client(t) != 0)
			return WOLFSSL_TICKET_RET_FATAL;
		memset(name, 0, WOLFSSL_TICKET_NAME_SZ);
		name[WOLFSSL_TICKET_NAME_SZ - 1] = 1; /* wolfSSL takes no name of zeros */
		memset(iv, 0, WOLFSSL_TICKET_IV_SZ);
		memset(mac, 0, WOLFSSL_TICKET_MAC_SZ);
		memcpy(name, &t->serial, sizeof(t->serial));
		if (p1_random(iv, CHACHA20_POLY1305_AEAD_IV_SIZE) < 0 ||
		    wc_ChaCha20Poly1305_Encrypt(key, iv, name, WOLFSSL_TICKET_NAME_SZ, data,
						(word32)size, data, tag) != 0)
			return WOLFSSL_TICKET_RET_FATAL;
		memcpy(mac, tag, sizeof(tag));
		*out_size = size;
		return WOLFSSL_TICKET_RET_OK;
	}
	memcpy(tag, mac, sizeof(tag));
	if (wc_ChaCha20Poly1305_Decrypt(key, iv, name, WOLFSSL_TICKET_NAME_SZ, data, (word32)size,
					tag, data) != 0)
		return WOLFSSL_TICKET_RET_REJECT;
	who = find_proof(c, serial_of_name(name));
	if (!who)
		return WOLFSSL_TICKET_RET_REJECT;
	offer(t, who, true);
	*out_size = size;
	return WOLFSSL_TICKET_RET_OK;
}

int tls_certificate_asked(WOLFSSL *ssl, void *arg)
{
	struct tls *t = wolfSSL_GetIOReadCtx(ssl);

	(void)arg;
	t->asked = true;
	return 1;
}

/* Who the client is */

int tls_settle_client(struct tls *t)
{
	struct tls_context *c = t->context;
	struct proof *proof;
	WOLFSSL_X509 *x;
	char cn[NAME_MAX_SIZE + 2];
	int size;

	if (t->auth != TLS_AUTH_NONE || t->resumed)
		return 0;
	if (t->psk_selected) {
		if (!t->offered || t->ambiguous)
			return tls_refuse(t, TLS_CAUSE_PSK,
					  "the client offered several identities");
		t->auth = t->offer.auth;
		t->entity = t->offer.entity;
		t->resumed = t->offered_ticket;
		t->serial = t->offer.serial;
		if (t->resumed)
			return 0;
	} else {
		x = wolfSSL_get_peer_certificate(t->ssl);
		if (!x)
			return 0;
		size = wolfSSL_X509_NAME_get_text_by_NID(wolfSSL_X509_get_subject_name(x),
							 NID_commonName, cn, sizeof(cn));
		wolfSSL_X509_free(x);
		if (size <= 0 || strlen(cn) != (size_t)size || !entity_id_valid(bytes_text(cn)))
			return tls_refuse(t, TLS_CAUSE_OTHER,
					  "the CN of the client's certificate is not an Entity ID");
		if (name_set(&t->entity, bytes_text(cn)) < 0)
			return tls_refuse(t, TLS_CAUSE_OTHER,
					  "the CN of the client's certificate is too long");
		t->auth = TLS_AUTH_CERTIFICATE;
	}
	t->serial = ++c->last_serial;
	proof = &c->proofs[t->serial % PROOFS];
	*proof = (struct proof){
		.serial = t->serial, .at = now_seconds(), .auth = t->auth, .entity = t->entity};
	return 0;
}
