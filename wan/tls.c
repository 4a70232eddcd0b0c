#include "wan/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/openssl/evp.h>
#include <wolfssl/openssl/pem.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "protocol/p1.h"
#include "wan/buffer.h"

#define CIPHERS_13 "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384"
#define CIPHERS_12                                                   \
	":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305" \
	":ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256" \
	":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
#define PSK_SUITE "TLS13-CHACHA20-POLY1305-SHA256"

#define PSK_IDENTITY_MAX 127
#define PSK_KEY_MIN      16
#define PSK_KEY_MAX      64

/* A ticket is good for this long, and so is the proof of identity that a chain of them rests on. */
#define TICKET_SECONDS 3600
#define PROOF_SECONDS  86400
#define PROOFS         4096U

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

static int64_t now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

__attribute__((format(printf, 4, 5))) static int complain(int result, char *why, size_t size,
							  const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, size, format, args);
	va_end(args);
	return result;
}

/* Byte callbacks */

static int read_cipher(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;
	struct bytes have = buffer_bytes(&t->in);
	size_t n = (size_t)size < have.size ? (size_t)size : have.size;

	(void)ssl;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, have.data, n);
	buffer_take(&t->in, n);
	return (int)n;
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

/*
 * Whether a ServerHello accepts a PSK. wolfSSL's own accessors do not tell a PSK that was looked up
 * and then passed over from one whose binder was verified; the hello we send does.
 */
static bool hello_selects_psk(struct bytes record)
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

