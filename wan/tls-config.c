#include "wan/tls-config.h"

#include "wan/certificate.h"

#define WHY_SIZE 512

static int make(struct tls_options options, const char *const names[], struct tls_context **out,
		const char **name, char why[WHY_SIZE])
{
	enum tls_part part = TLS_PART_NONE;
	int r;

	options.part = &part;
	r = tls_context_new(&options, out, why, WHY_SIZE);
	*name = names[part];
	return r;
}

int tls_config_new(const struct tls_options *options, const char *const names[],
		   struct tls_context **out, char *why, size_t why_size)
{
	const char *name;
	char text[WHY_SIZE];
	int r = make(*options, names, out, &name, text);

	if (r < 0)
		(void)snprintf(why, why_size, "%s: %s", name, text);
	return r;
}

static int check_certificates(const struct config_check *c, const char *name, const char *file)
{
	struct certificates found;
	char why[WHY_SIZE];

	return certificates_read(file, &found, why, sizeof(why)) == 0
		       ? 0
		       : config_check_wrong(c, name, "%s", why);
}

static bool is_elsewhere(const struct config_check *c, const char *name, const char *file)
{
	return file && config_check_elsewhere(c, name, file);
}

int tls_config_check(const struct config_check *c, const struct tls_options *options,
		     const char *const names[])
{
	struct tls_options o = *options;
	struct tls_context *tls;
	const char *name;
	char why[WHY_SIZE];
	int r = 0;

	if (is_elsewhere(c, names[TLS_PART_CA], o.ca_file))
		o.ca_file = NULL;
	if (is_elsewhere(c, names[TLS_PART_PSK], o.psk_file))
		o.psk_file = NULL;
	if (is_elsewhere(c, names[TLS_PART_CERTIFICATE], o.certificate_file)) {
		o.certificate_file = o.key_file = NULL;
	} else if (is_elsewhere(c, names[TLS_PART_KEY], o.key_file)) {
		r = check_certificates(c, names[TLS_PART_CERTIFICATE], o.certificate_file);
		o.certificate_file = o.key_file = NULL;
	}
	if (r != 0)
		return r;
	/* Nothing is left that a connection could be made with. */
	if (!o.psk_file && !(o.side == TLS_CLIENT ? o.ca_file : o.certificate_file))
		return o.ca_file ? check_certificates(c, names[TLS_PART_CA], o.ca_file) : 0;
	if (make(o, names, &tls, &name, why) < 0)
		return config_check_wrong(c, name, "%s", why);
	tls_context_unref(tls);
	return 0;
}
