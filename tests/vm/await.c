/*
 * In the machine: waits, as one process, for each that is started costs much there. Fails after
 * SECONDS.
 *
 *   vm-await said UNIT TEXT SECONDS [COUNT]  until the journal of the unit, as it runs now, has
 * that many lines with the text (1); prints the last of them vm-await radio N SECONDS until
 * controller N is there and BlueZ says that it is powered
 */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS   50
#define REOPEN_MS 1000

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void rest(void)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

	nanosleep(&pause, NULL);
}

static int open_journal(const char *unit, const char *invocation, sd_journal **out)
{
	char match[2][PATH_MAX];

	snprintf(match[0], sizeof(match[0]), "_SYSTEMD_UNIT=%s.service", unit);
	snprintf(match[1], sizeof(match[1]), "_SYSTEMD_INVOCATION_ID=%s", invocation);
	return sd_journal_open(out, SD_JOURNAL_LOCAL_ONLY) < 0 ||
	       sd_journal_add_match(*out, match[0], 0) < 0 ||
	       sd_journal_add_match(*out, match[1], 0) < 0;
}

/* Whether it has the text count times from here on; prints the last of them. */
static int has(sd_journal *journal, const char *text, int *count)
{
	static const char field[] = "MESSAGE=";
	const void *data;
	size_t length;

	while (sd_journal_next(journal) > 0) {
		if (sd_journal_get_data(journal, "MESSAGE", &data, &length) < 0)
			continue;
		data = (const char *)data + sizeof(field) - 1;
		length -= sizeof(field) - 1;
		if (memmem(data, length, text, strlen(text)) && --*count == 0) {
			printf("%.*s\n", (int)length, (const char *)data);
			return 1;
		}
	}
	return 0;
}

static int said(const char *unit, const char *text, int64_t until, int count)
{
	char path[PATH_MAX], invocation[64];
	sd_journal *journal = NULL;
	int64_t opened = 0;
	int missing = count;
	ssize_t size;

	/* systemd has it there for journald. */
	snprintf(path, sizeof(path), "/run/systemd/units/invocation:%s.service", unit);
	while ((size = readlink(path, invocation, sizeof(invocation) - 1)) < 0) {
		if (now_ms() >= until)
			return 1;
		rest();
	}
	invocation[size] = '\0';
	for (;;) {
		/* journald counts an entry before it can be found by its fields: who looks in
		 * between never sees it with what is open. */
		if (!journal || now_ms() - opened >= REOPEN_MS) {
			sd_journal_close(journal);
			if (open_journal(unit, invocation, &journal) != 0)
				return 1;
			opened = now_ms();
			missing = count;
		}
		if (has(journal, text, &missing))
			return 0;
		if (now_ms() >= until || sd_journal_wait(journal, POLL_MS * 1000) < 0)
			return 1;
	}
}

static int is_powered(const char *name)
{
	sd_bus *bus = NULL;
	char path[64];
	int powered = 0;

	snprintf(path, sizeof(path), "/org/bluez/%s", name);
	if (sd_bus_open_system(&bus) >= 0 &&
	    sd_bus_get_property_trivial(bus, "org.bluez", path, "org.bluez.Adapter1", "Powered",
					NULL, 'b', &powered) < 0)
		powered = 0;
	sd_bus_flush_close_unref(bus);
	return powered;
}

/* The file is what the program "radio" says: the controller's name. */
static int radio(const char *number, int64_t until)
{
	char path[PATH_MAX], name[32];

	snprintf(path, sizeof(path), "/run/radio%s", number);
	while (now_ms() < until) {
		FILE *file = fopen(path, "r");
		int there = file && fgets(name, sizeof(name), file) && strchr(name, '\n');

		if (file)
			fclose(file);
		if (there) {
			name[strcspn(name, "\n")] = '\0';
			if (is_powered(name))
				return 0;
		}
		rest();
	}
	return 1;
}

int main(int argc, char **argv)
{
	int64_t now = now_ms();

	if ((argc == 5 || argc == 6) && strcmp(argv[1], "said") == 0)
		return said(argv[2], argv[3], now + atoi(argv[4]) * 1000,
			    argc == 6 ? atoi(argv[5]) : 1);
	if (argc == 4 && strcmp(argv[1], "radio") == 0)
		return radio(argv[2], now + atoi(argv[3]) * 1000);
	fprintf(stderr, "vm-await said UNIT TEXT SECONDS [COUNT] | radio N SECONDS\n");
	return 2;
}
