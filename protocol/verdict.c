#include "protocol/verdict.h"

#include <stdio.h>

static const struct verdict_row {
	enum verdict_id id;
	const char *name;
	enum leg leg;
	enum retry retry;
	const char *cause;
	const char *next;
} verdicts[] = {
#define VERDICT(id, number, leg, retry, cause, next) \
	{VERDICT_##id, #id, LEG_##leg, RETRY_##retry, cause, next},
#include "protocol/verdicts.def"
#undef VERDICT
};

static const struct step_row {
	enum figure figure;
	unsigned number;
	enum role role;
	const char *text;
} steps[] = {
#define STEP(figure, number, role, text) {FIGURE_##figure, number, ROLE_##role, text},
#include "protocol/steps.def"
#undef STEP
};

/* Every enumerator has its row, so the fallback is never seen. */
static const struct verdict_row *verdict_row(enum verdict_id id)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if (verdicts[i].id == id)
			return &verdicts[i];
	}
	return &verdicts[0];
}

enum leg verdict_leg(enum verdict_id id)
{
	return verdict_row(id)->leg;
}

enum retry verdict_retry(enum verdict_id id)
{
	return verdict_row(id)->retry;
}

const char *verdict_cause(enum verdict_id id)
{
	return verdict_row(id)->cause;
}

const char *verdict_next(enum verdict_id id)
{
	return verdict_row(id)->next;
}

const char *verdict_name(enum verdict_id id)
{
	return verdict_row(id)->name;
}

const char *leg_name(enum leg leg)
{
	switch (leg) {
	case LEG_NONE:
		return "none";
	case LEG_USER:
		return "user";
	case LEG_PNE:
		return "PNE";
	case LEG_PAN:
		return "PAN";
	case LEG_PNGW:
		return "PN GW";
	case LEG_WAN:
		return "WAN";
	case LEG_SERVER:
		return "server";
	}
	return "none";
}

const char *role_name(enum role role)
{
	switch (role) {
	case ROLE_PNE:
		return "PNE";
	case ROLE_PNGW:
		return "PN GW";
	case ROLE_SERVER:
		return "server";
	}
	return "";
}

const char *retry_name(enum retry retry)
{
	switch (retry) {
	case RETRY_NO:
		return "no";
	case RETRY_YES:
		return "yes";
	case RETRY_LATER:
		return "later";
	}
	return "no";
}

const char *verdict_describe(const struct verdict *v, char *out, size_t out_size)
{
	char where[48] = "";
	char key[32] = "";
	const bool named = v->entity.text[0] || v->user.text[0];

	if (v->figure != FIGURE_NONE)
		(void)snprintf(where, sizeof(where), "Figure %d step %u, ", (int)v->figure,
			       v->step);
	if (v->key_index > 0)
		(void)snprintf(key, sizeof(key), ", key index %lu", (unsigned long)v->key_index);
	if (v->id == VERDICT_DONE) {
		(void)snprintf(out, out_size, "%s%s%s%s%sdone%s%s%s", where, v->entity.text,
			       v->user.text[0] && v->entity.text[0] ? " of " : "", v->user.text,
			       named ? ": " : "", key, v->detail[0] ? "; " : "", v->detail);
		return out;
	}
	(void)snprintf(out, out_size, "%s%s%sleg %s: %s%s%s%s. Next: %s. Retry: %s. [%s]", where,
		       v->entity.text, v->entity.text[0] ? ", " : "", leg_name(verdict_leg(v->id)),
		       verdict_cause(v->id), v->detail[0] ? " (" : "", v->detail,
		       v->detail[0] ? ")" : "", verdict_next(v->id),
		       retry_name(verdict_retry(v->id)), verdict_name(v->id));
	return out;
}

