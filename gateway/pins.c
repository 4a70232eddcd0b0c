#include "gateway/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"
#include "protocol/p1.h"

#define LOG_N     15
#define BLOCKS    8
#define PARALLEL  1
#define PIN_MIN   4
#define LINE_SIZE 160

struct pin {
	bool there;
	uint8_t salt[SALT_SIZE];
	uint8_t hash[KEY_SIZE];
};

static const char *const names[PIN_ROLES] = {
	[ROLE_OF_NOBODY] = "",
	[ROLE_VIEWER] = "viewer",
	[ROLE_TECHNICIAN] = "technician",
	[ROLE_ADMINISTRATOR] = "administrator",
};

const char *gateway_role_name(enum api_role role)
{
	return names[role];
}

enum api_role gateway_role_of(const char *name)
{
	for (unsigned i = ROLE_VIEWER; i < PIN_ROLES; i++) {
		if (strcmp(names[i], name) == 0)
			return (enum api_role)i;
	}
	return ROLE_OF_NOBODY;
}

int gateway_pins_path(const struct config *config, char *out, size_t out_size)
{
	const char *slash = strrchr(config->vault_path, '/');
	int n;

	if (config->pins[0])
		n = snprintf(out, out_size, "%s", config->pins);
	else
		n = snprintf(out, out_size, "%.*spins",
			     slash ? (int)(slash - config->vault_path + 1) : 0, config->vault_path);
	return n < 0 || (size_t)n >= out_size ? -ENAMETOOLONG : 0;
}

static bool parse(const char *line, struct pin pins[PIN_ROLES])
{
	char role[16], salt[2 * SALT_SIZE + 1], hash[2 * KEY_SIZE + 1];
	enum api_role which;
	size_t size;

	if (sscanf(line, "%15s %32s %64s", role, salt, hash) != 3)
		return false;
	which = gateway_role_of(role);
	if (which == ROLE_OF_NOBODY ||
	    hex_decode(bytes_text(salt), pins[which].salt, SALT_SIZE, &size) != 0 ||
	    size != SALT_SIZE ||
	    hex_decode(bytes_text(hash), pins[which].hash, KEY_SIZE, &size) != 0 ||
	    size != KEY_SIZE)
		return false;
	pins[which].there = true;
	return true;
}

/* 0, also where there is no file, or a negative errno. */
static int load(const char *path, struct pin pins[PIN_ROLES])
{
	char line[LINE_SIZE];
	struct stat st;
	FILE *file;
	int r = 0;

	memset(pins, 0, PIN_ROLES * sizeof(*pins));
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		r = -EPERM;
	while (r == 0 && fgets(line, sizeof(line), file)) {
		if (!parse(line, pins))
			r = -EBADMSG;
	}
	if (r == 0 && ferror(file))
		r = -EIO;
	(void)fclose(file);
	return r;
}

static int write_all(int fd, const struct pin pins[PIN_ROLES])
{
	for (unsigned i = ROLE_VIEWER; i < PIN_ROLES; i++) {
		char salt[2 * SALT_SIZE + 1], hash[2 * KEY_SIZE + 1];

		if (!pins[i].there)
			continue;
		(void)hex_encode(bytes_of(pins[i].salt, SALT_SIZE), salt, sizeof(salt));
		(void)hex_encode(bytes_of(pins[i].hash, KEY_SIZE), hash, sizeof(hash));
		if (dprintf(fd, "%s %s %s\n", names[i], salt, hash) < 0)
			return -errno;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

/* In the old file's place, all at once. */
static int save(const char *path, const struct pin pins[PIN_ROLES])
{
	char fresh[CONFIG_TEXT_MAX + 8];
	int fd, r;

	(void)snprintf(fresh, sizeof(fresh), "%s.new", path);
	if (unlink(fresh) != 0 && errno != ENOENT)
		return -errno;
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, pins);
	(void)close(fd);
	if (r == 0 && rename(fresh, path) != 0)
		r = -errno;
	if (r == 0)
		return file_sync_folder_of(path);
	(void)unlink(fresh);
	return r;
}

/* 0, PINS_WRONG or a negative errno. */
static int compare(const struct pin *pin, const struct secret *password)
{
	struct secret *hash = NULL;
	int r = p1_scrypt(password, bytes_of(pin->salt, SALT_SIZE), LOG_N, BLOCKS, PARALLEL, &hash);

	if (r == 0 && !constant_time_equal(secret_bytes(hash), bytes_of(pin->hash, KEY_SIZE)))
		r = PINS_WRONG;
	secret_unref(hash);
	return r;
}

/* The PIN as it is hashed. 0, PINS_UNUSABLE or -ENOMEM. */
static int prepare(const struct secret *pin, struct secret **out)
{
	int r = pin ? p1_password(secret_bytes(pin), out) : -EINVAL;

	return r == -EINVAL ? PINS_UNUSABLE : r;
}

int gateway_pins_check(const char *path, struct secret *pin, enum api_role *out, bool *highest)
{
	struct pin pins[PIN_ROLES];
	enum api_role found = ROLE_OF_NOBODY, last = ROLE_OF_NOBODY;
	struct secret *password = NULL;
	int r = load(path, pins);

	if (r == 0)
		r = prepare(pin, &password);
	for (unsigned i = ROLE_VIEWER; r == 0 && i < PIN_ROLES; i++) {
		if (!pins[i].there)
			continue;
		last = (enum api_role)i;
		r = compare(&pins[i], password);
		if (r == 0)
			found = (enum api_role)i;
		if (r == PINS_WRONG)
			r = 0;
	}
	secret_unref(password);
	if (r == PINS_UNUSABLE)
		return PINS_WRONG;
	if (r != 0)
		return r;
	*out = found;
	*highest = found == last;
	return last == ROLE_OF_NOBODY ? PINS_NONE : found == ROLE_OF_NOBODY ? PINS_WRONG : 0;
}

int gateway_pins_set(const char *path, enum api_role role, struct secret *pin)
{
	struct pin pins[PIN_ROLES];
	struct secret *password = NULL, *hash = NULL;
	int r = load(path, pins);

	if (r != 0)
		return r;
	pins[role].there = pin != NULL;
	if (!pin)
		return save(path, pins);
	r = secret_size(pin) < PIN_MIN ? PINS_UNUSABLE : prepare(pin, &password);
	for (unsigned i = ROLE_VIEWER; r == 0 && i < PIN_ROLES; i++) {
		if (i == (unsigned)role || !pins[i].there)
			continue;
		r = compare(&pins[i], password);
		r = r == 0 ? PINS_TAKEN : r == PINS_WRONG ? 0 : r;
	}
	if (r == 0)
		r = p1_random(pins[role].salt, SALT_SIZE);
	if (r == 0)
		r = p1_scrypt(password, bytes_of(pins[role].salt, SALT_SIZE), LOG_N, BLOCKS,
			      PARALLEL, &hash);
	if (r == 0) {
		memcpy(pins[role].hash, secret_bytes(hash).data, KEY_SIZE);
		r = save(path, pins);
	}
	secret_unref(hash);
	secret_unref(password);
	return r;
}
