#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "pan/bearer-local.h"
#include "pne/device.h"
#include "protocol/p1.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_LATER = 2, EXIT_USAGE = 64 };

#define COUNT_MAX     4096U
#define PATH_SIZE     4096
#define CHALLENGE_MAX 64
#define SEPARATOR     ','

struct settings {
	const char *entity, *connect, *state, *temporary_key_file, *fingerprint;
	struct name user;
	unsigned long count;
	bool ui, once, reset;
	enum pan_security security, secure_from;
	uint32_t floor;
	uint64_t deadline_ms;
};

struct pne {
	struct name entity;
	struct secret *temporary_key;
	char vault[PATH_SIZE], key[PATH_SIZE];
	struct pne_device *device;
	bool finished;
};

struct app {
	struct settings settings;
	uv_loop_t loop;
	uv_signal_t signals[2];
	struct pne *pnes;
	size_t count, unfinished;
	int result;
	bool stopping;
};

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

/* One line, one write(2), so that lines of several processes do not mix in a pipe. */
static void write_line(void *arg, const char *text)
{
	char line[1100];
	int size = snprintf(line, sizeof(line), "%s\n", text);

	(void)arg;
	if (size < 0)
		return;
	if ((size_t)size >= sizeof(line)) {
		size = sizeof(line) - 1;
		line[size - 1] = '\n';
	}
	if (write(STDERR_FILENO, line, (size_t)size) < 0)
		return;
}

static void complain(const char *who, const char *what, const char *detail)
{
	char line[512];

	(void)snprintf(line, sizeof(line), "PNE %s: error: %s%s%s", who, what, detail ? ": " : "",
		       detail ? detail : "");
	write_line(NULL, line);
}

/* Secrets that come in: a line at a time, by read(2), into locked memory. */

/*
 * 0 and *out without its line end; -ENODATA at the end of the input; -EMSGSIZE for a line that is
 * too long; another negative errno.
 */
static int read_secret_line(int fd, struct secret **out)
{
	SCOPED_SECRET *line = secret_new(SECRET_MAX_SIZE);
	size_t size = 0;

	if (!line)
		return -ENOMEM;
	for (;;) {
		uint8_t *at = secret_buffer(line) + size;
		ssize_t r = read(fd, at, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0 && size == 0)
			return -ENODATA;
		if (r == 0 || *at == '\n')
			break;
		if (++size == SECRET_MAX_SIZE)
			return -EMSGSIZE;
	}
	if (size > 0 && secret_buffer(line)[size - 1] == '\r')
		size--;
	*out = secret_copy(bytes_of(secret_buffer(line), size ? size : 1));
	if (!*out)
		return -ENOMEM;
	if (size == 0)
		secret_buffer(*out)[0] = '\0';
	return 0;
}

static struct termios before;

static void interrupted(int number)
{
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	_exit(128 + number);
}

static int read_password(struct secret **out)
{
	struct termios quiet;
	bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
	int r;

	if (terminal) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)signal(SIGINT, interrupted);
		(void)signal(SIGTERM, interrupted);
		if (write(STDERR_FILENO, "Password: ", 10) < 0 ||
		    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
			return -errno;
	}
	r = read_secret_line(STDIN_FILENO, out);
	if (terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)signal(SIGINT, SIG_DFL);
		(void)signal(SIGTERM, SIG_DFL);
		write_line(NULL, "");
	}
	return r;
}

/* The field up to the next separator, which *rest is moved behind. */
static struct bytes next_field(struct bytes *rest)
{
	const uint8_t *end = memchr(rest->data, SEPARATOR, rest->size);
	struct bytes field = *rest;

	if (!end) {
		*rest = BYTES_NONE;
		return field;
	}
	field.size = (size_t)(end - rest->data);
	*rest = bytes_of(end + 1, rest->size - field.size - 1);
	return field;
}

/* A CSV field without its quotes. -EINVAL for a quote that is not closed or not doubled. */
static int unquote(struct bytes field, struct secret **out)
{
	SCOPED_SECRET *value = NULL;
	size_t size = 0;

	if (field.size == 0)
		return -EINVAL;
	value = secret_new(field.size);
	if (!value)
		return -ENOMEM;
	if (field.data[0] != '"') {
		*out = secret_copy(field);
		return *out ? 0 : -ENOMEM;
	}
	if (field.size < 3 || field.data[field.size - 1] != '"')
		return -EINVAL;
	for (size_t i = 1; i < field.size - 1; i++) {
		if (field.data[i] == '"' && field.data[++i] != '"')
			return -EINVAL;
		if (i == field.size - 1)
			return -EINVAL;
		secret_buffer(value)[size++] = field.data[i];
	}
	*out = secret_copy(bytes_of(secret_bytes(value).data, size));
	return *out ? 0 : -ENOMEM;
}

