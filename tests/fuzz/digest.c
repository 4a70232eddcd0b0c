#include "protocol/digest.h"

#include "tests/fuzz/fuzz.h"

static void check_view(struct bytes view, struct bytes header)
{
	MUST(view.size <= header.size);
	if (view.size > 0)
		MUST(view.data >= header.data &&
		     view.data + view.size <= header.data + header.size);
}

/* Every view lies in the header, and what the server does with them next stands any content. */
bool fuzz_digest(struct bytes input)
{
	uint8_t response[32], expected[32], salt[DIGEST_SALT_MAX];
	struct digest_nonces *nonces;
	struct digest_input in;
	struct bytes view;

	if (digest_header_parse(input, &in, response) != 0)
		return false;
	check_view(in.user, input);
	check_view(in.realm, input);
	check_view(in.nonce, input);
	check_view(in.client_nonce, input);
	check_view(in.uri, input);
	MUST(in.user.size > 0 && in.nonce.size > 0 && in.client_nonce.size > 0);
	view = digest_salt(in.nonce, in.client_nonce, salt);
	MUST(view.size == 0 || view.size == in.nonce.size + in.client_nonce.size);
	(void)digest_response_general(bytes_text("password"), "POST", &in, expected);
	nonces = digest_nonces_new(60000, 16);
	if (nonces) {
		MUST(digest_nonce_use(nonces, in.nonce, in.nonce_count, 1) == DIGEST_STALE);
		digest_nonces_free(nonces);
	}
	return true;
}
