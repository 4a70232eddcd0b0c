#include "tests/vectors.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void field_add(struct vector *v, char *line)
{
	char *value = strchr(line, '=');
	size_t size;

	ck_assert_msg(value != NULL, "no field: %s", line);
	ck_assert_uint_lt(v->count, sizeof(v->fields) / sizeof(v->fields[0]));
	*value++ = '\0';
	line[strcspn(line, " ")] = '\0';
	value += strspn(value, " ");
	size = strlen(value);
	ck_assert_int_eq(
		bytes_to_text(bytes_text(line), v->fields[v->count].key, sizeof(v->fields[0].key)),
		0);
	ck_assert_int_eq(bytes_to_text(bytes_text(value), v->fields[v->count].value,
				       sizeof(v->fields[0].value)),
			 0);
	if (value[0] == '"') {
		ck_assert_uint_ge(size, 2);
		v->fields[v->count].size = size - 2;
		memcpy(v->fields[v->count].decoded, value + 1, size - 2);
	} else if (size % 2 == 0) {
		/* A number of an even count of digits is hex as well: its user asks for a number.
		 */
		ck_assert_int_eq(hex_decode(bytes_of(value, size), v->fields[v->count].decoded,
					    sizeof(v->fields[0].decoded),
					    &v->fields[v->count].size),
				 0);
	}
	v->count++;
}

static bool flush(const struct vector *v, const char *label, void (*each)(const struct vector *v))
{
	if (v->label[0] == '\0' || (label && strcmp(v->label, label) != 0))
		return false;
	each(v);
	return true;
}

void vectors_each(const char *file, const char *label, void (*each)(const struct vector *v))
{
	const char *source = getenv("PNGW_SRCDIR");
	struct vector v = {.count = 0};
	char path[512], line[1024];
	size_t called = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/vectors/%s", source ? source : ".", file);
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "cannot read %s", path);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '[') {
			called += flush(&v, label, each);
			memset(&v, 0, sizeof(v));
			line[strcspn(line, "]")] = '\0';
			snprintf(v.label, sizeof(v.label), "%.63s", line + 1);
		} else if (line[0] != '\0' && line[0] != '#') {
			field_add(&v, line);
		}
	}
	called += flush(&v, label, each);
	fclose(f);
	ck_assert_uint_gt(called, 0);
}

static size_t find(const struct vector *v, const char *key)
{
	size_t i = 0;

	while (i < v->count && strcmp(v->fields[i].key, key) != 0)
		i++;
	ck_assert_msg(i < v->count, "[%s] has no %s", v->label, key);
	return i;
}

struct bytes vector_bytes(const struct vector *v, const char *key)
{
	size_t i = find(v, key);

	return bytes_of(v->fields[i].decoded, v->fields[i].size);
}

uint32_t vector_number(const struct vector *v, const char *key)
{
	return (uint32_t)strtoul(v->fields[find(v, key)].value, NULL, 10);
}

struct secret *vector_secret(const struct vector *v, const char *key)
{
	struct secret *s = secret_copy(vector_bytes(v, key));

	ck_assert_ptr_nonnull(s);
	return s;
}
