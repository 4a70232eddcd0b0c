#include "console/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <curses.h>
#include <term.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN     20

unsigned terminal_width(int fd)
{
	struct winsize size;

	if (!isatty(fd))
		return 0;
	if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < WIDTH_MIN)
		return WIDTH_DEFAULT;
	return size.ws_col;
}

static bool known(int fd)
{
	const char *name = getenv("TERM");
	int found = 0;

	return isatty(fd) && name && name[0] && setupterm(name, fd, &found) == OK;
}

bool terminal_has_colour(int fd)
{
	const char *unwanted = getenv("NO_COLOR");

	return !(unwanted && unwanted[0]) && known(fd) && tigetnum("colors") >= 8;
}

bool terminal_erases(int fd)
{
	const char *erase = known(fd) ? tigetstr("el") : NULL;

	return erase && strncmp(erase, "\033[K", 3) == 0;
}
