#include "wan/tls-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "protocol/clock.h"
#include "protocol/p1.h"

int tls_read_cipher(WOLFSSL *ssl, char *buf, int size, void *arg)
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

int tls_write_cipher(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;
	struct bytes record = bytes_of(buf, (size_t)size);

	(void)ssl;
	if (t->context->side == TLS_SERVER && !t->established && tls_hello_selects_psk(record))
		t->psk_selected = true;
	if (buffer_append(&t->out, record) < 0) {
		t->out_of_memory = true;
		return WOLFSSL_CBIO_ERR_GENERAL;
	}
	return size;
}

/* The form in which wolfSSL writes down a certificate's addresses; false for a host name. */
static bool address_of(const char *name, char out[64])
{
	uint8_t b[16];

	if (inet_pton(AF_INET, name, b) == 1) {
		snprintf(out, 64, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
		return true;
	}
	if (inet_pton(AF_INET6, name, b) != 1)
		return false;
	for (size_t i = 0; i < 8; i++)
		snprintf(out + 5 * i, 64 - 5 * i, "%02X%02X%s", b[2 * i], b[2 * i + 1],
			 i < 7 ? ":" : "");
	return true;
}

static int set_up_client(struct tls *t, const char *name)
{
	struct tls_context *c = t->context;
	char address[64];

	if (bytes_to_text(bytes_text(name), t->name, sizeof(t->name)) < 0 || t->name[0] == '\0')
		return -EINVAL;
	if (address_of(name, address)) {
		if (wolfSSL_X509_VERIFY_PARAM_set1_ip_asc(wolfSSL_get0_param(t->ssl), address) !=
		    WOLFSSL_SUCCESS)
			return -ENOMEM;
	} else if (wolfSSL_check_domain_name(t->ssl, name) != WOLFSSL_SUCCESS ||
		   wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, name, (word16)strlen(name)) !=
			   WOLFSSL_SUCCESS) {
		return -ENOMEM;
	}
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
	if (!t->heard && cipher.size > 0) {
		t->heard = true;
		t->alien = cipher.data[0] < 20 || cipher.data[0] > 24;
	}
	return t->ended || t->closing ? 0 : buffer_append(&t->in, cipher);
}

int tls_write(struct tls *t, struct bytes plain)
{
	return t->ended ? 0 : buffer_append(&t->plain, plain);
}

struct reason {
	int code;
	enum tls_cause cause;
	const char *text;
};

/* What a fatal alert of the peer says of us. */
static const struct reason alerts[] = {
	{42, TLS_CAUSE_OWN_REFUSED, "the peer found the certificate bad"},
	{43, TLS_CAUSE_OWN_REFUSED, "the peer does not support the kind of certificate"},
	{44, TLS_CAUSE_OWN_REFUSED, "the peer says the certificate was revoked"},
	{45, TLS_CAUSE_OWN_REFUSED, "the peer says the certificate has expired"},
	{46, TLS_CAUSE_OWN_REFUSED, "the peer does not accept the certificate"},
	{48, TLS_CAUSE_OWN_REFUSED, "the peer does not know the certificate's CA"},
	{49, TLS_CAUSE_OWN_REFUSED, "the peer denies access to the certificate's owner"},
	{51, TLS_CAUSE_PSK, "the peer says a key does not verify"},
	{70, TLS_CAUSE_VERSION, "the peer does not accept the TLS version"},
	{71, TLS_CAUSE_VERSION, "the peer finds the ciphers too weak"},
	{112, TLS_CAUSE_NAME, "the peer does not serve that name"},
	{115, TLS_CAUSE_PSK, "the peer does not know the PSK identity"},
	{116, TLS_CAUSE_OWN_MISSING, "the peer wants a certificate"},
	{120, TLS_CAUSE_OTHER, "the peer does not speak the wanted protocol"},
	{40, TLS_CAUSE_OTHER, "the peer refused the handshake"},
};

static const struct reason errors[] = {
	{ASN_AFTER_DATE_E, TLS_CAUSE_EXPIRED, "the peer's certificate has expired"},
	{ASN_BEFORE_DATE_E, TLS_CAUSE_NOT_YET, "the peer's certificate is not valid yet"},
	{ASN_NO_SIGNER_E, TLS_CAUSE_AUTHORITY, "the peer's certificate comes from an unknown CA"},
	{ASN_SELF_SIGNED_E, TLS_CAUSE_AUTHORITY, "the peer's certificate comes from an unknown CA"},
	{ASN_SIG_CONFIRM_E, TLS_CAUSE_AUTHORITY, "the peer's certificate has a wrong signature"},
	{DOMAIN_NAME_MISMATCH, TLS_CAUSE_NAME, "the server's certificate is for another name"},
	{IPADDR_MISMATCH, TLS_CAUSE_NAME, "the server's certificate is for another name"},
	{VERSION_ERROR, TLS_CAUSE_VERSION, "the peer wants another version of TLS"},
	{BAD_BINDER, TLS_CAUSE_PSK, "the pre-shared key does not match"},
	{PSK_KEY_ERROR, TLS_CAUSE_PSK, "the pre-shared key does not match"},
	{MATCH_SUITE_ERROR, TLS_CAUSE_VERSION, "no cipher in common"},
	{UNSUPPORTED_SUITE, TLS_CAUSE_VERSION, "no cipher in common"},
	{UNKNOWN_RECORD_TYPE, TLS_CAUSE_NOT_TLS, "what the peer sends is not TLS"},
	{UNKNOWN_HANDSHAKE_TYPE, TLS_CAUSE_NOT_TLS, "what the peer sends is not TLS"},
	{VERIFY_MAC_ERROR, TLS_CAUSE_OTHER, "a record was damaged"},
	{DECRYPT_ERROR, TLS_CAUSE_OTHER, "a record was damaged"},
};

