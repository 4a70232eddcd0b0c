#include "protocol/status.h"

#include <stddef.h>

static const struct status_row {
	enum status status;
	const char *wire;
	int http;
	bool retry;
	const char *meaning;
} rows[] = {
#define STATUS(id, number, wire, http, retry, meaning) {STATUS_##id, wire, http, retry, meaning},
#include "protocol/statuses.def"
#undef STATUS
};

/* A status made up by a caller reads as STATUS_FAILED, the last row. */
static const struct status_row *row_of(enum status s)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].status == s)
			return &rows[i];
	}
	return &rows[sizeof(rows) / sizeof(rows[0]) - 1];
}

bool status_known(unsigned number)
{
	return (unsigned)row_of((enum status)number)->status == number;
}

const char *status_wire_name(enum status s)
{
	return row_of(s)->wire;
}

int status_http(enum status s)
{
	return row_of(s)->http;
}

bool status_retry(enum status s)
{
	return row_of(s)->retry;
}

const char *status_meaning(enum status s)
{
	return row_of(s)->meaning;
}
