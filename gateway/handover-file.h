#ifndef PNGW_GATEWAY_HANDOVER_FILE_H
#define PNGW_GATEWAY_HANDOVER_FILE_H

/*
 * The sealed file that a PN GW is handed over in, and the transfer code that opens it.
 * doc/handover.md has the format. Functions return 0, HANDOVER_NOT_GOOD or a negative errno, and
 * unless it is 0 why (of why_size bytes) holds one sentence.
 */

#include "protocol/secret.h"

/* Positive outcome: the code or the file is not what it should be. */
#define HANDOVER_NOT_GOOD 1

/* 128 random bits and a check, as groups of letters and digits: "4KQ2-...". */
#define HANDOVER_CODE_SIZE 16
#define HANDOVER_CODE_TEXT 34

/* A new code: its bytes, and its text (no newline), both the caller's. */
int handover_code_new(struct secret **code, struct secret **text);
/* From what somebody typed: small letters, blanks, O for 0, I and L for 1 are taken. */
int handover_code_parse(struct bytes typed, struct secret **code, char *why, size_t why_size);
/* The passphrase that opens the vault in the file. */
int handover_code_passphrase(const struct secret *code, struct secret **out);

/* What is in the file. Stable numbers. */
enum handover_member {
	MEMBER_SETTINGS = 1, /* pngw.conf */
	MEMBER_VAULT = 2,
	MEMBER_LEDGER = 3,
	MEMBER_BOND = 4, /* name: its path in BlueZ's folder */
	MEMBER_TLS_CA = 5,
	MEMBER_TLS_CERTIFICATE = 6,
	MEMBER_TLS_KEY = 7,
	MEMBER_TLS_PSK = 8,
};
#define MEMBER_MAX 8

#define MEMBER_NAME_MAX 255

struct handover_writer;

/* Builds path`.new` (mode 0600), which must not be there; path must not be there either. */
int handover_writer_new(const char *path, const struct secret *code, struct handover_writer **out,
			char *why, size_t why_size);
/* Adds the file at from. name may be "". */
int handover_writer_add(struct handover_writer *w, enum handover_member member, const char *name,
			const char *from, char *why, size_t why_size);
/* Whole and durable at its path on 0. */
int handover_writer_end(struct handover_writer *w, char *why, size_t why_size);
/* Removes what is not finished; wipes. NULL is allowed. */
void handover_writer_free(struct handover_writer *w);

/*
 * Takes the file apart: each member is written to folder/0, folder/1 ... (mode 0600, durable), and
 * told once it is whole; each returns 0 to go on, anything else ends the walk and is returned. Only
 * on 0 the file is known to be whole. only: members of that kind alone, and nothing more is read
 * behind the first; 0: all.
 */
typedef int handover_member_fn(void *arg, enum handover_member member, const char *name,
			       const char *path);
int handover_unpack(const char *path, const struct secret *code, enum handover_member only,
		    const char *folder, handover_member_fn *each, void *arg, char *why,
		    size_t why_size);

#endif
