/* The credentials for the server, as they are on the disk. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/doctor-internal.h"
#include "protocol/credential.h"
#include "wan/certificate.h"

#define DAY       86400
#define SOON_DAYS 30

static const char no_certificate[] = "server.tls.certificate is not configured";

/* What the dates of a certificate come to; what is its name. */
static void judge_dates(struct doctor_findings *f, enum doctor_id id, const char *file,
			int64_t from, int64_t until)
{
	int64_t now = time(NULL);

	if (from > now)
		doctor_find(f, id, DOCTOR_FAILED, "%s is not valid yet, for %" PRId64 " days", file,
			    (from - now + DAY - 1) / DAY);
	else if (until <= now)
		doctor_find(f, id, DOCTOR_FAILED, "%s expired %" PRId64 " days ago", file,
			    (now - until) / DAY);
	else if (until - now < (int64_t)SOON_DAYS * DAY)
		doctor_find(f, id, DOCTOR_WARNING, "%s expires in %" PRId64 " days", file,
			    (until - now) / DAY);
	else
		doctor_find(f, id, DOCTOR_OK, "%s is valid for %" PRId64 " more days", file,
			    (until - now) / DAY);
}

static void examine_authorities(struct doctor_work *w)
{
	struct certificates c;
	char why[256];

	if (!w->config.tls_ca[0])
		doctor_find(&w->findings, DOCTOR_TLS_CA, DOCTOR_NOT_APPLICABLE,
			    "server.tls.ca is not configured");
	else if (certificates_read(w->config.tls_ca, &c, why, sizeof(why)) != 0)
		doctor_find(&w->findings, DOCTOR_TLS_CA, DOCTOR_FAILED, "%s", why);
	else
		/* A bundle is of use as long as one of its authorities is. */
		judge_dates(&w->findings, DOCTOR_TLS_CA, w->config.tls_ca,
			    c.count == 1 ? c.from : 0, c.last_until);
}

/* Nobody else may read it, and this process must be able to. */
static void examine_key_mode(struct doctor_findings *f, enum doctor_id id, const char *file)
{
	struct stat st;

	if (stat(file, &st) != 0)
		doctor_find(f, id, DOCTOR_FAILED, "%s: %s", file, strerror(errno));
	else if ((st.st_mode & credential_forbidden(file)) != 0)
		doctor_find(f, id, DOCTOR_FAILED, "%s has mode %04o: others may read the key", file,
			    (unsigned)st.st_mode & 07777);
	else
		doctor_find(f, id, DOCTOR_OK, "%s has mode %04o", file,
			    (unsigned)st.st_mode & 07777);
}

static void examine_match(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	char why[256];
	int r = certificate_key_check(w->config.tls_certificate, w->config.tls_key, why,
				      sizeof(why));

	/* The mode was told before: here it is whether it can be read at all. */
	if (r == -EACCES || r == -ENOENT || r == -EPERM)
		doctor_find(f, DOCTOR_TLS_KEY, DOCTOR_FAILED, "%s", why);
	if (r == 0)
		doctor_find(f, DOCTOR_TLS_MATCH, DOCTOR_OK, "the key made the certificate");
	else
		doctor_find(f, DOCTOR_TLS_MATCH, DOCTOR_FAILED, "%s", why);
}

static void examine_chain(struct doctor_work *w)
{
	char why[512];

	if (!doctor_stands(&w->findings, DOCTOR_TLS_CA)) {
		doctor_find(&w->findings, DOCTOR_TLS_CHAIN, DOCTOR_NOT_APPLICABLE,
			    "there are no authorities to check it against");
		return;
	}
	if (certificate_chain_check(w->config.tls_certificate, w->config.tls_ca, why,
				    sizeof(why)) == 0)
		doctor_find(&w->findings, DOCTOR_TLS_CHAIN, DOCTOR_OK,
			    "it leads to an authority in server.tls.ca");
	else
		doctor_find(&w->findings, DOCTOR_TLS_CHAIN, DOCTOR_WARNING, "%.300s", why);
}

static void examine_certificate(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	const struct config *c = &w->config;
	struct certificates own;
	char why[256];

	if (!c->tls_certificate[0]) {
		doctor_find(f, DOCTOR_TLS_CERTIFICATE, DOCTOR_NOT_APPLICABLE, "%s", no_certificate);
		doctor_find(f, DOCTOR_TLS_KEY, DOCTOR_NOT_APPLICABLE, "%s", no_certificate);
		doctor_find(f, DOCTOR_TLS_MATCH, DOCTOR_NOT_APPLICABLE, "%s", no_certificate);
		doctor_find(f, DOCTOR_TLS_CHAIN, DOCTOR_NOT_APPLICABLE, "%s", no_certificate);
		doctor_find(f, DOCTOR_TLS_NAME, DOCTOR_NOT_APPLICABLE, "%s", no_certificate);
		return;
	}
	examine_key_mode(f, DOCTOR_TLS_KEY, c->tls_key);
	if (certificates_read(c->tls_certificate, &own, why, sizeof(why)) != 0) {
		doctor_find(f, DOCTOR_TLS_CERTIFICATE, DOCTOR_FAILED, "%s", why);
		doctor_find(f, DOCTOR_TLS_MATCH, DOCTOR_NOT_APPLICABLE,
			    "the certificate cannot be read");
		doctor_find(f, DOCTOR_TLS_CHAIN, DOCTOR_NOT_APPLICABLE,
			    "the certificate cannot be read");
		doctor_find(f, DOCTOR_TLS_NAME, DOCTOR_NOT_APPLICABLE,
			    "the certificate cannot be read");
		return;
	}
	judge_dates(f, DOCTOR_TLS_CERTIFICATE, c->tls_certificate, own.from, own.until);
	examine_match(w);
	examine_chain(w);
	if (strcmp(own.common_name, c->entity_id.text) == 0)
		doctor_find(f, DOCTOR_TLS_NAME, DOCTOR_OK, "its CN is %s", c->entity_id.text);
	else
		doctor_find(f, DOCTOR_TLS_NAME, DOCTOR_FAILED,
			    "its CN is \"%s\", and entity_id is %s", own.common_name,
			    c->entity_id.text);
}

static void examine_psk(struct doctor_work *w)
{
	struct doctor_findings *f = &w->findings;
	const char *file = w->config.tls_psk_file;
	struct tls_options options = {.side = TLS_CLIENT, .psk_file = file};
	struct tls_context *tls;
	char why[256];

	if (!file[0]) {
		doctor_find(f, DOCTOR_TLS_PSK, DOCTOR_NOT_APPLICABLE,
			    "server.tls.psk_file is not configured");
		return;
	}
	examine_key_mode(f, DOCTOR_TLS_PSK, file);
	if (!doctor_stands(f, DOCTOR_TLS_PSK))
		return;
	if (tls_context_new(&options, &tls, why, sizeof(why)) == 0)
		tls_context_unref(tls);
	else
		doctor_find(f, DOCTOR_TLS_PSK, DOCTOR_FAILED, "%s", why);
}

void doctor_examine_tls(struct doctor_work *w)
{
	examine_authorities(w);
	examine_certificate(w);
	examine_psk(w);
}
