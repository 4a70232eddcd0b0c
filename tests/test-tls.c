#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include "wan/buffer.h"
#include "wan/tls-internal.h"

static char dir[256];
static const char *const h2_and_h1[] = {"h2", "http/1.1", NULL};
static const char *const h1[] = {"http/1.1", NULL};

static const char *at(const char *file)
{
	static char paths[32][320];
	static unsigned next;
	char *path = paths[next++ % 32];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, file);
	return path;
}

static const char *write_file(const char *name, mode_t mode, const char *text)
{
	const char *path = at(name);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, mode), 0);
	return path;
}

static struct tls_options client_options(void)
{
	return (struct tls_options){.side = TLS_CLIENT,
				    .ca_file = at("ca.pem"),
				    .certificate_file = at("gateway.pem"),
				    .key_file = at("gateway.key"),
				    .alpn = h2_and_h1};
}

static struct tls_options server_options(void)
{
	return (struct tls_options){.side = TLS_SERVER,
				    .ca_file = at("ca.pem"),
				    .certificate_file = at("server.pem"),
				    .key_file = at("server.key"),
				    .alpn = h2_and_h1};
}

static struct tls_context *context(const struct tls_options *o)
{
	struct tls_context *c = NULL;
	char why[256] = "";
	int r = tls_context_new(o, &c, why, sizeof(why));

	ck_assert_msg(r == 0, "%s", why);
	return c;
}

struct end {
	struct tls *tls;
	int result;
	char got[70000];
	size_t size;
};

static void plain(void *arg, struct bytes b)
{
	struct end *e = arg;

	ck_assert_uint_le(e->size + b.size, sizeof(e->got));
	memcpy(e->got + e->size, b.data, b.size);
	e->size += b.size;
}

/* Moves bytes between two ends, at most chunk at a time, until nothing moves. */
static void pump(struct end *a, struct end *b, size_t chunk)
{
	struct end *ends[] = {a, b};
	bool moved = true;

	while (moved) {
		moved = false;
		for (int i = 0; i < 2; i++) {
			struct end *from = ends[i], *to = ends[1 - i];
			struct bytes out;

			if (from->result == 0)
				from->result = tls_step(from->tls, plain, from);
			out = tls_output(from->tls);
			if (out.size > chunk)
				out.size = chunk;
			if (out.size == 0)
				continue;
			moved = true;
			ck_assert_int_eq(tls_feed(to->tls, out), 0);
			tls_output_taken(from->tls, out.size);
		}
	}
}

struct pair {
	struct end client, server;
};

static struct pair *pair_new(struct tls_context *client, struct tls_context *server,
			     const char *name)
{
	struct pair *p = calloc(1, sizeof(*p));

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(tls_new(client, name, &p->client.tls), 0);
	ck_assert_int_eq(tls_new(server, NULL, &p->server.tls), 0);
	return p;
}

static struct pair *joined(struct tls_context *client, struct tls_context *server)
{
	struct pair *p = pair_new(client, server, "localhost");

	pump(&p->client, &p->server, SIZE_MAX);
	return p;
}

static void pair_free(struct pair *p)
{
	tls_free(p->client.tls);
	tls_free(p->server.tls);
	free(p);
}

static void check_up(const struct pair *p)
{
	ck_assert_msg(tls_established(p->client.tls), "client: %s", tls_error(p->client.tls));
	ck_assert_msg(tls_established(p->server.tls), "server: %s", tls_error(p->server.tls));
}

