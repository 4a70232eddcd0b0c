#include "gateway/judge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gateway/revoke.h"

static bool give(struct verdict *v, enum verdict_id id, const char *detail)
{
	v->id = id;
	(void)snprintf(v->detail, sizeof(v->detail), "%.95s", detail ? detail : "");
	return true;
}

/* What a start and a renewal have in common. */
static bool judge_room(const struct facts *f, struct verdict *v)
{
	if (f->busy)
		return give(v, VERDICT_BUSY_WITH_PNE, NULL);
	if (f->under_way >= f->most)
		return give(v, VERDICT_GATEWAY_BUSY, NULL);
	if (f->error != 0)
		return give(v, VERDICT_GATEWAY_MEMORY, NULL);
	return false;
}

static bool judge_reset(const struct facts *f, struct verdict *v)
{
	const struct revocation r = {.seen = f->seen, .seen_index = f->seen_index};
	char seen[160];

	if (f->self)
		return give(v, VERDICT_DONE, "the PN GW's own EUKey and its owner are erased");
	if (f->reset != RESET_UNCONFIRMED)
		return give(v, VERDICT_DONE, "revoked; the PNE has erased its EUKey");
	if (!f->why)
		return false;
	return give(v, VERDICT_PNE_RESET_UNCONFIRMED,
		    revocation_seen(&r, seen, sizeof(seen))[0] ? seen : f->why);
}

bool gateway_judge(const struct facts *f, struct verdict *v)
{
	switch (f->matter) {
	case MATTER_START:
		if (!f->password)
			return give(v, VERDICT_PASSWORD_UNUSABLE, NULL);
		return judge_room(f, v);
	case MATTER_RENEWAL:
		if (!f->known)
			return give(v,
				    f->link_up ? VERDICT_GATEWAY_POOL_EMPTY : VERDICT_PNE_UNKNOWN,
				    NULL);
		return judge_room(f, v);
	case MATTER_HANDOVER:
	case MATTER_UNREACHABLE:
		return give(v, f->told, f->why);
	case MATTER_WAITING:
		return give(v, f->revoked ? VERDICT_REVOKED : VERDICT_CANCELLED, NULL);
	case MATTER_RESTART:
		return give(v, VERDICT_GATEWAY_RESTARTED, NULL);
	case MATTER_ROLLBACK:
		(void)give(v, VERDICT_GATEWAY_ROLLED_BACK, NULL);
		(void)snprintf(v->detail, sizeof(v->detail), "%s knows of ledger entry %lu",
			       f->why ? f->why : "", (unsigned long)f->sequence);
		return true;
	case MATTER_REVOKED:
		return give(v, VERDICT_REVOKED, "by the server");
	case MATTER_RESET:
		return judge_reset(f, v);
	case MATTER_REVOCATION:
		if (f->error == 0)
			return give(v, f->known ? VERDICT_NOT_REVOKED : VERDICT_DEVICE_UNKNOWN,
				    NULL);
		return give(v, gateway_storage_verdict(f->error), strerror(-f->error));
	case MATTERS:
		break;
	}
	return false;
}
