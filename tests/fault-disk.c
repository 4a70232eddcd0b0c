/* The recording disk of fault-vfs.h. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "fault-vfs.h"

#define FILES_MAX   64
#define NAME_SIZE   64
#define PENDING_MAX 4096
#define SECTOR      512
#define SYSTEM_PAGE 4096

enum event_type {
	WROTE,
	TRUNCATED,
	SYNCED,
	CREATED,
	UNLINKED,
	RENAMED,
	LINKED,
	FOLDER_SYNCED,
	MARKED
};

struct event {
	enum event_type type;
	int file;
	uint64_t offset; /* the new size, if TRUNCATED */
	size_t size;
	uint8_t *data;
	char name[NAME_SIZE];
	char to[NAME_SIZE];
	unsigned acknowledged;
	unsigned submitted;
};

struct content {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

struct entry {
	char name[NAME_SIZE]; /* "": free */
	int file;
};

struct folder {
	struct entry entries[FILES_MAX];
};

struct disk {
	char path[128];
	struct event *events;
	size_t count;
	size_t capacity;
	int files;
	unsigned acknowledged;
	unsigned submitted;
	struct content initial[FILES_MAX];
	struct folder first; /* what was there when recording began */
	struct folder now;
};

static struct disk *recorder;

static void *must(void *p)
{
	if (!p)
		ck_abort_msg("out of memory");
	return p;
}

/* Contents. */

static void content_resize(struct content *c, size_t size)
{
	if (size > c->capacity) {
		c->capacity = size + 65536;
		c->data = must(realloc(c->data, c->capacity));
	}
	if (size > c->size)
		memset(c->data + c->size, 0, size - c->size);
	c->size = size;
}

static void content_write(struct content *c, uint64_t offset, const uint8_t *data, size_t size)
{
	if (offset + size > c->size)
		content_resize(c, (size_t)offset + size);
	if (size > 0)
		memcpy(c->data + offset, data, size);
}

static void content_copy(struct content *to, const struct content *from)
{
	content_resize(to, 0);
	content_write(to, 0, from->data, from->size);
}

/* Names. */

static int folder_find(const struct folder *f, const char *name)
{
	for (int i = 0; i < FILES_MAX; i++) {
		if (f->entries[i].name[0] && strcmp(f->entries[i].name, name) == 0)
			return i;
	}
	return -1;
}

static void folder_remove(struct folder *f, const char *name)
{
	int i = folder_find(f, name);

	if (i >= 0)
		f->entries[i].name[0] = '\0';
}

static void folder_add(struct folder *f, const char *name, int file)
{
	folder_remove(f, name);
	for (int i = 0; i < FILES_MAX; i++) {
		if (!f->entries[i].name[0]) {
			(void)snprintf(f->entries[i].name, NAME_SIZE, "%s", name);
			f->entries[i].file = file;
			return;
		}
	}
	ck_abort_msg("too many files in the folder");
}

static void folder_apply(struct folder *f, const struct event *e)
{
	int i;

	if (e->type == CREATED) {
		folder_add(f, e->name, e->file);
	} else if (e->type == UNLINKED) {
		folder_remove(f, e->name);
	} else if (e->type == RENAMED) {
		i = folder_find(f, e->name);
		if (i < 0)
			return;
		folder_add(f, e->to, f->entries[i].file);
		folder_remove(f, e->name);
	} else if (e->type == LINKED) {
		i = folder_find(f, e->name);
		if (i >= 0)
			folder_add(f, e->to, f->entries[i].file);
	}
}

/* Recording. */

/* The name in the recorded folder, or NULL. */
static const char *name_in(const char *path)
{
	size_t size;

	if (!recorder)
		return NULL;
	size = strlen(recorder->path);
	if (strncmp(path, recorder->path, size) != 0 || path[size] != '/' ||
	    strchr(path + size + 1, '/') || strlen(path + size + 1) >= NAME_SIZE)
		return NULL;
	return path + size + 1;
}

static struct event *record(enum event_type type, int file)
{
	struct disk *d = recorder;
	struct event *e;

