#include "gateway/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INPUT_SIZE    512
#define PASSWORD_SIZE 400
#define WORDS_MAX     600
#define CLIENTS_MAX   32

struct client {
	uv_pipe_t pipe;
	struct gateway_control *control;
	struct client *next;
	struct secret *input;    /* what was just read; it may hold a password */
	struct secret *password; /* as far as it has come */
	size_t password_size;
	char line[CONTROL_LINE_MAX];
	size_t line_size;
	bool line_done;
	bool answered; /* no further input is looked at */
	bool closing;
	uint64_t run;
	size_t told, expected;
	int code;
};

struct gateway_control {
	uv_pipe_t listener;
	struct gateway_control_options options;
	struct name self;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct client *clients;
	unsigned handles;
	uint64_t last_run;
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
	struct client *client = handle->data;
	struct gateway_control *c = client->control;

	secret_unref(client->input);
	secret_unref(client->password);
	free(client);
	unhandled(c);
}

static void client_close(struct client *client)
{
	struct gateway_control *c = client->control;
	struct client **at = &c->clients;
	uint64_t run = client->run;

	if (client->closing)
		return;
	client->closing = true;
	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	uv_close((uv_handle_t *)&client->pipe, client_closed);
	if (run != 0 && client->told < client->expected && !c->stopping)
		gateway_core_cancel(c->options.core, run);
}

static void written(uv_write_t *write, int status)
{
	(void)status;
	free(write->data);
}

static void put(struct client *client, const char *text)
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

static void put_line(struct client *client, const char *text)
{
	char line[VERDICT_TEXT_SIZE + 256];

	(void)snprintf(line, sizeof(line), "%s\n", text);
	put(client, line);
}

static void last_written(uv_write_t *write, int status)
{
	struct output *o = write->data;
	struct client *client = (struct client *)(void *)write->handle;

	(void)status;
	free(o);
	client_close(client);
}

static void end(struct client *client, int code)
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

static struct client *client_of(struct gateway_control *c, uint64_t run)
{
	struct client *client = c ? c->clients : NULL;

	while (client && client->run != run)
		client = client->next;
	return run != 0 ? client : NULL;
}

void gateway_control_line(struct gateway_control *c, uint64_t run, const char *text)
{
	struct client *client = client_of(c, run);

	if (client)
		put_line(client, text);
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
	struct client *client = client_of(c, run);
	char text[VERDICT_TEXT_SIZE], line[VERDICT_TEXT_SIZE + 16];

	if (!client)
		return;
	(void)snprintf(line, sizeof(line), "verdict: %s", verdict_describe(v, text, sizeof(text)));
	put_line(client, line);
	client->code = worse(client->code, code_of(v->id));
	client->told++;
	if (client->told == client->expected)
		end(client, client->code);
}

static void usage(struct client *client, const char *text)
{
	put_line(client, text);
	end(client, CONTROL_USAGE);
}

struct words {
	char *word[WORDS_MAX];
	size_t count;
};

static void split(char *line, struct words *out)
{
	char *rest = line, *word;

	out->count = 0;
	while (out->count < WORDS_MAX && (word = strsep(&rest, " ")) != NULL) {
		if (word[0])
			out->word[out->count++] = word;
	}
}

static void each_element(void *arg, const struct name *entity, enum pan_security level, bool ui,
			 const struct name *owner, const char *peer)
{
	char line[512];

	(void)snprintf(line, sizeof(line), "%s security=%s ui=%s owner=%s from=%s", entity->text,
		       pan_security_name(level), ui ? "yes" : "no",
		       owner->text[0] ? owner->text : "-", peer);
	put_line(arg, line);
}

static void count_element(void *arg, const struct name *entity, enum pan_security level, bool ui,
			  const struct name *owner, const char *peer)
{
	(void)entity;
	(void)level;
	(void)ui;
	(void)owner;
	(void)peer;
	++*(size_t *)arg;
}

static void status(struct client *client)
{
	struct gateway_control *c = client->control;
	const struct core_counters *n = gateway_core_counters(c->options.core);
	size_t links = 0;
	char text[1024];

	gateway_core_each_link(c->options.core, count_element, &links);
	(void)snprintf(text, sizeof(text),
		       "PN GW %s\nowner: %s\nown EUKey: index %lu\nPNEs connected: %zu\n"
		       "procedures under way: %zu\nprocedures started: %llu\n"
		       "requests relayed: %llu\nreports taken: %llu\n",
		       c->self.text,
		       gateway_core_owner(c->options.core)->text[0]
			       ? gateway_core_owner(c->options.core)->text
			       : "-",
		       (unsigned long)gateway_core_own_index(c->options.core), links,
		       gateway_core_procedures(c->options.core), (unsigned long long)n->procedures,
		       (unsigned long long)n->relayed, (unsigned long long)n->reports);
	put(client, text);
	c->options.status(c->options.arg, text, sizeof(text));
	put(client, text);
	end(client, CONTROL_DONE);
}

static void fingerprint(struct client *client, const struct words *w)
{
	struct gateway_control *c = client->control;
	uint8_t challenge[64], print[8];
	char hex[17], line[256];
	struct name entity = c->self, user;
	size_t size;
	uint32_t index;
	int r;

	if (w->count < 2 || w->count > 3 ||
	    hex_decode(bytes_text(w->word[1]), challenge, sizeof(challenge), &size) != 0 ||
	    size < 8 || (w->count == 3 && name_set(&entity, bytes_text(w->word[2])) != 0)) {
		usage(client, "fingerprint needs a challenge of 8 to 64 bytes in hex [ENTITY]");
		return;
	}
	r = gateway_core_fingerprint(c->options.core, &entity, bytes_of(challenge, size), print,
				     &index, &user);
	if (r != 0) {
		put_line(client, r > 0 ? "no EUKey that is known to be held" : strerror(-r));
		end(client, CONTROL_REFUSED);
		return;
	}
	(void)hex_encode(bytes_of(print, sizeof(print)), hex, sizeof(hex));
	(void)snprintf(line, sizeof(line), "%s %s %lu %s", user.text, entity.text,
		       (unsigned long)index, hex);
	put_line(client, line);
	end(client, CONTROL_DONE);
}

