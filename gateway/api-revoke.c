/* Gateway1: what needs no password: renewals, revocations, resets. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One of core.h's, for each of the entities; each promises so many verdicts or fails. */
typedef int each_entity_fn(struct core *c, const struct name *entity, uint64_t run);

static void give_error(struct api_procedure *p, const struct name *entity, int error)
{
	struct verdict v = {.id = gateway_storage_verdict(error), .entity = *entity};

	gateway_api_verdict(p->api, p->run, &v);
}

static void for_each(struct api_call *call, const char *kind, each_entity_fn *each)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct api_procedure *p;
	struct name *entities;
	int verdicts = 0;
	size_t count;
	uint64_t run;

	if (!gateway_api_read_entities(call->m, 1, &entities, &count))
		return;
	if (!gateway_api_read_options(call->m, options, 1)) {
		free(entities);
		return;
	}
	p = gateway_api_procedure_new(call, kind, NULL, entities, count, detach);
	if (!p)
		return;
	gateway_api_procedure_reply(p, call);
	run = gateway_api_procedure_run(p);
	for (size_t i = 0; i < count; i++) {
		int r = each(call->api->core, &p->entities[i], run);

		if (r < 0)
			give_error(p, &p->entities[i], r);
		verdicts += r < 0 ? 1 : r;
	}
	gateway_api_procedure_expect(p, verdicts);
}

void gateway_api_renew(struct api_call *call)
{
	for_each(call, "renew", gateway_core_renew);
}

void gateway_api_revoke(struct api_call *call)
{
	for_each(call, "revoke", gateway_core_revoke);
}

void gateway_api_reset(struct api_call *call)
{
	for_each(call, "reset", gateway_core_reset_again);
}

static void revoke_many(struct api_call *call, const struct name *user)
{
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct core *core = call->api->core;
	struct api_procedure *p;
	uint64_t run;

	if (!gateway_api_read_options(call->m, options, 1))
		return;
	p = gateway_api_procedure_new(call, "revoke", user, NULL, 0, detach);
	if (!p)
		return;
	gateway_api_procedure_reply(p, call);
	run = gateway_api_procedure_run(p);
	gateway_api_procedure_expect(p, user ? gateway_core_revoke_user(core, user, run)
					     : gateway_core_revoke_all(core, run));
}

void gateway_api_revoke_user(struct api_call *call)
{
	struct name user;

	if (gateway_api_read_user(call->m, &user))
		revoke_many(call, &user);
}

void gateway_api_revoke_all(struct api_call *call)
{
	revoke_many(call, NULL);
}

void gateway_api_forget(struct api_call *call)
{
	struct name entity;
	int r;

	if (!gateway_api_read_entity(call->m, &entity))
		return;
	r = gateway_core_forget_revocation(call->api->core, &entity);
	if (r == -ENOENT)
		gateway_api_refuse(call->m, "NotFound",
				   &(struct verdict){.id = VERDICT_NOT_REVOKED, .entity = entity});
	else if (r != 0)
		gateway_api_errno(call->m, r);
	else
		gateway_api_done(call->m);
	gateway_api_touch(call->api, &entity);
}

void gateway_api_release(struct api_call *call)
{
	struct name entity;
	int r;

	if (!gateway_api_read_entity(call->m, &entity))
		return;
	r = gateway_core_release(call->api->core, &entity);
	if (r == -EBUSY)
		gateway_api_error(call->m, "Busy", "a procedure runs for %s", entity.text);
	else if (r == -ENOENT)
		gateway_api_unknown(call->m, &entity);
	else if (r != 0)
		gateway_api_errno(call->m, r);
	else
		gateway_api_done(call->m);
	gateway_api_touch(call->api, &entity);
}