static int write_cipher(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;
	struct bytes record = bytes_of(buf, (size_t)size);

	(void)ssl;
	if (t->context->side == TLS_SERVER && !t->established && hello_selects_psk(record))
		t->psk_selected = true;
	if (buffer_append(&t->out, record) < 0) {
		t->out_of_memory = true;
		return WOLFSSL_CBIO_ERR_GENERAL;
	}
	return size;
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

static unsigned psk_server(WOLFSSL *ssl, const char *identity, unsigned char *key, unsigned max,
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

static unsigned psk_client(WOLFSSL *ssl, const char *hint, char *identity, unsigned identity_max,
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

/*
 * The identity of a connection must be known when its ticket is made, which may be before accept
 * returns: settle_client() is safe to call as soon as the client's Finished was verified, and
 * wolfSSL makes a TLS 1.3 ticket only then.
 */
static int settle_client(struct tls *t);

static int ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
		  unsigned char iv[WOLFSSL_TICKET_IV_SZ], unsigned char mac[WOLFSSL_TICKET_MAC_SZ],
		  int seal, unsigned char *data, int size, int *out_size, void *arg)
{
	struct tls *t = wolfSSL_GetIOReadCtx(ssl);
	struct tls_context *c = arg;
	const uint8_t *key = secret_bytes(c->ticket_key).data;
	uint8_t tag[CHACHA20_POLY1305_AEAD_AUTHTAG_SIZE];
	const struct proof *who;

	if (seal) {
		if (settle_client(t) != 0)
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

static int certificate_asked(WOLFSSL *ssl, void *arg)
{
	struct tls *t = wolfSSL_GetIOReadCtx(ssl);

	(void)arg;
	t->asked = true;
	return 1;
}

/* Contexts */

/* One line of a PSK file, in locked memory, without its newline. */
static int psk_line(struct tls_context *c, struct bytes line, const char *file, unsigned number,
		    char *why, size_t why_size)
{
	struct bytes field[3] = {BYTES_NONE, BYTES_NONE, BYTES_NONE};
	size_t fields = 0, at = 0, size;
	uint8_t key[PSK_KEY_MAX];
	struct psk *p;
	int r;

	while (at < line.size) {
		size_t from = at;

		while (at < line.size && line.data[at] != ' ' && line.data[at] != '\t')
			at++;
		if (at > from) {
			if (fields == 3)
				return complain(-EINVAL, why, why_size,
						"%s line %u has more than three fields", file,
						number);
			field[fields++] = bytes_of(line.data + from, at - from);
		} else {
			at++;
		}
	}
	if (fields == 0 || field[0].data[0] == '#')
		return 0;
	if (fields == 1)
		return complain(-EINVAL, why, why_size, "%s line %u has no key", file, number);
	if (field[0].size > PSK_IDENTITY_MAX)
		return complain(-EINVAL, why, why_size, "%s line %u: the identity is too long",
				file, number);
	if (c->side == TLS_SERVER && !entity_id_valid(field[2]))
		return complain(-EINVAL, why, why_size, "%s line %u has no valid Entity ID", file,
				number);
	if (hex_decode(field[1], key, sizeof(key), &size) < 0 || size < PSK_KEY_MIN)
		return complain(-EINVAL, why, why_size,
				"%s line %u: the key is not %d to %d bytes in hex", file, number,
				PSK_KEY_MIN, PSK_KEY_MAX);
	for (p = c->psks; p; p = p->next) {
		if (bytes_equal(bytes_text(p->identity), field[0])) {
			wipe(key, sizeof(key));
			return complain(-EINVAL, why, why_size, "%s line %u repeats an identity",
					file, number);
		}
	}
	p = calloc(1, sizeof(*p));
	if (p)
		p->key = secret_copy(bytes_of(key, size));
	wipe(key, sizeof(key));
	if (!p || !p->key) {
		free(p);
		return complain(-ENOMEM, why, why_size, "out of memory");
	}
	r = bytes_to_text(field[0], p->identity, sizeof(p->identity));
	if (r == 0 && fields == 3)
		r = name_set(&p->entity, field[2]);
	p->next = c->psks;
	c->psks = p;
	if (r < 0)
		return complain(r, why, why_size, "%s line %u: the Entity ID is too long", file,
				number);
	return 0;
}

static int read_psks(struct tls_context *c, const char *file, char *why, size_t why_size)
{
	SCOPED_SECRET *line = secret_new(SECRET_MAX_SIZE);
	struct stat st;
	unsigned number = 0;
	size_t size = 0;
	uint8_t *text;
	int fd, r = 0;

	if (!line)
		return complain(-ENOMEM, why, why_size, "out of locked memory");
	text = secret_buffer(line);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		complain(r, why, why_size, "%s: %s", file, strerror(-r));
		if (fd >= 0)
			close(fd);
		return r;
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		close(fd);
		return complain(-EPERM, why, why_size,
				"%s may be read by others: its mode must be 0600", file);
	}
	while (r == 0) {
		ssize_t got = read(fd, text + size, SECRET_MAX_SIZE - size);
		uint8_t *newline;

		if (got < 0) {
			if (errno == EINTR)
				continue;
			r = -errno;
			complain(r, why, why_size, "%s: %s", file, strerror(-r));
			break;
		}
		size += (size_t)got;
		while (r == 0 && (newline = memchr(text, '\n', size)) != NULL) {
			size_t length = (size_t)(newline - text);

			number++;
			r = psk_line(c, bytes_of(text, length), file, number, why, why_size);
			memmove(text, newline + 1, size - length - 1);
			size -= length + 1;
		}
		if (r == 0 && size == SECRET_MAX_SIZE)
			r = complain(-EINVAL, why, why_size, "%s line %u is too long", file,
				     number + 1);
		if (got == 0) {
			if (r == 0 && size > 0)
				r = psk_line(c, bytes_of(text, size), file, number + 1, why,
					     why_size);
			break;
		}
	}
	close(fd);
	if (r < 0)
		return r;
	if (!c->psks)
		return complain(-EINVAL, why, why_size, "%s holds no key", file);
	if (c->side == TLS_CLIENT && c->psks->next)
		return complain(-EINVAL, why, why_size, "%s holds more than one key", file);
	return 0;
}

static int readable(const char *file, char *why, size_t why_size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		int r = -errno;

		return complain(r, why, why_size, "%s: %s", file, strerror(-r));
	}
	close(fd);
	return 0;
}

/*
 * Whether key_file's key made the certificate's public key, found out by a signature: for elliptic
 * curves wolfSSL_CTX_check_private_key() takes any key.
 */
static bool key_matches(WOLFSSL_X509 *x, const char *key_file)
{
	static const char text[] = "pngw";
	WOLFSSL_BIO *bio = wolfSSL_BIO_new_file(key_file, "r");
	WOLFSSL_EVP_PKEY *key = bio ? wolfSSL_PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	WOLFSSL_EVP_PKEY *public_key = wolfSSL_X509_get_pubkey(x);
	WOLFSSL_EVP_MD_CTX *ctx = wolfSSL_EVP_MD_CTX_new();
	const WOLFSSL_EVP_MD *md = wolfSSL_EVP_sha256();
	unsigned char signature[1024];
	size_t size = sizeof(signature);
	bool good = false;

	if (key && public_key && ctx &&
	    wolfSSL_EVP_DigestSignInit(ctx, NULL, md, NULL, key) == WOLFSSL_SUCCESS &&
	    wolfSSL_EVP_DigestSignUpdate(ctx, text, sizeof(text)) == WOLFSSL_SUCCESS &&
	    wolfSSL_EVP_DigestSignFinal(ctx, signature, &size) == WOLFSSL_SUCCESS) {
		wolfSSL_EVP_MD_CTX_cleanup(ctx);
		good = wolfSSL_EVP_DigestVerifyInit(ctx, NULL, md, NULL, public_key) ==
			       WOLFSSL_SUCCESS &&
		       wolfSSL_EVP_DigestVerifyUpdate(ctx, text, sizeof(text)) == WOLFSSL_SUCCESS &&
		       wolfSSL_EVP_DigestVerifyFinal(ctx, signature, size) == WOLFSSL_SUCCESS;
	}
	wolfSSL_EVP_MD_CTX_free(ctx);
	wolfSSL_EVP_PKEY_free(public_key);
	wolfSSL_EVP_PKEY_free(key);
	wolfSSL_BIO_free(bio);
	return good;
}

static int use_certificate(struct tls_context *c, const struct tls_options *o, char *why,
			   size_t why_size)
{
	WOLFSSL_X509 *x;
	int before, after, r;
	bool matches;

	if (!o->key_file)
		return complain(-EINVAL, why, why_size, "%s has no key file", o->certificate_file);
	r = readable(o->certificate_file, why, why_size);
	if (r == 0)
		r = readable(o->key_file, why, why_size);
	if (r < 0)
		return r;
	x = wolfSSL_X509_load_certificate_file(o->certificate_file, WOLFSSL_FILETYPE_PEM);
	if (!x)
		return complain(-EINVAL, why, why_size, "%s is not a PEM certificate",
				o->certificate_file);
	before = wolfSSL_X509_cmp_current_time(wolfSSL_X509_get_notBefore(x));
	after = wolfSSL_X509_cmp_current_time(wolfSSL_X509_get_notAfter(x));
	matches = key_matches(x, o->key_file);
	wolfSSL_X509_free(x);
	if (before >= 0)
		return complain(-EINVAL, why, why_size, "%s is not valid yet", o->certificate_file);
	if (after <= 0)
		return complain(-EINVAL, why, why_size, "%s has expired", o->certificate_file);
	if (wolfSSL_CTX_use_certificate_chain_file(c->ctx, o->certificate_file) != WOLFSSL_SUCCESS)
		return complain(-EINVAL, why, why_size, "%s cannot be used", o->certificate_file);
	if (wolfSSL_CTX_use_PrivateKey_file(c->ctx, o->key_file, WOLFSSL_FILETYPE_PEM) !=
	    WOLFSSL_SUCCESS)
		return complain(-EINVAL, why, why_size, "%s is not a PEM private key", o->key_file);
	if (!matches)
		return complain(-EINVAL, why, why_size, "the key in %s does not match %s",
				o->key_file, o->certificate_file);
	c->has_certificate = true;
	return 0;
}

static int set_up(struct tls_context *c, const struct tls_options *o, char *why, size_t why_size)
{
	bool server = o->side == TLS_SERVER;
	int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1};
	int r;

	if (!server && !o->ca_file && !o->psk_file)
		return complain(-EINVAL, why, why_size,
				"no CA file: the server could not be verified");
	if (server && !o->certificate_file && !o->psk_file)
		return complain(-EINVAL, why, why_size, "a server needs a certificate");
	for (size_t i = 0; o->alpn && o->alpn[i]; i++) {
		size_t used = strlen(c->alpn);

		if ((size_t)snprintf(c->alpn + used, sizeof(c->alpn) - used, "%s%s", i ? "," : "",
				     o->alpn[i]) >= sizeof(c->alpn) - used)
			return complain(-EINVAL, why, why_size, "too many protocol names");
	}
	if (o->allow_tls12)
		c->ctx =
			wolfSSL_CTX_new(server ? wolfTLS_server_method() : wolfTLS_client_method());
	else
		c->ctx = wolfSSL_CTX_new(server ? wolfTLSv1_3_server_method()
						: wolfTLSv1_3_client_method());
	if (!c->ctx)
		return complain(-ENOMEM, why, why_size, "out of memory");
	wolfSSL_CTX_set_verify(
		c->ctx, !server || o->ca_file ? WOLFSSL_VERIFY_PEER : WOLFSSL_VERIFY_NONE, NULL);
	wolfSSL_CTX_SetIORecv(c->ctx, read_cipher);
	wolfSSL_CTX_SetIOSend(c->ctx, write_cipher);
	wolfSSL_CTX_set_session_cache_mode(c->ctx, WOLFSSL_SESS_CACHE_OFF);
	wolfSSL_CTX_set_timeout(c->ctx, TICKET_SECONDS);
	if ((o->allow_tls12 &&
	     wolfSSL_CTX_SetMinVersion(c->ctx, WOLFSSL_TLSV1_2) != WOLFSSL_SUCCESS) ||
	    wolfSSL_CTX_set_cipher_list(c->ctx, o->allow_tls12 ? CIPHERS_13 CIPHERS_12
							       : CIPHERS_13) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_groups(c->ctx, groups, 2) != WOLFSSL_SUCCESS)
		return complain(-ENOTSUP, why, why_size,
				"this wolfSSL lacks a cipher or group that is needed");
	if (o->ca_file) {
		r = readable(o->ca_file, why, why_size);
		if (r < 0)
			return r;
		if (wolfSSL_CTX_load_verify_locations(c->ctx, o->ca_file, NULL) != WOLFSSL_SUCCESS)
			return complain(-EINVAL, why, why_size,
					"%s holds no CA certificate that is valid now", o->ca_file);
	}
	if (o->certificate_file) {
		r = use_certificate(c, o, why, why_size);
		if (r < 0)
			return r;
	}
	if (o->psk_file) {
		r = read_psks(c, o->psk_file, why, why_size);
		if (r < 0)
			return r;
		if (server)
			wolfSSL_CTX_set_psk_server_tls13_callback(c->ctx, psk_server);
		else
			wolfSSL_CTX_set_psk_client_tls13_callback(c->ctx, psk_client);
	}
	if (!server) {
		if (c->has_certificate)
			wolfSSL_CTX_set_cert_cb(c->ctx, certificate_asked, NULL);
		return 0;
	}
	c->ticket_key = secret_random(CHACHA20_POLY1305_AEAD_KEYSIZE);
	c->proofs = calloc(PROOFS, sizeof(*c->proofs));
	if (!c->ticket_key || !c->proofs)
		return complain(-ENOMEM, why, why_size, "out of memory");
	wolfSSL_CTX_NoTicketTLSv12(c->ctx);
	if (wolfSSL_CTX_set_TicketEncCb(c->ctx, ticket) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_TicketEncCtx(c->ctx, c) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_TicketHint(c->ctx, TICKET_SECONDS) != WOLFSSL_SUCCESS)
		return complain(-ENOTSUP, why, why_size, "this wolfSSL lacks session tickets");
	return 0;
}

int tls_context_new(const struct tls_options *options, struct tls_context **out, char *why,
		    size_t why_size)
{
	struct tls_context *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return complain(-ENOMEM, why, why_size, "out of memory");
	if (wolfSSL_Init() != WOLFSSL_SUCCESS) {
		free(c);
		return complain(-ENOMEM, why, why_size, "wolfSSL does not start");
	}
	c->refs = 1;
	c->side = options->side;
	r = set_up(c, options, why, why_size);
	wolfSSL_ERR_clear_error();
	if (r < 0) {
		tls_context_unref(c);
		return r;
	}
	*out = c;
	return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	c->refs++;
	return c;
}

void tls_context_unref(struct tls_context *c)
{
	if (!c || --c->refs > 0)
		return;
	while (c->psks) {
		struct psk *p = c->psks;

		c->psks = p->next;
		secret_unref(p->key);
		free(p);
	}
	wolfSSL_SESSION_free(c->session);
	wolfSSL_CTX_free(c->ctx);
	secret_unref(c->ticket_key);
	free(c->proofs);
	free(c);
	wolfSSL_Cleanup();
}

/* Connections */

static bool is_address(const char *name)
{
	struct in6_addr any;

	return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

static int set_up_client(struct tls *t, const char *name)
{
	struct tls_context *c = t->context;

	if (bytes_to_text(bytes_text(name), t->name, sizeof(t->name)) < 0 || t->name[0] == '\0')
		return -EINVAL;
	if (wolfSSL_check_domain_name(t->ssl, name) != WOLFSSL_SUCCESS)
		return -ENOMEM;
	if (!is_address(name) && wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, name,
						(word16)strlen(name)) != WOLFSSL_SUCCESS)
		return -ENOMEM;
	if (!c->psks && wolfSSL_UseSessionTicket(t->ssl) != WOLFSSL_SUCCESS)
		return -ENOMEM;
	if (c->session && strcmp(c->session_name, t->name) == 0 &&
	    wolfSSL_set_session(t->ssl, c->session) == WOLFSSL_SUCCESS) {
		t->offered_session = true;
		t->session_mutual = c->session_mutual;
	}
	return 0;
}

int tls_new(struct tls_context *c, const char *name, struct tls **out)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r = 0;

	if (!t)
		return -ENOMEM;
	t->context = tls_context_ref(c);
	t->ssl = wolfSSL_new(c->ctx);
	if (!t->ssl) {
		r = -ENOMEM;
		goto fail;
	}
	wolfSSL_SetIOReadCtx(t->ssl, t);
	wolfSSL_SetIOWriteCtx(t->ssl, t);
	wolfSSL_KeepArrays(t->ssl);
	if (c->alpn[0] && wolfSSL_UseALPN(t->ssl, c->alpn, (unsigned)strlen(c->alpn),
					  WOLFSSL_ALPN_CONTINUE_ON_MISMATCH) != WOLFSSL_SUCCESS) {
		r = -ENOMEM;
		goto fail;
	}
	if (c->side == TLS_CLIENT)
		r = set_up_client(t, name);
	if (r < 0)
		goto fail;
	*out = t;
	return 0;
fail:
	wolfSSL_ERR_clear_error();
	tls_free(t);
	return r;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	wolfSSL_free(t->ssl);
	buffer_free(&t->in);
	buffer_free(&t->out);
	buffer_free(&t->plain);
	tls_context_unref(t->context);
	free(t);
}

