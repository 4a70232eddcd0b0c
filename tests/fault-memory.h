#ifndef PNGW_TESTS_FAULT_MEMORY_H
#define PNGW_TESTS_FAULT_MEMORY_H

/* Memory that runs out at the Nth allocation. */

#include <stdbool.h>

/* Once, before anything else of SQLite is used. False when SQLite refuses. */
bool fault_memory_register(void);
/* Counts anew; at counts from 1, 0: nothing fails. */
void fault_memory_plan(unsigned at, bool lasting);
/* Only between arming and disarming are allocations counted and failed. */
void fault_memory_arm(bool armed);
unsigned fault_memory_count(void);
unsigned fault_memory_struck(void);

#endif
