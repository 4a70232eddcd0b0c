#ifndef PNGW_STORAGE_LEDGER_CHECK_H
#define PNGW_STORAGE_LEDGER_CHECK_H

/*
 * Proves a ledger, or names the first thing that is wrong with it and where. Bytes in, no I/O.
 *
 * What is proven: every byte is what the ledger's key signed; entries follow one another by number
 * and hash; no key was issued twice, none was spent without having been issued, twice, after its
 * revocation, after its erasure, or after a rollback that may hide its spending; what was expected
 * to be in it is in it.
 */

#include "storage/ledger.h"

/* Positive outcome: not proven, see struct ledger_defect. */
#define LEDGER_DEFECT 2

/* Memory: a state for each key in the ledger, 28 bytes, and for each entity, 44 bytes. */
struct ledger_check;

struct ledger_defect {
	uint32_t sequence; /* of the entry that is wrong, or that is missing; 0: the header */
	uint64_t offset;   /* in bytes from the beginning of the file, of that entry */
	char text[192];    /* one sentence, without the position */
};

/* An entry that must be there: what an anchor, a server or a vault saw. */
struct ledger_expected {
	uint32_t sequence; /* 0: nothing is expected */
	uint8_t head[LEDGER_HASH_SIZE];
	const char *who; /* for the sentence; borrowed */
};

/*
 * Keys by what became of them in the end. issued = pool + relayed + spent + erased + revoked +
 * lost. Keys that the ledger does not see issued (older than it, or issued in a declared gap) count
 * in unseen alone, and in installed.
 */
struct ledger_account {
	uint32_t issued;
	uint32_t pool;    /* in the vault, may be spent */
	uint32_t relayed; /* went through the PN GW to their PNE (Figures 5 and 6) or are its own */
	uint32_t spent;   /* installed or not, erased since or not */
	uint32_t erased;  /* without ever being spent */
	uint32_t revoked; /* in the pool when revoked, and not told to be erased yet */
	uint32_t lost;    /* in the pool when a rollback came; may not be spent any more */
	uint32_t installed; /* of all: proven by the PNE's receipt */
	uint32_t unseen;
};

/* One declared gap: first..last are missing, the entry at says so. */
typedef void ledger_gap_fn(void *arg, uint32_t first, uint32_t last, uint32_t at);
/* One entity's account. revoked: all its keys up to that index are; 0 for none. */
typedef void ledger_entity_fn(void *arg, const uint8_t entity[LEDGER_TAG_SIZE],
			      const struct ledger_account *account, uint32_t revoked);

/* on_gap may be NULL. 0 and the caller's *out, or -ENOMEM. */
int ledger_check_new(ledger_gap_fn *on_gap, void *arg, struct ledger_check **out);
void ledger_check_free(struct ledger_check *c);

/* Before the first byte: only this key's ledger will do. */
void ledger_check_key(struct ledger_check *c, const uint8_t public_key[KEY_SIZE]);
/* Before the entry is fed. At most LEDGER_EXPECTED_MAX, -ENOSPC beyond. */
#define LEDGER_EXPECTED_MAX 4
int ledger_check_expect(struct ledger_check *c, const struct ledger_expected *e);

/*
 * The file in pieces of any size, and its end. 0, LEDGER_DEFECT (also ever after) or a negative
 * errno.
 */
int ledger_check_feed(struct ledger_check *c, struct bytes data);
int ledger_check_end(struct ledger_check *c);

/* After LEDGER_DEFECT. */
const struct ledger_defect *ledger_check_defect(const struct ledger_check *c);
/* How far it is proven: the last good entry. */
const struct ledger_state *ledger_check_state(const struct ledger_check *c);
/* Of the header; valid once it was fed and no defect named sequence 0. */
const uint8_t *ledger_check_public_key(const struct ledger_check *c);
uint32_t ledger_check_entries(const struct ledger_check *c);

void ledger_check_account(const struct ledger_check *c, struct ledger_account *out);
/* In no particular order. 0 or -ENOMEM. */
int ledger_check_entities(const struct ledger_check *c, ledger_entity_fn *each, void *arg);

#endif
