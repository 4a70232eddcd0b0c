#ifndef PNGW_GATEWAY_JUDGE_H
#define PNGW_GATEWAY_JUDGE_H

/*
 * The verdicts that no procedure and no relayed request reaches, for there is none: commands that
 * are refused, resets, restarts. Facts go in, a verdict comes out; nothing else is looked at.
 */

#include "gateway/procedure.h"

enum matter {
	MATTER_START,       /* a figure is to be started: password, busy, under_way, most, error */
	MATTER_RENEWAL,     /* a renewal: known, link_up, busy, under_way, most, error */
	MATTER_HANDOVER,    /* another box may be the PN GW: told, why */
	MATTER_UNREACHABLE, /* a PNE that was to be connected to is not: told, why */
	MATTER_WAITING,     /* a command that waited for that has ended: revoked */
	MATTER_RESTART,     /* what a restart has interrupted */
	MATTER_ROLLBACK,    /* an older copy of the vault was put back: sequence, why (who knows) */
	MATTER_REVOKED,     /* by the server */
	MATTER_RESET,       /* a revocation that is durable: self, reset, seen, seen_index, why */
	MATTER_REVOCATION,  /* there is none, of a device that is known or not, or it could not be:
			       error */
	MATTERS
};

struct facts {
	enum matter matter;
	bool password; /* one that may be used */
	bool known;    /* whose the PNE is, or that device at all */
	bool link_up;
	bool busy;       /* something runs for the PNE: */
	uint64_t holder; /* id of the procedure; 0: a batch of it is being written */
	size_t under_way, most;
	int error;
	enum verdict_id told;
	bool revoked;
	bool self; /* the PN GW is the device */
	enum reset_state reset;
	enum status seen;
	uint32_t seen_index;
	uint32_t sequence;
	const char *why; /* borrowed; NULL: nothing more is known */
};

/*
 * True: v->id and v->detail are the verdict. False: none is to be given, it goes on, and v is
 * untouched.
 */
bool gateway_judge(const struct facts *f, struct verdict *v);

#endif
