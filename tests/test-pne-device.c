/* A PNE on a loop, over a real Unix socket, against a PN GW that is played here. */

#include "pne/device.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pan/bearer-local.h"
#include "pan/link.h"
#include "protocol/p1.h"

#define ENTITY  "headset-1"
#define GATEWAY "pngw-1"
#define SERVER  "server-1"
#define USER    "alice"
#define DEVICES 8U

/* One link as the PN GW sees it. */
struct side {
	struct rig *rig;
	struct bearer_link *stream;
	struct link *link;
	struct message_id sent;
};

struct rig {
	uv_loop_t loop;
	uv_timer_t guard;
	char folder[64], address[96];
	struct bearer *bearer;
	struct side sides[2 * DEVICES];
	struct pne_device *devices[DEVICES];
	size_t open, done, drops, receipts;
	bool drop_first;
	bool comes; /* the PN GW comes to the PNEs, and at first twice */
};

static void send_notification(struct side *s, uint32_t index)
{
	struct message m = {.kind = MESSAGE_eukey_assignment_notification};
	struct m_eukey_assignment_notification *n = &m.eukey_assignment_notification;
	const struct name *entity = &link_peer(s->link)->entity;
	SCOPED_SECRET *eukey = secret_new(KEY_SIZE);
	SCOPED_SECRET *under = secret_new(KEY_SIZE);
	struct p1_context context;
	struct name gateway;
	uint8_t rand[RAND_SIZE];
	uint8_t wrapped[P1_WRAPPED_KEY_SIZE];
	char *xml;
	size_t size;

	ck_assert_int_eq(p1_random(s->sent.b, sizeof(s->sent.b)), 0);
	ck_assert_int_eq(p1_random(rand, sizeof(rand)), 0);
	ck_assert_int_eq(name_set(&gateway, bytes_text(GATEWAY)), 0);
	p1_key_context(&context, P1_NOTIFICATION, bytes_text(USER), name_bytes(entity), index);
	ck_assert_int_eq(p1_wrap(under, bytes_of(rand, sizeof(rand)), &context, eukey, wrapped), 0);
	message_envelope(&m, &s->sent, NULL, &gateway, entity);
	n->user_id = bytes_text(USER);
	n->entity_id = name_bytes(entity);
	n->rand = bytes_of(rand, sizeof(rand));
	n->key_index = index;
	n->wrapped = bytes_of(wrapped, sizeof(wrapped));
	ck_assert_int_eq(message_encode(&m, &xml, &size), 0);
	ck_assert_int_eq(link_send_message(s->link, bytes_of(xml, size)), 0);
	free(xml);
}

static void on_send(void *arg, struct bytes frame)
{
	struct side *s = arg;

	ck_assert_int_eq(bearer_send(s->rig->bearer, s->stream, frame), 0);
}

/* A PNE called headset-1-N listens on N.pan. */
static void come_to(struct rig *r, const struct name *entity)
{
	char address[128];

	snprintf(address, sizeof(address), "unix:%s/%s.pan", r->folder,
		 entity->text + strlen(ENTITY) + 1);
	ck_assert_int_eq(bearer_connect(r->bearer, address), 0);
}

static void on_up(void *arg, const struct hello *peer)
{
	struct side *s = arg;

	ck_assert(!(peer->flags & HELLO_FLAG_GATEWAY));
	if (s->rig->drop_first && s->rig->drops < DEVICES) {
		s->rig->drops++;
		bearer_drop(s->rig->bearer, s->stream, BEARER_DOWN_CLOSED);
		return;
	}
	if (s->rig->comes && s->rig->drops < DEVICES) {
		s->rig->drops++;
		come_to(s->rig, &peer->entity);
		return;
	}
	send_notification(s, 3);
}

static void on_message(void *arg, struct bytes xml)
{
	(void)arg;
	(void)xml;
	ck_abort_msg("a PNE without UI asks for nothing here");
}

