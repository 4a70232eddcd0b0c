/* Authentication on BR/EDR: stored keys, PINs, and the association models of Secure Simple Pairing.
 */
#include "ether.h"

#include <string.h>

enum {
	IO_DISPLAY_ONLY = 0,
	IO_DISPLAY_YES_NO = 1,
	IO_KEYBOARD = 2,
	IO_NONE = 3,
	MITM = 1,

	KEY_COMBINATION = 0,
	KEY_UNAUTHENTICATED_192 = 4,
	KEY_AUTHENTICATED_192 = 5,
	KEY_UNAUTHENTICATED_256 = 7,
	KEY_AUTHENTICATED_256 = 8,
};

static void ask(struct link *link, int side, uint8_t code)
{
	event(link->end[side], code, link->seen[!side].octets, 6);
}

static void finish(struct link *link, uint8_t status)
{
	uint8_t complete[3] = {status, (uint8_t)link->handle, (uint8_t)(link->handle >> 8)};
	enum model model = link->model;
	int side;

	if (model == MODEL_NONE)
		return;
	link->model = MODEL_NONE;
	if (model == MODEL_COMPARE || model == MODEL_PASSKEY || model == MODEL_OOB) {
		for (side = 0; side < 2; side++) {
			uint8_t done[7] = {status};

			memcpy(done + 1, link->seen[!side].octets, 6);
			event(link->end[side], 0x36, done, sizeof(done));
		}
	}
	if (status == 0 && model != MODEL_KEY) {
		/* A key's first byte is its type: a stored one is given without. */
		random_bytes(link->key, sizeof(link->key));
		link->key[0] = link->key_type;
		link->has_key = true;
		for (side = 0; side < 2; side++) {
			uint8_t notify[23];

			memcpy(notify, link->seen[!side].octets, 6);
			memcpy(notify + 6, link->key, 16);
			notify[22] = link->key_type;
			event(link->end[side], 0x18, notify, sizeof(notify));
		}
	}
	for (side = 0; side < 2; side++) {
		if (link->asked[side])
			event(link->end[side], 0x06, complete, sizeof(complete));
		link->asked[side] = false;
	}
}

void pair_abort(struct link *link)
{
	finish(link, ERROR_AUTHENTICATION);
}

void pair_begin(struct link *link, int side)
{
	link->asked[side] = true;
	if (link->model != MODEL_NONE)
		return;
	memset(link->part, 0, sizeof(link->part));
	link->model = MODEL_KEY;
	link->asker = side;
	ask(link, side, 0x17);
}

static bool simple(const struct link *link)
{
	return link->end[0]->ssp != 0 && link->end[1]->ssp != 0;
}

/* A key, or NULL: the host has none. The asker is asked first, then the other. */
void pair_link_key(struct link *link, int side, const uint8_t *key)
{
	if (link->model != MODEL_KEY)
		return;
	if (side == link->asker) {
		if (key != NULL) {
			memcpy(link->part[side].pin, key, 16);
			ask(link, !side, 0x17);
		} else if (simple(link)) {
			link->model = MODEL_COMPARE;
			ask(link, side, 0x31);
		} else {
			link->model = MODEL_PIN;
			ask(link, side, 0x16);
		}
	} else if (key == NULL) {
		finish(link, ERROR_KEY_MISSING);
	} else if (memcmp(link->part[!side].pin, key, 16) != 0) {
		finish(link, ERROR_AUTHENTICATION);
	} else {
		memcpy(link->key, key, 16);
		link->key_type = key[0];
		link->has_key = true;
		finish(link, 0);
	}
}

void pair_pin(struct link *link, int side, const uint8_t *pin, uint8_t length)
{
	struct part *mine = &link->part[side];
	const struct part *theirs = &link->part[!side];

	if (link->model != MODEL_PIN)
		return;
	if (pin == NULL) {
		finish(link, ERROR_KEY_MISSING);
		return;
	}
	mine->pin_length = length > 16 ? 16 : length;
	memcpy(mine->pin, pin, mine->pin_length);
	if (side == link->asker) {
		ask(link, !side, 0x16);
		return;
	}
	link->key_type = KEY_COMBINATION;
	if (mine->pin_length == theirs->pin_length &&
	    memcmp(mine->pin, theirs->pin, mine->pin_length) == 0)
		finish(link, 0);
	else
		finish(link, ERROR_AUTHENTICATION);
}

