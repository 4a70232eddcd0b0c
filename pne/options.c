#include "pne/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/bearer-local.h"
#include <config.h>

static const char usage[] =
	"usage: cpns-pne --entity ID --connect unix:/PATH|tcp:HOST:PORT --state DIR [option...]\n"
	"       cpns-pne --entity ID --bearer bluez --state DIR [--gateway ADDRESS] [option...]\n"
	"       cpns-pne --entity ID --state DIR --fingerprint HEX\n"
	"       cpns-pne --entity ID --state DIR --reset\n"
	"\n"
	"  --count N                     run N PNEs, ID-1 to ID-N\n"
	"  --security LEVEL              what the PAN gives: none, encrypted or authenticated "
	"(none)\n"
	"  --secure-from LEVEL           least level that counts as secure (authenticated)\n"
	"  --temporary-key-file FILE     lines entity_id,form,temporary_key; burnt in at first "
	"start\n"
	"  --ui --user USER              Figure 5; the password is read from standard input\n"
	"  --once                        end with the first EUKey, or with Figure 5\n"
	"  --iterations-floor N          refuse fewer PBKDF2 iterations (100000)\n"
	"  --deadline SECONDS            of a request (30)\n"
	"  --fingerprint HEX             print ENTITY USER INDEX FINGERPRINT of the held EUKey\n"
	"  --reset                       forget user and EUKey, keep the Temporary Key\n"
	"\n"
	"  --bearer bluez                Bluetooth: wait for the PN GW, or connect to --gateway\n"
	"  --adapter NAME|ADDRESS        hci1, or the adapter's address (the first there is)\n"
	"  --name TEXT                   what others see\n"
	"  --le                          no BR/EDR: advertise over LE\n"
	"  --agent MODEL                 answer pairings as a device that can do no more than:\n"
	"                                just-works, display, yes-no, keyboard, keyboard-display\n"
	"  --pin PIN                     answer to a question for a PIN\n"
	"  --confirm yes|no|ask          answer to \"is it the same number?\" (yes); ask: "
	"answers,\n"
	"                                PINs and passkeys are lines on standard input\n"
	"\n"
	"  --help                        this text, and end\n";

static bool level_of(const char *text, enum pan_security *out)
{
	static const enum pan_security levels[] = {PAN_SECURITY_NONE, PAN_SECURITY_ENCRYPTED,
						   PAN_SECURITY_AUTHENTICATED};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(text, pan_security_name(levels[i])) == 0) {
			*out = levels[i];
			return true;
		}
	}
	return false;
}

static bool capability_of(const char *text, enum pairing_capability *out)
{
	static const char *const names[PAIRING_CAPABILITIES] = {
		[PAIRING_DISPLAY_ONLY] = "display",
		[PAIRING_DISPLAY_YES_NO] = "yes-no",
		[PAIRING_KEYBOARD_ONLY] = "keyboard",
		[PAIRING_NO_INPUT_NO_OUTPUT] = "just-works",
		[PAIRING_KEYBOARD_DISPLAY] = "keyboard-display",
	};

	for (size_t i = 0; i < PAIRING_CAPABILITIES; i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = (enum pairing_capability)i;
			return true;
		}
	}
	return false;
}

static bool confirm_of(const char *text, enum pne_confirm *out)
{
	if (strcmp(text, "yes") == 0)
		*out = PNE_CONFIRM_YES;
	else if (strcmp(text, "no") == 0)
		*out = PNE_CONFIRM_NO;
	else if (strcmp(text, "ask") == 0)
		*out = PNE_CONFIRM_ASK;
	else
		return false;
	return true;
}

static bool number_of(const char *text, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	if (text[0] < '0' || text[0] > '9')
		return false;
	*out = strtoul(text, &end, 10);
	return errno == 0 && *end == '\0' && *out > 0 && *out <= max;
}

enum option_id {
	OPTION_ENTITY = 1,
	OPTION_CONNECT,
	OPTION_STATE,
	OPTION_COUNT,
	OPTION_SECURITY,
	OPTION_SECURE_FROM,
	OPTION_TEMPORARY_KEY_FILE,
	OPTION_UI,
	OPTION_USER,
	OPTION_ONCE,
	OPTION_ITERATIONS_FLOOR,
	OPTION_DEADLINE,
	OPTION_FINGERPRINT,
	OPTION_RESET,
	OPTION_BEARER,
	OPTION_ADAPTER,
	OPTION_GATEWAY,
	OPTION_NAME,
	OPTION_LE,
	OPTION_AGENT,
	OPTION_PIN,
	OPTION_CONFIRM,
	OPTION_HELP,
};