static void on_receipt(void *arg, const struct receipt *r)
{
	struct side *s = arg;

	ck_assert(message_id_equal(&r->id, &s->sent));
	ck_assert_int_eq(r->status, STATUS_OK);
	ck_assert(r->has_proof);
	s->rig->receipts++;
}

static void on_broken(void *arg, enum link_broken why)
{
	(void)arg;
	ck_abort_msg("%s", link_broken_text(why));
}

static void gateway_link_up(void *arg, struct bearer_link *l, enum pan_security level,
			    const char *peer)
{
	static const struct link_callbacks callbacks = {.send = on_send,
							.up = on_up,
							.message = on_message,
							.receipt = on_receipt,
							.broken = on_broken};
	struct rig *r = arg;
	struct hello self = {.flags = HELLO_FLAG_GATEWAY};

	(void)level;
	(void)peer;
	ck_assert_int_eq(name_set(&self.entity, bytes_text(GATEWAY)), 0);
	ck_assert_int_eq(name_set(&self.server, bytes_text(SERVER)), 0);
	for (size_t i = 0; i < 2 * DEVICES; i++) {
		struct side *s = &r->sides[i];

		if (s->stream)
			continue;
		s->rig = r;
		s->stream = l;
		ck_assert_int_eq(link_new(&self, &callbacks, s, &s->link), 0);
		link_start(s->link);
		return;
	}
	ck_abort_msg("more links than devices");
}

static struct side *side_of(struct rig *r, const struct bearer_link *l)
{
	for (size_t i = 0; i < 2 * DEVICES; i++) {
		if (r->sides[i].stream == l)
			return &r->sides[i];
	}
	ck_abort_msg("an unknown link");
	return NULL;
}

static void gateway_bytes(void *arg, struct bearer_link *l, struct bytes input)
{
	struct side *s = side_of(arg, l);

	(void)link_push(s->link, input);
}

static void gateway_security(void *arg, struct bearer_link *l, enum pan_security level)
{
	(void)arg;
	(void)l;
	(void)level;
}

static void gateway_down(void *arg, struct bearer_link *l, enum bearer_down why, int error)
{
	struct side *s = side_of(arg, l);

	(void)why;
	(void)error;
	link_free(s->link);
	s->link = NULL;
	s->stream = NULL;
}

static void gateway_failed(void *arg, const char *address, int error, const char *why)
{
	(void)arg;
	(void)address;
	(void)error;
	(void)why;
}

static void gateway_stopped(void *arg)
{
	struct rig *r = arg;

	r->bearer = NULL;
}

static void gateway_start(struct rig *r)
{
	static const struct bearer_callbacks callbacks = {
		.link_up = gateway_link_up,
		.link_bytes = gateway_bytes,
		.security = gateway_security,
		.link_down = gateway_down,
		.connect_failed = gateway_failed,
		.stopped = gateway_stopped,
	};
	struct bearer_local_options options = {.listen = r->comes ? NULL : r->address};

	ck_assert_int_eq(bearer_local_new(&r->loop, &options, &callbacks, r, &r->bearer), 0);
	ck_assert_int_eq(bearer_start(r->bearer), 0);
}

/* The devices' callbacks. */

static void on_line(void *arg, const char *text)
{
	(void)arg;
	ck_assert_uint_gt(strlen(text), 0);
}

static void all_done(struct rig *r)
{
	if (++r->done < DEVICES)
		return;
	for (size_t i = 0; i < DEVICES; i++)
		pne_device_stop(r->devices[i]);
	if (r->bearer)
		bearer_stop(r->bearer);
	uv_close((uv_handle_t *)&r->guard, NULL);
}

static void on_verdict(void *arg, struct pne_device *d, const struct verdict *v)
{
	ck_assert_int_eq(v->id, VERDICT_DONE);
	ck_assert_int_eq(v->figure, FIGURE_7);
	ck_assert_uint_eq(v->key_index, 3);
	ck_assert_ptr_nonnull(arg);
	pne_device_settle(d);
}