int tls_feed(struct tls *t, struct bytes cipher)
{
	return t->ended ? 0 : buffer_append(&t->in, cipher);
}

int tls_write(struct tls *t, struct bytes plain)
{
	return t->ended ? 0 : buffer_append(&t->plain, plain);
}

static const char *alert_text(int code)
{
	switch (code) {
	case 40:
		return "the peer refused the handshake";
	case 42:
		return "the peer found the certificate bad";
	case 43:
		return "the peer does not support the kind of certificate";
	case 44:
		return "the peer says the certificate was revoked";
	case 45:
		return "the peer says the certificate has expired";
	case 46:
		return "the peer does not accept the certificate";
	case 48:
		return "the peer does not know the certificate's CA";
	case 51:
		return "the peer says a key does not verify";
	case 70:
		return "the peer does not accept the TLS version";
	case 115:
		return "the peer does not know the PSK identity";
	case 116:
		return "the peer wants a certificate";
	case 120:
		return "the peer does not speak the wanted protocol";
	default:
		return NULL;
	}
}

static const char *error_text(int code)
{
	switch (code) {
	case ASN_AFTER_DATE_E:
		return "the peer's certificate has expired";
	case ASN_BEFORE_DATE_E:
		return "the peer's certificate is not valid yet";
	case ASN_NO_SIGNER_E:
	case ASN_SELF_SIGNED_E:
		return "the peer's certificate comes from an unknown CA";
	case ASN_SIG_CONFIRM_E:
		return "the peer's certificate has a wrong signature";
	case DOMAIN_NAME_MISMATCH:
	case IPADDR_MISMATCH:
		return "the server's certificate is for another name";
	case VERSION_ERROR:
		return "the peer wants another version of TLS";
	case BAD_BINDER:
	case PSK_KEY_ERROR:
		return "the pre-shared key does not match";
	case MATCH_SUITE_ERROR:
	case UNSUPPORTED_SUITE:
		return "no cipher in common";
	case UNKNOWN_RECORD_TYPE:
	case UNKNOWN_HANDSHAKE_TYPE:
		return "what the peer sends is not TLS";
	case VERIFY_MAC_ERROR:
	case DECRYPT_ERROR:
		return "a record was damaged";
	default:
		return NULL;
	}
}

