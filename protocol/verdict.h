#ifndef PNGW_PROTOCOL_VERDICT_H
#define PNGW_PROTOCOL_VERDICT_H

/*
 * How a procedure ended, in a person's words. Made from verdicts.def and steps.def. This is what
 * the technician reads and the journal logs; it never contains a secret.
 */

#include <stddef.h>

#include "protocol/bytes.h"
#include "protocol/status.h"

enum figure { FIGURE_NONE = 0, FIGURE_5 = 5, FIGURE_6 = 6, FIGURE_7 = 7, FIGURE_8 = 8 };

enum leg { LEG_NONE, LEG_USER, LEG_PNE, LEG_PAN, LEG_PNGW, LEG_WAN, LEG_SERVER };
enum retry { RETRY_NO, RETRY_YES, RETRY_LATER };
enum role { ROLE_PNE, ROLE_PNGW, ROLE_SERVER };

enum verdict_id {
#define VERDICT(id, number, leg, retry, cause, next) VERDICT_##id = number,
#include "protocol/verdicts.def"
#undef VERDICT
};

struct verdict {
	enum verdict_id id;
	enum figure figure;
	unsigned step;      /* the seed's number of the step that was under way */
	struct name entity; /* the device it was about, "" where none is */
	struct name user;
	uint32_t key_index; /* of the key that was assigned, 0 where none was */
	char detail[96];    /* particulars without secrets, may be "" */
};

enum leg verdict_leg(enum verdict_id id);
enum retry verdict_retry(enum verdict_id id);
const char *verdict_cause(enum verdict_id id);
const char *verdict_next(enum verdict_id id);
const char *verdict_name(enum verdict_id id); /* "WRONG_PASSWORD" */
const char *leg_name(enum leg leg);           /* "PN GW" */
const char *role_name(enum role role);        /* "PN GW", "PNE", "server" */
const char *retry_name(enum retry retry);     /* "no", "yes", "later" */

/*
 * One sentence, always terminated: "Figure 6 step 7, PNE headset-1, leg PAN: the link to the PNE
 * was lost (detail). Next: ... Retry: yes." Returns out. 512 bytes are always enough.
 */
#define VERDICT_TEXT_SIZE 512
const char *verdict_describe(const struct verdict *v, char *out, size_t out_size);

/* What a PN GW or PNE makes of a status that the server, or a peer, answered with. */
enum verdict_id verdict_of_server_status(enum status s);
enum verdict_id verdict_of_pne_status(enum status s);

/* Text of a step, or NULL where the figure has no such step. */
const char *step_text(enum figure figure, unsigned step);
enum role step_role(enum figure figure, unsigned step);

/* "Fig. 6 step 11: server derives the KEK, creates the EUKey". Returns out, always terminated. */
const char *step_describe(enum figure figure, unsigned step, char *out, size_t out_size);

#endif
