/* What a replay did against what was done. */

#include "gateway/replay-internal.h"

#include <stdlib.h>
#include <string.h>

static const char *action_name(uint64_t kind)
{
	const char *name = note_choice(NOTE_action, kind);

	return name ? name : "?";
}

/* Both in one form: with what stands for the tokens, and packed. */
static bool same_message(struct replay *r, struct bytes recorded, const struct action *x)
{
	struct note_writer *w = &r->compare;
	bool good = false;
	char *xml = NULL;
	size_t size = 0, sizes[2];

	w->data = r->compare_room[0];
	w->room = sizeof(r->compare_room[0]);
	w->size = 0;
	w->overflow = false;
	if (note_xml_message(recorded, &xml, &size) == 0)
		good = note_xml_pack(w, bytes_of(xml, size));
	free(xml);
	sizes[0] = w->size;
	w->data = r->compare_room[1];
	w->size = 0;
	good = good && note_xml_pack(w, bytes_of(x->xml, x->size));
	sizes[1] = w->size;
	return good && bytes_equal(bytes_of(r->compare_room[0], sizes[0]),
				   bytes_of(r->compare_room[1], sizes[1]));
}

static void compare_message(struct replay *r, struct note_reader *n, const struct action *x)
{
	struct note_field f;

	if (note_take_number(n, NOTE_cut) != 0)
		return;
	if (!note_take(n, NOTE_message, &f))
		gateway_replay_differs(r, "the replay sends a message, the record has none");
	else if (!same_message(r, f.bytes, x))
		gateway_replay_differs(r, "the replay sends another %s", note_xml_root(f.bytes));
}

static void compare_number(struct replay *r, struct note_reader *n, enum note_tag tag, uint64_t own)
{
	uint64_t recorded = note_take_number(n, tag);

	if (recorded != own)
		gateway_replay_differs(r, "%s is %llu in the replay, %llu in the record",
				       note_name(tag), (unsigned long long)own,
				       (unsigned long long)recorded);
}

static void compare_name(struct replay *r, struct note_reader *n, enum note_tag tag,
			 const struct name *own)
{
	struct name recorded;

	(void)note_take_name(n, tag, &recorded);
	if (!name_equal(&recorded, own))
		gateway_replay_differs(r, "%s is %s in the replay, %s in the record",
				       note_name(tag), own->text, recorded.text);
}

