#include "pne/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pan/bearer-local.h"

static const char usage[] =
	"usage: cpns-pne --entity ID --connect unix:/PATH|tcp:HOST:PORT --state DIR [option...]\n"
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
	"  --reset                       forget user and EUKey, keep the Temporary Key\n";

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
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static bool take_option(struct pne_options *s, int option)
{
	unsigned long number = 0;

	switch (option) {
	case OPTION_ENTITY:
		s->entity = optarg;
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
	default: /* OPTION_HELP, and what getopt does not know */
		return false;
	}
}

static bool take_all(struct pne_options *s, int argc, char **argv)
{
	int option;
	int index = 0;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (!take_option(s, option)) {
			if (option != '?' && option != OPTION_HELP)
				(void)fprintf(stderr, "cpns-pne: --%s: not a value it takes\n",
					      options[index].name);
			return false;
		}
	}
	if (optind != argc || !s->entity || !s->state)
		return false;
	if (s->fingerprint || s->reset)
		return !(s->fingerprint && s->reset) && !s->connect && !s->ui;
	return s->connect && s->ui == (s->user.text[0] != '\0');
}

bool pne_options_take(struct pne_options *o, int argc, char **argv)
{
	if (take_all(o, argc, argv))
		return true;
	(void)fputs(usage, stderr);
	return false;
}
