#include "wan/tls-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <wolfssl/openssl/evp.h>
#include <wolfssl/openssl/pem.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include "protocol/clock.h"
#include "protocol/credential.h"
#include "wan/certificate.h"

#define CIPHERS_13 "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384"
#define CIPHERS_12                                                   \
	":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305" \
	":ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256" \
	":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"

#define PSK_KEY_MIN    16
#define PSK_KEY_MAX    64
#define TICKET_SECONDS 3600

__attribute__((format(printf, 4, 5))) static int complain(int result, char *why, size_t size,
							  const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, size, format, args);
	va_end(args);
	return result;
}

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
	if (hex_decode(field[1], key, sizeof(key), &size) < 0 || size < PSK_KEY_MIN) {
		wipe(key, sizeof(key));
		return complain(-EINVAL, why, why_size,
				"%s line %u: the key is not %d to %d bytes in hex", file, number,
				PSK_KEY_MIN, PSK_KEY_MAX);
	}
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
	if (st.st_mode & credential_forbidden(file)) {
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

/* Whether private_key's point, which is computed where the file has none, is that of public_key. */
static bool same_point(WOLFSSL_EVP_PKEY *private_key, WOLFSSL_EVP_PKEY *public_key)
{
	WOLFSSL_EC_KEY *a = wolfSSL_EVP_PKEY_get1_EC_KEY(private_key);
	WOLFSSL_EC_KEY *b = wolfSSL_EVP_PKEY_get1_EC_KEY(public_key);
	bool good = false;

	if (a && b) {
		ecc_key *key = a->internal;

		good = (key->type != ECC_PRIVATEKEY_ONLY || wc_ecc_make_pub(key, NULL) == 0) &&
		       wc_ecc_cmp_point(&key->pubkey, &((ecc_key *)b->internal)->pubkey) == MP_EQ;
	}
	wolfSSL_EC_KEY_free(b);
	wolfSSL_EC_KEY_free(a);
	return good;
}

/* Whether what private_key has signed verifies with public_key. */
static bool signature_fits(WOLFSSL_EVP_PKEY *private_key, WOLFSSL_EVP_PKEY *public_key)
{
	static const char text[] = "pngw";
	WOLFSSL_EVP_MD_CTX *ctx = wolfSSL_EVP_MD_CTX_new();
	const WOLFSSL_EVP_MD *md = wolfSSL_EVP_sha256();
	unsigned char signature[1024];
	size_t size = sizeof(signature);
	bool good = false;

	if (ctx &&
	    wolfSSL_EVP_DigestSignInit(ctx, NULL, md, NULL, private_key) == WOLFSSL_SUCCESS &&
	    wolfSSL_EVP_DigestSignUpdate(ctx, text, sizeof(text)) == WOLFSSL_SUCCESS &&
	    wolfSSL_EVP_DigestSignFinal(ctx, signature, &size) == WOLFSSL_SUCCESS) {
		wolfSSL_EVP_MD_CTX_cleanup(ctx);
		good = wolfSSL_EVP_DigestVerifyInit(ctx, NULL, md, NULL, public_key) ==
			       WOLFSSL_SUCCESS &&
		       wolfSSL_EVP_DigestVerifyUpdate(ctx, text, sizeof(text)) == WOLFSSL_SUCCESS &&
		       wolfSSL_EVP_DigestVerifyFinal(ctx, signature, size) == WOLFSSL_SUCCESS;
	}
	wolfSSL_EVP_MD_CTX_free(ctx);
	return good;
}

/*
 * Whether the certificate's public key is that of key_file: for elliptic curves
 * wolfSSL_CTX_check_private_key() takes any key. A signature would tell it for them too, and
 * take most of a start.
 */
bool tls_key_matches(WOLFSSL_X509 *x, const char *key_file)
{
	WOLFSSL_BIO *bio = wolfSSL_BIO_new_file(key_file, "r");
	WOLFSSL_EVP_PKEY *key = bio ? wolfSSL_PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	WOLFSSL_EVP_PKEY *public_key = wolfSSL_X509_get_pubkey(x);
	bool good = false;

	if (key && public_key)
		good = wolfSSL_EVP_PKEY_base_id(key) == EVP_PKEY_EC &&
				       wolfSSL_EVP_PKEY_base_id(public_key) == EVP_PKEY_EC
			       ? same_point(key, public_key)
			       : signature_fits(key, public_key);
	wolfSSL_EVP_PKEY_free(public_key);
	wolfSSL_EVP_PKEY_free(key);
	wolfSSL_BIO_free(bio);
	return good;
}

static void look_at(const struct tls_options *o, enum tls_part part)
{
	if (o->part)
		*o->part = part;
}

static int use_certificate(struct tls_context *c, const struct tls_options *o, char *why,
			   size_t why_size)
{
	WOLFSSL_X509 *x;
	int after, r;
	bool matches;
	char today[16];

	look_at(o, TLS_PART_CERTIFICATE);
	if (!o->key_file)
		return complain(-EINVAL, why, why_size, "%s has no key file", o->certificate_file);
	r = readable(o->certificate_file, why, why_size);
	if (r < 0)
		return r;
	look_at(o, TLS_PART_KEY);
	r = readable(o->key_file, why, why_size);
	if (r < 0)
		return r;
	look_at(o, TLS_PART_CERTIFICATE);
	x = wolfSSL_X509_load_certificate_file(o->certificate_file, WOLFSSL_FILETYPE_PEM);
	if (!x)
		return complain(-EINVAL, why, why_size, "%s is not a PEM certificate",
				o->certificate_file);
	tls_context_clock_floor(c, tls_x509_from(x));
	after = wolfSSL_X509_cmp_current_time(wolfSSL_X509_get_notAfter(x));
	matches = tls_key_matches(x, o->key_file);
	wolfSSL_X509_free(x);
	if (after <= 0 && tls_clock_possible(c))
		return complain(-EINVAL, why, why_size, "%s has expired; the clock here says %s",
				o->certificate_file, tls_today(today));
	if (wolfSSL_CTX_use_certificate_chain_file(c->ctx, o->certificate_file) != WOLFSSL_SUCCESS)
		return complain(-EINVAL, why, why_size, "%s cannot be used", o->certificate_file);
	look_at(o, TLS_PART_KEY);
	if (wolfSSL_CTX_use_PrivateKey_file(c->ctx, o->key_file, WOLFSSL_FILETYPE_PEM) !=
	    WOLFSSL_SUCCESS)
		return complain(-EINVAL, why, why_size, "%s is not a PEM private key", o->key_file);
	if (!matches)
		return complain(-EINVAL, why, why_size, "the key in %s does not match %s",
				o->key_file, o->certificate_file);
	c->has_certificate = true;
	return 0;
}

/* wolfSSL leaves out a CA whose dates do not fit, unless nothing is verified while it is loaded. */
static bool load_authorities(struct tls_context *c, const char *file)
{
	WOLFSSL_CTX *ctx = c->ctx;
	int mode = wolfSSL_CTX_get_verify_mode(ctx);
	struct certificates found;
	char why[256];
	bool good;

	if (certificates_read(file, &found, why, sizeof(why)) == 0)
		tls_context_clock_floor(c, found.from);
	if (!tls_clock_possible(c))
		wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
	good = wolfSSL_CTX_load_verify_locations(ctx, file, NULL) == WOLFSSL_SUCCESS;
	wolfSSL_CTX_set_verify(ctx, mode, NULL);
	return good;
}

static int set_up(struct tls_context *c, const struct tls_options *o, char *why, size_t why_size)
{
	bool server = o->side == TLS_SERVER;
	int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1};
	char today[16];
	int r;

	look_at(o, TLS_PART_NONE);
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
	wolfSSL_CTX_SetIORecv(c->ctx, tls_read_cipher);
	wolfSSL_CTX_SetIOSend(c->ctx, tls_write_cipher);
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
		look_at(o, TLS_PART_CA);
		r = readable(o->ca_file, why, why_size);
		if (r < 0)
			return r;
		if (!load_authorities(c, o->ca_file))
			return complain(-EINVAL, why, why_size,
					"%s holds no CA certificate that is valid now; the clock "
					"here says %s",
					o->ca_file, tls_today(today));
	}
	if (o->certificate_file) {
		r = use_certificate(c, o, why, why_size);
		if (r < 0)
			return r;
	}
	if (o->psk_file) {
		look_at(o, TLS_PART_PSK);
		r = read_psks(c, o->psk_file, why, why_size);
		if (r < 0)
			return r;
		if (server)
			wolfSSL_CTX_set_psk_server_tls13_callback(c->ctx, tls_psk_server);
		else
			wolfSSL_CTX_set_psk_client_tls13_callback(c->ctx, tls_psk_client);
	}
	look_at(o, TLS_PART_NONE);
	if (!server) {
		if (c->has_certificate)
			wolfSSL_CTX_set_cert_cb(c->ctx, tls_certificate_asked, NULL);
		return 0;
	}
	c->ticket_key = secret_random(CHACHA20_POLY1305_AEAD_KEYSIZE);
	c->proofs = calloc(PROOFS, sizeof(*c->proofs));
	if (!c->ticket_key || !c->proofs)
		return complain(-ENOMEM, why, why_size, "out of memory");
	wolfSSL_CTX_NoTicketTLSv12(c->ctx);
	if (wolfSSL_CTX_set_TicketEncCb(c->ctx, tls_ticket) != WOLFSSL_SUCCESS ||
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
	c->clock_floor = options->clock_floor;
	r = set_up(c, options, why, why_size);
	wolfSSL_ERR_clear_error();
	if (r < 0) {
		tls_context_unref(c);
		return r;
	}
	*out = c;
	return 0;
}

bool tls_clock_possible(const struct tls_context *c)
{
	int64_t now = time(NULL);

	return clock_plausible(now) && now >= c->clock_floor;
}

void tls_context_clock_floor(struct tls_context *c, int64_t seconds)
{
	if (seconds > c->clock_floor)
		c->clock_floor = seconds;
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
