#include "server/procedure.h"

/*
 * Figure 8: the PN GW asks for its own EUKey, authenticated by its owner's User ID and password
 * (comment C281). The first one makes that user the owner.
 */

static void assignment_loaded(struct server_procedure *p, const struct server_event *e,
			      struct server_actions *out)
{
	if (!procedure_take_facts(p, e, 4, out))
		return;
	if (procedure_authenticate(p, 4, e->now_ms, out))
		procedure_assign_by_digest(p, 4, out);
}

const server_table figure8_assignment = {
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
