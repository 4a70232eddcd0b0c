/*
 * Preloaded: the power goes before the rename or link of that number (PNGW_CUT), counted from 1, of
 * files and of what SQLite does with its own not.
 */

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void count(void)
{
	static long left;
	const char *at = getenv("PNGW_CUT");

	if (left == 0)
		left = at ? strtol(at, NULL, 10) : -1;
	if (left > 0 && --left == 0)
		_exit(99);
}

int rename(const char *from, const char *to)
{
	int (*next)(const char *, const char *) =
		(int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");

	count();
	return next(from, to);
}

int link(const char *from, const char *to)
{
	int (*next)(const char *, const char *) =
		(int (*)(const char *, const char *))dlsym(RTLD_NEXT, "link");

	count();
	return next(from, to);
}
