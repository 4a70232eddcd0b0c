#ifndef PNGW_TESTS_FAULTS_FAULTS_H
#define PNGW_TESTS_FAULTS_FAULTS_H

/*
 * Injected faults and the verdict that each has to end in. A table has one fault a line,
 *
 *   NAME | GIVEN | FAULT | VERDICT | LEG
 *
 * and '#' begins a comment. NAME is for people; GIVEN and FAULT are what the runner of the table
 * understands; VERDICT and LEG are what the sentence must say.
 */

#include <stdbool.h>
#include <stddef.h>

#include "protocol/verdict.h"

struct fault_row {
	unsigned line;
	const char *name, *given, *fault, *verdict, *leg;
};

/*
 * Injects one fault, in a process of its own, and writes the sentence that the technician is given
 * to out, VERDICT_TEXT_SIZE bytes.
 */
typedef void fault_inject_fn(const struct fault_row *row, char *out);

/*
 * Runs every fault of the table, some at a time, says which are wrong and why, and last "score
 * RIGHT ALL". PNGW_FAULTS_EVERY=N: only every Nth. Returns the exit code: 0 also where some are
 * wrong, for the score is judged as a whole.
 */
int faults_run(const char *table, unsigned at_a_time, fault_inject_fn *inject);

/* NULL, or what is wrong with a sentence as an answer to row. */
const char *faults_judge(const struct fault_row *row, const char *sentence);

#endif
