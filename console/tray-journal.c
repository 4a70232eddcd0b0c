/* What became of each unit, one line of JSON a transition. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console/tray.h"
#include "protocol/file.h"

#define OTHER_SIZE          4200
#define FORMAT              "pngw tray journal 1"
#define SIZE_MAX_OF_JOURNAL (64 << 20)

/* A whole, durable file beside path, under a name that no other process has. Its descriptor. */
static int write_other(const char *path, const char *data, size_t size, char other[OTHER_SIZE])
{
	int fd, r;

	(void)snprintf(other, OTHER_SIZE, "%s.%ld.new", path, (long)getpid());
	fd = open(other, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, bytes_of(data, size));
	if (r == 0 && fsync(fd) != 0)
		r = -errno;
	if (r == 0)
		return fd;
	(void)close(fd);
	(void)unlink(other);
	return r;
}

int tray_file_write(const char *path, const char *data, size_t size)
{
	char other[OTHER_SIZE];
	int fd = write_other(path, data, size, other);
	int r;

	if (fd < 0)
		return fd;
	(void)close(fd);
	if (rename(other, path) == 0)
		return file_sync_folder_of(path);
	r = -errno;
	(void)unlink(other);
	return r;
}

static void add_text(json_object *o, const char *key, const char *value)
{
	(void)json_object_object_add(o, key, json_object_new_string(value));
}