static int refuse(struct tls *t, const char *why)
{
	snprintf(t->error, sizeof(t->error), "%s", why);
	t->ended = TLS_REFUSED;
	return TLS_REFUSED;
}

/* After a wolfSSL call failed: 0 when it only wants more input. */
static int outcome(struct tls *t, int result)
{
	int code = wolfSSL_get_error(t->ssl, result);
	WOLFSSL_ALERT_HISTORY alerts;
	const char *text;

	wolfSSL_ERR_clear_error();
	if (t->out_of_memory || code == MEMORY_E)
		return -ENOMEM;
	if (code == WOLFSSL_ERROR_WANT_READ || code == WOLFSSL_ERROR_WANT_WRITE)
		return 0;
	if (code == WOLFSSL_ERROR_ZERO_RETURN) {
		t->ended = TLS_CLOSED;
		snprintf(t->error, sizeof(t->error), "the peer closed the connection");
		return TLS_CLOSED;
	}
	text = error_text(code);
	if (!text && wolfSSL_get_alert_history(t->ssl, &alerts) == WOLFSSL_SUCCESS &&
	    alerts.last_rx.level == alert_fatal)
		text = alert_text(alerts.last_rx.code);
	if (!text)
		text = wolfSSL_ERR_reason_error_string((unsigned long)code);
	return refuse(t, text ? text : "TLS failed");
}