START_TEST(test_mutual)
{
	struct tls_options co = client_options(), so = server_options();
	struct tls_context *c = context(&co), *s = context(&so);
	static const size_t chunks[] = {SIZE_MAX, 1000, 7, 1};

	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct pair *p = pair_new(c, s, "localhost");
		struct secret *a = NULL, *b = NULL;
		static char big[60000];

		ck_assert_int_eq(tls_write(p->client.tls, bytes_text("early")), 0);
		pump(&p->client, &p->server, chunks[i]);
		check_up(p);
		ck_assert_uint_eq(p->server.size, 5);
		ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_CERTIFICATE);
		ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "gateway-1");
		ck_assert_int_eq(tls_peer_auth(p->client.tls), TLS_AUTH_CERTIFICATE);
		ck_assert_str_eq(tls_peer_entity(p->client.tls)->text, "localhost");
		ck_assert(tls_mutual(p->client.tls));
		ck_assert(tls_mutual(p->server.tls));
		ck_assert(!tls_resumed(p->client.tls));
		ck_assert(!tls_resumed(p->server.tls));
		ck_assert_str_eq(tls_alpn(p->client.tls), "h2");
		ck_assert_str_eq(tls_alpn(p->server.tls), "h2");
		ck_assert_str_eq(tls_version(p->client.tls), "TLSv1.3");
		ck_assert_int_eq(tls_exporter(p->client.tls, &a), 0);
		ck_assert_int_eq(tls_exporter(p->server.tls, &b), 0);
		ck_assert(secret_equal(a, b));
		ck_assert_uint_eq(secret_size(a), KEY_SIZE);
		secret_unref(a);
		secret_unref(b);

		memset(big, 'x', sizeof(big));
		ck_assert_int_eq(tls_write(p->server.tls, bytes_of(big, sizeof(big))), 0);
		pump(&p->client, &p->server, chunks[i]);
		ck_assert_uint_eq(p->client.size, sizeof(big));
		ck_assert_int_eq(memcmp(p->client.got, big, sizeof(big)), 0);

		tls_close(p->client.tls);
		pump(&p->client, &p->server, chunks[i]);
		ck_assert_int_eq(p->server.result, TLS_CLOSED);
		ck_assert_int_eq(tls_feed(p->client.tls, bytes_of(big, sizeof(big))), 0);
		ck_assert_uint_eq(buffer_bytes(&p->client.tls->in).size, 0);
		pair_free(p);
	}
	tls_context_unref(c);
	tls_context_unref(s);
}
END_TEST

static void check_refused(const struct tls_options *co, const struct tls_options *so,
			  const char *name, const char *client_says, const char *server_says)
{
	struct tls_context *c = context(co), *s = context(so);
	struct pair *p = pair_new(c, s, name);

	pump(&p->client, &p->server, SIZE_MAX);
	ck_assert(!tls_established(p->client.tls) || !tls_established(p->server.tls));
	ck_assert(p->client.result == TLS_REFUSED || p->server.result == TLS_REFUSED);
	if (client_says) {
		ck_assert_msg(strstr(tls_error(p->client.tls), client_says), "client: %s",
			      tls_error(p->client.tls));
		ck_assert(!tls_established(p->client.tls));
	}
	if (server_says) {
		ck_assert_msg(strstr(tls_error(p->server.tls), server_says), "server: %s",
			      tls_error(p->server.tls));
		ck_assert(!tls_established(p->server.tls));
	}
	pair_free(p);
	tls_context_unref(c);
	tls_context_unref(s);
}

START_TEST(test_refusals)
{
	struct tls_options co = client_options(), so = server_options();

	check_refused(&co, &so, "elsewhere", "another name", NULL);
	check_refused(&co, &so, "127.0.0.1", "another name", NULL);
	co.ca_file = at("other-ca.pem");
	check_refused(&co, &so, "localhost", "unknown CA", NULL);
	co = client_options();
	co.certificate_file = at("other-gateway.pem");
	co.key_file = at("other-gateway.key");
	check_refused(&co, &so, "localhost", NULL, "unknown CA");
	co = client_options();
	co.allow_tls12 = true;
	so.allow_tls12 = true;
	{
		struct tls_context *c = context(&co), *s = context(&so);
		struct pair *p = joined(c, s);

		check_up(p);
		ck_assert_str_eq(tls_version(p->client.tls), "TLSv1.3");
		pair_free(p);
		tls_context_unref(c);
		tls_context_unref(s);
	}
}
END_TEST

