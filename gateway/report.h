#ifndef PNGW_GATEWAY_REPORT_H
#define PNGW_GATEWAY_REPORT_H

/*
 * EUKeyDeliveryReport: what the PN GW knows of keys that reached their PNE or were issued without
 * the server. Kept in the vault until the server has it; one report is under way at a time.
 */

#include "gateway/records.h"

#define REPORT_MAX 32

struct report {
	bool under_way;
	struct message_id id;
	size_t count;
	struct delivery list[REPORT_MAX];
};

/* 0 and *xml (the caller's to free()), REPORT_NOTHING, or a negative errno. */
#define REPORT_NOTHING 1
int gateway_report_begin(struct report *r, struct vault *v, const struct name *self,
			 const struct name *server, char **xml, size_t *size);

/*
 * The server's answer. 0 and *batch erases what the server has now, unless it has changed since, or
 * changing() says that news about that PNE waits to be written; a positive enum status when the
 * server did not take it; -EPROTO for another message.
 */
typedef bool report_changing_fn(void *arg, const struct name *entity);
int gateway_report_answered(struct report *r, struct vault *v, const struct message *m,
			    report_changing_fn *changing, void *arg, struct vault_batch **batch);

/* There was no answer. */
void gateway_report_failed(struct report *r);

#endif
