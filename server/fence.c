#include "server/fence.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* No PN GW was handed over so often since its server heard of it. */
#define LEAP_MAX 4096

static bool same_holder(const struct store_handover *known, struct bytes holder)
{
	return bytes_equal(bytes_of(known->holder, sizeof(known->holder)), holder);
}

enum status server_fence_report(const struct m_gateway_state_report *r,
				const struct store_handover *known)
{
	const uint32_t term = r->has_handover ? r->handover.term : 0;

	if (term == known->term)
		return term == 0 || same_holder(known, r->handover.holder) ? STATUS_OK
									   : STATUS_HANDED_OVER;
	/* A hand-over that was taken back follows the same term as the one that it undoes. */
	if (term < known->term || r->handover.after < known->term)
		return STATUS_HANDED_OVER;
	return term - known->term > LEAP_MAX ? STATUS_NOT_EXPECTED : STATUS_OK;
}

/* Whose box it is; "": nobody's that could have been handed over. */
static struct bytes gateway_of(const struct server_procedure *p)
{
	if (p->peer->entity.text[0])
		return name_bytes(&p->peer->entity);
	return server_from_gateway(p->request) ? name_bytes(&p->source) : BYTES_NONE;
}

enum status server_fence(struct store *s, const struct server_procedure *p,
			 struct store_handover *known)
{
	const struct server_session *session = p->peer->session;
	const struct bytes gateway = gateway_of(p);
	struct store_handover found;
	int r;

	*known = (struct store_handover){.term = 0};
	r = gateway.size > 0 ? store_handover(s, gateway, &found) : STORE_ABSENT;
	if (r == 0)
		*known = found;
	if (r != 0 && r != STORE_ABSENT)
		return STATUS_STORAGE_FAILED;
	if (p->request->kind == MESSAGE_gateway_state_report)
		return server_fence_report(&p->request->gateway_state_report, known);
	if (r == STORE_ABSENT)
		return STATUS_OK;
	if (!session || !session->told)
		return STATUS_UNAVAILABLE;
	if (session->term == known->term &&
	    same_holder(known, bytes_of(session->holder, sizeof(session->holder))))
		return STATUS_OK;
	return server_from_gateway(p->request) ? STATUS_HANDED_OVER : STATUS_UNAVAILABLE;
}

void server_fence_explain(struct server_procedure *p, const struct store_handover *known)
{
	const time_t since = (time_t)known->since;
	struct m_gateway_state_response *answer = &p->response.gateway_state_response;
	char when[32] = "";
	struct tm tm;

	if (p->response.kind == MESSAGE_gateway_state_response) {
		answer->has_handed_over = true;
		answer->handed_over.term = known->term;
		answer->handed_over.since =
			known->since < 0 || known->since > UINT32_MAX ? 0 : (uint32_t)known->since;
	}
	if (gmtime_r(&since, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)snprintf(p->verdict.detail, sizeof(p->verdict.detail), "term %lu, since %s",
		       (unsigned long)known->term, when);
}

void server_fence_told(const struct server_procedure *p)
{
	const struct m_gateway_state_report *r = &p->request->gateway_state_report;
	struct server_session *session = p->peer->session;

	if (p->request->kind != MESSAGE_gateway_state_report || !session)
		return;
	*session = (struct server_session){.told = true};
	if (!r->has_handover)
		return;
	session->term = r->handover.term;
	memcpy(session->holder, r->handover.holder.data, sizeof(session->holder));
}
