/* Values in and out of D-Bus messages. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024

void gateway_api_reply_begin(struct api_writer *w, sd_bus_message *call)
{
	*w = (struct api_writer){.call = call};
	w->r = sd_bus_message_new_method_return(call, &w->m);
}

void gateway_api_signal_begin(struct api_writer *w, struct gateway_api *api, const char *path,
			      const char *interface, const char *member)
{
	*w = (struct api_writer){.connection = api->connection, .r = -ENOTCONN};
	gateway_api_soon(api);
	if (api->connection)
		w->r = sd_bus_message_new_signal(api->connection, &w->m, path, interface, member);
}

void gateway_api_send(struct api_writer *w)
{
	if (w->r >= 0)
		w->r = sd_bus_send(sd_bus_message_get_bus(w->m), w->m, NULL);
	if (w->r < 0 && w->call)
		gateway_api_errno(w->call, w->r);
	w->m = sd_bus_message_unref(w->m);
}

static void open_container(struct api_writer *w, char type, const char *contents)
{
	if (w->r >= 0)
		w->r = sd_bus_message_open_container(w->m, type, contents);
}

static void close_container(struct api_writer *w)
{
	if (w->r >= 0)
		w->r = sd_bus_message_close_container(w->m);
}

void gateway_api_list_begin(struct api_writer *w, const char *contents)
{
	open_container(w, 'a', contents);
}

void gateway_api_list_end(struct api_writer *w)
{
	close_container(w);
}

void gateway_api_dict_begin(struct api_writer *w)
{
	open_container(w, 'a', "{sv}");
}

void gateway_api_dict_end(struct api_writer *w)
{
	close_container(w);
}

static void put(struct api_writer *w, char type, const void *value)
{
	if (w->r >= 0)
		w->r = sd_bus_message_append_basic(w->m, type, value);
}

void gateway_api_put_text(struct api_writer *w, const char *text)
{
	char plain[TEXT_MAX];
	size_t size = 0;

	if (w->r < 0)
		return;
	w->r = sd_bus_message_append_basic(w->m, 's', text);
	if (w->r != -EINVAL)
		return;
	for (; size < sizeof(plain) - 1 && text[size]; size++)
		plain[size] = (text[size] & 0x80) ? '?' : text[size];
	plain[size] = '\0';
	w->r = sd_bus_message_append_basic(w->m, 's', plain);
}

static void entry_begin(struct api_writer *w, const char *key, const char *type)
{
	open_container(w, 'e', "sv");
	put(w, 's', key);
	open_container(w, 'v', type);
}

static void entry_end(struct api_writer *w)
{
	close_container(w);
	close_container(w);
}

static void entry(struct api_writer *w, const char *key, const char *type, const void *value)
{
	entry_begin(w, key, type);
	put(w, type[0], value);
	entry_end(w);
}

void gateway_api_text(struct api_writer *w, const char *key, const char *value)
{
	entry_begin(w, key, "s");
	gateway_api_put_text(w, value);
	entry_end(w);
}

void gateway_api_flag(struct api_writer *w, const char *key, bool value)
{
	int flag = value;

	entry(w, key, "b", &flag);
}

void gateway_api_u32(struct api_writer *w, const char *key, uint64_t value)
{
	uint32_t number = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;

	entry(w, key, "u", &number);
}

void gateway_api_u64(struct api_writer *w, const char *key, uint64_t value)
{
	entry(w, key, "t", &value);
}

void gateway_api_i64(struct api_writer *w, const char *key, int64_t value)
{
	entry(w, key, "x", &value);
}

void gateway_api_i16(struct api_writer *w, const char *key, int16_t value)
{
	entry(w, key, "n", &value);
}

void gateway_api_names(struct api_writer *w, const char *key, const struct name *names,
		       size_t count)
{
	entry_begin(w, key, "as");
	open_container(w, 'a', "s");
	for (size_t i = 0; i < count; i++)
		gateway_api_put_text(w, names[i].text);
	close_container(w);
	entry_end(w);
}

void gateway_api_texts(struct api_writer *w, const char *key, const char *const *texts,
		       size_t count)
{
	entry_begin(w, key, "as");
	open_container(w, 'a', "s");
	for (size_t i = 0; i < count; i++)
		gateway_api_put_text(w, texts[i]);
	close_container(w);
	entry_end(w);
}

void gateway_api_error(sd_bus_message *call, const char *name, const char *format, ...)
{
	char full[64], text[API_TEXT_SIZE];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	(void)snprintf(full, sizeof(full), "org.pngw.Error.%s", name);
	/* A caller that has gone gets none. */
	(void)sd_bus_reply_method_errorf(call, full, "%s", text);
}

void gateway_api_errno(sd_bus_message *call, int error)
{
	gateway_api_error(call, error == -EBUSY ? "Busy" : "Failed", "%s", strerror(-error));
}