/* Server: who the client is. Repeating it changes nothing. 0 or TLS_REFUSED. */
static int settle_client(struct tls *t)
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
			return refuse(t, "the client offered several identities");
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
			return refuse(t, "the CN of the client's certificate is not an Entity ID");
		if (name_set(&t->entity, bytes_text(cn)) < 0)
			return refuse(t, "the CN of the client's certificate is too long");
		t->auth = TLS_AUTH_CERTIFICATE;
	}
	t->serial = ++c->last_serial;
	proof = &c->proofs[t->serial % PROOFS];
	*proof = (struct proof){
		.serial = t->serial, .at = now_seconds(), .auth = t->auth, .entity = t->entity};
	return 0;
}

static int settle_server(struct tls *t)
{
	bool psk = t->context->psks != NULL;

	t->resumed = t->offered_session && wolfSSL_session_reused(t->ssl);
	t->auth = psk ? TLS_AUTH_PSK : TLS_AUTH_CERTIFICATE;
	if (t->resumed)
		t->mutual = t->session_mutual;
	else
		t->mutual = psk || (t->asked && t->context->has_certificate);
	if (name_set(&t->entity, bytes_text(t->name)) < 0)
		t->entity = (struct name){""};
	return 0;
}

static int handshake(struct tls *t)
{
	bool server = t->context->side == TLS_SERVER;
	int result = server ? wolfSSL_accept(t->ssl) : wolfSSL_connect(t->ssl);
	int r;

	if (result != WOLFSSL_SUCCESS)
		return outcome(t, result);
	r = server ? settle_client(t) : settle_server(t);
	if (r != 0)
		return r;
	if (server)
		t->mutual = t->auth != TLS_AUTH_NONE;
	t->established = true;
	return 0;
}