static void release(struct client *client, const struct words *w)
{
	struct name entity;
	int r;

	if (w->count != 2 || name_set(&entity, bytes_text(w->word[1])) != 0) {
		usage(client, "release needs an ENTITY");
		return;
	}
	r = gateway_core_release(client->control->options.core, &entity);
	put_line(client, r == 0 ? "released" : strerror(-r));
	end(client, r == 0 ? CONTROL_DONE : CONTROL_RETRY);
}

static enum figure figure_of(const char *command)
{
	if (strcmp(command, "register") == 0)
		return FIGURE_5;
	if (strcmp(command, "figure6") == 0)
		return FIGURE_6;
	if (strcmp(command, "figure7") == 0)
		return FIGURE_7;
	if (strcmp(command, "figure8") == 0)
		return FIGURE_8;
	return FIGURE_NONE;
}

static bool parse_count(const char *text, unsigned *out)
{
	char *rest;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	n = strtoul(text, &rest, 10);
	if (*rest || n < 1 || n > 64)
		return false;
	*out = (unsigned)n;
	return true;
}

/* Fills entities; false when the words are not what the figure needs. */
static bool parse_start(const struct words *w, struct core_start *s, struct name *entities)
{
	size_t count = w->count;

	if (count < 2 || !user_id_valid(bytes_text(w->word[1])) ||
	    name_set(&s->user, bytes_text(w->word[1])) != 0)
		return false;
	if (s->figure == FIGURE_5 || s->figure == FIGURE_8)
		return count == 2;
	if (s->figure == FIGURE_7 && count == 4) {
		if (!parse_count(w->word[3], &s->set_count))
			return false;
		count = 3;
	}
	if (count < 3 || (s->figure == FIGURE_7 && count != 3))
		return false;
	for (size_t i = 2; i < count; i++) {
		if (!entity_id_valid(bytes_text(w->word[i])) ||
		    name_set(&entities[i - 2], bytes_text(w->word[i])) != 0)
			return false;
	}
	s->entities = entities;
	s->count = count - 2;
	return true;
}

static void start(struct client *client, const struct words *w, enum figure figure)
{
	struct gateway_control *c = client->control;
	struct core_start s = {.figure = figure,
			       .set_kind = c->options.set_kind,
			       .set_count = c->options.set_count};
	struct name *entities = calloc(WORDS_MAX, sizeof(*entities));
	int verdicts;

	if (!entities || !parse_start(w, &s, entities)) {
		free(entities);
		usage(client, "expected: register USER | figure6 USER ENTITY... | "
			      "figure7 USER ENTITY [COUNT of 1 to 64] | figure8 USER");
		return;
	}
	secret_shrink(client->password, client->password_size ? client->password_size : 1);
	client->run = ++c->last_run;
	client->expected = SIZE_MAX;
	s.run = client->run;
	s.typed = client->password;
	verdicts = gateway_core_start(c->options.core, &s);
	secret_clear(&client->password);
	free(entities);
	if (verdicts < 0) {
		client->expected = client->told;
		put_line(client, strerror(-verdicts));
		end(client, CONTROL_RETRY);
		return;
	}
	client->expected = (size_t)verdicts;
	if (client->told == client->expected)
		end(client, client->code);
}

static void carry_out(struct client *client)
{
	struct words *w = malloc(sizeof(*w));

	client->answered = true;
	if (!w) {
		end(client, CONTROL_RETRY);
		return;
	}
	split(client->line, w);
	if (w->count == 0)
		usage(client, "no command");
	else if (figure_of(w->word[0]) != FIGURE_NONE)
		start(client, w, figure_of(w->word[0]));
	else if (strcmp(w->word[0], "status") == 0)
		status(client);
	else if (strcmp(w->word[0], "fingerprint") == 0)
		fingerprint(client, w);
	else if (strcmp(w->word[0], "release") == 0)
		release(client, w);
	else if (strcmp(w->word[0], "elements") == 0) {
		gateway_core_each_link(client->control->options.core, each_element, client);
		end(client, CONTROL_DONE);
	} else {
		usage(client, "no such command");
	}
	free(w);
}

/* The first word decides whether a password follows. */
static bool wants_password(const struct client *client)
{
	char word[16];
	size_t size = strcspn(client->line, " ");

	if (size >= sizeof(word))
		return false;
	memcpy(word, client->line, size);
	word[size] = '\0';
	return figure_of(word) != FIGURE_NONE;
}

static void take_byte(struct client *client, uint8_t byte)
{
	if (client->answered)
		return;
	if (!client->line_done) {
		if (byte != '\n') {
			if (client->line_size == sizeof(client->line) - 1) {
				client->answered = true;
				usage(client, "the line is too long");
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
	struct client *client = handle->data;

	(void)suggested;
	*buf = uv_buf_init((char *)secret_buffer(client->input), INPUT_SIZE);
}

static void client_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct client *client = stream->data;

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
	struct client *client;
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
	c->self = *options->self;
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

void gateway_control_stop(struct gateway_control *c)
{
	c->stopping = true;
	while (c->clients)
		client_close(c->clients);
	(void)unlink(c->path);
	uv_close((uv_handle_t *)&c->listener, listener_closed);
}
