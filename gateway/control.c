#include "gateway/control-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "gateway/records.h"

#define INPUT_SIZE    512
#define PASSWORD_SIZE 400
#define CLIENTS_MAX   32

enum needs { NOTHING, PASSWORD };

static const struct command {
	const char *name;
	control_command_fn *carry_out;
	const char *arguments;
	enum needs needs;
} commands[] = {
#define COMMAND(n, function, what, a, meaning) \
	{.name = n, .carry_out = gateway_control_##function, .arguments = a, .needs = what},
#include "gateway/commands.def"
#undef COMMAND
};

struct control_client {
	uv_pipe_t pipe;
	struct gateway_control *control;
	struct control_client *next;
	struct secret *input;    /* what was just read; it may hold a password */
	struct secret *password; /* as far as it has come */
	size_t password_size;
	char line[CONTROL_LINE_MAX];
	size_t line_size;
	bool line_done;
	bool answered; /* no further input is looked at */
	bool closing;
	const struct command *command; /* NULL before the line is there, and for one unknown */
	void *job;
	void (*gone)(void *job);
	uint64_t run;
	size_t told, expected;
	int code;
};

struct gateway_control {
	uv_pipe_t listener;
	struct gateway_control_options options;
	struct core *core; /* NULL while the vault is being opened */
	struct vault *vault;
	struct gateway_bluetooth *bluetooth;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct control_client *clients;
	unsigned handles;
	uint64_t last_run;
	time_t backed_up; /* 0: not since the start */
	char backup_text[32];
	bool stopping;
};

struct output {
	uv_write_t write;
	char text[];
};

static void unhandled(struct gateway_control *c)
{
	if (--c->handles > 0)
		return;
	if (c->options.stopped)
		c->options.stopped(c->options.arg);
	free(c);
}

static void client_closed(uv_handle_t *handle)
{
	struct control_client *client = handle->data;
	struct gateway_control *c = client->control;

	secret_unref(client->input);
	secret_unref(client->password);
	free(client);
	unhandled(c);
}

static void client_close(struct control_client *client)
{
	struct gateway_control *c = client->control;
	struct control_client **at = &c->clients;
	uint64_t run = client->run;

	if (client->closing)
		return;
	client->closing = true;
	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	uv_close((uv_handle_t *)&client->pipe, client_closed);
	if (client->gone)
		client->gone(client->job);
	if (run != 0 && client->told < client->expected && !c->stopping)
		gateway_core_cancel(c->core, run);
}

static void written(uv_write_t *write, int status)
{
	(void)status;
	free(write->data);
}

static void put(struct control_client *client, const char *text)
{
	size_t size = strlen(text);
	struct output *o;
	uv_buf_t buf;

	if (client->closing)
		return;
	o = malloc(sizeof(*o) + size + 1);
	if (!o)
		return;
	memcpy(o->text, text, size + 1);
	o->write.data = o;
	buf = uv_buf_init(o->text, (unsigned)size);
	if (uv_write(&o->write, (uv_stream_t *)&client->pipe, &buf, 1, written) != 0)
		free(o);
}

void gateway_control_say(struct control_client *client, const char *format, ...)
{
	char line[VERDICT_TEXT_SIZE + 256];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n] = '\n';
	line[n + 1] = '\0';
	put(client, line);
}

static void last_written(uv_write_t *write, int status)
{
	struct output *o = write->data;
	struct control_client *client = (struct control_client *)(void *)write->handle;

	(void)status;
	free(o);
	client_close(client);
}

void gateway_control_end(struct control_client *client, int code)
{
	struct output *o;
	uv_buf_t buf;

	if (client->closing)
		return;
	o = malloc(sizeof(*o) + 16);
	if (!o) {
		client_close(client);
		return;
	}
	(void)snprintf(o->text, 16, "END %d\n", code);
	o->write.data = o;
	buf = uv_buf_init(o->text, (unsigned)strlen(o->text));
	if (uv_write(&o->write, (uv_stream_t *)&client->pipe, &buf, 1, last_written) != 0) {
		free(o);
		client_close(client);
	}
}

static struct control_client *client_of(struct gateway_control *c, uint64_t run)
{
	struct control_client *client = c ? c->clients : NULL;

	while (client && client->run != run)
		client = client->next;
	return run != 0 ? client : NULL;
}

void gateway_control_line(struct gateway_control *c, uint64_t run, const char *text)
{
	struct control_client *client = client_of(c, run);

	if (client)
		gateway_control_say(client, "%s", text);
}

