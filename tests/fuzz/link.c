#include "pan/link.h"

#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

/* What the callbacks saw; none of them may come after broken(). */
struct seen {
	struct link *l;
	bool up, broken;
	unsigned sent;
};

static void on_send(void *arg, struct bytes frame)
{
	struct seen *s = arg;

	MUST(!s->broken && frame.size > FRAME_HEADER_SIZE);
	s->sent++;
}

static void on_up(void *arg, const struct hello *peer)
{
	struct seen *s = arg;

	MUST(!s->up && !s->broken && link_is_up(s->l));
	MUST(entity_id_valid(name_bytes(&peer->entity)));
	MUST(secret_size(link_secret(s->l)) == KEY_SIZE);
	MUST(link_binding(s->l).size > 0);
	s->up = true;
}

static void on_message(void *arg, struct bytes xml)
{
	struct seen *s = arg;

	MUST(s->up && !s->broken);
	MUST(xml.size > 0 && xml.size <= MESSAGE_MAX_SIZE);
	MUST(link_send_message(s->l, xml) == 0);
}

static void on_receipt(void *arg, const struct receipt *r)
{
	struct seen *s = arg;

	MUST(s->up && !s->broken && status_known(r->status));
	MUST(link_send_receipt(s->l, r) == 0);
}

static void on_pong(void *arg, uint64_t token)
{
	struct seen *s = arg;

	MUST(s->up && !s->broken);
	MUST(link_send_ping(s->l, token) == 0);
}

static void on_broken(void *arg, enum link_broken why)
{
	struct seen *s = arg;

	MUST(!s->broken && strlen(link_broken_text(why)) > 0);
	s->broken = true;
}

static const struct link_callbacks callbacks = {
	.send = on_send,
	.up = on_up,
	.message = on_message,
	.receipt = on_receipt,
	.pong = on_pong,
	.broken = on_broken,
};

bool fuzz_link(struct bytes input)
{
	struct hello self = {.entity = {"own"}};
	struct seen s = {0};
	size_t step;
	bool up;

	if (input.size == 0)
		return false;
	if (input.data[0] & 1) {
		self.flags = HELLO_FLAG_GATEWAY;
		self.server = (struct name){"server"};
	}
	step = (size_t)(input.data[0] >> 1) + 1;
	/* Out of memory or without a random number: nothing to learn about the peer's bytes. */
	if (link_new(&self, &callbacks, &s, &s.l) < 0)
		return false;
	link_start(s.l);
	MUST(s.sent == 1);
	for (size_t at = 1; at < input.size; at += step) {
		size_t size = step < input.size - at ? step : input.size - at;
		int rc = link_push(s.l, bytes_of(input.data + at, size));

		MUST(rc == (s.broken ? -EPROTO : 0));
	}
	up = link_is_up(s.l);
	MUST(up == (s.up && !s.broken));
	MUST(s.up || link_send_ping(s.l, 1) == -ENOTCONN);
	link_free(s.l);
	return up;
}