static void choose(struct link *link)
{
	const struct capability *a = &link->part[0].capability;
	const struct capability *b = &link->part[1].capability;
	bool wanted = ((a->authentication | b->authentication) & MITM) != 0;
	bool strong =
		link->end[0]->secure_connections != 0 && link->end[1]->secure_connections != 0;
	bool authenticated = false;
	uint8_t value[4];
	uint8_t number[10];
	uint32_t passkey;
	int side;

	random_bytes(value, sizeof(value));
	passkey = (value[0] | (uint32_t)value[1] << 8 | (uint32_t)value[2] << 16) % 1000000;

	if (a->oob != 0 || b->oob != 0) {
		link->model = MODEL_OOB;
		authenticated = true;
	} else if (!wanted || a->io == IO_NONE || b->io == IO_NONE) {
		link->model = MODEL_COMPARE;
	} else if (a->io == IO_KEYBOARD || b->io == IO_KEYBOARD) {
		link->model = MODEL_PASSKEY;
		authenticated = true;
	} else {
		link->model = MODEL_COMPARE;
		authenticated = a->io == IO_DISPLAY_YES_NO && b->io == IO_DISPLAY_YES_NO;
	}
	link->key_type = strong ? (authenticated ? KEY_AUTHENTICATED_256 : KEY_UNAUTHENTICATED_256)
				: (authenticated ? KEY_AUTHENTICATED_192 : KEY_UNAUTHENTICATED_192);

	for (side = 0; side < 2; side++) {
		const struct capability *capability = &link->part[side].capability;

		memcpy(number, link->seen[!side].octets, 6);
		number[6] = (uint8_t)passkey;
		number[7] = (uint8_t)(passkey >> 8);
		number[8] = (uint8_t)(passkey >> 16);
		number[9] = 0;
		if (link->model == MODEL_OOB) {
			if (capability->oob != 0)
				ask(link, side, 0x35);
			else
				link->part[side].answer = ANSWER_YES;
		} else if (link->model == MODEL_COMPARE) {
			event(link->end[side], 0x33, number, sizeof(number));
		} else if (capability->io == IO_KEYBOARD) {
			ask(link, side, 0x34);
		} else {
			link->part[side].answer = ANSWER_YES;
			link->part[side].passkey = passkey;
			event(link->end[side], 0x3b, number, sizeof(number));
		}
	}
}

void pair_capability(struct link *link, int side, const struct capability *capability,
		     uint8_t refused)
{
	uint8_t response[9];

	if (link->model != MODEL_COMPARE || link->part[side].capability.known)
		return;
	if (capability == NULL) {
		finish(link, refused);
		return;
	}
	link->part[side].capability = *capability;
	link->part[side].capability.known = true;
	memcpy(response, link->seen[side].octets, 6);
	response[6] = capability->io;
	response[7] = capability->oob;
	response[8] = capability->authentication;
	event(link->end[!side], 0x32, response, sizeof(response));
	if (side == link->asker)
		ask(link, !side, 0x31);
	else
		choose(link);
}

void pair_answer(struct link *link, int side, enum answer answer, uint32_t passkey)
{
	struct part *mine = &link->part[side];
	const struct part *theirs = &link->part[!side];

	if (link->model != MODEL_COMPARE && link->model != MODEL_PASSKEY &&
	    link->model != MODEL_OOB)
		return;
	mine->answer = answer;
	mine->passkey = passkey;
	if (answer == ANSWER_NO)
		finish(link, ERROR_AUTHENTICATION);
	else if (theirs->answer == ANSWER_YES)
		finish(link, mine->passkey == theirs->passkey || link->model != MODEL_PASSKEY
				     ? 0
				     : ERROR_AUTHENTICATION);
}

/* What was carried out of band must be what the other controller said when it was asked. */
void pair_oob(struct link *link, int side, const uint8_t *c192, const uint8_t *c256)
{
	const struct radio *other = link->end[!side];
	bool right = (c192 != NULL && memcmp(c192, other->oob[0], 16) == 0) ||
		     (c256 != NULL && memcmp(c256, other->oob[2], 16) == 0);

	pair_answer(link, side, right ? ANSWER_YES : ANSWER_NO, 0);
}