static int send_plain(struct tls *t)
{
	struct bytes plain;

	while ((plain = buffer_bytes(&t->plain)).size > 0) {
		int n = wolfSSL_write(t->ssl, plain.data,
				      plain.size > 65536 ? 65536 : (int)plain.size);

		if (n <= 0)
			return outcome(t, n);
		buffer_take(&t->plain, (size_t)n);
	}
	if (t->closing && !t->close_sent) {
		wolfSSL_shutdown(t->ssl);
		wolfSSL_ERR_clear_error();
		t->close_sent = true;
	}
	return 0;
}

static int receive_plain(struct tls *t, tls_plain_fn *plain, void *arg)
{
	uint8_t buf[16384];
	int r;

	for (;;) {
		int n = wolfSSL_read(t->ssl, buf, sizeof(buf));

		if (n <= 0) {
			r = outcome(t, n);
			break;
		}
		plain(arg, bytes_of(buf, (size_t)n));
	}
	wipe(buf, sizeof(buf));
	return r;
}

int tls_step(struct tls *t, tls_plain_fn *plain, void *arg)
{
	int r;

	if (t->ended)
		return t->ended;
	if (!t->established) {
		r = handshake(t);
		if (r != 0 || !t->established)
			return r;
	}
	if (!t->close_sent) {
		r = receive_plain(t, plain, arg);
		if (r != 0)
			return r;
	}
	return send_plain(t);
}