static int code_of(enum verdict_id id)
{
	if (id == VERDICT_DONE)
		return CONTROL_DONE;
	return verdict_retry(id) == RETRY_NO ? CONTROL_REFUSED : CONTROL_RETRY;
}

/* Of several outcomes the one that needs a person counts, then the one that needs patience. */
static int worse(int a, int b)
{
	if (a == CONTROL_REFUSED || b == CONTROL_REFUSED)
		return CONTROL_REFUSED;
	return a > b ? a : b;
}

void gateway_control_verdict(struct gateway_control *c, uint64_t run, const struct verdict *v)
{
	struct control_client *client = client_of(c, run);
	char text[VERDICT_TEXT_SIZE], line[VERDICT_TEXT_SIZE + 16];

	if (!client)
		return;
	(void)snprintf(line, sizeof(line), "verdict: %s", verdict_describe(v, text, sizeof(text)));
	gateway_control_say(client, "%s", line);
	client->code = worse(client->code, code_of(v->id));
	client->told++;
	if (client->told == client->expected)
		gateway_control_end(client, client->code);
}

void gateway_control_usage(struct control_client *client)
{
	if (client->command)
		gateway_control_say(client, "usage: %s %s", client->command->name,
				    client->command->arguments);
	gateway_control_end(client, CONTROL_USAGE);
}

struct core *gateway_control_core(const struct control_client *client)
{
	return client->control->core;
}

struct vault *gateway_control_vault(const struct control_client *client)
{
	return client->control->vault;
}

struct gateway_bluetooth *gateway_control_bluetooth(const struct control_client *client)
{
	return client->control->bluetooth;
}

const struct gateway_control_options *
gateway_control_options_of(const struct control_client *client)
{
	return &client->control->options;
}

uv_loop_t *gateway_control_loop(const struct control_client *client)
{
	return client->pipe.loop;
}

void gateway_control_job(struct control_client *client, void *job, void (*gone)(void *job))
{
	client->job = job;
	client->gone = gone;
}

uint64_t gateway_control_run_begin(struct control_client *client)
{
	client->run = ++client->control->last_run;
	client->expected = SIZE_MAX;
	return client->run;
}

