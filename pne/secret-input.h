#ifndef PNGW_PNE_SECRET_INPUT_H
#define PNGW_PNE_SECRET_INPUT_H

/* Secrets that come in: by read(2), into locked memory. They block: before a loop runs. */

#include "protocol/bytes.h"
#include "protocol/secret.h"

/*
 * 0 and *out, the caller's, without its line end ("" is one byte of 0); -ENODATA at the end of the
 * input; -EMSGSIZE for a line longer than SECRET_MAX_SIZE; another negative errno.
 */
int secret_input_line(int fd, struct secret **out);

/* From standard input; on a terminal with a prompt and without echo. Results as above. */
int secret_input_password(struct secret **out);

/*
 * Reads a manufacturer's file of lines entity_id,form,temporary_key, which must be a regular file
 * that nobody else can read. take is called for each line with the form's key as it is to be burnt
 * in, borrowed; a negative errno from it ends the reading. 0 or a negative errno; why then says
 * what is wrong and where.
 */
typedef int secret_input_key_fn(void *arg, struct bytes entity, const struct secret *key);
int secret_input_temporary_keys(const char *path, bool (*wanted)(void *arg, struct bytes entity),
				secret_input_key_fn *take, void *arg, char *why, size_t why_size);

#endif
