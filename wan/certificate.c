#include "wan/certificate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "wan/tls-internal.h"

#include <wolfssl/openssl/pem.h>

#define CHAIN_MAX 8

__attribute__((format(printf, 4, 5))) static int complain(int result, char *why, size_t size,
							  const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, size, format, args);
	va_end(args);
	return result;
}

static int64_t seconds_of(const WOLFSSL_ASN1_TIME *t)
{
	struct tm tm = {0};

	if (!t || wolfSSL_ASN1_TIME_to_tm(t, &tm) != WOLFSSL_SUCCESS)
		return 0;
	return timegm(&tm);
}

int64_t tls_x509_from(const WOLFSSL_X509 *x)
{
	return seconds_of(wolfSSL_X509_get_notBefore(x));
}

int64_t tls_x509_until(const WOLFSSL_X509 *x)
{
	return seconds_of(wolfSSL_X509_get_notAfter(x));
}

static int open_file(const char *file, WOLFSSL_BIO **out, char *why, size_t why_size)
{
	if (access(file, R_OK) != 0) {
		int r = -errno;

		return complain(r, why, why_size, "%s: %s", file, strerror(-r));
	}
	*out = wolfSSL_BIO_new_file(file, "r");
	if (!*out)
		return complain(-EIO, why, why_size, "%s cannot be read", file);
	return 0;
}

/* wolfSSL keeps a queue of errors for each thread. */
static WOLFSSL_X509 *next_of(WOLFSSL_BIO *bio)
{
	WOLFSSL_X509 *x = wolfSSL_PEM_read_bio_X509(bio, NULL, NULL, NULL);

	wolfSSL_ERR_clear_error();
	return x;
}

int certificates_read(const char *file, struct certificates *out, char *why, size_t why_size)
{
	struct certificates c = {.count = 0};
	WOLFSSL_BIO *bio = NULL;
	WOLFSSL_X509 *x;
	int r = open_file(file, &bio, why, why_size);

	if (r != 0)
		return r;
	while ((x = next_of(bio)) != NULL) {
		int64_t until = tls_x509_until(x);

		if (c.count == 0) {
			c.from = tls_x509_from(x);
			c.until = until;
			if (wolfSSL_X509_NAME_get_text_by_NID(wolfSSL_X509_get_subject_name(x),
							      NID_commonName, c.common_name,
							      sizeof(c.common_name)) < 0)
				c.common_name[0] = '\0';
		}
		c.last_until = until > c.last_until ? until : c.last_until;
		c.count++;
		wolfSSL_X509_free(x);
	}
	wolfSSL_BIO_free(bio);
	if (c.count == 0)
		return complain(-EINVAL, why, why_size, "%s holds no PEM certificate", file);
	*out = c;
	return 0;
}

int certificate_key_check(const char *file, const char *key_file, char *why, size_t why_size)
{
	WOLFSSL_BIO *bio = NULL;
	WOLFSSL_X509 *x;
	bool good;
	int r;

	if (access(key_file, R_OK) != 0) {
		r = -errno;
		return complain(r, why, why_size, "%s: %s", key_file, strerror(-r));
	}
	r = open_file(file, &bio, why, why_size);
	if (r != 0)
		return r;
	x = next_of(bio);
	wolfSSL_BIO_free(bio);
	if (!x)
		return complain(-EINVAL, why, why_size, "%s holds no PEM certificate", file);
	good = tls_key_matches(x, key_file);
	wolfSSL_X509_free(x);
	wolfSSL_ERR_clear_error();
	if (!good)
		return complain(-EKEYREJECTED, why, why_size, "the key in %s does not match %s",
				key_file, file);
	return 0;
}

static bool verifies(WOLFSSL_CERT_MANAGER *cm, WOLFSSL_X509 *x, bool then_trust)
{
	int size = 0;
	const unsigned char *der = wolfSSL_X509_get_der(x, &size);

	if (!der || wolfSSL_CertManagerVerifyBuffer(cm, der, size, WOLFSSL_FILETYPE_ASN1) !=
			    WOLFSSL_SUCCESS)
		return false;
	return !then_trust || wolfSSL_CertManagerLoadCABuffer(
				      cm, der, size, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
}

/* From the far end of the chain, so that each is vouched for by what was trusted before. */
static bool chain_verifies(WOLFSSL_CERT_MANAGER *cm, WOLFSSL_X509 *const *chain, size_t count)
{
	for (size_t i = count; i > 1; i--)
		(void)verifies(cm, chain[i - 1], true);
	return verifies(cm, chain[0], false);
}

int certificate_chain_check(const char *file, const char *ca_file, char *why, size_t why_size)
{
	WOLFSSL_X509 *chain[CHAIN_MAX];
	WOLFSSL_CERT_MANAGER *cm;
	WOLFSSL_BIO *bio = NULL;
	size_t count = 0;
	int r = open_file(file, &bio, why, why_size);

	if (r != 0)
		return r;
	while (count < CHAIN_MAX && (chain[count] = next_of(bio)) != NULL)
		count++;
	wolfSSL_BIO_free(bio);
	cm = wolfSSL_CertManagerNew();
	if (!cm)
		r = complain(-ENOMEM, why, why_size, "out of memory");
	else if (count == 0)
		r = complain(-EINVAL, why, why_size, "%s holds no PEM certificate", file);
	else if (wolfSSL_CertManagerLoadCA(cm, ca_file, NULL) != WOLFSSL_SUCCESS)
		r = complain(-EINVAL, why, why_size, "%s holds no CA certificate that is valid now",
			     ca_file);
	else if (!chain_verifies(cm, chain, count))
		r = complain(-EKEYREJECTED, why, why_size, "%s does not lead to an authority in %s",
			     file, ca_file);
	wolfSSL_CertManagerFree(cm);
	for (size_t i = 0; i < count; i++)
		wolfSSL_X509_free(chain[i]);
	wolfSSL_ERR_clear_error();
	return r;
}