static int temporary_key_of(struct bytes form, const struct secret *text, struct bytes entity,
			    struct secret **out)
{
	SCOPED_SECRET *key = NULL;
	size_t size;

	if (bytes_equal(form, bytes_text("passphrase")))
		return p1_stretch_temporary_key(text, entity, out);
	if (!bytes_equal(form, bytes_text("hex")))
		return -EINVAL;
	key = secret_new(P1_TEMPORARY_KEY_MAX);
	if (!key)
		return -ENOMEM;
	if (hex_decode(secret_bytes(text), secret_buffer(key), P1_TEMPORARY_KEY_MAX, &size) < 0 ||
	    size < P1_TEMPORARY_KEY_MIN)
		return -EINVAL;
	*out = secret_copy(bytes_of(secret_bytes(key).data, size));
	return *out ? 0 : -ENOMEM;
}

static struct pne *pne_named(struct app *app, struct bytes entity)
{
	for (size_t i = 0; i < app->count; i++) {
		if (bytes_equal(entity, name_bytes(&app->pnes[i].entity)))
			return &app->pnes[i];
	}
	return NULL;
}

static int take_temporary_key(struct app *app, const struct secret *line)
{
	struct bytes rest = secret_bytes(line);
	struct bytes entity;
	struct bytes form;
	struct pne *pne;
	SCOPED_SECRET *text = NULL;
	int r;

	if (rest.data[0] == '\0' || rest.data[0] == '#')
		return 0;
	entity = next_field(&rest);
	pne = rest.data ? pne_named(app, entity) : NULL;
	if (!rest.data)
		return -EINVAL;
	if (!pne)
		return 0;
	form = next_field(&rest);
	if (!rest.data || pne->temporary_key)
		return -EINVAL;
	r = unquote(rest, &text);
	return r < 0 ? r : temporary_key_of(form, text, entity, &pne->temporary_key);
}

static int read_temporary_keys(struct app *app)
{
	const char *path = app->settings.temporary_key_file;
	struct stat st;
	char where[64];
	unsigned number = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		complain(app->settings.entity, "the Temporary Key file cannot be read",
			 strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return EXIT_USAGE;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		complain(app->settings.entity,
			 "the Temporary Key file must be a file that nobody else can read (0600)",
			 NULL);
		(void)close(fd);
		return EXIT_USAGE;
	}
	while (r == 0) {
		SCOPED_SECRET *line = NULL;

		number++;
		r = read_secret_line(fd, &line);
		if (r == 0)
			r = take_temporary_key(app, line);
	}
	(void)close(fd);
	if (r == -ENODATA)
		return EXIT_DONE;
	(void)snprintf(where, sizeof(where), "line %u: %s", number, strerror(-r));
	complain(app->settings.entity, "the Temporary Key file is not right", where);
	return EXIT_USAGE;
}

/* Names and files. */

static int make_pnes(struct app *app)
{
	const struct settings *s = &app->settings;

	app->count = s->count ? s->count : 1;
	app->pnes = calloc(app->count, sizeof(*app->pnes));
	if (!app->pnes)
		return -ENOMEM;
	for (size_t i = 0; i < app->count; i++) {
		struct pne *p = &app->pnes[i];
		char entity[2 * NAME_MAX_SIZE];
		int size;

		if (s->count)
			size = snprintf(entity, sizeof(entity), "%s-%zu", s->entity, i + 1);
		else
			size = snprintf(entity, sizeof(entity), "%s", s->entity);
		if (size < 0 || (size_t)size >= sizeof(entity) ||
		    !entity_id_valid(bytes_text(entity)) ||
		    name_set(&p->entity, bytes_text(entity)) < 0)
			return -EINVAL;
		size = snprintf(p->vault, sizeof(p->vault), "%s/%s.vault", s->state, entity);
		if (size < 0 || (size_t)size >= sizeof(p->vault))
			return -ENAMETOOLONG;
		(void)snprintf(p->key, sizeof(p->key), "%s/%s.key", s->state, entity);
	}
	return 0;
}

static int exit_of_open(int r)
{
	return r == VAULT_LOCKED || r == -ENOSPC || r == -ENOMEM ? EXIT_LATER : EXIT_REFUSED;
}

/* Without a loop: --fingerprint and --reset. */

static uint64_t offline_now(void *arg)
{
	(void)arg;
	return 0;
}

