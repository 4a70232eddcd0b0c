#include "server/procedure.h"

/* Figure 5: registration through the PN GW, and a PNE with UI that asks for its EUKey. */

static void registration_opened(struct server_procedure *p, const struct server_event *e,
				struct server_actions *out)
{
	const struct m_id_pwd_registration_request *r = &p->request->id_pwd_registration_request;

	if (!procedure_take_facts(p, e, 3, out))
		return;
	procedure_register(p, &r->gateway_key, &r->password, 3, out);
}

static void registration_derived(struct server_procedure *p, const struct server_event *e,
				 struct server_actions *out)
{
	struct m_id_pwd_registration_response *answer = &p->response.id_pwd_registration_response;

	if (!procedure_registered(p, e->ph, 3, out))
		return;
	answer->has_parameters = true;
	procedure_answer_registration(p, &answer->parameters, 3, out);
}

const server_table figure5_registration = {
	[STATE_IDLE] = {procedure_load, procedure_ignore_early, procedure_ignore_early,
			procedure_ignore_early, procedure_ignore_early},
	[STATE_LOADING] = {procedure_ignore_repeat, registration_opened, procedure_ignore_early,
			   procedure_ignore_early, procedure_ignore_early},
	[STATE_DERIVING] = {procedure_ignore_repeat, procedure_ignore_late, registration_derived,
			    procedure_ignore_early, procedure_ignore_early},
	[STATE_STORING] = {procedure_ignore_repeat, procedure_ignore_late, procedure_ignore_late,
			   procedure_stored, procedure_store_failed},
	[STATE_DONE] = {procedure_ignore_late, procedure_ignore_late, procedure_ignore_late,
			procedure_ignore_late, procedure_ignore_late},
};

static void assignment_loaded(struct server_procedure *p, const struct server_event *e,
			      struct server_actions *out)
{
	if (!procedure_take_facts(p, e, 9, out))
		return;
	if (procedure_authenticate(p, 9, e->now_ms, out))
		procedure_assign_by_digest(p, 9, out);
}

const server_table figure5_assignment = {
	[STATE_IDLE] = {procedure_load, procedure_ignore_early, procedure_ignore_early,
			procedure_ignore_early, procedure_ignore_early},
	[STATE_LOADING] = {procedure_ignore_repeat, assignment_loaded, procedure_ignore_early,
			   procedure_ignore_early, procedure_ignore_early},
	[STATE_DERIVING] = {procedure_ignore_repeat, procedure_ignore_no_derive,
			    procedure_ignore_no_derive, procedure_ignore_no_derive,
			    procedure_ignore_no_derive},
	[STATE_STORING] = {procedure_ignore_repeat, procedure_ignore_late, procedure_ignore_late,
			   procedure_stored, procedure_store_failed},
	[STATE_DONE] = {procedure_ignore_late, procedure_ignore_late, procedure_ignore_late,
			procedure_ignore_late, procedure_ignore_late},
};
