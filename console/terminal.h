#ifndef PNGW_CONSOLE_TERMINAL_H
#define PNGW_CONSOLE_TERMINAL_H

/* What the terminal at a descriptor can do, by its size, $TERM and $NO_COLOR; and what is typed
 * there. */

#include <stdbool.h>

/*
 * Where what is typed is waited for and read: standard input, or its terminal opened once more so
 * that no read blocks. Ctrl-C flushes what was typed, also what poll() has just told of; a read
 * that then waits for more would be deaf to the signal, and to the bus. Reads may fail with EAGAIN.
 * It stays open.
 */
int terminal_input(void);
/* Its columns; 80 when it does not say. 0 when it is no terminal: lines may be as long as they are.
 */
unsigned terminal_width(int fd);
/* Its lines; 24 when it does not say, as on a serial line. */
unsigned terminal_height(int fd);
bool terminal_has_colour(int fd);
/* The speed it is set to, in bits a second; 0: none. */
unsigned terminal_baud(int fd);
/* It knows how to erase to the end of a line. */
bool terminal_erases(int fd);

#endif
