/* The Nth allocation fails: ours by the linker's --wrap, SQLite's by its own hook. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "fault-memory.h"

static struct {
	bool armed;
	unsigned at;
	bool lasting;
	unsigned count;
	unsigned struck;
	sqlite3_mem_methods sqlite;
} memory;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t count, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t count, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void fault_memory_plan(unsigned at, bool lasting)
{
	memory.at = at;
	memory.lasting = lasting;
	memory.count = 0;
	memory.struck = 0;
}

void fault_memory_arm(bool armed)
{
	memory.armed = armed;
}

unsigned fault_memory_count(void)
{
	return memory.count;
}

unsigned fault_memory_struck(void)
{
	return memory.struck;
}

static bool fails(void)
{
	unsigned n;

	if (!memory.armed)
		return false;
	n = ++memory.count;
	if (memory.at == 0 || n < memory.at || (n > memory.at && !memory.lasting))
		return false;
	memory.struck++;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, count, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
	va_list list;
	int r;

	if (fails())
		return -1;
	va_start(list, format);
	r = vasprintf(out, format, list);
	va_end(list);
	return r;
}

int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
	va_list list;
	int r;

	(void)flag;
	if (fails())
		return -1;
	va_start(list, format);
	r = vasprintf(out, format, list);
	va_end(list);
	return r;
}

static void *sqlite_malloc(int size)
{
	return fails() ? NULL : memory.sqlite.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size)
{
	return fails() ? NULL : memory.sqlite.xRealloc(p, size);
}

bool fault_memory_register(void)
{
	sqlite3_mem_methods failing;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory.sqlite) != SQLITE_OK)
		return false;
	failing = memory.sqlite;
	failing.xMalloc = sqlite_malloc;
	failing.xRealloc = sqlite_realloc;
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK &&
	       sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) == SQLITE_OK;
}