static void offline_timer(void *arg, enum figure figure, uint64_t ms)
{
	(void)arg;
	(void)figure;
	(void)ms;
}

static int print_fingerprint(const struct pne *p, const struct pne_core *core, const char *hex)
{
	uint8_t challenge[CHALLENGE_MAX];
	uint8_t fingerprint[P1_FINGERPRINT_SIZE];
	char text[2 * P1_FINGERPRINT_SIZE + 1];
	struct name user;
	uint32_t key_index;
	size_t size;
	int r;

	if (hex_decode(bytes_text(hex), challenge, sizeof(challenge), &size) < 0 || size == 0) {
		complain(p->entity.text, "the challenge must be 1 to 64 bytes in hex", NULL);
		return EXIT_USAGE;
	}
	r = pne_core_fingerprint(core, bytes_of(challenge, size), &user, &key_index, fingerprint);
	if (r < 0) {
		complain(p->entity.text,
			 r == -ENOENT ? "holds no EUKey" : "the fingerprint cannot be made", NULL);
		return EXIT_REFUSED;
	}
	(void)hex_encode(bytes_of(fingerprint, sizeof(fingerprint)), text, sizeof(text));
	if (printf("%s %s %" PRIu32 " %s\n", p->entity.text, user.text, key_index, text) < 0 ||
	    fflush(stdout) != 0)
		return EXIT_LATER;
	return EXIT_DONE;
}

static void reset_done(void *arg, int result)
{
	int *out = arg;

	*out = result;
}

static int reset(const struct pne *p, const struct pne_core *core, struct vault *v)
{
	struct vault_batch *b = vault_batch_new();
	int result = -ECANCELED;
	int r = -ENOMEM;

	if (b) {
		pne_core_reset(core, b);
		r = vault_submit(v, b, reset_done, &result);
	}
	if (r == 0) {
		(void)vault_flush(v);
		r = result;
	}
	if (r < 0) {
		complain(p->entity.text, "the reset is not done", strerror(-r));
		return EXIT_LATER;
	}
	return EXIT_DONE;
}

static int offline_one(const struct settings *s, const struct pne *p)
{
	static const struct pne_ports ports = {.now = offline_now, .timer = offline_timer};
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE, .path = p->key};
	struct vault_options options = {.path = p->vault, .openers = &opener, .opener_count = 1};
	struct pne_core_options core_options = {.entity = p->entity};
	struct pne_core *core = NULL;
	struct vault *v = NULL;
	char why[256] = "";
	int r = vault_open(&options, &v, why, sizeof(why));

	if (r != 0) {
		complain(p->entity.text, "the vault does not open", why);
		return exit_of_open(r);
	}
	r = pne_core_new(&core_options, v, &ports, NULL, &core);
	if (r != 0) {
		complain(p->entity.text, "the vault cannot be read", NULL);
		r = exit_of_open(r);
	} else {
		r = s->reset ? reset(p, core, v) : print_fingerprint(p, core, s->fingerprint);
	}
	vault_close(v);
	pne_core_free(core);
	return r;
}

static int offline(struct app *app)
{
	int result = EXIT_DONE;

	for (size_t i = 0; i < app->count; i++) {
		int r = offline_one(&app->settings, &app->pnes[i]);

		if (r > result)
			result = r;
	}
	return result;
}

/* With a loop. */

static void stop_all(struct app *app)
{
	if (app->stopping)
		return;
	app->stopping = true;
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&app->signals[i], NULL);
	for (size_t i = 0; i < app->count; i++) {
		if (app->pnes[i].device)
			pne_device_stop(app->pnes[i].device);
	}
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	stop_all(handle->data);
}

static struct pne *pne_of(struct app *app, const struct pne_device *d)
{
	for (size_t i = 0; i < app->count; i++) {
		if (app->pnes[i].device == d)
			return &app->pnes[i];
	}
	return NULL;
}

static void note_result(struct app *app, const struct verdict *v)
{
	if (v->id == VERDICT_DONE)
		return;
	if (verdict_retry(v->id) == RETRY_NO)
		app->result = EXIT_REFUSED;
	else if (app->result == EXIT_DONE)
		app->result = EXIT_LATER;
}

static void on_verdict(void *arg, struct pne_device *d, const struct verdict *v)
{
	struct app *app = arg;
	struct pne *p = pne_of(app, d);
	bool last = app->settings.ui ? v->figure == FIGURE_5
				     : v->id == VERDICT_DONE && v->key_index > 0;

	if (!app->settings.once || !last || !p || p->finished)
		return;
	p->finished = true;
	note_result(app, v);
	pne_device_settle(d);
}

