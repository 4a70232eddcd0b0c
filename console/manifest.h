#ifndef PNGW_CONSOLE_MANIFEST_H
#define PNGW_CONSOLE_MANIFEST_H

/*
 * The list of headsets of a tray. From CSV: a header line that names the columns, entity_id and, in
 * any order and each as wanted, address, user, label. From PSKC (RFC 6030): the serial number of
 * each device; the keys in it are passed over, never decoded. From a scanner: a label a line
 * (doc/labels.md); a user's label is for the PNEs that follow.
 *
 * All of it or nothing: each thing that is wrong is told with its line, and then there is no
 * manifest.
 */

#include "console/label.h"

#define MANIFEST_MAX        200
#define MANIFEST_SIZE_MAX   (4 << 20) /* bytes of a file */
#define MANIFEST_LABEL_SIZE 65

struct manifest_unit {
	struct name entity, user;
	char address[LABEL_ADDRESS_SIZE];
	char label[MANIFEST_LABEL_SIZE]; /* what the technician calls it; "" */
};

struct manifest {
	struct manifest_unit unit[MANIFEST_MAX];
	size_t count;
	size_t errors;
	size_t excess;    /* units beyond MANIFEST_MAX */
	struct name user; /* of those that follow and have none; "": there is none */
	/* Told of each error; line 0: of the whole. */
	void (*wrong)(void *arg, size_t line, const char *what);
	void *arg;
};

/*
 * Adds a unit, or tells what is wrong with it. user: NULL: as in m->user. The texts are borrowed.
 * 0, or -EINVAL and an error more.
 */
int manifest_add(struct manifest *m, size_t line, const char *entity, const char *address,
		 const char *user, const char *label);
/* A line of a scanner, without its end; an empty one is none. As manifest_add(). */
int manifest_scan(struct manifest *m, size_t line, const char *text);
/* What is only wrong with the whole: nothing in it, too much in it. */
void manifest_end(struct manifest *m);

/* CSV or PSKC, by what it begins with. 0 or -EINVAL after the errors were told, or -ENOMEM. */
int manifest_parse(struct manifest *m, struct bytes text);
/* Reads a file and parses it. Another negative errno: it cannot be read. */
int manifest_read(struct manifest *m, const char *path, uint8_t digest[32]);

/* manifest-pskc.c */
int manifest_pskc(struct manifest *m, struct bytes text);

#endif