void gateway_control_run_expect(struct control_client *client, int verdicts)
{
	if (verdicts < 0) {
		client->expected = client->told;
		gateway_control_say(client, "%s", strerror(-verdicts));
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	client->expected = (size_t)verdicts;
	if (client->told == client->expected)
		gateway_control_end(client, client->code);
}

void gateway_control_backed_up(struct control_client *client)
{
	struct vault_batch *b = vault_batch_new();
	time_t now = time(NULL);

	client->control->backed_up = now;
	if (!b)
		return;
	records_put_backup(b, (uint64_t)now);
	/* Without the note the next examination asks for a backup that there is. */
	(void)vault_submit(client->control->vault, b, NULL, NULL);
}

const char *gateway_control_last_backup(struct control_client *client)
{
	struct gateway_control *c = client->control;
	struct tm utc;

	if (c->backed_up == 0 || !gmtime_r(&c->backed_up, &utc))
		return "none since the start";
	(void)strftime(c->backup_text, sizeof(c->backup_text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return c->backup_text;
}

void gateway_control_worse(struct control_client *client, int code)
{
	client->code = worse(client->code, code);
}

struct secret *gateway_control_take_password(struct control_client *client)
{
	struct secret *password = client->password;

	secret_shrink(password, client->password_size ? client->password_size : 1);
	client->password = NULL;
	return password;
}

bool gateway_control_entities(const struct control_words *w, size_t first, struct name *entities)
{
	for (size_t i = first; i < w->count; i++) {
		if (!entity_id_valid(bytes_text(w->word[i])) ||
		    name_set(&entities[i - first], bytes_text(w->word[i])) != 0)
			return false;
	}
	return true;
}

static void split(char *line, struct control_words *out)
{
	char *rest = line, *word;

	out->count = 0;
	while (out->count < CONTROL_WORDS_MAX && (word = strsep(&rest, " ")) != NULL) {
		if (word[0])
			out->word[out->count++] = word;
	}
}

/* The command that line begins with, and of how many words its name is. */
static const struct command *command_of(const char *line, size_t *words)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		size_t size = strlen(commands[i].name);

		if (strncmp(line, commands[i].name, size) == 0 &&
		    (line[size] == ' ' || line[size] == '\0')) {
			*words = strchr(commands[i].name, ' ') ? 2 : 1;
			return &commands[i];
		}
	}
	return NULL;
}

static void carry_out(struct control_client *client)
{
	struct control_words *w;
	size_t words = 0;

	client->answered = true;
	client->command = command_of(client->line, &words);
	if (!client->command) {
		gateway_control_say(client, "no such command");
		gateway_control_usage(client);
		return;
	}
	if (!client->control->core) {
		gateway_control_say(client, "opening the vault");
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	w = malloc(sizeof(*w));
	if (!w) {
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	split(client->line, w);
	client->command->carry_out(client, w, words);
	free(w);
}

static bool wants_password(const struct control_client *client)
{
	size_t words;
	const struct command *command = command_of(client->line, &words);

	return command && command->needs == PASSWORD;
}

static void take_byte(struct control_client *client, uint8_t byte)
{
	if (client->answered)
		return;
	if (!client->line_done) {
		if (byte != '\n') {
			if (client->line_size == sizeof(client->line) - 1) {
				client->answered = true;
				gateway_control_say(client, "the line is too long");
				gateway_control_end(client, CONTROL_USAGE);
				return;
			}
			client->line[client->line_size++] = (char)byte;
			return;
		}
		client->line[client->line_size] = '\0';
		client->line_done = true;
		if (!wants_password(client))
			carry_out(client);
		return;
	}
	if (byte == '\n') {
		carry_out(client);
		return;
	}
	/* Too long a password is refused by its length, with the verdict for that. */
	if (client->password_size < PASSWORD_SIZE)
		secret_buffer(client->password)[client->password_size++] = byte;
}

static void client_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct control_client *client = handle->data;

	(void)suggested;
	*buf = uv_buf_init((char *)secret_buffer(client->input), INPUT_SIZE);
}

static void client_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct control_client *client = stream->data;

	if (size < 0) {
		client_close(client);
		return;
	}
	for (ssize_t i = 0; i < size; i++)
		take_byte(client, (uint8_t)buf->base[i]);
	if (size > 0)
		wipe(buf->base, (size_t)size);
}

static void connected(uv_stream_t *listener, int status_code)
{
	struct gateway_control *c = listener->data;
	struct control_client *client;
	unsigned n = 0;

	if (status_code != 0 || c->stopping)
		return;
	for (client = c->clients; client; client = client->next)
		n++;
	client = calloc(1, sizeof(*client));
	if (!client)
		return;
	client->control = c;
	client->expected = 0;
	if (uv_pipe_init(listener->loop, &client->pipe, 0) != 0) {
		free(client);
		return;
	}
	client->pipe.data = client;
	client->next = c->clients;
	c->clients = client;
	c->handles++;
	client->input = secret_new(INPUT_SIZE);
	client->password = secret_new(PASSWORD_SIZE);
	if (uv_accept(listener, (uv_stream_t *)&client->pipe) != 0 || n >= CLIENTS_MAX ||
	    !client->input || !client->password ||
	    uv_read_start((uv_stream_t *)&client->pipe, client_alloc, client_read) != 0)
		client_close(client);
}

/* A socket that a killed daemon left behind is removed, one that is listened on is not. */
static int remove_stale(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
	(void)close(fd);
	if (r == 0)
		return -EADDRINUSE;
	if (r == -ECONNREFUSED && unlink(path) != 0)
		return -errno;
	return 0;
}

static void listener_closed(uv_handle_t *handle)
{
	unhandled(handle->data);
}

int gateway_control_new(uv_loop_t *loop, const struct gateway_control_options *options,
			struct gateway_control **out)
{
	struct gateway_control *c;
	mode_t mask;
	int r = remove_stale(options->path);

	if (r != 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = uv_pipe_init(loop, &c->listener, 0);
	if (r != 0) {
		free(c);
		return r;
	}
	c->options = *options;
	(void)snprintf(c->path, sizeof(c->path), "%s", options->path);
	c->listener.data = c;
	c->handles = 1;
	mask = umask(0177);
	r = uv_pipe_bind(&c->listener, c->path);
	(void)umask(mask);
	if (r == 0)
		r = uv_listen((uv_stream_t *)&c->listener, 16, connected);
	if (r != 0) {
		c->options.stopped = NULL;
		uv_close((uv_handle_t *)&c->listener, listener_closed);
		return r;
	}
	*out = c;
	return 0;
}

void gateway_control_ready(struct gateway_control *c, struct core *core, struct vault *vault,
			   struct gateway_bluetooth *bluetooth)
{
	c->bluetooth = bluetooth;
	c->core = core;
	c->vault = vault;
}

void gateway_control_stop(struct gateway_control *c)
{
	c->stopping = true;
	while (c->clients)
		client_close(c->clients);
	(void)unlink(c->path);
	uv_close((uv_handle_t *)&c->listener, listener_closed);
}
