/* The control API: its connection, its name, its objects. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MS 10000

void gateway_api_say(struct gateway_api *api, enum log_level level, const char *format, ...)
{
	char text[API_TEXT_SIZE];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	api->options.log(api->options.arg, level, text);
}

#define X(name, r, w, in, in_names, out, out_names, function)                            \
	static int on_##function(sd_bus_message *m, void *userdata, sd_bus_error *error) \
	{                                                                                \
		static const struct api_method method = {                                \
			.right = r, .when = w, .carry_out = gateway_api_##function};     \
                                                                                         \
		(void)error;                                                             \
		return gateway_api_take(userdata, m, &method);                           \
	}
#include "gateway/api-methods.def"
API_GATEWAY1(X)
API_BLUETOOTH1(X)
API_VAULT1(X)
API_DIAGNOSIS1(X)
API_SESSION1(X)
API_AGENT_MANAGER1(X)
#undef X

#define X(name, r, w, in, in_names, out, out_names, function)                        \
	SD_BUS_METHOD_WITH_NAMES(#name, in, in_names, out, out_names, on_##function, \
				 SD_BUS_VTABLE_UNPRIVILEGED),

static const sd_bus_vtable gateway_vtable[] = {
	SD_BUS_VTABLE_START(0),
	API_GATEWAY1(X) SD_BUS_SIGNAL_WITH_NAMES("VerdictGiven", "a{sv}", P(verdict), 0),
	SD_BUS_SIGNAL_WITH_NAMES("Changed", "s", P(what), 0),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable bluetooth_vtable[] = {
	SD_BUS_VTABLE_START(0),
	API_BLUETOOTH1(X) SD_BUS_VTABLE_END,
};

static const sd_bus_vtable vault_vtable[] = {
	SD_BUS_VTABLE_START(0),
	API_VAULT1(X) SD_BUS_VTABLE_END,
};

static const sd_bus_vtable diagnosis_vtable[] = {
	SD_BUS_VTABLE_START(0),
	API_DIAGNOSIS1(X) SD_BUS_VTABLE_END,
};

static const sd_bus_vtable session_vtable[] = {
	SD_BUS_VTABLE_START(0),
	API_SESSION1(X) SD_BUS_VTABLE_END,
};

static const sd_bus_vtable agent_manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	API_AGENT_MANAGER1(X) SD_BUS_VTABLE_END,
};
#undef X

static const struct object {
	const char *path, *interface;
	const sd_bus_vtable *vtable;
} objects[] = {
	{API_PATH, API_GATEWAY, gateway_vtable},
	{API_PATH, "org.pngw.AgentManager1", agent_manager_vtable},
	{API_PATH, "org.pngw.Session1", session_vtable},
	{API_PATH "/bluetooth", "org.pngw.Bluetooth1", bluetooth_vtable},
	{API_PATH "/vault", "org.pngw.Vault1", vault_vtable},
	{API_PATH "/diagnosis", "org.pngw.Diagnosis1", diagnosis_vtable},
};

static int name_requested(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct gateway_api *api = userdata;
	const sd_bus_error *why = sd_bus_message_get_error(m);
	uint32_t result = 0;

	(void)error;
	if (why)
		gateway_api_say(api, LOG_LEVEL_WARNING,
				"control bus: the name " API_NAME " is not to be had: %s",
				why->message ? why->message : why->name);
	else if (sd_bus_message_read(m, "u", &result) >= 0 && result == 2)
		gateway_api_say(api, LOG_LEVEL_WARNING,
				"control bus: another process is " API_NAME
				": this one waits until it has gone");
	else
		gateway_api_say(api, LOG_LEVEL_INFO, "control bus: this is " API_NAME);
	/* Who listens to the name has not heard what came before. */
	gateway_api_touch(api, NULL);
	return 0;
}

static void bus_up(void *arg, sd_bus *connection)
{
	struct gateway_api *api = arg;
	int r = sd_bus_add_object_manager(connection, NULL, API_PATH);

	api->connection = connection;
	api->bus_error = 0;
	for (size_t i = 0; r >= 0 && i < sizeof(objects) / sizeof(objects[0]); i++)
		r = sd_bus_add_object_vtable(connection, NULL, objects[i].path,
					     objects[i].interface, objects[i].vtable, api);
	if (r >= 0)
		r = gateway_api_procedures_export(api);
	if (r >= 0)
		r = gateway_api_objects_export(api);
	/* Last: whoever waits for the name finds the objects. */
	if (r >= 0)
		r = sd_bus_request_name_async(connection, NULL, API_NAME, SD_BUS_NAME_QUEUE,
					      name_requested, api);
	if (r < 0) {
		gateway_api_say(api, LOG_LEVEL_WARNING, "control bus: %s", strerror(-r));
		bus_again(api->bus);
	}
}

/* Told once, until it is there or fails otherwise. */
static void bus_failed(void *arg, int error)
{
	struct gateway_api *api = arg;

	if (error == api->bus_error)
		return;
	api->bus_error = error;
	gateway_api_say(api, LOG_LEVEL_WARNING,
			"control bus: %s cannot be reached: %s; until it can, nobody reaches this "
			"PN GW by pngwctl",
			api->options.config->control_bus, strerror(-error));
}

