/* A bridge is made, found again after a crash, removed; what is not ours is left alone. */

#include <check.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pan/bridge.h"

#define NAME    "pngw-test"
#define ADDRESS "192.168.77.1/24"

static void run(const char *command)
{
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* Whether an interface of that name is up and has the address. */
static bool serves(const char *name, in_addr_t address)
{
	struct ifaddrs *list;
	bool found = false;

	ck_assert_int_eq(getifaddrs(&list), 0);
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct sockaddr_in in;

		if (strcmp(i->ifa_name, name) != 0 || !i->ifa_addr ||
		    i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP))
			continue;
		memcpy(&in, i->ifa_addr, sizeof(in));
		found = found || ntohl(in.sin_addr.s_addr) == address;
	}
	freeifaddrs(list);
	return found;
}

START_TEST(test_names)
{
	ck_assert(bridge_name_valid("pngw0"));
	ck_assert(bridge_name_valid("123456789012345"));
	ck_assert(!bridge_name_valid("1234567890123456"));
	ck_assert(!bridge_name_valid(""));
	ck_assert(!bridge_name_valid(".."));
	ck_assert(!bridge_name_valid("a b"));
	ck_assert(!bridge_name_valid("a/b"));
	ck_assert(bridge_address_valid("192.168.44.1/24"));
	ck_assert(bridge_address_valid("10.0.0.1/30"));
	ck_assert(!bridge_address_valid("192.168.44.1"));
	ck_assert(!bridge_address_valid("192.168.44.1/"));
	ck_assert(!bridge_address_valid("192.168.44.1/31"));
	ck_assert(!bridge_address_valid("192.168.44.1/7"));
	ck_assert(!bridge_address_valid("192.168.44.1/24x"));
	ck_assert(!bridge_address_valid("192.168.44.0/24"));
	ck_assert(!bridge_address_valid("192.168.44.255/24"));
	ck_assert(!bridge_address_valid("127.0.0.1/8"));
	ck_assert(!bridge_address_valid("224.0.0.1/24"));
	ck_assert(!bridge_address_valid("host/24"));
	ck_assert(!bridge_address_valid("fe80::1/24"));
}
END_TEST

START_TEST(test_made_and_removed)
{
	struct bridge *b = NULL;

	ck_assert_int_eq(bridge_make("a b", ADDRESS, &b), -EINVAL);
	ck_assert_int_eq(bridge_make(NAME, "1.2.3.4", &b), -EINVAL);
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), 0);
	ck_assert(serves(NAME, 0xc0a84d01));
	bridge_remove(b);
	ck_assert_uint_eq(if_nametoindex(NAME), 0);
	bridge_remove(NULL);
}
END_TEST

START_TEST(test_one_at_a_time)
{
	struct bridge *b = NULL, *other = NULL;

	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), 0);
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &other), -EADDRINUSE);
	ck_assert_ptr_null(other);
	ck_assert(serves(NAME, 0xc0a84d01));
	bridge_remove(b);
}
END_TEST

START_TEST(test_left_over)
{
	unsigned index;
	struct bridge *b = NULL;
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(bridge_make(NAME, "192.168.78.1/24", &b) == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	index = if_nametoindex(NAME);
	ck_assert_uint_ne(index, 0);
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), 0);
	ck_assert_uint_ne(if_nametoindex(NAME), index);
	ck_assert(serves(NAME, 0xc0a84d01));
	ck_assert(!serves(NAME, 0xc0a84e01));
	bridge_remove(b);
	ck_assert_uint_eq(if_nametoindex(NAME), 0);
}
END_TEST

START_TEST(test_somebody_elses)
{
	struct bridge *b = NULL;
	unsigned index;

	run("ip link add " NAME " type bridge");
	index = if_nametoindex(NAME);
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), -EEXIST);
	run("ip link set " NAME " alias pngw2");
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), -EEXIST);
	ck_assert_ptr_null(b);
	ck_assert_uint_eq(if_nametoindex(NAME), index);
	run("ip link del " NAME);
	ck_assert_int_eq(bridge_make("lo", ADDRESS, &b), -EEXIST);

	/* One that was ours, and is another's now. */
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), 0);
	run("ip link del " NAME " && ip link add " NAME " type bridge");
	index = if_nametoindex(NAME);
	bridge_remove(b);
	ck_assert_uint_eq(if_nametoindex(NAME), index);
	run("ip link del " NAME);
}
END_TEST

START_TEST(test_not_permitted)
{
	struct bridge *b = NULL;

	if (getuid() == 0)
		ck_assert_int_eq(setuid(65534), 0);
	ck_assert_int_eq(bridge_make(NAME, ADDRESS, &b), -EPERM);
	ck_assert_ptr_null(b);
	ck_assert_uint_eq(if_nametoindex(NAME), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bridge");
	TCase *names = tcase_create("names"), *kernel = tcase_create("kernel");
	SRunner *runner;
	struct bridge *b = NULL;
	int failed, r;

	tcase_add_test(names, test_names);
	suite_add_tcase(suite, names);
	if (unshare(CLONE_NEWNET) == 0) {
		r = bridge_make(NAME, ADDRESS, &b);
		if (r == -EOPNOTSUPP) {
			(void)puts("this kernel has no bridges: only the names are tested");
		} else {
			bridge_remove(b);
			tcase_add_test(kernel, test_made_and_removed);
			tcase_add_test(kernel, test_one_at_a_time);
			tcase_add_test(kernel, test_left_over);
			tcase_add_test(kernel, test_somebody_elses);
			tcase_add_test(kernel, test_not_permitted);
		}
	} else {
		(void)puts("no network namespace: only the names are tested");
	}
	suite_add_tcase(suite, kernel);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
