#include "tests/bluez-fake.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#define ANSWER_SIZE 65536

struct fake_bluez {
	char folder[64];
	char socket[80];
	char config[80];
	char address[112];
	char empty[80];
	pid_t bus, daemon;
	int control;
	char answer[ANSWER_SIZE];
};

static const char config_text[] =
	"<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>"
	"<policy context='default'><allow send_destination='*' eavesdrop='true'/>"
	"<allow eavesdrop='true'/><allow own='*'/></policy></busconfig>\n";

bool fake_bluez_possible(void)
{
	if (system("command -v dbus-daemon >/dev/null && "
		   "/usr/bin/python3 -c 'import dbus, gi.repository' 2>/dev/null") == 0)
		return true;
	printf("dbus-daemon, python3-dbus or python3-gi is missing\n");
	return false;
}

static pid_t run(const char *const *arguments, bool quiet)
{
	pid_t parent = getpid();
	pid_t child = fork();

	/* The child must not assert: Check would write to the file that both share. */
	if (child != 0) {
		ck_assert_int_gt(child, 0);
		return child;
	}
	/* A group of its own: Check ends a test by signals to its group. */
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	if (quiet && !freopen("/dev/null", "w", stderr))
		_exit(126);
	execvp(arguments[0], (char *const *)(uintptr_t)arguments);
	_exit(127);
}

static void end(pid_t *child)
{
	int status;

	if (*child <= 0)
		return;
	kill(*child, SIGKILL);
	ck_assert_int_eq(waitpid(*child, &status, 0), *child);
	*child = 0;
}

void fake_bluez_bus_start(struct fake_bluez *f)
{
	int ends[2];
	char number[16], option[40], line[256];
	const char *const arguments[] = {"dbus-daemon", "--config-file", f->config, "--nofork",
					 "--nopidfile", option,          NULL};

	unlink(f->socket);
	ck_assert_int_eq(pipe(ends), 0);
	snprintf(number, sizeof(number), "%d", ends[1]);
	snprintf(option, sizeof(option), "--print-address=%s", number);
	/* It complains of a limit that it cannot raise. */
	f->bus = run(arguments, true);
	close(ends[1]);
	/* It prints once it listens. */
	ck_assert_msg(read(ends[0], line, sizeof(line)) > 0, "dbus-daemon did not start");
	close(ends[0]);
}

void fake_bluez_bus_stop(struct fake_bluez *f)
{
	end(&f->bus);
}

static void daemon_start(struct fake_bluez *f)
{
	const char *source = getenv("PNGW_SRCDIR");
	char script[512], number[16];
	const char *const arguments[] = {"/usr/bin/python3", script, f->address, number, NULL};
	int ends[2];

	snprintf(script, sizeof(script), "%s/tests/fake-bluez.py", source ? source : ".");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	snprintf(number, sizeof(number), "%d", ends[1]);
	f->control = ends[0];
	f->daemon = run(arguments, false);
	close(ends[1]);
}

struct fake_bluez *fake_bluez_new_stopped(void)
{
	struct fake_bluez *f = calloc(1, sizeof(*f));
	FILE *file;

	ck_assert_ptr_nonnull(f);
	strcpy(f->folder, "/tmp/fake-bluez-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->folder));
	snprintf(f->socket, sizeof(f->socket), "%s/bus", f->folder);
	snprintf(f->config, sizeof(f->config), "%s/config", f->folder);
	snprintf(f->empty, sizeof(f->empty), "%s/more", f->folder);
	snprintf(f->address, sizeof(f->address), "unix:path=%s", f->socket);
	ck_assert_int_eq(mkdir(f->empty, 0700), 0);
	file = fopen(f->config, "w");
	ck_assert_ptr_nonnull(file);
	fprintf(file, config_text, f->socket);
	ck_assert_int_eq(fclose(file), 0);
	daemon_start(f);
	return f;
}

struct fake_bluez *fake_bluez_new(void)
{
	struct fake_bluez *f = fake_bluez_new_stopped();

	fake_bluez_bus_start(f);
	fake_bluez_tell(f, "daemon start");
	return f;
}

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

void fake_bluez_free(struct fake_bluez *f)
{
	end(&f->daemon);
	end(&f->bus);
	close(f->control);
	ck_assert_int_eq(nftw(f->folder, on_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
}

const char *fake_bluez_bus(const struct fake_bluez *f)
{
	return f->address;
}

const char *fake_bluez_folder(const struct fake_bluez *f)
{
	return f->empty;
}

/* The descriptor that came with the answer, or -1. */
static int converse(struct fake_bluez *f, const char *format, va_list list)
{
	char command[1024];
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {f->answer, sizeof(f->answer) - 1};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	const struct cmsghdr *c;
	ssize_t size;
	int fd = -1;

	vsnprintf(command, sizeof(command), format, list);
	ck_assert_int_eq(send(f->control, command, strlen(command), MSG_NOSIGNAL),
			 (ssize_t)strlen(command));
	size = recvmsg(f->control, &m, MSG_CMSG_CLOEXEC);
	ck_assert_msg(size > 0, "'%s': the fake has gone", command);
	f->answer[size] = '\0';
	ck_assert_msg(strncmp(f->answer, "ok", 2) == 0, "%s", f->answer);
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

const char *fake_bluez_tell(struct fake_bluez *f, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	ck_assert_int_eq(converse(f, format, list), -1);
	va_end(list);
	return f->answer[2] == ' ' ? f->answer + 3 : "";
}

int fake_bluez_tell_fd(struct fake_bluez *f, const char *format, ...)
{
	va_list list;
	int fd;

	va_start(list, format);
	fd = converse(f, format, list);
	va_end(list);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static void on_beat(uv_timer_t *timer)
{
	(void)timer;
}

bool fake_bluez_run(uv_loop_t *loop, unsigned ms, bool (*holds)(void *arg), void *arg)
{
	uv_timer_t limit, beat;
	bool late = false, held;

	uv_timer_init(loop, &limit);
	uv_timer_init(loop, &beat);
	limit.data = &late;
	uv_timer_start(&limit, on_time, ms, 0);
	/* What holds may come to hold outside of the loop. */
	uv_timer_start(&beat, on_beat, 10, 10);
	while (!(held = holds(arg)) && !late)
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&limit, NULL);
	uv_close((uv_handle_t *)&beat, NULL);
	/* Closed handles are this function's: the loop has to be done with them. */
	uv_run(loop, UV_RUN_NOWAIT);
	return held;
}