/* With the bus its clients are gone, and what they did not detach. */
static void bus_down(void *arg)
{
	struct gateway_api *api = arg;

	api->connection = NULL;
	if (!api->stopping)
		gateway_api_say(api, LOG_LEVEL_WARNING, "control bus: the connection is lost");
	gateway_api_listings_end(api);
	gateway_api_clients_end(api);
	/* The next bus gives their names to others. */
	for (struct api_procedure *p = api->procedures; p; p = p->next)
		p->owner[0] = '\0';
}

void gateway_api_hold(struct gateway_api *api)
{
	api->holds++;
}

void gateway_api_unhold(struct gateway_api *api)
{
	if (--api->holds > 0)
		return;
	for (size_t i = 0; i < API_LOG_LINES; i++)
		free(api->log.lines[i]);
	gateway_api_objects_free(api);
	free(api);
}

static void bus_stopped(void *arg)
{
	gateway_api_unhold(arg);
}

static void handle_closed(uv_handle_t *handle)
{
	gateway_api_unhold(handle->data);
}

static void on_timer(uv_timer_t *timer)
{
	gateway_api_procedures_sweep(timer->data);
}

/* Once through the loop: what was touched is told, and the bus looks whether it has to wait. */
static void on_idle(uv_idle_t *idle)
{
	struct gateway_api *api = idle->data;
	bool more;

	(void)uv_idle_stop(idle);
	more = gateway_api_objects_step(api);
	if (gateway_api_listings_step(api) || more)
		gateway_api_soon(api);
}

void gateway_api_soon(struct gateway_api *api)
{
	if (!api->stopping)
		(void)uv_idle_start(&api->idle, on_idle);
}

const char *gateway_api_bus_name(const struct gateway_api *api)
{
	const char *name = NULL;

	return api->connection && sd_bus_get_unique_name(api->connection, &name) >= 0 ? name : NULL;
}

const char *gateway_api_address(const struct config *config, char *room, size_t size)
{
	const char *setting = config->control_bus;
	const char *address, *folder;

	if (strcmp(setting, "system") == 0)
		return NULL;
	if (strcmp(setting, "session") != 0)
		return setting;
	address = secure_getenv("DBUS_SESSION_BUS_ADDRESS");
	if (address && address[0])
		return address;
	folder = secure_getenv("XDG_RUNTIME_DIR");
	(void)snprintf(room, size, "unix:path=%s/bus", folder ? folder : "/nonexistent");
	return room;
}

int gateway_api_new(uv_loop_t *loop, const struct gateway_api_options *options,
		    struct gateway_api **out)
{
	static const struct bus_callbacks callbacks = {
		.up = bus_up, .failed = bus_failed, .down = bus_down, .stopped = bus_stopped};
	struct gateway_api *api = calloc(1, sizeof(*api));
	char room[300];
	int r;

	if (!api)
		return -ENOMEM;
	api->loop = loop;
	api->options = *options;
	r = bus_new(loop, gateway_api_address(options->config, room, sizeof(room)), &callbacks, api,
		    &api->bus);
	if (r != 0) {
		free(api);
		return r;
	}
	(void)uv_timer_init(loop, &api->timer);
	(void)uv_idle_init(loop, &api->idle);
	api->timer.data = api;
	api->idle.data = api;
	api->holds = 3;
	(void)uv_timer_start(&api->timer, on_timer, SWEEP_MS, SWEEP_MS);
	gateway_api_failures_load(api);
	bus_start(api->bus);
	*out = api;
	return 0;
}

void gateway_api_ready(struct gateway_api *api, struct core *core, struct vault *vault,
		       struct gateway_bluetooth *bluetooth)
{
	api->core = core;
	api->vault = vault;
	api->bluetooth = bluetooth;
	if (bluetooth)
		gateway_api_pairings_begin(api);
	gateway_api_touch(api, NULL);
	gateway_api_changed(api, "vault");
}

void gateway_api_stop(struct gateway_api *api)
{
	api->stopping = true;
	api->core = NULL;
	gateway_api_procedures_end(api);
	gateway_api_pairings_end(api);
	gateway_api_unbonds_end(api);
	gateway_api_examines_end(api);
	gateway_api_listings_end(api);
	gateway_api_readers_end(api);
	gateway_api_clients_end(api);
	api->vault = NULL;
	api->bluetooth = NULL;
	bus_stop(api->bus);
	uv_close((uv_handle_t *)&api->timer, handle_closed);
	uv_close((uv_handle_t *)&api->idle, handle_closed);
}

void gateway_api_changed(struct gateway_api *api, const char *what)
{
	struct api_writer w;

	if (!api)
		return;
	gateway_api_signal_begin(&w, api, API_PATH, API_GATEWAY, "Changed");
	gateway_api_put_text(&w, what);
	gateway_api_send(&w);
}

void gateway_api_logged(struct gateway_api *api, const char *line)
{
	char **at;

	if (!api)
		return;
	at = &api->log.lines[api->log.next++ % API_LOG_LINES];
	free(*at);
	*at = strdup(line);
}
