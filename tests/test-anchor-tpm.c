#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include "storage/vault.h"

/* A vault's anchor in a TPM: swtpm, a whole one in software, with its state in a folder. */

static char directory[64];
static char path[128];
static char key_file[128];
static char anchor[192];
static char why[512];
static unsigned port;
static pid_t swtpm;
static time_t later; /* by so many seconds the clock is ahead */
static const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = key_file};

/* The library whose name begins so, and what is loaded in its place. */
static const char *missing, *instead;

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
void *__real_dlopen(const char *file, int mode);
void *__wrap_dlopen(const char *file, int mode);

void *__wrap_dlopen(const char *file, int mode)
{
	if (missing && file && strncmp(file, missing, strlen(missing)) == 0)
		file = instead;
	return __real_dlopen(file, mode);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	int r = __real_clock_gettime(clock, out);

	out->tv_sec += later;
	return r;
}

static bool reachable(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(port + 1))};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool up;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	up = connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;
	close(fd);
	return up;
}

static void start_on_port(void)
{
	char state[128], server[64], control[64];
	int log;

	snprintf(state, sizeof(state), "dir=%s/tpm", directory);
	snprintf(server, sizeof(server), "type=tcp,port=%u,bindaddr=127.0.0.1", port);
	snprintf(control, sizeof(control), "type=tcp,port=%u,bindaddr=127.0.0.1", port + 1);
	swtpm = fork();
	if (swtpm != 0)
		return;
	log = open("/dev/null", O_WRONLY);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server,
	       "--ctrl", control, "--flags", "not-need-init,startup-clear", (char *)NULL);
	_exit(127);
}

static void start(void)
{
	for (int i = 0; i < 20; i++) {
		int status;

		port = port ? port : 20000 + 2 * ((unsigned)getpid() % 5000);
		start_on_port();
		for (int wait = 0; wait < 200; wait++) {
			usleep(20000);
			if (waitpid(swtpm, &status, WNOHANG) == swtpm)
				break;
			if (reachable())
				return;
		}
		port += 2;
	}
	ck_abort_msg("swtpm does not start");
}

static void stop(void)
{
	int status;

	if (swtpm <= 0)
		return;
	kill(swtpm, SIGTERM);
	waitpid(swtpm, &status, 0);
	swtpm = 0;
}

static __attribute__((format(printf, 1, 2))) void shell(const char *format, ...)
{
	char command[512];
	va_list list;

	va_start(list, format);
	vsnprintf(command, sizeof(command), format, list);
	va_end(list);
	ck_assert_msg(system(command) == 0, "%s", command);
}

static void setup(void)
{
	strcpy(directory, "/tmp/test-tpm-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/vault", directory);
	snprintf(key_file, sizeof(key_file), "%s/key", directory);
	shell("mkdir %s/tpm %s/kept", directory, directory);
	start();
	snprintf(anchor, sizeof(anchor), "tpm:0x01500020,swtpm:host=127.0.0.1,port=%u", port);
}

static void teardown(void)
{
	stop();
	shell("rm -rf %s", directory);
	ck_assert_uint_eq(secret_count(), 0);
}

static int try_open(struct vault **v)
{
	struct vault_options options = {.path = path,
					.openers = &opener,
					.opener_count = 1,
					.create = true,
					.anchor = anchor};

	strcpy(why, "-");
	return vault_open(&options, v, why, sizeof(why));
}

static struct vault *open_vault(void)
{
	struct vault *v = NULL;
	int r = try_open(&v);

	ck_assert_msg(r == 0, "vault_open: %d %s", r, why);
	return v;
}

static void tell(struct vault *v, enum ledger_event event, uint32_t index)
{
	struct vault_batch *b = vault_batch_new();
	struct ledger_fact f = {
		.event = event, .figure = 7, .entity = bytes_text("pne-1"), .key_index = index};

	vault_batch_ledger(b, &f);
	ck_assert_int_eq(vault_submit(v, b, NULL, NULL), 0);
	ck_assert_uint_eq(vault_flush(v), 1);
}

static uint32_t sequence_of(const struct vault *v)
{
	struct ledger_state s;

	vault_ledger_state(v, &s);
	return s.sequence;
}

START_TEST(test_rollback)
{
	struct vault *v = open_vault();
	const struct vault_rollback *back;
	const char *with = "";

	tell(v, LEDGER_ISSUED, 1);
	ck_assert_int_eq(vault_ledger_trouble(v, &with), 0);
	vault_close(v);
	shell("cp -p %s/vault* %s/kept", directory, directory);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	tell(v, LEDGER_SPENT, 1);
	vault_close(v);
	/* The TPM is switched off in between. */
	stop();
	start();
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	vault_close(v);
	shell("cp -p %s/kept/* %s", directory, directory);
	for (int i = 0; i < 2; i++) {
		v = open_vault();
		back = vault_rollback(v);
		ck_assert_ptr_nonnull(back);
		ck_assert_uint_eq(back->own, 2);
		ck_assert_uint_eq(back->known, 3);
		ck_assert_str_eq(back->who, "anchor");
		if (i == 1)
			tell(v, LEDGER_ROLLED_BACK, 0);
		vault_close(v);
	}
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	ck_assert_uint_eq(sequence_of(v), 4);
	vault_close(v);
}
END_TEST