struct bytes tls_output(const struct tls *t)
{
	return buffer_bytes(&t->out);
}

void tls_output_taken(struct tls *t, size_t size)
{
	buffer_take(&t->out, size);
}

void tls_close(struct tls *t)
{
	t->closing = true;
}

bool tls_established(const struct tls *t)
{
	return t->established;
}

const char *tls_error(const struct tls *t)
{
	return t->error;
}

const char *tls_alpn(const struct tls *t)
{
	char *name = NULL;
	word16 size = 0;

	if (!t->established || wolfSSL_ALPN_GetProtocol(t->ssl, &name, &size) != WOLFSSL_SUCCESS ||
	    !name)
		return "";
	return name;
}

const char *tls_version(const struct tls *t)
{
	return t->established ? wolfSSL_get_version(t->ssl) : "";
}

bool tls_resumed(const struct tls *t)
{
	return t->established && t->resumed;
}

enum tls_auth tls_peer_auth(const struct tls *t)
{
	return t->established ? t->auth : TLS_AUTH_NONE;
}

const struct name *tls_peer_entity(const struct tls *t)
{
	static const struct name none;

	return t->established ? &t->entity : &none;
}

bool tls_mutual(const struct tls *t)
{
	return t->established && t->mutual;
}

int tls_exporter(struct tls *t, struct secret **out)
{
	struct secret *s;

	if (!t->established)
		return -ENOTCONN;
	s = secret_new(KEY_SIZE);
	if (!s)
		return -ENOMEM;
	if (wolfSSL_export_keying_material(t->ssl, secret_buffer(s), KEY_SIZE, P1_EXPORTER_LABEL,
					   strlen(P1_EXPORTER_LABEL), NULL, 0,
					   0) != WOLFSSL_SUCCESS) {
		wolfSSL_ERR_clear_error();
		secret_unref(s);
		return -EIO;
	}
	*out = s;
	return 0;
}

void tls_keep_session(struct tls *t)
{
	struct tls_context *c = t->context;
	WOLFSSL_SESSION *session;

	if (c->side != TLS_CLIENT || !t->established || c->psks)
		return;
	session = wolfSSL_get1_session(t->ssl);
	if (!session)
		return;
	wolfSSL_SESSION_free(c->session);
	c->session = session;
	snprintf(c->session_name, sizeof(c->session_name), "%s", t->name);
	c->session_mutual = t->mutual;
}