/* A server that is known by its address only. */
START_TEST(test_address)
{
	static const char *const addresses[] = {"127.0.0.1", "fd00::1"};

	for (int i = 0; i < 2; i++) {
		struct tls_options co = client_options(), so = server_options();
		char command[1024], certificates[300];
		struct tls_context *c, *s;
		struct pair *p;

		snprintf(certificates, sizeof(certificates), "%s/address", dir);
		snprintf(command, sizeof(command), "'%s/tests/make-certs' '%s' %s gateway-1",
			 getenv("PNGW_SRCDIR"), certificates, addresses[i]);
		ck_assert_int_eq(system(command), 0);
		co.ca_file = at("address/ca.pem");
		co.certificate_file = at("address/gateway.pem");
		co.key_file = at("address/gateway.key");
		so.ca_file = at("address/ca.pem");
		so.certificate_file = at("address/server.pem");
		so.key_file = at("address/server.key");
		c = context(&co);
		s = context(&so);
		p = pair_new(c, s, addresses[i]);
		pump(&p->client, &p->server, SIZE_MAX);
		check_up(p);
		pair_free(p);
		p = pair_new(c, s, i ? "fd00::2" : "127.0.0.2");
		pump(&p->client, &p->server, SIZE_MAX);
		ck_assert(!tls_established(p->client.tls));
		pair_free(p);
		tls_context_unref(c);
		tls_context_unref(s);
	}
}
END_TEST

/* A server that no tls_context would be: raw wolfSSL on the same kind of buffers. */
struct raw {
	WOLFSSL_CTX *ctx;
	WOLFSSL *ssl;
	struct buffer in, out;
};

static int raw_read(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct raw *w = arg;
	struct bytes have = buffer_bytes(&w->in);
	size_t n = (size_t)size < have.size ? (size_t)size : have.size;

	(void)ssl;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, have.data, n);
	buffer_take(&w->in, n);
	return (int)n;
}

static int raw_write(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct raw *w = arg;

	(void)ssl;
	ck_assert_int_eq(buffer_append(&w->out, bytes_of(buf, (size_t)size)), 0);
	return size;
}

static void raw_new(struct raw *w, WOLFSSL_METHOD *method, const char *certificate, const char *key)
{
	memset(w, 0, sizeof(*w));
	wolfSSL_Init();
	w->ctx = wolfSSL_CTX_new(method);
	wolfSSL_CTX_SetIORecv(w->ctx, raw_read);
	wolfSSL_CTX_SetIOSend(w->ctx, raw_write);
	wolfSSL_CTX_set_verify(w->ctx, WOLFSSL_VERIFY_NONE, NULL);
	if (certificate) {
		ck_assert_int_eq(wolfSSL_CTX_use_certificate_chain_file(w->ctx, certificate), 1);
		ck_assert_int_eq(wolfSSL_CTX_use_PrivateKey_file(w->ctx, key, WOLFSSL_FILETYPE_PEM),
				 1);
	}
	w->ssl = wolfSSL_new(w->ctx);
	ck_assert_ptr_nonnull(w->ssl);
	wolfSSL_SetIOReadCtx(w->ssl, w);
	wolfSSL_SetIOWriteCtx(w->ssl, w);
}

static void raw_free(struct raw *w)
{
	wolfSSL_free(w->ssl);
	wolfSSL_CTX_free(w->ctx);
	buffer_free(&w->in);
	buffer_free(&w->out);
	wolfSSL_ERR_clear_error();
	wolfSSL_Cleanup();
}

static void raw_pump(struct end *e, struct raw *w, bool accept)
{
	for (int i = 0; i < 20; i++) {
		struct bytes out;

		if (e->result == 0)
			e->result = tls_step(e->tls, plain, e);
		out = tls_output(e->tls);
		ck_assert_int_eq(buffer_append(&w->in, out), 0);
		tls_output_taken(e->tls, out.size);
		if (accept)
			wolfSSL_accept(w->ssl);
		else
			wolfSSL_connect(w->ssl);
		out = buffer_bytes(&w->out);
		ck_assert_int_eq(tls_feed(e->tls, out), 0);
		buffer_take(&w->out, out.size);
	}
}

/* A clock that says less than it was already is to blame for dates that do not fit, and no reason
 * not to come up. */