static void on_settled(void *arg, struct pne_device *d)
{
	struct app *app = arg;

	(void)d;
	if (--app->unfinished == 0)
		stop_all(app);
}

static void on_stopped(void *arg, struct pne_device *d)
{
	struct app *app = arg;
	struct pne *p = pne_of(app, d);

	if (p)
		p->device = NULL;
}

static int open_devices(struct app *app)
{
	static const struct pne_device_callbacks callbacks = {
		.line = write_line,
		.verdict = on_verdict,
		.settled = on_settled,
		.stopped = on_stopped,
	};
	const struct settings *s = &app->settings;

	for (size_t i = 0; i < app->count; i++) {
		struct pne *p = &app->pnes[i];
		const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE,
						    .path = p->key};
		struct pne_device_options options = {
			.core = {.entity = p->entity,
				 .iterations_floor = s->floor,
				 .deadline_ms = s->deadline_ms},
			.connect = s->connect,
			.vault = {.path = p->vault,
				  .openers = &opener,
				  .opener_count = 1,
				  .create = true},
			.security = s->security,
			.secure_from = s->secure_from,
			.ui = s->ui,
			.temporary_key = p->temporary_key,
		};
		char why[256] = "";
		int r = pne_device_new(&app->loop, &options, &callbacks, app, &p->device, why,
				       sizeof(why));

		if (r != 0) {
			complain(p->entity.text, "cannot start", why);
			return exit_of_open(r);
		}
		secret_clear(&p->temporary_key);
	}
	return EXIT_DONE;
}

static void init_signals(struct app *app)
{
	static const int numbers[] = {SIGTERM, SIGINT};

	for (size_t i = 0; i < 2; i++) {
		(void)uv_signal_init(&app->loop, &app->signals[i]);
		app->signals[i].data = app;
		(void)uv_signal_start(&app->signals[i], on_signal, numbers[i]);
	}
}

static int online(struct app *app)
{
	SCOPED_SECRET *password = NULL;
	int r;

	if (app->settings.ui) {
		r = read_password(&password);
		if (r < 0) {
			complain(app->settings.entity, "no password", strerror(-r));
			return EXIT_USAGE;
		}
	}
	r = uv_loop_init(&app->loop);
	if (r < 0) {
		complain(app->settings.entity, "no event loop", strerror(-r));
		return EXIT_LATER;
	}
	init_signals(app);
	app->result = open_devices(app);
	if (app->result != EXIT_DONE) {
		stop_all(app);
	} else {
		app->unfinished = app->count;
		for (size_t i = 0; i < app->count; i++) {
			pne_device_start(app->pnes[i].device);
			if (password)
				pne_device_enter(app->pnes[i].device, &app->settings.user,
						 password);
		}
		secret_clear(&password);
	}
	(void)uv_run(&app->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&app->loop) != 0) {
		complain(app->settings.entity, "the event loop did not close", NULL);
		return EXIT_LATER;
	}
	return app->result;
}

/* The command line. */

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

static bool take_option(struct settings *s, int option)
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
		return number_of(optarg, COUNT_MAX, &s->count);
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

static bool take_options(struct settings *s, int argc, char **argv)
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

static void harden(void)
{
	struct rlimit none = {0, 0};
	struct rlimit files;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int argc, char **argv)
{
	struct app app = {.settings = {.secure_from = PAN_SECURITY_AUTHENTICATED}};
	struct settings *s = &app.settings;
	int result;
	int r;

	harden();
	if (!take_options(s, argc, argv)) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	r = secret_setup();
	if (r < 0)
		complain(s->entity, "memory for secrets cannot be locked", strerror(-r));
	if (r == 0) {
		r = make_pnes(&app);
		if (r < 0)
			complain(s->entity, "this Entity ID or state directory cannot be used",
				 strerror(-r));
	}
	if (r < 0) {
		result = EXIT_USAGE;
	} else if (s->fingerprint || s->reset) {
		result = offline(&app);
	} else if (mkdir(s->state, 0700) < 0 && errno != EEXIST) {
		complain(s->entity, "the state directory cannot be made", strerror(errno));
		result = EXIT_LATER;
	} else {
		result = s->temporary_key_file ? read_temporary_keys(&app) : EXIT_DONE;
		if (result == EXIT_DONE)
			result = online(&app);
	}
	for (size_t i = 0; app.pnes && i < app.count; i++)
		secret_clear(&app.pnes[i].temporary_key);
	free(app.pnes);
	return result;
}