static void put(FILE *out, json_object *o)
{
	(void)fprintf(out, "%s\n",
		      json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(o);
}

static void put_beginning(FILE *out, const struct tray *t)
{
	json_object *o = json_object_new_object();

	add_text(o, "format", FORMAT);
	add_text(o, "manifest", t->manifest);
	add_text(o, "digest", t->digest);
	add_text(o, "gateway", t->gateway.text);
	add_text(o, "challenge", t->challenge);
	(void)json_object_object_add(o, "started", json_object_new_int64(t->started));
	(void)json_object_object_add(o, "units", json_object_new_int64((int64_t)t->count));
	put(out, o);
	for (size_t i = 0; i < t->count; i++) {
		const struct manifest_unit *unit = &t->unit[i].what;

		o = json_object_new_object();
		add_text(o, "entity", unit->entity.text);
		add_text(o, "user", unit->user.text);
		add_text(o, "address", unit->address);
		add_text(o, "label", unit->label);
		put(out, o);
	}
}

static int open_locked(struct tray *t)
{
	int fd = open(t->journal.path, O_RDWR | O_APPEND | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		(void)close(fd);
		return -EWOULDBLOCK;
	}
	t->journal.fd = fd;
	return 0;
}

/* Of two that begin a tray at once one has it: the file is locked before it has its name. */
static int take_name(const char *path, const char *other, int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 ||
	    renameat2(AT_FDCWD, other, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
		return -errno;
	return file_sync_folder_of(path);
}

int tray_journal_create(struct tray *t)
{
	char other[OTHER_SIZE];
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int fd, r;

	if (!out)
		return -ENOMEM;
	put_beginning(out, t);
	fd = fclose(out) == 0 ? write_other(t->journal.path, text, size, other) : -ENOMEM;
	free(text);
	if (fd < 0)
		return fd;
	r = take_name(t->journal.path, other, fd);
	if (r != 0) {
		(void)unlink(other);
		(void)close(fd);
		return r;
	}
	t->journal.fd = fd;
	return 0;
}

int tray_journal_add(struct tray *t, const struct tray_unit *unit, const char *is)
{
	json_object *o = json_object_new_object();
	const char *text;
	char *line = NULL;
	int n, r;

	(void)json_object_object_add(o, "unit", json_object_new_int64(unit - t->unit));
	add_text(o, "is", is);
	if (unit->outcome) {
		(void)json_object_object_add(o, "outcome", json_object_get(unit->outcome));
	} else {
		(void)json_object_object_add(o, "held", json_object_new_int64(unit->held_before));
		add_text(o, "owner", unit->owner_before.text);
	}
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
	n = asprintf(&line, "%s\n", text);
	(void)json_object_put(o);
	if (n < 0)
		return -ENOMEM;
	r = file_write_all(t->journal.fd, bytes_of(line, (size_t)n));
	free(line);
	if (r == 0 && fdatasync(t->journal.fd) != 0)
		r = -errno;
	return r;
}

static int read_beginning(struct tray *t, json_object *o, size_t *units)
{
	int64_t count = json_object_get_int64(json_object_object_get(o, "units"));

	if (strcmp(client_text(o, "format"), FORMAT) != 0 || count < 1 || count > MANIFEST_MAX ||
	    name_set(&t->gateway, bytes_text(client_text(o, "gateway"))) != 0)
		return -EBADMSG;
	(void)snprintf(t->manifest, sizeof(t->manifest), "%s", client_text(o, "manifest"));
	(void)snprintf(t->digest, sizeof(t->digest), "%s", client_text(o, "digest"));
	(void)snprintf(t->challenge, sizeof(t->challenge), "%s", client_text(o, "challenge"));
	t->started = json_object_get_int64(json_object_object_get(o, "started"));
	*units = (size_t)count;
	return 0;
}

static int read_unit(struct tray *t, json_object *o)
{
	struct manifest_unit *unit = &t->unit[t->count].what;
	const char *address = client_text(o, "address");

	if (!entity_id_valid(bytes_text(client_text(o, "entity"))) ||
	    !user_id_valid(bytes_text(client_text(o, "user"))) ||
	    (address[0] && label_address(address, unit->address) != 0))
		return -EBADMSG;
	(void)name_set(&unit->entity, bytes_text(client_text(o, "entity")));
	(void)name_set(&unit->user, bytes_text(client_text(o, "user")));
	(void)snprintf(unit->label, sizeof(unit->label), "%s", client_text(o, "label"));
	t->count++;
	return 0;
}

static int read_transition(struct tray *t, json_object *o)
{
	json_object *number = json_object_object_get(o, "unit"), *outcome;
	int64_t i = json_object_get_int64(number);
	const char *is = client_text(o, "is");
	struct tray_unit *unit;

	if (!json_object_is_type(number, json_type_int) || i < 0 || i >= (int64_t)t->count)
		return -EBADMSG;
	unit = &t->unit[i];
	outcome = json_object_object_get(o, "outcome");
	(void)json_object_put(unit->outcome);
	unit->outcome = NULL;
	unit->state = TRAY_WAITING;
	unit->doubtful = strcmp(is, "begun") == 0;
	if (unit->doubtful) {
		unit->held_before =
			(uint32_t)json_object_get_int64(json_object_object_get(o, "held"));
		unit->owner_before.text[0] = '\0';
		(void)name_set(&unit->owner_before, bytes_text(client_text(o, "owner")));
	} else if (strcmp(is, "passed") == 0 && json_object_is_type(outcome, json_type_object)) {
		unit->state = TRAY_PASSED;
		unit->outcome = json_object_get(outcome);
	} else if (strcmp(is, "failed") != 0) {
		return -EBADMSG;
	}
	return 0;
}

/* data is terminated. Only whole lines count; *good is where they end. */
static int read_lines(struct tray *t, char *data, size_t *good, size_t *line)
{
	size_t units = 0;
	char *at = data, *end;
	int r = 0;

	for (*line = 1; r == 0 && (end = strchr(at, '\n')) != NULL; at = end + 1, ++*line) {
		json_object *o;

		*end = '\0';
		o = json_tokener_parse(at);
		if (!json_object_is_type(o, json_type_object))
			r = -EBADMSG;
		else if (*line == 1)
			r = read_beginning(t, o, &units);
		else if (t->count < units)
			r = read_unit(t, o);
		else
			r = read_transition(t, o);
		(void)json_object_put(o);
		if (r != 0)
			return r;
		*good = (size_t)(end + 1 - data);
	}
	return units > 0 && t->count == units ? 0 : -EBADMSG;
}

int tray_journal_open(struct tray *t, size_t *line)
{
	struct stat status;
	size_t good = 0, size = 0;
	char *data;
	int r = open_locked(t);

	*line = 0;
	if (r != 0)
		return r;
	if (fstat(t->journal.fd, &status) != 0)
		return -errno;
	if (status.st_size > SIZE_MAX_OF_JOURNAL)
		return -EFBIG;
	data = calloc(1, (size_t)status.st_size + 1);
	if (!data)
		return -ENOMEM;
	while (size < (size_t)status.st_size) {
		ssize_t n = read(t->journal.fd, data + size, (size_t)status.st_size - size);

		if (n <= 0)
			break;
		size += (size_t)n;
	}
	r = read_lines(t, data, &good, line);
	free(data);
	if (r == 0 && good < (size_t)status.st_size && ftruncate(t->journal.fd, (off_t)good) != 0)
		r = -errno;
	return r;
}

void tray_journal_close(struct tray *t)
{
	if (t->journal.fd >= 0)
		(void)close(t->journal.fd);
	t->journal.fd = -1;
}
