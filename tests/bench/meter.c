/*
 * Preloaded into pngwd by tests/bench/bluetooth: of each assignment, from its first step to its
 * verdict, how long it took, how much of that was between a message's arrival and what the PN GW
 * sent next (or the verdict), and the processor time of the whole process. A line each in
 * /run/halt/meter: figure, and microseconds.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int figure; /* 0: no assignment is under way */
static int64_t began, began_cpu, arrived, own;
static unsigned messages;

static int64_t now(clockid_t clock)
{
	struct timespec t = {0};

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* To PNEs and the server, not to D-Bus or the journal. */
static bool counts(int fd)
{
	int domain = 0;
	socklen_t size = sizeof(domain);

	return figure && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
	       domain != AF_UNIX;
}

static ssize_t came(int fd, ssize_t n)
{
	if (n > 0 && arrived == 0 && counts(fd)) {
		arrived = now(CLOCK_MONOTONIC);
		messages++;
	}
	return n;
}

static ssize_t went(int fd, ssize_t n)
{
	if (n > 0 && arrived != 0 && counts(fd)) {
		own += now(CLOCK_MONOTONIC) - arrived;
		arrived = 0;
	}
	return n;
}

ssize_t read(int fd, void *data, size_t size)
{
	return came(fd, syscall(SYS_read, fd, data, size));
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	return came(fd, syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL));
}

ssize_t write(int fd, const void *data, size_t size)
{
	return went(fd, syscall(SYS_write, fd, data, size));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	return went(fd, syscall(SYS_writev, fd, parts, count));
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	return went(fd, syscall(SYS_sendto, fd, data, size, flags, NULL, 0));
}

static void begin(int which)
{
	figure = which;
	arrived = own = 0;
	messages = 0;
	began_cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	began = now(CLOCK_MONOTONIC);
}

static void end(void)
{
	int64_t t = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	char line[128];
	int n, fd;

	if (arrived)
		own += t - arrived;
	n = snprintf(line, sizeof(line), "%d %lld %lld %lld %u\n", figure,
		     (long long)(t - began) / 1000, (long long)own / 1000,
		     (long long)(cpu - began_cpu) / 1000, messages);
	figure = 0;
	fd = open("/run/halt/meter", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)!syscall(SYS_write, fd, line, (size_t)n);
		close(fd);
	}
}

/* What pngwd says of its steps. */
int sd_journal_sendv(const struct iovec *fields, int count)
{
	int (*next)(const struct iovec *, int) = NULL;
	char line[256];
	size_t size;

	for (int i = 0; i < count; i++) {
		if (fields[i].iov_len < 8 || memcmp(fields[i].iov_base, "MESSAGE=", 8) != 0)
			continue;
		size = fields[i].iov_len - 8 < sizeof(line) - 1 ? fields[i].iov_len - 8
								: sizeof(line) - 1;
		memcpy(line, (const char *)fields[i].iov_base + 8, size);
		line[size] = '\0';
		if (strstr(line, "Fig. 6 step 0:"))
			begin(6);
		else if (strstr(line, "Fig. 7 step 0:"))
			begin(7);
		else if (figure && strstr(line, "verdict: Figure "))
			end();
	}
	*(void **)&next = dlsym(RTLD_NEXT, "sd_journal_sendv");
	return next ? next(fields, count) : -1;
}
