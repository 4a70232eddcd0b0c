/* Wrong PINs of each user id, in a file beside the PINs: a restart opens nobody's login. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/pins.h"

#define LOCKOUT_MAX_MS (3600u * 1000u)
/* After so long without a wrong one, or a lockout, everything is forgotten. */
#define HEAL_MS        (3600u * 1000u)
/* After so long without a wrong one, one is: no more can be tried than by waiting for all. */
#define HEAL_ONE_MS    (HEAL_MS / (TRIES - 1u))
#define TRIES          5u /* wrong ones before the login is closed */
#define LINE_SIZE      128
#define TEXT_SIZE      ((size_t)API_FAILURES_MAX * LINE_SIZE)

/* The file's new content on its way to the disk. */
struct saving {
	uv_work_t work;
	struct gateway_api *api;
	char path[CONFIG_TEXT_MAX + 16];
	char text[TEXT_SIZE];
	int result;
};

uint64_t gateway_api_lockout_ms(const struct gateway_api *api, unsigned lockouts)
{
	uint64_t ms = (uint64_t)api->options.config->lockout * 1000u;

	while (lockouts > 1 && ms < LOCKOUT_MAX_MS) {
		ms *= 2;
		lockouts--;
	}
	return ms < LOCKOUT_MAX_MS ? ms : LOCKOUT_MAX_MS;
}

/* The place of the one that was longest quiet where it is new. */
struct api_failures *gateway_api_failures_of(struct gateway_api *api, uid_t uid)
{
	struct api_failures *oldest = &api->failures[0];
	uint64_t now = uv_now(api->loop);

	for (size_t i = 0; i < API_FAILURES_MAX; i++) {
		struct api_failures *f = &api->failures[i];

		if (f->known && f->uid == uid) {
			if (!f->trying && now - f->last >= HEAL_MS && now >= f->until + HEAL_MS)
				*f = (struct api_failures){.known = true, .uid = uid};
			return f;
		}
		if (oldest->trying ||
		    (!f->trying && (!f->known || now - f->last > now - oldest->last)))
			oldest = f;
	}
	*oldest = (struct api_failures){.known = true, .uid = uid};
	return oldest;
}

bool gateway_api_failures_add(struct gateway_api *api, struct api_failures *f)
{
	uint64_t now = uv_now(api->loop);
	uint64_t healed = (now - f->last) / HEAL_ONE_MS;
	bool closed;

	f->count = 1 + (healed < f->count ? f->count - (unsigned)healed : 0);
	f->last = now;
	/* Once it was closed, each further wrong one closes it again, for longer. */
	closed = f->count >= TRIES || f->lockouts > 0;
	if (closed) {
		f->count = 0;
		f->until = now + gateway_api_lockout_ms(api, ++f->lockouts);
	}
	gateway_api_failures_changed(api);
	return closed;
}

void gateway_api_failures_forget(struct gateway_api *api, struct api_failures *f)
{
	bool before = f->count > 0 || f->lockouts > 0;

	*f = (struct api_failures){.known = true, .uid = f->uid};
	if (before)
		gateway_api_failures_changed(api);
}

static int path_of(const struct gateway_api *api, char *out, size_t out_size)
{
	char pins[CONFIG_TEXT_MAX];
	int r = gateway_pins_path(api->options.config, pins, sizeof(pins));
	int n = r == 0 ? snprintf(out, out_size, "%s.wrong", pins) : 0;

	return r != 0 ? r : n < 0 || (size_t)n >= out_size ? -ENAMETOOLONG : 0;
}

static bool take_numbers(const char *line, int64_t *out, size_t count)
{
	char *end;

	for (size_t i = 0; i < count; i++, line = end) {
		errno = 0;
		out[i] = strtoll(line, &end, 10);
		if (end == line || errno != 0 || out[i] < 0)
			return false;
	}
	return true;
}

/*
 * A line: user id, wrong ones in a row, lockouts in a row, seconds since 1970 of the last wrong one
 * and of the lockout's end. Where the clock was set back meanwhile, or says that the lockout is to
 * last longer than it was to, the whole lockout is served once more.
 */
