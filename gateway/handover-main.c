/* pngw-handover: hands a PN GW over from one box to another, while pngwd does not run. */

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "gateway/handover-tool.h"
#include "protocol/process.h"

#define NOT_GOOD 1

static const char usage_text[] =
	"Usage: pngw-handover --config FILE COMMAND\n"
	"\n"
	"  give FILE   at the old box: puts vault, ledger, Bluetooth bonds, settings and\n"
	"              credentials into FILE, shows the transfer code that opens it, and pngwd\n"
	"              does not start here any more\n"
	"  back        undoes that, if the other box has not come up yet\n"
	"  take FILE   at the new box: proves all of it, then puts it in its place\n"
	"  finish      where a power cut has interrupted take\n"
	"\n"
	"  --drill           with take: only prove that it could be done\n"
	"  --settings        with take: the settings are those of FILE, and are written to "
	"--config\n"
	"  --adapter ADDRESS the Bluetooth adapter that this box will have, where it has none yet\n"
	"  --pair-again      with take: without the bonds, where the adapter is another\n"
	"  --help            this text, and end\n"
	"\n"
	"The transfer code is read from the terminal or from standard input. pngwd, and for take\n"
	"bluetooth too, must not run.\n"
	"Exit: 0 done or good, 1 refused or not good, 64 wrong usage\n";

int handover_say(struct handover_tool *t, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(t->why, sizeof(t->why), format, ap);
	va_end(ap);
	return r;
}

static uid_t self;
static gid_t own_group;

/* The keys may be credentials, which systemd shows to root alone, who was called. Where that right
 * is not to be had, opening the vault says so. */
static void go_on_reading(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, sets) < 0)
		return;
	sets[CAP_TO_INDEX(CAP_DAC_READ_SEARCH)].effective |= CAP_TO_MASK(CAP_DAC_READ_SEARCH);
	(void)syscall(SYS_capset, &header, sets);
}

int handover_become_owner(struct handover_tool *t)
{
	if (self != 0 || t->owner == 0)
		return 0;
	if (setegid(t->group) < 0 || seteuid(t->owner) < 0) {
		const int r = -errno;

		handover_become_self();
		return handover_say(t, r, "becoming the vault's owner: %s", strerror(-r));
	}
	go_on_reading();
	return 0;
}

void handover_become_self(void)
{
	if (geteuid() != self && seteuid(self) < 0)
		abort();
	if (getegid() != own_group && setegid(own_group) < 0)
		abort();
}

int handover_set_places(struct handover_tool *t)
{
	char folder[CONFIG_TEXT_MAX];
	struct stat st;

	(void)snprintf(t->stage, sizeof(t->stage), "%s.take", t->config.vault_path);
	(void)snprintf(t->plan, sizeof(t->plan), "%s.take.plan", t->config.vault_path);
	(void)snprintf(folder, sizeof(folder), "%s", t->config.vault_path);
	if (stat(dirname(folder), &st) < 0)
		return handover_say(t, -errno, "the folder of %s: %s", t->config.vault_path,
				    strerror(errno));
	t->owner = st.st_uid;
	t->group = st.st_gid;
	return 0;
}

static int usage(const char *what, const char *detail)
{
	(void)fprintf(stderr, "pngw-handover: %s%s%s\n%s", what, detail ? ": " : "",
		      detail ? detail : "", usage_text);
	return EX_USAGE;
}

/* One line, straight into secret memory, not shown by a terminal. */
static int read_code(struct handover_tool *t)
{
	SCOPED_SECRET *line = secret_new(SECRET_MAX_SIZE);
	struct termios before, quiet;
	const bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
	size_t size = 0;
	ssize_t n = 1;

	if (!line)
		return handover_say(t, -ENOMEM, "out of memory");
	if (terminal) {
		(void)fputs("Transfer code: ", stderr);
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	while (size < SECRET_MAX_SIZE) {
		n = read(STDIN_FILENO, secret_buffer(line) + size, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || secret_buffer(line)[size] == '\n')
			break;
		size++;
	}
	if (terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)fputc('\n', stderr);
	}
	return handover_code_parse(bytes_of(secret_buffer(line), size), &t->code, t->why,
				   sizeof(t->why));
}

static int take(struct handover_tool *t)
{
	int r = read_code(t);

	return r == 0 ? handover_take(t) : r;
}

static int finish(struct handover_tool *t)
{
	int r = access(t->plan, F_OK) == 0 ? handover_bonds_idle(t) : 0;

	if (r == 0)
		r = handover_finish(t);
	if (r == 0)
		(void)puts("Everything is in its place: start bluetooth, then pngwd.");
	return r;
}

static const struct command {
	const char *name;
	bool file;
	int (*run)(struct handover_tool *t);
} commands[] = {
	{"give", true, handover_give},
	{"back", false, handover_back},
	{"take", true, take},
	{"finish", false, finish},
};

static int run(struct handover_tool *t, const struct command *c)
{
	int r = 0;

	if (!t->settings)
		r = gateway_config_load(t->config_file, &t->config, t->why, sizeof(t->why));
	if (r == 0 && !t->settings)
		r = handover_set_places(t);
	if (r == 0)
		r = c->run(t);
	secret_unref(t->code);
	if (r == 0)
		return fflush(stdout) == 0 ? 0 : NOT_GOOD;
	(void)fprintf(stderr, "pngw-handover: %s\n",
		      t->why[0] ? t->why : strerror(r < 0 ? -r : EIO));
	return NOT_GOOD;
}

enum {
	OPTION_CONFIG = 256,
	OPTION_DRILL,
	OPTION_SETTINGS,
	OPTION_ADAPTER,
	OPTION_PAIR,
	OPTION_HELP
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, OPTION_CONFIG},
	{"drill", no_argument, NULL, OPTION_DRILL},
	{"settings", no_argument, NULL, OPTION_SETTINGS},
	{"adapter", required_argument, NULL, OPTION_ADAPTER},
	{"pair-again", no_argument, NULL, OPTION_PAIR},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* false: usage. */
static bool take_option(struct handover_tool *t, int option)
{
	switch (option) {
	case OPTION_CONFIG:
		t->config_file = optarg;
		return true;
	case OPTION_DRILL:
		t->drill = true;
		return true;
	case OPTION_SETTINGS:
		t->settings = true;
		return true;
	case OPTION_ADAPTER:
		t->adapter = optarg;
		return true;
	case OPTION_PAIR:
		t->pair_again = true;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static struct handover_tool t;
	int option;

	process_keep_secrets();
	self = geteuid();
	own_group = getegid();
	(void)umask(077);
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h' || option == OPTION_HELP)
			return fputs(usage_text, stdout) < 0 ? NOT_GOOD : 0;
		if (!take_option(&t, option))
			return usage("wrong options", NULL);
	}
	if (optind == argc)
		return usage("no command", NULL);
	if (!t.config_file)
		return usage("--config is needed", NULL);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];
		const bool takes = strcmp(c->name, "take") == 0;

		if (strcmp(argv[optind], c->name) != 0)
			continue;
		if (argc - optind - 1 != c->file)
			return usage(c->file ? "the command takes one argument"
					     : "the command takes no argument",
				     NULL);
		if (!takes && (t.drill || t.settings || t.adapter || t.pair_again))
			return usage("these options are those of take", NULL);
		if (c->file)
			t.file = argv[optind + 1];
		return run(&t, c);
	}
	return usage("no such command", argv[optind]);
}
