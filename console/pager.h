#ifndef PNGW_CONSOLE_PAGER_H
#define PNGW_CONSOLE_PAGER_H

/*
 * On a terminal of 24 lines a long answer runs away. What a command of the shell writes goes
 * through a pager: as much as the screen has room for is shown at once, the rest is kept, and when
 * the command is over it is shown by the page or by the line, as the person at "-- more --" wants
 * it.
 *
 * What happens by itself (steps, a question, a failure) is never kept waiting: the pager shows what
 * it has kept and is out of the way.
 *
 * While a key is waited for, the bus is served and signals are seen; no read blocks.
 */

struct console;
struct pager;

/* Puts one into console->writer. NULL: none, because the answer is not text for a person at a
 * terminal, or for want of memory; then all is written at once. */
struct pager *pager_begin(struct console *console);
/* Everything is written without a stop from now on. p may be NULL, here as below. */
void pager_live(struct pager *p);
/* Shows what is left, as far as it is wanted, and takes it out of console->writer. */
void pager_end(struct pager *p);

#endif
