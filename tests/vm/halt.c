/*
 * Preloaded into our daemons in the machine: right after one has said a line with the text that is
 * in /run/halt/at, it stops (SIGSTOP) and /run/halt/halted has its number. halt-at writes and reads
 * these; the folder is for all to write, for pngwd runs as a user of its own.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void halt_if_said(const char *line, size_t size)
{
	char text[256], number[16];
	int fd = open("/run/halt/at", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0 || memmem(line, size, text, (size_t)n) == NULL || unlink("/run/halt/at") < 0)
		return;
	n = snprintf(number, sizeof(number), "%d\n", (int)getpid());
	fd = open("/run/halt/halted", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)!syscall(SYS_write, fd, number, (size_t)n);
		close(fd);
	}
	raise(SIGSTOP); /* pngwd's sandbox has no kill() */
}

ssize_t write(int fd, const void *data, size_t size)
{
	ssize_t written = syscall(SYS_write, fd, data, size);

	if (fd == STDERR_FILENO && written > 0)
		halt_if_said(data, (size_t)written);
	return written;
}

/* pngwd speaks to the journal itself, in fields. */
int sd_journal_sendv(const struct iovec *fields, int count)
{
	static const char name[] = "MESSAGE=";
	int (*send)(const struct iovec *, int) = NULL;
	int r;

	*(void **)&send = dlsym(RTLD_NEXT, "sd_journal_sendv");
	if (!send)
		return -1;
	r = send(fields, count);
	for (int i = 0; r == 0 && i < count; i++) {
		if (fields[i].iov_len > sizeof(name) &&
		    memcmp(fields[i].iov_base, name, sizeof(name) - 1) == 0)
			halt_if_said(fields[i].iov_base, fields[i].iov_len);
	}
	return r;
}
