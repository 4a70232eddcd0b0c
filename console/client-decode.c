/* Values of D-Bus as JSON has them. */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "console/client.h"

/* KeyIndex: key_index. */
static void lower_key(const char *key, char *out, size_t out_size)
{
	size_t used = 0;

	for (size_t i = 0; key[i] && used + 3 < out_size; i++) {
		bool begins = isupper((unsigned char)key[i]) && i > 0 &&
			      !isupper((unsigned char)key[i - 1]);

		if (begins && key[i - 1] != '-' && key[i - 1] != '_')
			out[used++] = '_';
		out[used++] = key[i] == '-' ? '_' : (char)tolower((unsigned char)key[i]);
	}
	out[used] = '\0';
}

static json_object *decode_basic(sd_bus_message *m, char type)
{
	union {
		uint8_t u8;
		int16_t i16;
		uint16_t u16;
		int32_t i32;
		uint32_t u32;
		int64_t i64;
		uint64_t u64;
		double real;
		int flag;
		const char *text;
	} v;

	if (sd_bus_message_read_basic(m, type, &v) < 0)
		return NULL;
	switch (type) {
	case SD_BUS_TYPE_BYTE:
		return json_object_new_int(v.u8);
	case SD_BUS_TYPE_BOOLEAN:
		return json_object_new_boolean(v.flag);
	case SD_BUS_TYPE_INT16:
		return json_object_new_int(v.i16);
	case SD_BUS_TYPE_UINT16:
		return json_object_new_int(v.u16);
	case SD_BUS_TYPE_INT32:
		return json_object_new_int(v.i32);
	case SD_BUS_TYPE_UINT32:
		return json_object_new_int64(v.u32);
	case SD_BUS_TYPE_INT64:
		return json_object_new_int64(v.i64);
	case SD_BUS_TYPE_UINT64:
		return json_object_new_uint64(v.u64);
	case SD_BUS_TYPE_DOUBLE:
		return json_object_new_double(v.real);
	case SD_BUS_TYPE_STRING:
	case SD_BUS_TYPE_OBJECT_PATH:
	case SD_BUS_TYPE_SIGNATURE:
		return json_object_new_string(v.text);
	default:
		return NULL;
	}
}

static json_object *decode_dictionary(sd_bus_message *m)
{
	json_object *object = json_object_new_object();
	char name[CLIENT_NAME_MAX];
	const char *key, *contents;
	char type;

	while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
		json_object *value;

		if (sd_bus_message_enter_container(m, type, contents) < 0)
			break;
		/* The members of interfaces and objects are by name and path; all others are words.
		 */
		if (sd_bus_message_read_basic(m, contents[0], &key) < 0)
			break;
		if (key[0] == '/' || strchr(key, '.'))
			(void)snprintf(name, sizeof(name), "%s", key);
		else
			lower_key(key, name, sizeof(name));
		value = client_decode(m);
		(void)json_object_object_add(object, name, value);
		if (sd_bus_message_exit_container(m) < 0)
			break;
	}
	return object;
}

json_object *client_decode(sd_bus_message *m)
{
	const char *contents;
	json_object *value;
	char type;

	if (sd_bus_message_peek_type(m, &type, &contents) <= 0)
		return NULL;
	if (type != SD_BUS_TYPE_ARRAY && type != SD_BUS_TYPE_VARIANT && type != SD_BUS_TYPE_STRUCT)
		return decode_basic(m, type);
	if (sd_bus_message_enter_container(m, type, contents) < 0)
		return NULL;
	if (type == SD_BUS_TYPE_VARIANT) {
		value = client_decode(m);
	} else if (type == SD_BUS_TYPE_ARRAY && contents[0] == '{') {
		value = decode_dictionary(m);
	} else {
		value = json_object_new_array();
		while (sd_bus_message_at_end(m, 0) == 0) {
			json_object *item = client_decode(m);

			if (!item)
				break;
			(void)json_object_array_add(value, item);
		}
	}
	(void)sd_bus_message_exit_container(m);
	return value;
}

const char *client_text(json_object *o, const char *key)
{
	const char *text = json_object_get_string(json_object_object_get(o, key));

	return text ? text : "";
}