START_TEST(test_clock_floor)
{
	struct tls_options co = client_options(), so = server_options();
	struct tls_context *c, *s;

	so.certificate_file = at("expired-server.pem");
	so.clock_floor = (int64_t)time(NULL) + 3600;
	s = context(&so);
	for (int floor = 0; floor < 2; floor++) {
		struct end client = {0};
		struct raw w;

		c = context(&co);
		tls_context_clock_floor(c, floor ? so.clock_floor : (int64_t)time(NULL));
		tls_context_clock_floor(c, 1);
		raw_new(&w, wolfTLSv1_3_server_method(), at("expired-server.pem"),
			at("server.key"));
		ck_assert_int_eq(tls_new(c, "localhost", &client.tls), 0);
		raw_pump(&client, &w, true);
		ck_assert_int_eq(client.result, TLS_REFUSED);
		ck_assert_int_eq(tls_cause(client.tls),
				 floor ? TLS_CAUSE_CLOCK : TLS_CAUSE_EXPIRED);
		tls_free(client.tls);
		raw_free(&w);
		tls_context_unref(c);
	}
	tls_context_unref(s);
}
END_TEST

/* Who is given a certificate, or a CA, that begins later comes up too: its clock may be behind.
 * What the peer shows is looked at all the same. */
START_TEST(test_clock_behind_certificate)
{
	struct tls_options co = client_options();
	struct tls_context *c;
	char command[512];

	(void)snprintf(command, sizeof(command),
		       "cd '%s' && faketime '1 year' openssl req -x509 -new -key ca.key -days 3650 "
		       "-subj '/CN=pngw test CA' -addext basicConstraints=critical,CA:TRUE "
		       "-out later-ca.pem 2>/dev/null",
		       dir);
	ck_assert_int_eq(system(command), 0);
	if (_i == 0) {
		co.ca_file = at("later-ca.pem");
	} else {
		co.certificate_file = at("future-server.pem");
		co.key_file = at("server.key");
	}
	c = context(&co);
	for (int expired = 0; expired < 2; expired++) {
		struct end client = {0};
		struct raw w;

		raw_new(&w, wolfTLSv1_3_server_method(),
			at(expired ? "expired-server.pem" : "server.pem"), at("server.key"));
		ck_assert_int_eq(tls_new(c, "localhost", &client.tls), 0);
		raw_pump(&client, &w, true);
		if (expired) {
			ck_assert_int_eq(client.result, TLS_REFUSED);
			ck_assert_int_eq(tls_cause(client.tls), TLS_CAUSE_CLOCK);
		} else {
			ck_assert_msg(tls_established(client.tls), "%s", tls_error(client.tls));
		}
		tls_free(client.tls);
		raw_free(&w);
	}
	tls_context_unref(c);
}
END_TEST

START_TEST(test_expired)
{
	struct tls_options co = client_options(), so = server_options();
	struct tls_context *c = context(&co);
	struct end client = {0};
	struct raw w;
	char why[256] = "";

	so.certificate_file = at("expired-server.pem");
	struct tls_context *s = NULL;

	ck_assert_int_eq(tls_context_new(&so, &s, why, sizeof(why)), -EINVAL);
	ck_assert_msg(strstr(why, "expired"), "%s", why);

	raw_new(&w, wolfTLSv1_3_server_method(), at("expired-server.pem"), at("server.key"));
	ck_assert_int_eq(tls_new(c, "localhost", &client.tls), 0);
	raw_pump(&client, &w, true);
	ck_assert_int_eq(client.result, TLS_REFUSED);
	ck_assert_msg(strstr(tls_error(client.tls), "expired"), "%s", tls_error(client.tls));
	tls_free(client.tls);
	raw_free(&w);
	tls_context_unref(c);
}
END_TEST