static void take_line(struct gateway_api *api, const char *line, int64_t wall)
{
	uint64_t now = uv_now(api->loop), whole, left, age;
	enum { UID, COUNT, LOCKOUTS, LAST, UNTIL, NUMBERS };
	int64_t n[NUMBERS];
	struct api_failures *f;
	unsigned lockouts;
	int64_t last, until;

	if (!take_numbers(line, n, NUMBERS) || n[UID] >= (int64_t)(uid_t)-1 ||
	    n[COUNT] > UINT_MAX || n[LOCKOUTS] > UINT_MAX)
		return;
	lockouts = (unsigned)n[LOCKOUTS];
	last = n[LAST];
	until = n[UNTIL];
	whole = lockouts > 0 ? gateway_api_lockout_ms(api, lockouts) : 0;
	left = until > wall ? (uint64_t)(until - wall) * 1000 : 0;
	if (wall < last || left > whole)
		left = whole;
	age = wall > last ? (uint64_t)(wall - last) * 1000 : 0;
	if (left == 0 && age >= HEAL_MS)
		return;
	f = gateway_api_failures_of(api, (uid_t)n[UID]);
	f->count = (unsigned)n[COUNT];
	f->lockouts = lockouts;
	f->last = now - age;
	f->until = now + left;
}

void gateway_api_failures_load(struct gateway_api *api)
{
	char path[CONFIG_TEXT_MAX + 16], line[LINE_SIZE];
	int64_t wall = (int64_t)time(NULL);
	FILE *file = path_of(api, path, sizeof(path)) == 0 ? fopen(path, "re") : NULL;

	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		take_line(api, line, wall);
	(void)fclose(file);
}

static void write_text(struct gateway_api *api, char *text)
{
	uint64_t now = uv_now(api->loop);
	int64_t wall = (int64_t)time(NULL);
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < API_FAILURES_MAX; i++) {
		const struct api_failures *f = &api->failures[i];
		int64_t left = f->until > now ? (int64_t)(f->until - now + 999) / 1000 : 0;

		if (!f->known || (f->count == 0 && f->lockouts == 0))
			continue;
		used += (size_t)snprintf(text + used, LINE_SIZE,
					 "%lu %u %u %" PRId64 " %" PRId64 "\n",
					 (unsigned long)f->uid, f->count, f->lockouts,
					 wall - (int64_t)((now - f->last) / 1000), wall + left);
	}
}

/* In the old file's place, all at once. */
static void save(uv_work_t *work)
{
	struct saving *s = work->data;
	char fresh[CONFIG_TEXT_MAX + 24];
	size_t size = strlen(s->text);
	int fd;

	(void)snprintf(fresh, sizeof(fresh), "%s.new", s->path);
	(void)unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		s->result = -errno;
		return;
	}
	if (write(fd, s->text, size) != (ssize_t)size || fsync(fd) != 0)
		s->result = -EIO;
	(void)close(fd);
	if (s->result == 0 && rename(fresh, s->path) != 0)
		s->result = -errno;
	if (s->result != 0)
		(void)unlink(fresh);
}

static void saved(uv_work_t *work, int status)
{
	struct saving *s = work->data;
	struct gateway_api *api = s->api;

	if (status == 0 && s->result != 0)
		gateway_api_say(api, LOG_LEVEL_WARNING,
				"control bus: wrong PINs cannot be written down: %s",
				strerror(-s->result));
	free(s);
	api->failures_saving = false;
	if (api->failures_changed)
		gateway_api_failures_changed(api);
	gateway_api_unhold(api);
}

void gateway_api_failures_changed(struct gateway_api *api)
{
	struct saving *s;

	api->failures_changed = api->failures_saving;
	if (api->failures_saving)
		return;
	s = calloc(1, sizeof(*s));
	if (!s || path_of(api, s->path, sizeof(s->path)) != 0) {
		free(s);
		return;
	}
	s->api = api;
	s->work.data = s;
	write_text(api, s->text);
	if (uv_queue_work(api->loop, &s->work, save, saved) != 0) {
		free(s);
		return;
	}
	api->failures_saving = true;
	gateway_api_hold(api);
}