static const struct option options[] = {
	{"entity", required_argument, NULL, OPTION_ENTITY},
	{"connect", required_argument, NULL, OPTION_CONNECT},
	{"state", required_argument, NULL, OPTION_STATE},
	{"count", required_argument, NULL, OPTION_COUNT},
	{"security", required_argument, NULL, OPTION_SECURITY},
	{"secure-from", required_argument, NULL, OPTION_SECURE_FROM},
	{"temporary-key-file", required_argument, NULL, OPTION_TEMPORARY_KEY_FILE},
	{"ui", no_argument, NULL, OPTION_UI},
	{"user", required_argument, NULL, OPTION_USER},
	{"once", no_argument, NULL, OPTION_ONCE},
	{"iterations-floor", required_argument, NULL, OPTION_ITERATIONS_FLOOR},
	{"deadline", required_argument, NULL, OPTION_DEADLINE},
	{"fingerprint", required_argument, NULL, OPTION_FINGERPRINT},
	{"reset", no_argument, NULL, OPTION_RESET},
	{"bearer", required_argument, NULL, OPTION_BEARER},
	{"adapter", required_argument, NULL, OPTION_ADAPTER},
	{"gateway", required_argument, NULL, OPTION_GATEWAY},
	{"name", required_argument, NULL, OPTION_NAME},
	{"le", no_argument, NULL, OPTION_LE},
	{"agent", required_argument, NULL, OPTION_AGENT},
	{"pin", required_argument, NULL, OPTION_PIN},
	{"confirm", required_argument, NULL, OPTION_CONFIRM},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* -1: none of Bluetooth's. */
static int take_bluetooth_option(struct pne_options *s, int option)
{
	struct pne_bluetooth_options *b = &s->bluetooth;

	switch (option) {
	case OPTION_BEARER:
		s->bluez = strcmp(optarg, "bluez") == 0;
		return s->bluez || strcmp(optarg, "local") == 0;
	case OPTION_ADAPTER:
		b->adapter = optarg;
		return true;
	case OPTION_GATEWAY:
		s->gateway = optarg;
		return bluetooth_address_valid(optarg);
	case OPTION_NAME:
		b->name = optarg;
		return true;
	case OPTION_LE:
		b->le = WITH_LE;
		if (!WITH_LE)
			(void)fputs("cpns-pne: --le: this was built with --disable-le\n", stderr);
		return WITH_LE;
	case OPTION_AGENT:
		b->agent = true;
		return capability_of(optarg, &b->capability);
	case OPTION_PIN:
		b->pin = optarg;
		return optarg[0] != '\0' && strlen(optarg) < PAIRING_PIN_SIZE;
	case OPTION_CONFIRM:
		return confirm_of(optarg, &b->confirm);
	default:
		return -1;
	}
}

static bool take_option(struct pne_options *s, int option)
{
	unsigned long number = 0;
	int taken = take_bluetooth_option(s, option);

	if (taken >= 0)
		return taken;
	switch (option) {
	case OPTION_ENTITY:
		s->entity = optarg;
		s->bluetooth.entity = optarg;
		return true;
	case OPTION_CONNECT:
		s->connect = optarg;
		return bearer_local_address_valid(optarg);
	case OPTION_STATE:
		s->state = optarg;
		return true;
	case OPTION_COUNT:
		return number_of(optarg, PNE_COUNT_MAX, &s->count);
	case OPTION_SECURITY:
		return level_of(optarg, &s->security);
	case OPTION_SECURE_FROM:
		return level_of(optarg, &s->secure_from);
	case OPTION_TEMPORARY_KEY_FILE:
		s->temporary_key_file = optarg;
		return true;
	case OPTION_UI:
		s->ui = true;
		return true;
	case OPTION_USER:
		return user_id_valid(bytes_text(optarg)) &&
		       name_set(&s->user, bytes_text(optarg)) == 0;
	case OPTION_ONCE:
		s->once = true;
		return true;
	case OPTION_ITERATIONS_FLOOR:
		if (!number_of(optarg, UINT32_MAX, &number))
			return false;
		s->floor = (uint32_t)number;
		return true;
	case OPTION_DEADLINE:
		if (!number_of(optarg, 86400, &number))
			return false;
		s->deadline_ms = number * 1000;
		return true;
	case OPTION_FINGERPRINT:
		s->fingerprint = optarg;
		return true;
	case OPTION_RESET:
		s->reset = true;
		return true;
	case OPTION_HELP:
		s->help = true;
		return true;
	default: /* what getopt does not know */
		return false;
	}
}

static bool take_all(struct pne_options *s, int argc, char **argv)
{
	int option;
	int index = 0;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (!take_option(s, option)) {
			if (option != '?')
				(void)fprintf(stderr, "cpns-pne: --%s: not a value it takes\n",
					      options[index].name);
			return false;
		}
	}
	if (s->help)
		return true;
	if (optind != argc || !s->entity || !s->state)
		return false;
	if (s->fingerprint || s->reset)
		return !(s->fingerprint && s->reset) && !s->connect && !s->ui && !s->bluez;
	if (s->bluez ? s->connect || s->count : s->gateway || !s->connect)
		return false;
	return s->ui == (s->user.text[0] != '\0');
}

bool pne_options_take(struct pne_options *o, int argc, char **argv)
{
	bool taken = take_all(o, argc, argv);

	if (!taken || o->help)
		(void)fputs(usage, taken ? stdout : stderr);
	return taken;
}