static void pair(struct replay *r, uint64_t recorded, uint64_t own)
{
	struct token_pair *t;

	for (t = r->tokens; t; t = t->next) {
		if (t->recorded == recorded) {
			t->own = own;
			return;
		}
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return;
	*t = (struct token_pair){r->tokens, recorded, own};
	r->tokens = t;
}

static void compare_token(struct replay *r, struct note_reader *n, const struct action *x)
{
	uint64_t recorded = note_take_number(n, NOTE_token);

	if ((recorded == 0) != (x->token == 0))
		gateway_replay_differs(r, "token is %llu in the replay, %llu in the record",
				       (unsigned long long)x->token, (unsigned long long)recorded);
	if (recorded != 0)
		pair(r, recorded, x->token);
}

static void compare_receipt(struct replay *r, struct note_reader *n, const struct action *x)
{
	struct receipt receipt;

	if (!gateway_replay_receipt(n, &receipt) ||
	    !message_id_equal(&receipt.id, &x->receipt.id) || receipt.status != x->receipt.status)
		gateway_replay_differs(r, "the replay sends the receipt %s, which is not recorded",
				       status_wire_name(x->receipt.status));
}

/* What is not the same in two verdicts, " NAME OWN, recorded OTHER;" each. */
static void differences(const struct verdict *v, const struct verdict *recorded, char *out,
			size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	if (recorded->id != v->id)
		used += (size_t)snprintf(out + used, size - used, " %s, recorded %s;",
					 verdict_name(v->id), verdict_name(recorded->id));
	if (recorded->figure != v->figure || recorded->step != v->step)
		used += (size_t)snprintf(
			out + used, size - used, " Figure %d step %u, recorded Figure %d step %u;",
			(int)v->figure, v->step, (int)recorded->figure, recorded->step);
	if (recorded->key_index != v->key_index)
		used += (size_t)snprintf(out + used, size - used, " key index %lu, recorded %lu;",
					 (unsigned long)v->key_index,
					 (unsigned long)recorded->key_index);
	if (!name_equal(&recorded->entity, &v->entity))
		used += (size_t)snprintf(out + used, size - used, " of %.60s, recorded %.60s;",
					 v->entity.text, recorded->entity.text);
	if (!name_equal(&recorded->user, &v->user))
		used += (size_t)snprintf(out + used, size - used, " for %.60s, recorded %.60s;",
					 v->user.text, recorded->user.text);
	if (strcmp(recorded->detail, v->detail) != 0)
		used += (size_t)snprintf(out + used, size - used, " (%.95s), recorded (%.95s);",
					 v->detail, recorded->detail);
	/* The last one's semicolon. */
	if (used > 0 && used < size)
		out[used - 1] = '\0';
}

static void compare_verdict(struct replay *r, struct note_reader *n, const struct verdict *v)
{
	struct verdict recorded = {.id = VERDICT_DONE};
	char text[800];

	(void)gateway_replay_verdict(n, &recorded);
	differences(v, &recorded, text, sizeof(text));
	if (text[0])
		gateway_replay_differs(r, "the replay's verdict %s is not the recorded one:%s",
				       verdict_name(v->id), text);
}

static void compare_one(struct replay *r, struct note_reader *n, const struct action *x)
{
	uint8_t salt[SALT_SIZE] = {0};
	struct note_token t;

	switch (x->kind) {
	case ACTION_POST:
		compare_token(r, n, x);
		compare_number(r, n, NOTE_deadline, x->deadline_ms);
		compare_number(r, n, NOTE_pin, x->pin);
		compare_message(r, n, x);
		break;
	case ACTION_SEND:
		compare_name(r, n, NOTE_entity, &x->entity);
		compare_message(r, n, x);
		break;
	case ACTION_RECEIPT:
		compare_name(r, n, NOTE_entity, &x->entity);
		compare_receipt(r, n, x);
		break;
	case ACTION_DERIVE:
		t = note_take_token(n, NOTE_salt);
		if (t.size == sizeof(salt))
			note_fill(t, salt);
		if (!bytes_equal(bytes_of(salt, sizeof(salt)), bytes_of(x->salt, sizeof(x->salt))))
			gateway_replay_differs(r, "the replay hashes with another salt");
		compare_number(r, n, NOTE_iterations, x->iterations);
		break;
	case ACTION_STORE:
		compare_token(r, n, x);
		compare_name(r, n, NOTE_entity, &x->entity);
		break;
	case ACTION_STEP:
		compare_number(r, n, NOTE_figure, (uint64_t)x->figure);
		compare_number(r, n, NOTE_step, x->step);
		compare_name(r, n, NOTE_user, &x->user);
		compare_name(r, n, NOTE_entity, &x->entity);
		break;
	case ACTION_VERDICT:
		compare_verdict(r, n, &x->verdict);
		break;
	}
}

void gateway_replay_compare(struct replay *r, struct note_reader *n, const struct actions *a)
{
	struct note_field f;

	for (size_t i = 0; i < a->count && !r->why[0]; i++) {
		if (!note_take(n, NOTE_action, &f))
			gateway_replay_differs(r, "the replay does %s, which is not recorded",
					       action_name(a->list[i].kind));
		else if (f.number != a->list[i].kind)
			gateway_replay_differs(r, "the replay does %s, recorded is %s",
					       action_name(a->list[i].kind), action_name(f.number));
		else
			compare_one(r, n, &a->list[i]);
	}
	if (!r->why[0] && note_take(n, NOTE_action, &f))
		gateway_replay_differs(r, "the replay does not do %s, which is recorded",
				       action_name(f.number));
}