static void on_settled(void *arg, struct pne_device *d)
{
	(void)d;
	all_done(arg);
}

static void on_stopped(void *arg, struct pne_device *d)
{
	struct rig *r = arg;

	(void)d;
	r->open--;
}

static void too_late(uv_timer_t *timer)
{
	(void)timer;
	ck_abort_msg("nothing came of it in 20 s");
}

static void rig_begin(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->folder, "/tmp/test-pne-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->folder));
	snprintf(r->address, sizeof(r->address), "unix:%s/pan", r->folder);
}

static void loop_begin(struct rig *r)
{
	r->done = r->receipts = r->drops = 0;
	ck_assert_int_eq(uv_loop_init(&r->loop), 0);
	ck_assert_int_eq(uv_timer_init(&r->loop, &r->guard), 0);
	ck_assert_int_eq(uv_timer_start(&r->guard, too_late, 20000, 0), 0);
}

static int listening_bearer(void *arg, uv_loop_t *loop, const struct bearer_callbacks *callbacks,
			    void *callbacks_arg, struct bearer **out)
{
	const struct bearer_local_options options = {.listen = arg};

	return bearer_local_new(loop, &options, callbacks, callbacks_arg, out);
}

static void open_devices(struct rig *r)
{
	static const struct pne_device_callbacks callbacks = {
		.line = on_line,
		.verdict = on_verdict,
		.settled = on_settled,
		.stopped = on_stopped,
	};
	SCOPED_SECRET *temporary_key = secret_new(KEY_SIZE);

	for (size_t i = 0; i < DEVICES; i++) {
		char entity[32];
		char vault[128];
		char key[128];
		char why[256];
		char listen[128];
		const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
		struct pne_device_options options = {
			.connect = r->comes ? NULL : r->address,
			.bearer = r->comes ? listening_bearer : NULL,
			.bearer_arg = listen,
			.vault = {.path = vault,
				  .openers = &opener,
				  .opener_count = 1,
				  .create = true},
			.secure_from = PAN_SECURITY_AUTHENTICATED,
			.temporary_key = temporary_key,
		};

		snprintf(entity, sizeof(entity), "%s-%zu", ENTITY, i);
		snprintf(vault, sizeof(vault), "%s/%zu.vault", r->folder, i);
		snprintf(key, sizeof(key), "%s/%zu.key", r->folder, i);
		snprintf(listen, sizeof(listen), "unix:%s/%zu.pan", r->folder, i);
		ck_assert_int_eq(name_set(&options.core.entity, bytes_text(entity)), 0);
		ck_assert_int_eq(pne_device_new(&r->loop, &options, &callbacks, r, &r->devices[i],
						why, sizeof(why)),
				 0);
		r->open++;
	}
	for (size_t i = 0; i < DEVICES; i++) {
		char text[32];
		struct name entity;

		snprintf(text, sizeof(text), "%s-%zu", ENTITY, i);
		ck_assert_int_eq(name_set(&entity, bytes_text(text)), 0);
		pne_device_start(r->devices[i]);
		if (r->comes)
			come_to(r, &entity);
	}
}

static void loop_end(struct rig *r)
{
	(void)uv_run(&r->loop, UV_RUN_DEFAULT);
	ck_assert_uint_eq(r->open, 0);
	ck_assert_ptr_null(r->bearer);
	ck_assert_int_eq(uv_loop_close(&r->loop), 0);
	ck_assert_uint_eq(secret_count(), 0);
}