void gateway_api_refuse(sd_bus_message *call, const char *name, const struct verdict *v)
{
	char text[VERDICT_TEXT_SIZE];

	gateway_api_error(call, name, "%s", verdict_describe(v, text, sizeof(text)));
}

void gateway_api_unknown(sd_bus_message *call, const struct name *entity)
{
	gateway_api_refuse(call, "NotFound",
			   &(struct verdict){.id = VERDICT_DEVICE_UNKNOWN, .entity = *entity});
}

void gateway_api_done(sd_bus_message *call)
{
	(void)sd_bus_reply_method_return(call, NULL);
}

static bool wrong(sd_bus_message *m, const char *what)
{
	gateway_api_error(m, "InvalidArguments", "%s", what);
	return false;
}

static bool read_option(sd_bus_message *m, const struct api_option *o)
{
	char type[2] = {o->type, '\0'};
	const char *contents;
	char container;
	int flag, r;

	r = sd_bus_message_peek_type(m, &container, &contents);
	if (r <= 0 || container != 'v' || strcmp(contents, type) != 0) {
		gateway_api_error(m, "InvalidArguments", "option %s is of type %s", o->key, type);
		return false;
	}
	r = sd_bus_message_read(m, "v", type, o->type == 'b' ? (void *)&flag : o->value);
	if (r < 0)
		return wrong(m, "the options cannot be read");
	if (o->type == 'b')
		*(bool *)o->value = flag;
	return true;
}

bool gateway_api_read_options(sd_bus_message *m, const struct api_option *options, size_t count)
{
	if (sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
		return wrong(m, "the options cannot be read");
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		const char *key = "";
		size_t i = 0;

		if (sd_bus_message_read_basic(m, 's', (void *)&key) < 0)
			return wrong(m, "the options cannot be read");
		while (i < count && strcmp(options[i].key, key) != 0)
			i++;
		if (i == count) {
			gateway_api_error(m, "InvalidArguments", "there is no option %s", key);
			return false;
		}
		if (!read_option(m, &options[i]))
			return false;
		(void)sd_bus_message_exit_container(m);
	}
	(void)sd_bus_message_exit_container(m);
	return true;
}

bool gateway_api_read_text(sd_bus_message *m, const char **out)
{
	if (sd_bus_message_read_basic(m, 's', (void *)out) <= 0)
		return wrong(m, "an argument cannot be read");
	return true;
}

bool gateway_api_read_user(sd_bus_message *m, struct name *out)
{
	const char *text;

	if (!gateway_api_read_text(m, &text))
		return false;
	if (!user_id_valid(bytes_text(text)) || name_set(out, bytes_text(text)) != 0)
		return wrong(m, "a User ID is 1 to 64 bytes of text without colon, quote or "
				"backslash");
	return true;
}

static bool to_entity(sd_bus_message *m, const char *text, struct name *out)
{
	if (!entity_id_valid(bytes_text(text)) || name_set(out, bytes_text(text)) != 0)
		return wrong(m, "an Entity ID is 1 to 64 of A-Z a-z 0-9 . _ : -");
	return true;
}

bool gateway_api_read_entity(sd_bus_message *m, struct name *out)
{
	const char *text;

	return gateway_api_read_text(m, &text) && to_entity(m, text, out);
}

bool gateway_api_read_entities(sd_bus_message *m, size_t min, struct name **out, size_t *count)
{
	struct name *list = calloc(API_ENTITIES_MAX, sizeof(*list));
	const char *text;
	size_t n = 0;

	if (!list) {
		gateway_api_errno(m, -ENOMEM);
		return false;
	}
	if (sd_bus_message_enter_container(m, 'a', "s") < 0) {
		free(list);
		return wrong(m, "the Entity IDs cannot be read");
	}
	while (sd_bus_message_read_basic(m, 's', (void *)&text) > 0) {
		if (n == API_ENTITIES_MAX) {
			free(list);
			return wrong(m, "more than 600 Entity IDs at a time");
		}
		if (!to_entity(m, text, &list[n])) {
			free(list);
			return false;
		}
		for (size_t i = 0; i < n; i++) {
			if (name_equal(&list[i], &list[n])) {
				gateway_api_error(m, "InvalidArguments", "%s is given twice",
						  list[n].text);
				free(list);
				return false;
			}
		}
		n++;
	}
	(void)sd_bus_message_exit_container(m);
	if (n < min) {
		free(list);
		return wrong(m, "no Entity ID is given");
	}
	*out = list;
	*count = n;
	return true;
}

bool gateway_api_read_u32(sd_bus_message *m, uint32_t *out)
{
	if (sd_bus_message_read_basic(m, 'u', out) <= 0)
		return wrong(m, "an argument cannot be read");
	return true;
}
