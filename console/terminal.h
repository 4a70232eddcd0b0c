#ifndef PNGW_CONSOLE_TERMINAL_H
#define PNGW_CONSOLE_TERMINAL_H

/* What the terminal at a descriptor can do, by its size, $TERM and $NO_COLOR. */

#include <stdbool.h>

/* Its columns; 80 when it does not say. 0 when it is no terminal: lines may be as long as they are.
 */
unsigned terminal_width(int fd);
bool terminal_has_colour(int fd);
/* The speed it is set to, in bits a second; 0: none. */
unsigned terminal_baud(int fd);
/* It knows how to erase to the end of a line. */
bool terminal_erases(int fd);

#endif
