/* What the recorder notes of the relay and of the core itself. */

#include "gateway/recorder-internal.h"

static void note_link(struct note_writer *w, const struct relay_link *l)
{
	gateway_note_name(w, NOTE_entity, l->entity);
	gateway_note_name(w, NOTE_server, l->server);
	note_number(w, NOTE_wan_up, l->wan_up);
	note_number(w, NOTE_level, l->level);
	note_number(w, NOTE_issued, l->relayed.issued);
	note_number(w, NOTE_installed, l->relayed.installed);
	gateway_note_name(w, NOTE_user, &l->relayed.user);
	note_number(w, NOTE_relayed_unknown, l->relayed_unknown);
}

/* A replay makes the relay's view of the clock of the entry's. */
void gateway_recorder_relay(struct recorder *r, const struct relay_call *call,
			    const struct relay_limits *limits, const struct actions *a)
{
	struct note_writer *w;

	if (!r || (call->kind == CALL_TICK && a->count == 0))
		return;
	if (call->link)
		gateway_recorder_at(r, call->link->now, call->link->wall);
	else if (call->now != 0 && call->kind != CALL_TICK)
		gateway_recorder_at(r, call->now, r->wall);
	(void)gateway_recorder_begin(r, ENTRY_RELAY);
	w = &r->entry;
	note_always(w, NOTE_call, call->kind);
	note_number(w, NOTE_count, call->count);
	note_number(w, NOTE_capacity, limits->capacity);
	note_number(w, NOTE_quota, limits->quota);
	note_number(w, NOTE_wan_wait, limits->wan_wait_ms);
	note_number(w, NOTE_request_ms, limits->request_ms);
	note_number(w, NOTE_receipt_ms, limits->receipt_ms);
	note_number(w, NOTE_secure_level, limits->secure_level);
	if (call->link)
		note_link(w, call->link);
	gateway_note_name(w, NOTE_entity, call->entity);
	gateway_note_name(w, NOTE_user, call->user);
	note_number(w, NOTE_token, call->token);
	/* The end of all time: what is left of the relay is ended. */
	note_number(w, NOTE_due, call->now);
	if (call->message)
		note_message(w, NOTE_message, call->xml, call->message);
	if (call->receipt) {
		note_hex(w, NOTE_receipt, bytes_of(call->receipt->id.b, MESSAGE_ID_SIZE));
		note_always(w, NOTE_status, call->receipt->status);
		if (call->receipt->has_proof)
			note_secret(w, NOTE_proof,
				    bytes_of(call->receipt->proof, sizeof(call->receipt->proof)));
	}
	if (call->failed) {
		note_always(w, NOTE_failure, call->failed->failure);
		note_number(w, NOTE_told, call->failed->verdict);
		if (call->failed->why)
			note_hex(w, NOTE_why, bytes_text(call->failed->why));
	}
	gateway_note_error(w, NOTE_error, call->result);
	gateway_note_actions(w, a);
	gateway_recorder_end(r);
}

void gateway_recorder_judgement(struct recorder *r, uint64_t run, const struct facts *f,
				const struct verdict *v)
{
	struct note_writer *w;

	if (!gateway_recorder_begin(r, ENTRY_JUDGEMENT))
		return;
	w = &r->entry;
	note_number(w, NOTE_run, run);
	note_always(w, NOTE_matter, f->matter);
	note_number(w, NOTE_password, f->password);
	note_number(w, NOTE_known, f->known);
	note_number(w, NOTE_link_up, f->link_up);
	note_number(w, NOTE_busy, f->busy);
	note_number(w, NOTE_holder, f->holder);
	note_number(w, NOTE_under_way, f->under_way);
	note_number(w, NOTE_most, f->most);
	gateway_note_error(w, NOTE_error, f->error);
	if (f->matter == MATTER_UNREACHABLE || f->matter == MATTER_HANDOVER)
		note_always(w, NOTE_told, f->told);
	note_number(w, NOTE_revoked, f->revoked);
	note_number(w, NOTE_self_reset, f->self);
	note_number(w, NOTE_reset, f->reset);
	note_number(w, NOTE_seen, f->seen);
	note_number(w, NOTE_seen_index, f->seen_index);
	note_number(w, NOTE_sequence, f->sequence);
	if (f->why)
		note_hex(w, NOTE_why, bytes_text(f->why));
	gateway_note_verdict(w, v);
	gateway_recorder_end(r);
}

void gateway_recorder_verdict(struct recorder *r, uint64_t run, const struct verdict *v)
{
	if (!gateway_recorder_begin(r, ENTRY_VERDICT))
		return;
	note_number(&r->entry, NOTE_run, run);
	gateway_note_verdict(&r->entry, v);
	gateway_recorder_end(r);
}

void gateway_recorder_began(struct recorder *r)
{
	if (gateway_recorder_begin(r, ENTRY_BEGIN))
		gateway_recorder_end(r);
}

void gateway_recorder_command(struct recorder *r, const char *command, uint64_t run,
			      enum figure figure, const struct name *user,
			      const struct name *entity)
{
	if (!gateway_recorder_begin(r, ENTRY_COMMAND))
		return;
	note_string(&r->entry, NOTE_command, command);
	note_number(&r->entry, NOTE_run, run);
	note_number(&r->entry, NOTE_figure, figure);
	gateway_note_name(&r->entry, NOTE_user, user);
	gateway_note_name(&r->entry, NOTE_entity, entity);
	gateway_recorder_end(r);
}

void gateway_recorder_link(struct recorder *r, const struct name *entity, bool up,
			   enum pan_security level, const char *peer)
{
	if (!gateway_recorder_begin(r, ENTRY_LINK))
		return;
	gateway_note_name(&r->entry, NOTE_entity, entity);
	note_number(&r->entry, NOTE_up, up);
	note_number(&r->entry, NOTE_level, level);
	note_string(&r->entry, NOTE_why, peer);
	gateway_recorder_end(r);
}

void gateway_recorder_wan(struct recorder *r, bool up, bool mutual, const char *why)
{
	if (!gateway_recorder_begin(r, ENTRY_WAN))
		return;
	note_number(&r->entry, NOTE_up, up);
	note_number(&r->entry, NOTE_wan_mutual, mutual);
	note_string(&r->entry, NOTE_why, why);
	gateway_recorder_end(r);
}

void gateway_recorder_line(struct recorder *r, const char *text)
{
	if (!gateway_recorder_begin(r, ENTRY_LINE))
		return;
	note_string(&r->entry, NOTE_line, text);
	gateway_recorder_end(r);
}
