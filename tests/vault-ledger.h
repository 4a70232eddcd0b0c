#ifndef PNGW_TESTS_VAULT_LEDGER_H
#define PNGW_TESTS_VAULT_LEDGER_H

/*
 * What the tests of a vault's ledger and anchor share: one vault in a folder of its own, and the
 * calls by which ledger and anchor reach the disk, wrapped by the linker. SQLite's own are not.
 */

#include <sys/types.h>

#include "storage/vault.h"

extern char directory[64];
extern char path[128];
extern char key_file[128];
extern char ledger[160];
extern char anchor_path[160];
extern char anchor[192];
extern char why[512];

struct disk {
	int fail;       /* errno that writes and flushes give */
	size_t torn;    /* so many bytes are written before a write fails */
	int steps_left; /* the process is killed when this comes to 0; 0: off */
	int syncs_fail; /* errno of fdatasync alone */
	unsigned syncs;
};
extern struct disk disk;

#define THE_VAULT  "vault vault-wal"
#define THE_LEDGER "vault.ledger"
#define THE_ANCHOR "anchor"

struct gap {
	uint32_t first;
	uint32_t last;
};

/* A folder for the vault, and an undisturbed disk. Afterwards no secret is left. */
void setup(void);
/* The vaults that are opened from now on have an anchor, a file. */
void use_anchor(void);
void teardown(void);
__attribute__((format(printf, 1, 2))) void shell(const char *format, ...);
/* Everything there is now is kept under a name; files of it are put back. */
void keep(const char *name);
void put_back(const char *name, const char *files);
/* What vault_open() gives, the sentence in why; open_vault() wants 0. */
int try_open(struct vault **v);
struct vault *open_vault(void);
/* What became of a batch. */
int flush(struct vault *v, struct vault_batch *b);
/* A fact about key index of pne-1, figure 7; told alone it brings the key's record with it. */
void add(struct vault_batch *b, enum ledger_event event, uint32_t index);
int tell_result(struct vault *v, enum ledger_event event, uint32_t index);
void tell(struct vault *v, enum ledger_event event, uint32_t index);
/* One commit each. */
void issue(struct vault *v, uint32_t first, uint32_t last);
off_t size_of(const char *file);
off_t size_with(uint32_t entries);
/* The ledger's file is sound, has head if it is not NULL; how many entries, and its last gap. */
uint32_t prove(const struct ledger_state *head, struct gap *gap);
struct ledger_state state_of(const struct vault *v);
/* Whatever was told is in the file. */
uint32_t close_and_prove(struct vault *v);
/* Of table ledger, of a vault that is closed. */
int rows(void);
void flip(const char *file, off_t at);
/* One entry's bytes, by place from 0, over another's. */
void copy_entry(const char *file, uint32_t from, uint32_t to);
/* What was found at open; settled: opened anew nothing is found, and that is the newest. */
void assert_rollback(struct vault *v, uint32_t own, uint32_t known, const char *who);
void assert_settled(uint32_t sequence);

#endif