START_TEST(test_versions)
{
	for (int allowed = 0; allowed < 2; allowed++) {
		struct tls_options co = client_options(), so = server_options();
		struct tls_context *c, *s;
		struct end end = {0};
		struct secret *secret = NULL;
		struct raw w;

		co.allow_tls12 = so.allow_tls12 = allowed;
		c = context(&co);
		s = context(&so);
		raw_new(&w, wolfTLSv1_2_server_method(), at("server.pem"), at("server.key"));
		ck_assert_int_eq(tls_new(c, "localhost", &end.tls), 0);
		raw_pump(&end, &w, true);
		ck_assert_msg(tls_established(end.tls) == allowed, "%s", tls_error(end.tls));
		if (allowed) {
			ck_assert_str_eq(tls_version(end.tls), "TLSv1.2");
			ck_assert(!tls_mutual(end.tls));
			ck_assert_int_eq(tls_exporter(end.tls, &secret), 0);
			secret_unref(secret);
		}
		tls_free(end.tls);
		raw_free(&w);

		end = (struct end){0};
		raw_new(&w, wolfTLSv1_2_client_method(), at("gateway.pem"), at("gateway.key"));
		ck_assert_int_eq(tls_new(s, NULL, &end.tls), 0);
		raw_pump(&end, &w, false);
		ck_assert_msg(tls_established(end.tls) == allowed, "%s", tls_error(end.tls));
		if (allowed) {
			ck_assert(tls_mutual(end.tls));
			ck_assert_str_eq(tls_peer_entity(end.tls)->text, "gateway-1");
		}
		tls_free(end.tls);
		raw_free(&w);
		tls_context_unref(c);
		tls_context_unref(s);
	}
}
END_TEST

START_TEST(test_not_mutual)
{
	struct tls_options co = client_options(), so = server_options();
	struct tls_context *c, *s;
	struct pair *p;

	/* No client certificate: served, but not mutual. */
	co.certificate_file = co.key_file = NULL;
	c = context(&co);
	s = context(&so);
	p = joined(c, s);
	check_up(p);
	ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_NONE);
	ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "");
	ck_assert(!tls_mutual(p->server.tls));
	ck_assert(!tls_mutual(p->client.tls));

	/* And it stays so when resumed. */
	tls_keep_session(p->client.tls);
	pair_free(p);
	p = joined(c, s);
	check_up(p);
	ck_assert(tls_resumed(p->client.tls));
	ck_assert(tls_resumed(p->server.tls));
	ck_assert(!tls_mutual(p->server.tls));
	ck_assert(!tls_mutual(p->client.tls));
	ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_NONE);
	pair_free(p);
	tls_context_unref(c);
	tls_context_unref(s);

	/* A client certificate that is not asked for proves nothing. */
	co = client_options();
	so.ca_file = NULL;
	c = context(&co);
	s = context(&so);
	p = joined(c, s);
	check_up(p);
	ck_assert(!tls_mutual(p->server.tls));
	ck_assert(!tls_mutual(p->client.tls));
	pair_free(p);
	tls_context_unref(c);
	tls_context_unref(s);
}
END_TEST

START_TEST(test_resumption)
{
	struct tls_options co = client_options(), so = server_options();
	struct tls_context *c = context(&co), *s = context(&so), *other = context(&so);
	struct pair *p = joined(c, s);

	check_up(p);
	for (int i = 0; i < 4; i++) {
		struct secret *a = NULL, *b = NULL;

		tls_keep_session(p->client.tls);
		pair_free(p);
		p = joined(c, s);
		check_up(p);
		ck_assert(tls_resumed(p->client.tls));
		ck_assert(tls_resumed(p->server.tls));
		ck_assert(tls_mutual(p->client.tls));
		ck_assert(tls_mutual(p->server.tls));
		ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "gateway-1");
		ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_CERTIFICATE);
		ck_assert_str_eq(tls_alpn(p->client.tls), "h2");
		ck_assert_int_eq(tls_exporter(p->client.tls, &a), 0);
		ck_assert_int_eq(tls_exporter(p->server.tls, &b), 0);
		ck_assert(secret_equal(a, b));
		secret_unref(a);
		secret_unref(b);
	}
	tls_keep_session(p->client.tls);
	pair_free(p);

	/* Another server process cannot read the ticket: a full handshake, and proven anew. */
	p = joined(c, other);
	check_up(p);
	ck_assert(!tls_resumed(p->client.tls));
	ck_assert(!tls_resumed(p->server.tls));
	ck_assert(tls_mutual(p->client.tls));
	ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "gateway-1");
	pair_free(p);

	/* The session of one name is not used for another. */
	p = pair_new(c, s, "elsewhere");
	pump(&p->client, &p->server, SIZE_MAX);
	ck_assert(!tls_established(p->client.tls));
	pair_free(p);
	tls_context_unref(c);
	tls_context_unref(s);
	tls_context_unref(other);
}
END_TEST

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