enum verdict_id verdict_of_server_status(enum status s)
{
	switch (s) {
	case STATUS_OK:
		return VERDICT_DONE;
	case STATUS_UNAUTHORIZED:
		return VERDICT_WRONG_PASSWORD;
	case STATUS_NOT_OWNER:
		return VERDICT_NOT_OWNER;
	case STATUS_NOT_MUTUAL:
		return VERDICT_WAN_NOT_MUTUAL;
	case STATUS_NO_TEMPORARY_KEY:
		return VERDICT_SERVER_NO_TEMPORARY_KEY;
	case STATUS_MALFORMED:
		return VERDICT_REQUEST_MALFORMED;
	case STATUS_UNSUPPORTED:
		return VERDICT_SERVER_UNSUPPORTED;
	case STATUS_BUSY:
	case STATUS_UNAVAILABLE:
		return VERDICT_SERVER_BUSY;
	case STATUS_TIMED_OUT:
		return VERDICT_WAN_SILENT;
	case STATUS_STORAGE_FAILED:
		return VERDICT_SERVER_STORAGE;
	case STATUS_ALREADY_INSTALLED:
		return VERDICT_USER_TAKEN;
	case STATUS_DOES_NOT_UNWRAP:
		return VERDICT_SERVER_OTHER_KEY;
	case STATUS_STALE_INDEX:
		return VERDICT_REVOKED;
	case STATUS_ID_REUSED:
		return VERDICT_SERVER_ID_REUSED;
	case STATUS_WEAK_PASSWORD_PARAMETERS:
		return VERDICT_WEAK_PARAMETERS;
	case STATUS_WRONG_TARGET:
		return VERDICT_SERVER_OTHER_ENTITY;
	case STATUS_TOO_MANY_KEYS:
		return VERDICT_SERVER_SET_TOO_LARGE;
	case STATUS_FAILED:
		return VERDICT_SERVER_FAILED;
	case STATUS_HANDED_OVER:
		return VERDICT_GATEWAY_HANDED_OVER;
	case STATUS_INSECURE_PAN:
	case STATUS_TRIGGER_REJECTED:
	case STATUS_NOT_EXPECTED:
		return VERDICT_SERVER_REFUSED;
	}
	return VERDICT_SERVER_REFUSED;
}

enum verdict_id verdict_of_pne_status(enum status s)
{
	switch (s) {
	case STATUS_OK:
		return VERDICT_DONE;
	case STATUS_TRIGGER_REJECTED:
	case STATUS_UNAUTHORIZED:
		return VERDICT_PNE_REFUSED_TRIGGER;
	case STATUS_INSECURE_PAN:
		return VERDICT_PAN_INSECURE;
	case STATUS_DOES_NOT_UNWRAP:
		return VERDICT_PNE_CANNOT_UNWRAP;
	case STATUS_NO_TEMPORARY_KEY:
		return VERDICT_PNE_NO_TEMPORARY_KEY;
	case STATUS_STALE_INDEX:
		return VERDICT_PNE_STALE_INDEX;
	case STATUS_STORAGE_FAILED:
		return VERDICT_PNE_STORAGE;
	case STATUS_ALREADY_INSTALLED:
	case STATUS_NOT_OWNER:
		return VERDICT_PNE_OTHER_USER;
	case STATUS_WEAK_PASSWORD_PARAMETERS:
		return VERDICT_WEAK_PARAMETERS;
	case STATUS_TIMED_OUT:
		return VERDICT_PNE_SILENT;
	case STATUS_MALFORMED:
	case STATUS_UNSUPPORTED:
		return VERDICT_PNE_UNSUPPORTED;
	case STATUS_BUSY:
		return VERDICT_PNE_BUSY;
	case STATUS_WRONG_TARGET:
		return VERDICT_PNE_OTHER_ENTITY;
	case STATUS_FAILED:
		return VERDICT_PNE_FAILED;
	case STATUS_NOT_MUTUAL:
	case STATUS_ID_REUSED:
	case STATUS_UNAVAILABLE:
	case STATUS_NOT_EXPECTED:
	case STATUS_TOO_MANY_KEYS:
	case STATUS_HANDED_OVER:
		return VERDICT_PNE_REFUSED;
	}
	return VERDICT_PNE_REFUSED;
}

static const struct step_row *step_row(enum figure figure, unsigned step)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (steps[i].figure == figure && steps[i].number == step)
			return &steps[i];
	}
	return NULL;
}

const char *step_text(enum figure figure, unsigned step)
{
	const struct step_row *row = step_row(figure, step);

	return row ? row->text : NULL;
}

enum role step_role(enum figure figure, unsigned step)
{
	const struct step_row *row = step_row(figure, step);

	return row ? row->role : ROLE_PNGW;
}

const char *step_describe(enum figure figure, unsigned step, char *out, size_t out_size)
{
	const char *text = step_text(figure, step);

	(void)snprintf(out, out_size, "Fig. %d step %u: %s", (int)figure, step, text ? text : "?");
	return out;
}