static void rig_end(struct rig *r)
{
	static const char *const endings[] = {"vault", "vault-wal", "vault-shm", "key"};
	char path[160];

	for (size_t i = 0; i < DEVICES * 4; i++) {
		snprintf(path, sizeof(path), "%s/%zu.%s", r->folder, i / 4, endings[i % 4]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(r->folder), 0);
}

START_TEST(test_notifications_reach_all)
{
	struct rig r;

	rig_begin(&r);
	loop_begin(&r);
	gateway_start(&r);
	open_devices(&r);
	loop_end(&r);
	ck_assert_uint_eq(r.receipts, DEVICES);
	rig_end(&r);
}
END_TEST

START_TEST(test_lost_links_are_made_again)
{
	struct rig r;

	rig_begin(&r);
	r.drop_first = true;
	loop_begin(&r);
	gateway_start(&r);
	open_devices(&r);
	loop_end(&r);
	ck_assert_uint_eq(r.drops, DEVICES);
	ck_assert_uint_eq(r.receipts, DEVICES);
	rig_end(&r);
}
END_TEST

/* The second stream is the one that counts, though the first is not known to be lost. */
START_TEST(test_a_gateway_that_comes_again_is_heard)
{
	struct rig r;

	rig_begin(&r);
	r.comes = true;
	loop_begin(&r);
	gateway_start(&r);
	open_devices(&r);
	loop_end(&r);
	ck_assert_uint_eq(r.drops, DEVICES);
	ck_assert_uint_eq(r.receipts, DEVICES);
	rig_end(&r);
}
END_TEST

static void start_late(uv_timer_t *timer)
{
	gateway_start(timer->data);
	uv_close((uv_handle_t *)timer, NULL);
}

START_TEST(test_a_gateway_that_comes_later_is_found)
{
	struct rig r;
	uv_timer_t late;

	rig_begin(&r);
	loop_begin(&r);
	open_devices(&r);
	ck_assert_int_eq(uv_timer_init(&r.loop, &late), 0);
	late.data = &r;
	ck_assert_int_eq(uv_timer_start(&late, start_late, 500, 0), 0);
	loop_end(&r);
	ck_assert_uint_eq(r.receipts, DEVICES);
	rig_end(&r);
}
END_TEST

START_TEST(test_stop_at_once)
{
	struct rig r;

	rig_begin(&r);
	loop_begin(&r);
	open_devices(&r);
	r.done = DEVICES - 1;
	all_done(&r);
	loop_end(&r);
	rig_end(&r);
}
END_TEST

START_TEST(test_a_vault_that_does_not_open)
{
	struct rig r;
	struct pne_device *second = NULL;
	struct pne_device_options options = {.connect = "unix:/nowhere"};
	struct pne_device_callbacks callbacks = {0};
	char vault[128];
	char key[128];
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key};
	char why[256] = "";

	rig_begin(&r);
	loop_begin(&r);
	open_devices(&r);
	snprintf(vault, sizeof(vault), "%s/nothing/x.vault", r.folder);
	snprintf(key, sizeof(key), "%s/nothing/x.key", r.folder);
	options.vault.path = vault;
	options.vault.openers = &opener;
	options.vault.opener_count = 1;
	options.vault.create = true;
	ck_assert_int_eq(name_set(&options.core.entity, bytes_text(ENTITY)), 0);
	ck_assert_int_ne(
		pne_device_new(&r.loop, &options, &callbacks, NULL, &second, why, sizeof(why)), 0);
	ck_assert_ptr_null(second);
	ck_assert_uint_gt(strlen(why), 0);
	r.done = DEVICES - 1;
	all_done(&r);
	loop_end(&r);
	rig_end(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pne-device");
	TCase *tc = tcase_create("on a loop");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_notifications_reach_all);
	tcase_add_test(tc, test_lost_links_are_made_again);
	tcase_add_test(tc, test_a_gateway_that_comes_again_is_heard);
	tcase_add_test(tc, test_a_gateway_that_comes_later_is_found);
	tcase_add_test(tc, test_stop_at_once);
	tcase_add_test(tc, test_a_vault_that_does_not_open);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