START_TEST(test_psk)
{
	struct tls_options co = {.side = TLS_CLIENT, .alpn = h1};
	struct tls_options so = {.side = TLS_SERVER, .alpn = h2_and_h1};
	struct tls_context *c, *s;
	struct pair *p;

	so.psk_file = write_file("psk-server", 0600,
				 "# B-TIDs\nbtid-1@bsf " KEY_A " gateway-1\n\nbtid-2@bsf\t" KEY_B
				 "  gateway-2");
	for (int with_certificate = 0; with_certificate < 2; with_certificate++) {
		if (with_certificate) {
			so.ca_file = at("ca.pem");
			so.certificate_file = at("server.pem");
			so.key_file = at("server.key");
		}
		co.psk_file = write_file("psk-client", 0600, "btid-2@bsf " KEY_B "\n");
		c = context(&co);
		s = context(&so);
		for (int i = 0; i < 2; i++) {
			struct secret *a = NULL, *b = NULL;

			p = joined(c, s);
			check_up(p);
			ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_PSK);
			ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "gateway-2");
			ck_assert(tls_mutual(p->server.tls));
			ck_assert(tls_mutual(p->client.tls));
			ck_assert_int_eq(tls_peer_auth(p->client.tls), TLS_AUTH_PSK);
			ck_assert(!tls_resumed(p->server.tls));
			ck_assert_str_eq(tls_alpn(p->client.tls), "http/1.1");
			ck_assert_int_eq(tls_exporter(p->client.tls, &a), 0);
			ck_assert_int_eq(tls_exporter(p->server.tls, &b), 0);
			ck_assert(secret_equal(a, b));
			secret_unref(a);
			secret_unref(b);
			tls_keep_session(p->client.tls);
			pair_free(p);
		}
		tls_context_unref(c);
		tls_context_unref(s);

		co.psk_file = write_file("psk-client", 0600, "btid-1@bsf " KEY_B "\n");
		check_refused(&co, &so, "localhost", NULL, "");
		co.psk_file = write_file("psk-client", 0600, "nobody@bsf " KEY_B "\n");
		check_refused(&co, &so, "localhost", NULL, NULL);
	}

	/* A client by certificate at a server that knows PSKs too. */
	co = client_options();
	c = context(&co);
	s = context(&so);
	p = joined(c, s);
	check_up(p);
	ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_CERTIFICATE);
	ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "gateway-1");
	tls_keep_session(p->client.tls);
	pair_free(p);
	p = joined(c, s);
	check_up(p);
	ck_assert(tls_resumed(p->server.tls));
	ck_assert_int_eq(tls_peer_auth(p->server.tls), TLS_AUTH_CERTIFICATE);
	ck_assert_str_eq(tls_peer_entity(p->server.tls)->text, "gateway-1");
	pair_free(p);
	tls_context_unref(c);
	tls_context_unref(s);
}
END_TEST

/* A gateway with a PSK and a CA, at a server that knows no PSK: mutual by its certificate, or not
 * at all. */
START_TEST(test_psk_unknown)
{
	struct tls_options co = client_options(), so = server_options();

	co.psk_file = write_file("psk-client", 0600, "btid-1@bsf " KEY_A "\n");
	for (int certificate = 1; certificate >= 0; certificate--) {
		struct tls_context *c, *s = context(&so);
		struct pair *p;

		if (!certificate)
			co.certificate_file = co.key_file = NULL;
		c = context(&co);
		p = pair_new(c, s, "localhost");
		pump(&p->client, &p->server, SIZE_MAX);
		if (certificate) {
			ck_assert(tls_mutual(p->client.tls));
			ck_assert_int_eq(tls_peer_auth(p->client.tls), TLS_AUTH_CERTIFICATE);
		} else {
			ck_assert_int_eq(p->client.result, TLS_REFUSED);
			ck_assert_int_eq(tls_cause(p->client.tls), TLS_CAUSE_PSK);
			ck_assert(!tls_mutual(p->client.tls));
		}
		pair_free(p);
		tls_context_unref(c);
		tls_context_unref(s);
	}
}
END_TEST

