#ifndef PNGW_CONSOLE_MAN_H
#define PNGW_CONSOLE_MAN_H

#include <stdio.h>

/* Writes pngwctl(1) in mdoc(7): what is in the table of commands and the prose around it. */
void man_write(FILE *out);

#endif
