#ifndef PNGW_SERVER_IMPORT_H
#define PNGW_SERVER_IMPORT_H

/*
 * A manufacturer's file of Temporary Keys, in one of two forms, told apart by their first byte:
 *
 * - CSV with the header line "entity_id,form,temporary_key", then one line a device; form is "hex"
 *   (16 to 64 bytes) or "passphrase" (normalised, then stretched with the Entity ID);
 * - PSKC (RFC 6030): a KeyPackage's DeviceInfo/SerialNo is the Entity ID, its PlainValue the key,
 * 16 to 64 bytes. Encrypted values are refused.
 *
 * The whole file is checked before the first key is handed out: a bad file imports nothing.
 */

#include "protocol/bytes.h"
#include "protocol/secret.h"

/* Positive outcome: the file is not good. */
#define IMPORT_BAD_FILE 1

/* Largest file in bytes. */
#define IMPORT_FILE_MAX (16U << 20)

/*
 * One key, in the order of the file. It is what travels and wraps, a passphrase is stretched
 * already. The callback takes a reference to keep it. Returns 0 to go on; anything else ends the
 * import and is returned.
 */
typedef int import_key_fn(void *arg, struct bytes entity, struct secret *key, bool passphrase);

/*
 * 0, IMPORT_BAD_FILE, a negative errno, or what each returned. Unless it is 0 or came from each,
 * why (of why_size bytes) holds one sentence with the file's name, the line or the number of the
 * key, and what is wrong; never anything out of the file. A passphrase takes a good tenth of a
 * second: not on an event loop.
 *
 * For PSKC libxml2's allocator and error functions are replaced during the call, and libpskc is set
 * up and torn down: no other thread may use either meanwhile.
 */
int import_file(const char *path, import_key_fn *each, void *arg, char *why, size_t why_size);

#endif