/* It is not written at each commit, so after a crash it may be behind. */
START_TEST(test_seldom)
{
	struct vault *v;
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (try_open(&v) != 0)
			_exit(1);
		tell(v, LEDGER_ISSUED, 1);
		shell("cp -p %s/vault* %s/kept", directory, directory);
		tell(v, LEDGER_SPENT, 1);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	/* So this is not seen, */
	shell("cp -p %s/kept/* %s", directory, directory);
	v = open_vault();
	ck_assert_ptr_null(vault_rollback(v));
	ck_assert_uint_eq(sequence_of(v), 2);
	tell(v, LEDGER_SPENT, 1);
	vault_close(v);
	/* and after a good close it is. */
	shell("cp -p %s/kept/* %s", directory, directory);
	v = open_vault();
	ck_assert_ptr_nonnull(vault_rollback(v));
	vault_close(v);
}
END_TEST

/* Nor longer behind than an hour and a quiet moment, even where nothing more is told. */
START_TEST(test_catches_up)
{
	struct vault *v;
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (try_open(&v) != 0)
			_exit(1);
		tell(v, LEDGER_ISSUED, 1);
		shell("cp -p %s/vault* %s/kept", directory, directory);
		tell(v, LEDGER_SPENT, 1);
		later = 3601;
		(void)vault_scrub(v);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	shell("cp -p %s/kept/* %s", directory, directory);
	v = open_vault();
	ck_assert_ptr_nonnull(vault_rollback(v));
	vault_close(v);
}
END_TEST

START_TEST(test_gone)
{
	struct vault *v = open_vault();

	tell(v, LEDGER_ISSUED, 1);
	vault_close(v);
	stop();
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "No such device"));
	shell("rm -rf %s/tpm && mkdir %s/tpm", directory, directory);
	start();
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_ptr_nonnull(strstr(why, "it is gone"));
	anchor[0] = '\0';
	v = open_vault();
	vault_close(v);
	snprintf(anchor, sizeof(anchor), "tpm:0x01500020,swtpm:host=127.0.0.1,port=%u", port);
	v = open_vault();
	vault_close(v);
	/* It is back. */
	v = open_vault();
	vault_close(v);
}
END_TEST

/* Another vault can neither read nor write this one's index. */
START_TEST(test_another_vault)
{
	struct vault *v = open_vault();

	tell(v, LEDGER_ISSUED, 1);
	vault_close(v);
	shell("rm %s/vault* %s/key", directory, directory);
	ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
	ck_assert_msg(strstr(why, "of another vault") != NULL, "%s", why);
	snprintf(anchor, sizeof(anchor), "tpm:0x01500021,swtpm:host=127.0.0.1,port=%u", port);
	v = open_vault();
	tell(v, LEDGER_ISSUED, 1);
	vault_close(v);
}
END_TEST

START_TEST(test_specification)
{
	static const char *const bad[] = {"tpm:", "tpm:x", "tpm:0x81000000", "tpm:0x01500020x"};
	struct vault *v = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(anchor, sizeof(anchor), "%s", bad[i]);
		ck_assert_int_eq(try_open(&v), VAULT_ANCHOR);
		ck_assert_ptr_nonnull(strstr(why, "not the handle"));
	}
}
END_TEST

static bool is_refused(const char *said)
{
	struct vault *v = NULL;
	int r = try_open(&v);
	bool right = r == VAULT_ANCHOR && !v && strstr(why, "anchor tpm:0x01500020") &&
		     strstr(why, ": no tpm2-tss here: ") && strstr(why, said);

	if (!right)
		(void)fprintf(stderr, "%d: %s\n", r, why);
	return right;
}

/*
 * A box without tpm2-tss, or with one of which something is missing: a sentence that names it, and
 * nothing is in the way once it is there. Each in a process of its own, for the libraries are
 * looked for once.
 */
START_TEST(test_no_libraries)
{
	static const struct {
		const char *missing, *instead, *said;
	} rows[] = {
		{"libtss2-esys", "libtss2-esys-of-nobody.so.0",
		 "libtss2-esys-of-nobody.so.0: cannot open shared object file"},
		{"libtss2-tctildr", "libtss2-tctildr-of-nobody.so.0",
		 "libtss2-tctildr-of-nobody.so.0: cannot open shared object file"},
		{"libtss2-esys", "libc.so.6", "undefined symbol: Esys_Finalize"},
		{"libtss2-tctildr", "libc.so.6", "undefined symbol: Tss2_TctiLdr_Finalize"},
	};
	struct vault *v = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			missing = rows[i].missing;
			instead = rows[i].instead;
			/* The first time and again. */
			_exit(is_refused(rows[i].said) && is_refused(rows[i].said) ? 0 : 1);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %d", rows[i].said,
			      status);
	}
	v = open_vault();
	tell(v, LEDGER_ISSUED, 1);
	vault_close(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("anchor-tpm");
	TCase *t = tcase_create("anchor-tpm");
	SRunner *r;
	int failed;

	if (system("command -v swtpm >/dev/null") != 0) {
		puts("swtpm is not installed");
		return 77;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	/* First: where tests share a process, the libraries are there after another one. */
	tcase_add_test(t, test_no_libraries);
	tcase_add_test(t, test_rollback);
	tcase_add_test(t, test_seldom);
	tcase_add_test(t, test_catches_up);
	tcase_add_test(t, test_gone);
	tcase_add_test(t, test_another_vault);
	tcase_add_test(t, test_specification);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
