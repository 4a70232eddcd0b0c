/*
 * In the machine: a daemon that halt.so is preloaded into stops right after it has said a TEXT.
 *
 *   vm-halt ready      makes the folder through which they hear of it: before they start
 *   vm-halt at TEXT    vm-halt wait SECONDS: until it has stopped    vm-halt go: it goes on
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 20

static int ready(void)
{
	if (mkdir("/run/halt", 0777) < 0 && errno != EEXIST)
		return 1;
	return chmod("/run/halt", 0777) < 0;
}

static int at(const char *text)
{
	size_t size = strlen(text);
	int fd;

	(void)unlink("/run/halt/halted");
	fd = open("/run/halt/new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || write(fd, text, size) != (ssize_t)size ||
	    close(fd) < 0)
		return 1;
	return rename("/run/halt/new", "/run/halt/at") < 0;
}

/* Who was halted, 0: nobody yet. */
static pid_t halted(void)
{
	FILE *file = fopen("/run/halt/halted", "r");
	int pid = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%d", &pid) != 1)
		pid = 0;
	fclose(file);
	return pid;
}

static int is_stopped(pid_t pid)
{
	char path[64], line[256], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	/* The state follows the name in parentheses. */
	if (fgets(line, sizeof(line), file) && strrchr(line, ')'))
		state = strrchr(line, ')')[2];
	fclose(file);
	return state == 'T';
}

static int await(int seconds)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

	for (int i = 0; i < seconds * 1000 / POLL_MS; i++) {
		pid_t pid = halted();

		if (pid > 0 && is_stopped(pid))
			return 0;
		nanosleep(&pause, NULL);
	}
	return 1;
}

static int go(void)
{
	pid_t pid;

	(void)unlink("/run/halt/at");
	pid = halted();
	if (pid > 0 && kill(pid, SIGCONT) < 0 && errno != ESRCH)
		return 1;
	(void)unlink("/run/halt/halted");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "ready") == 0)
		return ready();
	if (argc == 3 && strcmp(argv[1], "at") == 0)
		return at(argv[2]);
	if (argc == 3 && strcmp(argv[1], "wait") == 0)
		return await(atoi(argv[2]));
	if (argc == 2 && strcmp(argv[1], "go") == 0)
		return go();
	fprintf(stderr, "vm-halt ready | at TEXT | wait SECONDS | go\n");
	return 2;
}