static unsigned psk_wrong_suite(WOLFSSL *ssl, const char *hint, char *identity,
				unsigned identity_max, unsigned char *key, unsigned key_max,
				const char **suite)
{
	(void)ssl;
	(void)hint;
	(void)key_max;
	snprintf(identity, identity_max, "btid-1@bsf");
	memset(key, 0x55, 32);
	*suite = "TLS13-AES128-GCM-SHA256";
	return 32;
}

/* Naming somebody's identity in a handshake that then goes on without it proves nothing. */
START_TEST(test_psk_passed_over)
{
	struct tls_options so = server_options();
	struct tls_context *s;
	struct end end = {0};
	struct raw w;

	so.psk_file = write_file("psk-server", 0600, "btid-1@bsf " KEY_A " gateway-1\n");
	s = context(&so);
	raw_new(&w, wolfTLSv1_3_client_method(), NULL, NULL);
	wolfSSL_set_cipher_list(w.ssl, "TLS13-AES128-GCM-SHA256");
	wolfSSL_set_psk_client_tls13_callback(w.ssl, psk_wrong_suite);
	ck_assert_int_eq(tls_new(s, NULL, &end.tls), 0);
	raw_pump(&end, &w, false);
	if (tls_established(end.tls)) {
		ck_assert_int_eq(tls_peer_auth(end.tls), TLS_AUTH_NONE);
		ck_assert_str_eq(tls_peer_entity(end.tls)->text, "");
		ck_assert(!tls_mutual(end.tls));
	}
	tls_free(end.tls);
	raw_free(&w);
	tls_context_unref(s);
}
END_TEST

static void check_context(const struct tls_options *o, int result, const char *says)
{
	struct tls_context *c = NULL;
	char why[320] = "";

	int r = tls_context_new(o, &c, why, sizeof(why));

	ck_assert_msg(r == result, "%s, not %s", why, says);
	ck_assert_ptr_null(c);
	ck_assert_msg(strstr(why, says), "%s", why);
}

START_TEST(test_contexts)
{
	struct tls_options o = client_options();

	o.ca_file = NULL;
	check_context(&o, -EINVAL, "could not be verified");
	o.ca_file = at("nothing.pem");
	check_context(&o, -ENOENT, "nothing.pem");
	o.ca_file = at("server.key");
	check_context(&o, -EINVAL, "no CA");
	o = client_options();
	o.key_file = at("server.key");
	check_context(&o, -EINVAL, "does not match");
	o.key_file = at("server-bare.key");
	check_context(&o, -EINVAL, "does not match");
	o.key_file = at("gateway-bare.key");
	tls_context_unref(context(&o));
	o.key_file = at("server.pem");
	check_context(&o, -EINVAL, "not a PEM private key");
	o = client_options();
	o.certificate_file = at("server.key");
	check_context(&o, -EINVAL, "not a PEM certificate");
	o = server_options();
	o.certificate_file = NULL;
	check_context(&o, -EINVAL, "needs a certificate");

	o = (struct tls_options){.side = TLS_SERVER};
	o.psk_file = write_file("psk", 0640, "id " KEY_A " gateway-1\n");
	check_context(&o, -EPERM, "0600");
	o.psk_file = write_file("psk", 0600, "# none\n");
	check_context(&o, -EINVAL, "no key");
	o.psk_file = write_file("psk", 0600, "a " KEY_A " gateway-1\nid " KEY_A "\n");
	check_context(&o, -EINVAL, "line 2 has no valid Entity ID");
	o.psk_file = write_file("psk", 0600, "id\n");
	check_context(&o, -EINVAL, "line 1 has no key");
	o.psk_file = write_file("psk", 0600, "id 0011 gateway-1\n");
	check_context(&o, -EINVAL, "line 1: the key");
	o.psk_file = write_file("psk", 0600, "id " KEY_A " gateway-1\nid " KEY_B " gateway-2\n");
	check_context(&o, -EINVAL, "line 2 repeats");
	o.side = TLS_CLIENT;
	o.psk_file = write_file("psk", 0600, "id " KEY_A "\nid2 " KEY_B "\n");
	check_context(&o, -EINVAL, "more than one");
	ck_assert_uint_eq(secret_count(), 0);
}
END_TEST

