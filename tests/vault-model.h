#ifndef PNGW_TESTS_VAULT_MODEL_H
#define PNGW_TESTS_VAULT_MODEL_H

/*
 * What a vault must hold after each batch, kept in plain memory beside it. Batches are numbered
 * from 1 in the order in which they are begun; state 0 is an empty vault. Single-threaded, one
 * model a program.
 */

#include <stdbool.h>
#include <stddef.h>

#include "storage/vault.h"

void model_reset(void);
/* Called with true before and with false after each call that the model makes to the vault. */
extern void (*model_around)(bool begins);
/*
 * Begins the next batch: the functions below put the same into the vault's and the model's. NULL
 * when memory is out: the model has the batch all the same, and the functions take it.
 */
struct vault_batch *model_batch(void);
void model_put(struct vault_batch *b, enum vault_kind kind, const char *owner, const char *item,
	       size_t size);
void model_erase(struct vault_batch *b, enum vault_kind kind, const char *owner, const char *item);
void model_erase_owner(struct vault_batch *b, enum vault_kind kind, const char *owner);
void model_trim(struct vault_batch *b, enum vault_kind kind, const char *owner, size_t keep);
unsigned model_batches(void);
/* The last batch came to nothing: it is not part of any later state. */
void model_take_back(void);

/*
 * The number of the state, of lowest..highest, that v holds exactly: by walks and by single reads,
 * with nothing damaged. -1 and a sentence in why when it holds none of them.
 */
int model_match(struct vault *v, unsigned lowest, unsigned highest, char *why, size_t why_size);

/* Each record v serves was put under its names once; damaged ones are counted. */
bool model_serves_truth(struct vault *v, size_t *served, size_t *damaged);

/* The ledger in that file is proven and ends with that state; why is a sentence if not. */
bool model_ledger_proven(const char *path, const struct ledger_state *end, char *why,
			 size_t why_size);

#endif
