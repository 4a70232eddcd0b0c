#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pne/device.h"
#include "pne/options.h"
#include "pne/secret-input.h"
#include "protocol/p1.h"
#include "protocol/process.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_LATER = 2, EXIT_USAGE = 64 };

#define PATH_SIZE     4096
#define CHALLENGE_MAX 64

struct pne {
	struct name entity;
	struct secret *temporary_key;
	char vault[PATH_SIZE], key[PATH_SIZE];
	struct pne_device *device;
	bool finished;
};

struct app {
	struct pne_options settings;
	uv_loop_t loop;
	uv_signal_t signals[2];
	struct pne_bluetooth *bluetooth;
	struct pne *pnes;
	size_t count, unfinished;
	int result;
	bool stopping;
};

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

/* Temporary Keys. */

static struct pne *pne_named(struct app *app, struct bytes entity)
{
	for (size_t i = 0; i < app->count; i++) {
		if (bytes_equal(entity, name_bytes(&app->pnes[i].entity)))
			return &app->pnes[i];
	}
	return NULL;
}

static bool is_ours(void *arg, struct bytes entity)
{
	return pne_named(arg, entity) != NULL;
}

static int take_temporary_key(void *arg, struct bytes entity, const struct secret *key)
{
	struct pne *p = pne_named(arg, entity);

	if (!p || p->temporary_key)
		return -EINVAL;
	p->temporary_key = secret_copy(secret_bytes(key));
	return p->temporary_key ? 0 : -ENOMEM;
}

static int read_temporary_keys(struct app *app)
{
	char why[256] = "";
	int r = secret_input_temporary_keys(app->settings.temporary_key_file, is_ours,
					    take_temporary_key, app, why, sizeof(why));

	if (r == 0)
		return EXIT_DONE;
	complain(app->settings.entity, why, NULL);
	return EXIT_USAGE;
}

/* Names and files. */

static int make_pnes(struct app *app)
{
	const struct pne_options *s = &app->settings;

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

static int offline_one(const struct pne_options *s, const struct pne *p)
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

/* Bearers use it to their end. */
static void stop_bluetooth(struct app *app)
{
	for (size_t i = 0; i < app->count; i++) {
		if (app->pnes[i].device)
			return;
	}
	if (app->bluetooth)
		pne_bluetooth_stop(app->bluetooth);
	app->bluetooth = NULL;
}

static void stop_all(struct app *app)
{
	if (app->stopping)
		return;
	app->stopping = true;
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&app->signals[i], NULL);
	process_end_undisturbed();
	for (size_t i = 0; i < app->count; i++) {
		if (app->pnes[i].device)
			pne_device_stop(app->pnes[i].device);
	}
	stop_bluetooth(app);
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
	if (app->stopping)
		stop_bluetooth(app);
}

static int open_devices(struct app *app)
{
	static const struct pne_device_callbacks callbacks = {
		.line = write_line,
		.verdict = on_verdict,
		.settled = on_settled,
		.stopped = on_stopped,
	};
	const struct pne_options *s = &app->settings;
	char why[256] = "";

	if (s->bluez) {
		int r = pne_bluetooth_new(&app->loop, &s->bluetooth, write_line, NULL,
					  &app->bluetooth, why, sizeof(why));

		if (r != 0) {
			complain(s->entity, "cannot start", why);
			return r == -EINVAL ? EXIT_USAGE : EXIT_LATER;
		}
	}
	for (size_t i = 0; i < app->count; i++) {
		struct pne *p = &app->pnes[i];
		const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE,
						    .path = p->key};
		struct pne_device_options options = {
			.core = {.entity = p->entity,
				 .iterations_floor = s->floor,
				 .deadline_ms = s->deadline_ms},
			.connect = s->bluez ? s->gateway : s->connect,
			.bearer = s->bluez ? pne_bluetooth_bearer : NULL,
			.bearer_arg = app->bluetooth,
			.vault = {.path = p->vault,
				  .openers = &opener,
				  .opener_count = 1,
				  .create = true},
			.security = s->security,
			.secure_from = s->secure_from,
			.ui = s->ui,
			.temporary_key = p->temporary_key,
		};
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
		r = secret_input_password(&password);
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

static void harden(void)
{
	struct rlimit files;

	process_keep_secrets();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int argc, char **argv)
{
	struct app app = {.settings = {.secure_from = PAN_SECURITY_AUTHENTICATED,
				       .bluetooth = {.adapter = "", .name = ""}}};
	struct pne_options *s = &app.settings;
	int result;
	int r;

	harden();
	if (!pne_options_take(s, argc, argv))
		return EXIT_USAGE;
	if (s->help)
		return EXIT_DONE;
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
