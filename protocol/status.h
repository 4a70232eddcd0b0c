#ifndef PNGW_PROTOCOL_STATUS_H
#define PNGW_PROTOCOL_STATUS_H

/* Status of a response or a receipt, made from statuses.def. */

#include <stdbool.h>

enum status {
#define STATUS(id, number, wire, http, retry, meaning) STATUS_##id = number,
#include "protocol/statuses.def"
#undef STATUS
};

/* Whether number names a status: what a receipt carries comes from a peer. */
bool status_known(unsigned number);

/* Name on the wire, e.g. "NotOwner". */
const char *status_wire_name(enum status s);

/* HTTP status of a response that carries s. */
int status_http(enum status s);

/* Whether the same request may succeed later without anybody doing anything. */
bool status_retry(enum status s);

/* One clause for a person, e.g. "the Entity ID belongs to another CPNS User". */
const char *status_meaning(enum status s);

#endif
