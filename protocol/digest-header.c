/* The Authorization header of RFC 7616 section 3.4: a bounded cursor over auth-params. */

#include "protocol/digest.h"

#include <errno.h>
#include <string.h>

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

struct value {
	struct bytes text;
	bool escaped; /* holds backslashes, so the view is not the value itself */
};

enum param {
	PARAM_USERNAME,
	PARAM_REALM,
	PARAM_NONCE,
	PARAM_URI,
	PARAM_RESPONSE,
	PARAM_ALGORITHM,
	PARAM_CNONCE,
	PARAM_QOP,
	PARAM_NC,
	PARAM_COUNT
};

static const char *const param_names[PARAM_COUNT] = {
	[PARAM_USERNAME] = "username",
	[PARAM_REALM] = "realm",
	[PARAM_NONCE] = "nonce",
	[PARAM_URI] = "uri",
	[PARAM_RESPONSE] = "response",
	[PARAM_ALGORITHM] = "algorithm",
	[PARAM_CNONCE] = "cnonce",
	[PARAM_QOP] = "qop",
	[PARAM_NC] = "nc",
};

static bool token_character(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool equal_ignoring_case(struct bytes a, const char *text)
{
	size_t size = strlen(text);

	if (a.size != size)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (lower(a.data[i]) != lower((uint8_t)text[i]))
			return false;
	}
	return true;
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
		c->at++;
}

static bool take(struct cursor *c, uint8_t expected)
{
	if (c->at == c->end || *c->at != expected)
		return false;
	c->at++;
	return true;
}

static bool token(struct cursor *c, struct bytes *out)
{
	const uint8_t *begin = c->at;

	while (c->at < c->end && token_character(*c->at))
		c->at++;
	*out = bytes_of(begin, (size_t)(c->at - begin));
	return out->size > 0;
}

static bool quoted_character(uint8_t c)
{
	return c == '\t' || (c >= ' ' && c != 0x7f);
}

/* After the opening quote. */
static bool quoted(struct cursor *c, struct value *out)
{
	const uint8_t *begin = c->at;

	out->escaped = false;
	while (c->at < c->end && *c->at != '"') {
		if (*c->at == '\\') {
			out->escaped = true;
			c->at++;
		}
		if (c->at == c->end || !quoted_character(*c->at))
			return false;
		c->at++;
	}
	out->text = bytes_of(begin, (size_t)(c->at - begin));
	return take(c, '"');
}

static bool param_next(struct cursor *c, struct bytes *name, struct value *value)
{
	if (!token(c, name))
		return false;
	skip_space(c);
	if (!take(c, '='))
		return false;
	skip_space(c);
	if (take(c, '"'))
		return quoted(c, value);
	value->escaped = false;
	return token(c, &value->text);
}

/* PARAM_COUNT for a parameter that a server may ignore. */
static enum param param_of(struct bytes name)
{
	unsigned int i = 0;

	while (i < PARAM_COUNT && !equal_ignoring_case(name, param_names[i]))
		i++;
	return (enum param)i;
}

static bool params_collect(struct cursor *c, struct bytes values[PARAM_COUNT])
{
	do {
		struct bytes name;
		struct value value;
		enum param p;

		skip_space(c);
		if (!param_next(c, &name, &value))
			return false;
		p = param_of(name);
		if (p < PARAM_COUNT) {
			if (values[p].data || value.escaped)
				return false;
			values[p] = value.text;
		} else if (equal_ignoring_case(name, "userhash") ||
			   equal_ignoring_case(name, "username*")) {
			return false;
		}
		skip_space(c);
	} while (take(c, ','));
	return c->at == c->end;
}

/* nc-value is exactly 8 lower-case hex digits. */
static bool nonce_count(struct bytes text, uint32_t *out)
{
	uint8_t b[4];
	size_t written;

	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] >= 'A' && text.data[i] <= 'F')
			return false;
	}
	if (text.size != 8 || hex_decode(text, b, sizeof(b), &written) != 0)
		return false;
	*out = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	return *out > 0;
}

int digest_header_parse(struct bytes header, struct digest_input *in, uint8_t response[32])
{
	struct cursor c = {header.data, header.data + header.size};
	struct bytes v[PARAM_COUNT] = {{NULL, 0}};
	struct bytes scheme;
	uint32_t count;
	size_t written;

	if (header.size == 0 || !token(&c, &scheme) || !equal_ignoring_case(scheme, "Digest") ||
	    !take(&c, ' ') || !params_collect(&c, v))
		return DIGEST_HEADER_BAD;
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		if (v[i].size == 0)
			return DIGEST_HEADER_BAD;
	}
	if (!equal_ignoring_case(v[PARAM_ALGORITHM], "SHA-256") ||
	    !equal_ignoring_case(v[PARAM_QOP], "auth") || !nonce_count(v[PARAM_NC], &count) ||
	    v[PARAM_RESPONSE].size != 64 ||
	    hex_decode(v[PARAM_RESPONSE], response, 32, &written) != 0)
		return DIGEST_HEADER_BAD;
	*in = (struct digest_input){
		.user = v[PARAM_USERNAME],
		.realm = v[PARAM_REALM],
		.nonce = v[PARAM_NONCE],
		.client_nonce = v[PARAM_CNONCE],
		.uri = v[PARAM_URI],
		.nonce_count = count,
	};
	return 0;
}