	if (d->count == d->capacity) {
		d->capacity = d->capacity ? 2 * d->capacity : 256;
		d->events = must(realloc(d->events, d->capacity * sizeof(*d->events)));
	}
	e = &d->events[d->count++];
	memset(e, 0, sizeof(*e));
	e->type = type;
	e->file = file;
	return e;
}

int disk_opened(const char *path, bool created, bool truncated)
{
	const char *name = name_in(path);
	int i;

	if (!name)
		return DISK_NO_FILE;
	i = folder_find(&recorder->now, name);
	if (i >= 0 && !created) {
		if (truncated)
			disk_truncated(recorder->now.entries[i].file, 0);
		return recorder->now.entries[i].file;
	}
	ck_assert_int_lt(recorder->files, FILES_MAX);
	(void)snprintf(record(CREATED, recorder->files)->name, NAME_SIZE, "%s", name);
	folder_add(&recorder->now, name, recorder->files);
	return recorder->files++;
}

/* A page of the system's cache reaches the disk or does not, whatever wrote to it. */
void disk_wrote(int file, uint64_t offset, const void *data, size_t size)
{
	const uint8_t *from = data;

	if (!recorder || file == DISK_NO_FILE)
		return;
	while (size > 0) {
		size_t page = SYSTEM_PAGE - (size_t)(offset % SYSTEM_PAGE);
		size_t piece = size < page ? size : page;
		struct event *e = record(WROTE, file);

		e->offset = offset;
		e->size = piece;
		e->data = must(malloc(piece));
		memcpy(e->data, from, piece);
		from += piece;
		offset += piece;
		size -= piece;
	}
}

void disk_truncated(int file, uint64_t size)
{
	if (recorder && file != DISK_NO_FILE)
		record(TRUNCATED, file)->offset = size;
}

void disk_synced(int file)
{
	if (recorder && file != DISK_NO_FILE)
		record(SYNCED, file);
}

void disk_unlinked(const char *path)
{
	const char *name = name_in(path);

	if (!name)
		return;
	(void)snprintf(record(UNLINKED, DISK_NO_FILE)->name, NAME_SIZE, "%s", name);
	folder_remove(&recorder->now, name);
}

static void record_names(enum event_type type, const char *from, const char *to)
{
	const char *old_name = name_in(from);
	const char *new_name = name_in(to);
	struct event *e;

	if (!old_name || !new_name)
		return;
	e = record(type, DISK_NO_FILE);
	(void)snprintf(e->name, NAME_SIZE, "%s", old_name);
	(void)snprintf(e->to, NAME_SIZE, "%s", new_name);
	folder_apply(&recorder->now, e);
}

void disk_renamed(const char *from, const char *to)
{
	record_names(RENAMED, from, to);
}

void disk_linked(const char *from, const char *to)
{
	record_names(LINKED, from, to);
}

void disk_folder_synced(const char *folder)
{
	if (recorder && strcmp(folder, recorder->path) == 0)
		record(FOLDER_SYNCED, DISK_NO_FILE);
}

void disk_mark(unsigned acknowledged, unsigned submitted)
{
	struct event *e;

	if (!recorder)
		return;
	e = record(MARKED, DISK_NO_FILE);
	e->acknowledged = acknowledged;
	e->submitted = submitted;
}

static void load(struct disk *d, const char *name)
{
	uint8_t buffer[65536];
	char path[256];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", d->path, name);
	f = must(fopen(path, "rb"));
	ck_assert_int_lt(d->files, FILES_MAX);
	while ((n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		content_write(&d->initial[d->files], d->initial[d->files].size, buffer, n);
	(void)fclose(f);
	folder_add(&d->first, name, d->files++);
}

struct disk *disk_record(const char *folder, unsigned acknowledged, unsigned submitted)
{
	struct disk *d = must(calloc(1, sizeof(*d)));
	struct dirent *e;
	DIR *dir;

	ck_assert_ptr_null(recorder);
	(void)snprintf(d->path, sizeof(d->path), "%s", folder);
	dir = must(opendir(folder));
	while ((e = readdir(dir))) {
		if (e->d_name[0] != '.' && strlen(e->d_name) < NAME_SIZE)
			load(d, e->d_name);
	}
	(void)closedir(dir);
	d->now = d->first;
	d->acknowledged = acknowledged;
	d->submitted = submitted;
	recorder = d;
	return d;
}

void disk_stop(struct disk *d)
{
	ck_assert_ptr_eq(recorder, d);
	recorder = NULL;
}

void disk_free(struct disk *d)
{
	for (size_t i = 0; i < d->count; i++)
		free(d->events[i].data);
	for (int i = 0; i < FILES_MAX; i++)
		free(d->initial[i].data);
	free(d->events);
	free(d);
}

/* States. */

struct walk {
	const struct disk *d;
	const struct disk_limits *limits;
	const char *target;
	disk_state_fn *each;
	void *arg;
	struct disk_state state;
	size_t tried;
	size_t seen; /* distinct states */
	size_t stride;
	struct content durable[FILES_MAX];
	struct content image[FILES_MAX];
	struct folder durable_folder;
	size_t pending[PENDING_MAX]; /* positions of writes and cuts that are not durable */
	size_t pending_count;
	size_t names[PENDING_MAX]; /* the same for names */
	size_t names_count;
	uint64_t *hashes;
	size_t hash_count;
	size_t hash_capacity;
	uint64_t random;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

static uint64_t hash_bytes(uint64_t h, const uint8_t *data, size_t size)
{
	uint64_t v;

	for (; size >= sizeof(v); data += sizeof(v), size -= sizeof(v)) {
		memcpy(&v, data, sizeof(v));
		h = mix(h, v);
	}
	for (; size > 0; size--)
		h = mix(h, *data++);
	return h;
}

static void hash_grow(struct walk *w)
{
	uint64_t *old = w->hashes;
	size_t capacity = w->hash_capacity;

	w->hash_capacity = capacity ? 2 * capacity : 4096;
	w->hashes = must(calloc(w->hash_capacity, sizeof(*w->hashes)));
	for (size_t i = 0; i < capacity; i++) {
		size_t at = old[i] & (w->hash_capacity - 1);

		if (old[i] == 0)
			continue;
		while (w->hashes[at])
			at = (at + 1) & (w->hash_capacity - 1);
		w->hashes[at] = old[i];
	}
	free(old);
}

static bool is_new(struct walk *w, uint64_t hash)
{
	size_t at;

	if (hash == 0)
		hash = 1;
	if (2 * w->hash_count >= w->hash_capacity)
		hash_grow(w);
	for (at = hash & (w->hash_capacity - 1); w->hashes[at];
	     at = (at + 1) & (w->hash_capacity - 1)) {
		if (w->hashes[at] == hash)
			return false;
	}
	w->hashes[at] = hash;
	w->hash_count++;
	return true;
}

static void empty(const char *folder)
{
	struct dirent *e;
	DIR *dir = must(opendir(folder));
	char path[PATH_MAX];

	while ((e = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			ck_assert_int_eq(unlink(path), 0);
	}
	(void)closedir(dir);
}

/* Whether an earlier name has the same file; then this one becomes another name of it. */
static bool link_name(const struct walk *w, const struct folder *folder, int entry)
{
	char from[256], to[256];
	int i = 0;

	while (!folder->entries[i].name[0] ||
	       folder->entries[i].file != folder->entries[entry].file)
		i++;
	if (i == entry)
		return false;
	(void)snprintf(from, sizeof(from), "%s/%s", w->target, folder->entries[i].name);
	(void)snprintf(to, sizeof(to), "%s/%s", w->target, folder->entries[entry].name);
	ck_assert_int_eq(link(from, to), 0);
	return true;
}

static void lay_out(struct walk *w, const struct folder *folder)
{
	char path[256];

	empty(w->target);
	for (int i = 0; i < FILES_MAX; i++) {
		const struct content *c;
		size_t done = 0;
		int fd;

		if (!folder->entries[i].name[0] || link_name(w, folder, i))
			continue;
		c = &w->image[folder->entries[i].file];
		(void)snprintf(path, sizeof(path), "%s/%s", w->target, folder->entries[i].name);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		ck_assert_int_ge(fd, 0);
		while (done < c->size) {
			ssize_t n = write(fd, c->data + done, c->size - done);

			ck_assert_int_gt(n, 0);
			done += (size_t)n;
		}
		ck_assert_int_eq(close(fd), 0);
	}
}

static bool touched(const struct walk *w, int file)
{
	for (size_t i = 0; i < w->pending_count; i++) {
		if (w->d->events[w->pending[i]].file == file)
			return true;
	}
	return false;
}

/* One write that is only there in part: sectors from..to, counted in the file's own sectors. */
struct torn {
	size_t position;
	size_t from;
	size_t to;
};

static void apply(struct walk *w, size_t position, const struct torn *torn)
{
	const struct event *e = &w->d->events[position];
	size_t from = 0, to = e->size;

	if (e->type == TRUNCATED) {
		content_resize(&w->image[e->file], (size_t)e->offset);
		return;
	}
	if (torn && torn->position == position) {
		from = torn->from;
		to = torn->to;
	}
	content_write(&w->image[e->file], e->offset + from, e->data + from, to - from);
}

/* Where equal states are not looked for first, not even the others' contents are put together. */
static bool passed_over(struct walk *w)
{
	size_t number = w->tried++;

	return w->limits->roughly && (!w->each || number % w->stride != 0);
}

/* here[i]: whether pending[i] reached the disk. in_flight: also applied, last, unless SIZE_MAX. */
static void try_state(struct walk *w, const bool *here, size_t names, size_t in_flight,
		      const struct torn *torn)
{
	uint64_t hash = mix(w->state.acknowledged, w->state.submitted);
	struct folder folder = w->durable_folder;

	if (passed_over(w))
		return;
	for (size_t i = 0; i < names; i++)
		folder_apply(&folder, &w->d->events[w->names[i]]);
	for (int i = 0; i < w->d->files; i++) {
		bool fresh = touched(w, i) ||
			     (in_flight != SIZE_MAX && w->d->events[in_flight].file == i);

		if (fresh || w->image[i].size != w->durable[i].size ||
		    (w->durable[i].size > 0 &&
		     memcmp(w->image[i].data, w->durable[i].data, w->durable[i].size) != 0))
			content_copy(&w->image[i], &w->durable[i]);
	}
	for (size_t i = 0; i < w->pending_count; i++) {
		if (here[i])
			apply(w, w->pending[i], torn);
	}
	if (in_flight != SIZE_MAX)
		apply(w, in_flight, torn);
	for (int i = 0; i < FILES_MAX; i++) {
		const struct entry *e = &folder.entries[i];

		if (!e->name[0])
			continue;
		hash = hash_bytes(hash, (const uint8_t *)e->name, strlen(e->name));
		hash = mix(hash, w->image[e->file].size);
		hash = hash_bytes(hash, w->image[e->file].data, w->image[e->file].size);
	}
	if (!is_new(w, hash) || (!w->limits->roughly && w->seen++ % w->stride != 0))
		return;
	if (w->each) {
		lay_out(w, &folder);
		w->each(w->arg, &w->state);
	}
	w->state.number++;
}

static uint64_t next_random(struct walk *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static void fill(bool *here, size_t n, bool value)
{
	for (size_t i = 0; i < n; i++)
		here[i] = value;
}

static void try_subsets(struct walk *w)
{
	static bool here[PENDING_MAX];
	size_t n = w->pending_count;

	if (n <= w->limits->all_subsets) {
		for (unsigned long s = 0; s < 1ul << n; s++) {
			for (size_t i = 0; i < n; i++)
				here[i] = s >> i & 1;
			try_state(w, here, w->names_count, SIZE_MAX, NULL);
		}
	} else {
		for (int value = 0; value < 2; value++) {
			fill(here, n, value);
			try_state(w, here, w->names_count, SIZE_MAX, NULL);
			for (size_t i = 0; i < n; i++) {
				here[i] = !value;
				try_state(w, here, w->names_count, SIZE_MAX, NULL);
				here[i] = value;
			}
		}
		for (unsigned k = 0; k < w->limits->random_subsets; k++) {
			for (size_t i = 0; i < n; i++)
				here[i] = next_random(w) >> 20 & 1;
			try_state(w, here, w->names_count, SIZE_MAX, NULL);
		}
	}
	for (size_t names = 0; names < w->names_count; names++) {
		fill(here, n, true);
		try_state(w, here, names, SIZE_MAX, NULL);
		fill(here, n, false);
		try_state(w, here, names, SIZE_MAX, NULL);
	}
}

/* Each way to tear the write at position that is tried: a prefix, or all but a prefix. */
static void try_torn(struct walk *w, size_t position, bool in_flight)
{
	static bool here[PENDING_MAX];
	const struct event *e = &w->d->events[position];
	uint64_t first = e->offset / SECTOR + 1;
	uint64_t last = (e->offset + e->size - 1) / SECTOR;

	if (e->type != WROTE || e->size == 0)
		return;
	for (uint64_t sector = first; sector <= last; sector += last - first > 2 ? 3 : 1) {
		size_t cut = (size_t)(sector * SECTOR - e->offset);
		struct torn torn = {position, 0, cut};

		for (int others = 0; others < 2; others++) {
			fill(here, w->pending_count, others);
			for (size_t i = 0; i < w->pending_count; i++)
				here[i] = here[i] || w->pending[i] == position;
			torn.from = 0;
			torn.to = cut;
			try_state(w, here, w->names_count, in_flight ? position : SIZE_MAX, &torn);
			torn.from = cut;
			torn.to = e->size;
			try_state(w, here, w->names_count, in_flight ? position : SIZE_MAX, &torn);
		}
	}
}

static void make_durable(struct walk *w, int file)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->pending_count; i++) {
		const struct event *e = &w->d->events[w->pending[i]];

		if (e->file != file)
			w->pending[kept++] = w->pending[i];
		else if (e->type == TRUNCATED)
			content_resize(&w->durable[file], (size_t)e->offset);
		else
			content_write(&w->durable[file], e->offset, e->data, e->size);
	}
	w->pending_count = kept;
}

static void step(struct walk *w, size_t position)
{
	const struct event *e = &w->d->events[position];

	w->state.position = position;
	switch (e->type) {
	case WROTE:
		try_subsets(w);
		try_torn(w, position, true);
		ck_assert_uint_lt(w->pending_count, PENDING_MAX);
		w->pending[w->pending_count++] = position;
		break;
	case TRUNCATED:
		try_subsets(w);
		ck_assert_uint_lt(w->pending_count, PENDING_MAX);
		w->pending[w->pending_count++] = position;
		break;
	case SYNCED:
		try_subsets(w);
		for (size_t i = 0; i < w->pending_count; i++)
			try_torn(w, w->pending[i], false);
		make_durable(w, e->file);
		try_subsets(w);
		break;
	case CREATED:
	case UNLINKED:
	case RENAMED:
	case LINKED:
		try_subsets(w);
		ck_assert_uint_lt(w->names_count, PENDING_MAX);
		w->names[w->names_count++] = position;
		break;
	case FOLDER_SYNCED:
		try_subsets(w);
		for (size_t i = 0; i < w->names_count; i++)
			folder_apply(&w->durable_folder, &w->d->events[w->names[i]]);
		w->names_count = 0;
		break;
	case MARKED:
		try_subsets(w);
		w->state.acknowledged = e->acknowledged;
		w->state.submitted = e->submitted;
		break;
	}
}

static size_t run(const struct disk *d, const struct disk_limits *limits, size_t stride,
		  const char *folder, disk_state_fn *each, void *arg)
{
	struct walk *w = must(calloc(1, sizeof(*w)));
	size_t states;

	w->d = d;
	w->limits = limits;
	w->target = folder;
	w->each = each;
	w->arg = arg;
	w->stride = stride;
	w->state.acknowledged = d->acknowledged;
	w->state.submitted = d->submitted;
	w->random = 88172645463325252u;
	w->durable_folder = d->first;
	for (int i = 0; i < FILES_MAX; i++)
		content_copy(&w->durable[i], &d->initial[i]);
	for (size_t i = 0; i < d->count; i++)
		step(w, i);
	w->state.position = d->count;
	try_subsets(w);
	for (int i = 0; i < FILES_MAX; i++) {
		free(w->durable[i].data);
		free(w->image[i].data);
	}
	free(w->hashes);
	states = each || !limits->roughly ? w->state.number : w->tried;
	free(w);
	return states;
}

size_t disk_each_state(const struct disk *d, const struct disk_limits *limits, const char *folder,
		       disk_state_fn *each, void *arg)
{
	size_t stride = 1;

	if (limits->most_states) {
		size_t all = run(d, limits, 1, folder, NULL, NULL);

		stride = all / limits->most_states + 1;
		/* What is tried comes in twos and fours. */
		stride += limits->roughly && stride % 2 == 0;
	}
	return run(d, limits, stride, folder, each, arg);
}
