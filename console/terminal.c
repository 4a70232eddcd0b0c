#include "console/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <curses.h>
#include <term.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN     20
#define LINES_DEFAULT 24
#define LINES_MIN     3

/* The controlling terminal is standard input's: somebody else's would be read in its place. */
static bool is_same(int fd, int other)
{
	unsigned device, its;

	return ioctl(fd, TIOCGDEV, &device) == 0 && ioctl(other, TIOCGDEV, &its) == 0 &&
	       device == its;
}

int terminal_input(void)
{
	static int input = -1;

	if (input >= 0)
		return input;
	if (isatty(STDIN_FILENO))
		input = open("/dev/tty", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (input >= 0 && !is_same(input, STDIN_FILENO)) {
		(void)close(input);
		input = -1;
	}
	if (input < 0)
		input = STDIN_FILENO;
	return input;
}

unsigned terminal_width(int fd)
{
	struct winsize size;

	if (!isatty(fd))
		return 0;
	if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < WIDTH_MIN)
		return WIDTH_DEFAULT;
	return size.ws_col;
}

unsigned terminal_height(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row < LINES_MIN)
		return LINES_DEFAULT;
	return size.ws_row;
}

/* What terminfo says of a terminal; the editor's own stays as it is. */
struct description {
	TERMINAL *before;
};

static bool describe(int fd, struct description *d)
{
	const char *name = getenv("TERM");
	int found = 0;

	if (!isatty(fd) || !name || !name[0])
		return false;
	d->before = set_curterm(NULL);
	if (setupterm(name, fd, &found) != OK) {
		(void)set_curterm(d->before);
		return false;
	}
	return true;
}

static void forget(const struct description *d)
{
	(void)del_curterm(set_curterm(d->before));
}

bool terminal_has_colour(int fd)
{
	const char *unwanted = getenv("NO_COLOR");
	struct description d;
	bool colour;

	if ((unwanted && unwanted[0]) || !describe(fd, &d))
		return false;
	colour = tigetnum("colors") >= 8;
	forget(&d);
	return colour;
}

bool terminal_erases(int fd)
{
	struct description d;
	const char *erase;
	bool erases;

	if (!describe(fd, &d))
		return false;
	erase = tigetstr("el");
	erases = erase && strncmp(erase, "\033[K", 3) == 0;
	forget(&d);
	return erases;
}

unsigned terminal_baud(int fd)
{
	static const struct {
		speed_t speed;
		unsigned baud;
	} speeds[] = {
		{B300, 300},     {B600, 600},       {B1200, 1200},     {B2400, 2400},
		{B4800, 4800},   {B9600, 9600},     {B19200, 19200},   {B38400, 38400},
		{B57600, 57600}, {B115200, 115200}, {B230400, 230400},
	};
	struct termios t;

	if (tcgetattr(fd, &t) != 0)
		return 0;
	for (size_t i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++) {
		if (speeds[i].speed == cfgetospeed(&t))
			return speeds[i].baud;
	}
	return 0;
}
