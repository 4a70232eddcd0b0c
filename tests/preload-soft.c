/* Preloaded: an old libuv, and nothing that hardens the process comes to pass. */

#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *uv_version_string(void)
{
	return "1.2.3";
}

int prctl(int option, ...)
{
	unsigned long argument[4];
	va_list list;

	if (option == PR_SET_DUMPABLE)
		return 0;
	va_start(list, option);
	for (int i = 0; i < 4; i++)
		argument[i] = va_arg(list, unsigned long);
	va_end(list);
	return (int)syscall(SYS_prctl, option, argument[0], argument[1], argument[2], argument[3]);
}

static int set(int resource, const struct rlimit *limit)
{
	return resource == RLIMIT_CORE ? 0 : (int)syscall(SYS_prlimit64, 0, resource, limit, NULL);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return set((int)resource, limit);
}

/* What the same is called where offsets have 64 bits. */
int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit);
int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
	return set((int)resource, (const struct rlimit *)limit);
}