static const struct reason *reason_of(const struct reason *list, size_t count, int code)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].code == code)
			return &list[i];
	}
	return NULL;
}

int tls_refuse(struct tls *t, enum tls_cause cause, const char *why)
{
	snprintf(t->error, sizeof(t->error), "%s", why);
	t->cause = cause;
	t->ended = TLS_REFUSED;
	return TLS_REFUSED;
}

const char *tls_today(char out[16])
{
	time_t now = time(NULL);
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&now, &tm))
		(void)strftime(out, 16, "%Y-%m-%d", &tm);
	return out;
}

/* wolfSSL tells a client nothing of its PSK: it just ends. */
static int refuse_psk(struct tls *t, int code)
{
	const bool known = code == BAD_BINDER;
	const uint8_t alert[] = {21, 3, 3, 0, 2, alert_fatal, known ? 51 : 115};

	if (buffer_append(&t->out, bytes_of(alert, sizeof(alert))) < 0)
		return -ENOMEM;
	return tls_refuse(t, TLS_CAUSE_PSK,
			  known ? "the pre-shared key does not match"
				: "the client's PSK identity is not known");
}

/* A certificate is out of its dates by our clock, which is told, for it may be what is wrong. */
static int refuse_dates(struct tls *t, const struct reason *reason)
{
	char why[128], today[16];

	(void)snprintf(why, sizeof(why), "%s; the clock here says %s", reason->text,
		       tls_today(today));
	return tls_refuse(t, tls_clock_possible(t->context) ? reason->cause : TLS_CAUSE_CLOCK, why);
}

/* After a wolfSSL call failed: 0 when it only wants more input. */
static int outcome(struct tls *t, int result)
{
	int code = wolfSSL_get_error(t->ssl, result);
	WOLFSSL_ALERT_HISTORY history;
	const struct reason *reason;
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
	reason = reason_of(errors, sizeof(errors) / sizeof(errors[0]), code);
	if (t->alien && !t->established)
		return tls_refuse(t, TLS_CAUSE_NOT_TLS, "what the peer sends is not TLS");
	if (t->context->side == TLS_SERVER && t->context->psks && !t->established &&
	    !t->context->has_certificate)
		return refuse_psk(t, code);
	if (reason && reason->cause == TLS_CAUSE_AUTHORITY && t->context->psks)
		return tls_refuse(t, TLS_CAUSE_PSK,
				  "the server shows a certificate and does not take the PSK");
	if (reason && (code == ASN_AFTER_DATE_E || code == ASN_BEFORE_DATE_E))
		return refuse_dates(t, reason);
	if (!reason && wolfSSL_get_alert_history(t->ssl, &history) == WOLFSSL_SUCCESS &&
	    history.last_rx.level == alert_fatal)
		reason =
			reason_of(alerts, sizeof(alerts) / sizeof(alerts[0]), history.last_rx.code);
	if (reason)
		return tls_refuse(t, reason->cause, reason->text);
	text = wolfSSL_ERR_reason_error_string((unsigned long)code);
	return tls_refuse(t, TLS_CAUSE_OTHER, text ? text : "TLS failed");
}

/* A certificate is shown where no PSK was taken, and only there. */
static bool is_certified(const struct tls *t)
{
	WOLFSSL_X509 *x = wolfSSL_get_peer_certificate(t->ssl);

	wolfSSL_X509_free(x);
	return x != NULL;
}

static int settle_server(struct tls *t)
{
	bool psk = t->context->psks != NULL && !is_certified(t);

	t->resumed = t->offered_session && wolfSSL_session_reused(t->ssl);
	t->auth = psk ? TLS_AUTH_PSK : TLS_AUTH_CERTIFICATE;
	if (t->resumed)
		t->mutual = t->session_mutual;
	else
		t->mutual = psk || (t->asked && t->context->has_certificate);
	if (t->context->psks && !t->mutual)
		return tls_refuse(t, TLS_CAUSE_PSK,
				  "the server shows a certificate and does not take the PSK");
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
	r = server ? tls_settle_client(t) : settle_server(t);
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

enum tls_cause tls_cause(const struct tls *t)
{
	return t->cause;
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

bool tls_peer_validity(const struct tls *t, int64_t *from, int64_t *until)
{
	WOLFSSL_X509 *x = wolfSSL_get_peer_certificate(t->ssl);

	if (!x)
		return false;
	*from = tls_x509_from(x);
	*until = tls_x509_until(x);
	wolfSSL_X509_free(x);
	return *until != 0;
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
	WOLFSSL_SESSION *session = NULL;

	if (c->side != TLS_CLIENT || c->psks || (!t->established && !t->offered_session))
		return;
	/* Who refuses sends no ticket: the session has t's secret and the ticket of before. */
	if (t->established && t->cause == TLS_CAUSE_NONE) {
		session = wolfSSL_get1_session(t->ssl);
		if (!session)
			return;
	}
	wolfSSL_SESSION_free(c->session);
	c->session = session;
	snprintf(c->session_name, sizeof(c->session_name), "%s", t->name);
	c->session_mutual = t->mutual;
}