START_TEST(test_garbage)
{
	static const char *const junk[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x40\x00 this is no handshake at all .............................",
		"\x17\x03\x03\x10 0123456789abcdef",
	};
	struct tls_options co = client_options(), so = server_options();
	struct tls_context *c = context(&co), *s = context(&so);

	for (size_t i = 0; i < 2 * sizeof(junk) / sizeof(junk[0]); i++) {
		struct end e = {0};
		uint8_t noise[20000];

		ck_assert_int_eq(i % 2 ? tls_new(c, "localhost", &e.tls) : tls_new(s, NULL, &e.tls),
				 0);
		tls_step(e.tls, plain, &e);
		ck_assert_int_eq(tls_feed(e.tls, bytes_text(junk[i / 2])), 0);
		memset(noise, (int)i, sizeof(noise));
		ck_assert_int_eq(tls_feed(e.tls, bytes_of(noise, sizeof(noise))), 0);
		for (int k = 0; k < 4; k++)
			e.result = tls_step(e.tls, plain, &e);
		ck_assert_int_eq(e.result, TLS_REFUSED);
		ck_assert(!tls_established(e.tls));
		ck_assert_str_ne(tls_error(e.tls), "");
		tls_free(e.tls);
	}

	/* A bit flipped in an established connection. */
	struct pair *p = joined(c, s);
	struct bytes out;
	uint8_t copy[256];

	check_up(p);
	ck_assert_int_eq(tls_write(p->client.tls, bytes_text("payload")), 0);
	p->client.result = tls_step(p->client.tls, plain, &p->client);
	out = tls_output(p->client.tls);
	ck_assert_uint_le(out.size, sizeof(copy));
	memcpy(copy, out.data, out.size);
	copy[out.size - 1] ^= 1;
	ck_assert_int_eq(tls_feed(p->server.tls, bytes_of(copy, out.size)), 0);
	ck_assert_int_eq(tls_step(p->server.tls, plain, &p->server), TLS_REFUSED);
	ck_assert_uint_eq(p->server.size, 0);
	pair_free(p);
	tls_context_unref(c);
	tls_context_unref(s);
}
END_TEST

int main(void)
{
	const char *build = getenv("PNGW_BUILDDIR"), *source = getenv("PNGW_SRCDIR");
	char command[1024];
	Suite *suite = suite_create("tls");
	TCase *t = tcase_create("tls");
	SRunner *runner;
	int failed;

	snprintf(dir, sizeof(dir), "%s/tests/certs-tls.%d", build ? build : ".", getpid());
	snprintf(command, sizeof(command), "'%s/tests/make-certs' '%s' localhost gateway-1",
		 source ? source : ".", dir);
	if (system(command) != 0)
		return 99;
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_mutual);
	tcase_add_test(t, test_refusals);
	tcase_add_test(t, test_address);
	tcase_add_test(t, test_clock_floor);
	tcase_add_loop_test(t, test_clock_behind_certificate, 0, 2);
	tcase_add_test(t, test_expired);
	tcase_add_test(t, test_versions);
	tcase_add_test(t, test_not_mutual);
	tcase_add_test(t, test_resumption);
	tcase_add_test(t, test_psk);
	tcase_add_test(t, test_psk_passed_over);
	tcase_add_test(t, test_psk_unknown);
	tcase_add_test(t, test_contexts);
	tcase_add_test(t, test_garbage);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command) != 0)
		return 99;
	return failed != 0;
}
