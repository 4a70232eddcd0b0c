/*
 * What is done when a vault is opened: its rows, its ledger's file and its anchor are compared. The
 * file is completed and repaired where the rows can tell how; where the file or the anchor know of
 * more, an older state of the vault was put back.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/vault-ledger.h"

struct opening {
	struct vault *v;
	struct vault_ledger *l;
	struct ledger_row *rows;
	size_t count;
	uint32_t places; /* whole entries in the file */
	off_t size;
	char *why;
	size_t why_size;
};

static off_t offset_of(uint32_t place)
{
	return LEDGER_HEADER_SIZE + (off_t)place * LEDGER_ENTRY_SIZE;
}

static int failed(const struct opening *o, int r)
{
	snprintf(o->why, o->why_size, "ledger %s: %s", o->l->path, strerror(-r));
	return r;
}

static void rolled_back(struct vault_ledger *l, const char *who, uint32_t known)
{
	if (!l->rolled_back)
		l->rollback = (struct vault_rollback){.own = l->own.sequence, .who = who};
	if (known > l->rollback.known) {
		l->rollback.known = known;
		l->rollback.who = who;
	}
	l->rolled_back = l->owes = true;
}

/* The rows follow one another, and the newest is signed by this vault: then all of them are. */
static int check_rows(struct opening *o)
{
	struct vault_ledger *l = o->l;
	const struct ledger_row *newest;
	struct ledger_entry e;
	uint8_t hash[LEDGER_HASH_SIZE];
	int r = 0;

	if (o->count == 0)
		return 0;
	newest = o->rows + o->count - 1;
	for (size_t i = 0; r == 0 && i + 1 < o->count; i++) {
		ledger_entry_decode(o->rows[i + 1].entry, &e);
		r = p1_sha256(bytes_of(o->rows[i].entry, LEDGER_ENTRY_SIZE), hash);
		if (r == 0 && (o->rows[i + 1].place != o->rows[i].place + 1 ||
			       memcmp(hash, e.previous, sizeof(hash)) != 0))
			r = VAULT_DAMAGED;
	}
	if (r == 0)
		r = ledger_entry_verify(l->public_key, o->v->id, newest->entry);
	if (r == LEDGER_REFUSED)
		r = VAULT_DAMAGED;
	if (r == 0)
		r = p1_sha256(bytes_of(newest->entry, LEDGER_ENTRY_SIZE), l->own.head);
	if (r != 0)
		return r;
	ledger_entry_decode(newest->entry, &e);
	l->own.sequence = e.sequence;
	l->chain = l->own;
	l->place = newest->place + 1;
	return 0;
}

static int short_file(const struct opening *o)
{
	const uint32_t first = o->rows[0].place;

	snprintf(o->why, o->why_size,
		 "ledger %s is cut off at byte %lld, %lld bytes were there; put the file back, or"
		 " move it away to begin another",
		 o->l->path, (long long)o->size, (long long)offset_of(first));
	return VAULT_LEDGER;
}

static int altered_at(const struct opening *o, off_t offset)
{
	snprintf(o->why, o->why_size,
		 "ledger %s: what is at byte %lld was altered or is another vault's; put the file"
		 " back, or move it away to begin another",
		 o->l->path, (long long)offset);
	return VAULT_LEDGER;
}

/* Whether the entry is one that this vault made. */
static int is_ours(const struct opening *o, const uint8_t *entry, bool *ours)
{
	int r = ledger_entry_verify(o->l->public_key, o->v->id, entry);

	*ours = r == 0;
	return r < 0 ? r : 0;
}

/* The state that the entry at place is to follow, as the file has it. */
static int state_before(struct opening *o, uint32_t place, struct ledger_state *out)
{
	uint8_t entry[LEDGER_ENTRY_SIZE];
	int r;

	if (place == 0)
		return ledger_state_begin(o->l->header, out);
	*out = o->l->own;
	r = vault_ledger_read(o->l, place - 1, entry);
	return r == 0 ? p1_sha256(bytes_of(entry, sizeof(entry)), out->head) : r;
}

/*
 * From place on the file has entries that this vault made and does not know: it goes on behind the
 * last of them. The first must follow what is before it: one that was copied there from elsewhere
 * in the file is no later state.
 */
static int adopt(struct opening *o, uint32_t place)
{
	struct vault_ledger *l = o->l;
	const uint32_t first = place;
	uint8_t entry[LEDGER_ENTRY_SIZE];
	struct ledger_entry e;
	struct ledger_state s;
	bool ours = true;
	int r = state_before(o, first, &s);

	for (uint32_t at = first; r == 0 && at < o->places; at++) {
		r = vault_ledger_read(l, at, entry);
		if (r == 0)
			r = is_ours(o, entry, &ours);
		ledger_entry_decode(entry, &e);
		if (r != 0 || !ours || memcmp(e.previous, s.head, sizeof(s.head)) != 0)
			break;
		r = p1_sha256(bytes_of(entry, sizeof(entry)), s.head);
		s.sequence = e.sequence;
		place = at + 1;
	}
	if (r != 0)
		return failed(o, r < 0 ? r : -EIO);
	if (place == first)
		return altered_at(o, offset_of(first));
	rolled_back(l, "ledger file", s.sequence > l->own.sequence ? s.sequence : l->own.sequence);
	l->chain = s;
	l->place = l->filed = place;
	return fdatasync(l->fd) == 0 ? 0 : failed(o, -errno);
}

/* The file has the rows' entries, or some of the last are not there or torn: filed says how many.
 */
static int compare_rows(struct opening *o, bool *other)
{
	struct vault_ledger *l = o->l;
	uint8_t entry[LEDGER_ENTRY_SIZE];

	l->filed = o->rows[0].place;
	for (size_t i = 0; i < o->count && o->rows[i].place < o->places; i++) {
		int r = vault_ledger_read(l, o->rows[i].place, entry);

		if (r != 0)
			return r < 0 ? r : -EIO;
		if (memcmp(entry, o->rows[i].entry, sizeof(entry)) != 0)
			return is_ours(o, entry, other);
		l->filed++;
	}
	return 0;
}

/* The entry before the first row is durable in the file, and is the one that the row follows. */
static int compare_durable(struct opening *o)
{
	const uint32_t first = o->rows[0].place;
	uint8_t entry[LEDGER_ENTRY_SIZE];
	uint8_t hash[LEDGER_HASH_SIZE];
	struct ledger_entry row;
	bool ours = false;
	int r;

	if (o->places < first)
		return short_file(o);
	ledger_entry_decode(o->rows[0].entry, &row);
	if (first == 0)
		return 0;
	r = vault_ledger_read(o->l, first - 1, entry);
	if (r == 0)
		r = p1_sha256(bytes_of(entry, sizeof(entry)), hash);
	if (r != 0)
		return failed(o, r < 0 ? r : -EIO);
	if (memcmp(hash, row.previous, sizeof(hash)) == 0)
		return 0;
	r = is_ours(o, entry, &ours);
	if (r != 0)
		return failed(o, r);
	return ours ? adopt(o, first - 1) : altered_at(o, offset_of(first - 1));
}

/* Behind the last row: nothing, the torn rest of an entry, or a future that was taken back. */
static int compare_tail(struct opening *o)
{
	uint8_t entry[LEDGER_ENTRY_SIZE];
	struct ledger_entry e;
	bool ours = false;
	int r;

	if (o->l->filed >= o->places)
		return 0;
	r = vault_ledger_read(o->l, o->l->filed, entry);
	if (r == 0)
		r = is_ours(o, entry, &ours);
	if (r != 0)
		return failed(o, r < 0 ? r : -EIO);
	ledger_entry_decode(entry, &e);
	if (ours && memcmp(e.previous, o->l->own.head, sizeof(e.previous)) == 0)
		return adopt(o, o->l->filed);
	return o->count == 0 ? altered_at(o, offset_of(0)) : 0;
}

static int compare_entries(struct opening *o)
{
	bool other = false;
	int r;

	if (o->count > 0) {
		r = compare_durable(o);
		if (r != 0 || o->l->rolled_back)
			return r;
		r = compare_rows(o, &other);
		if (r != 0)
			return failed(o, r);
		if (other)
			return adopt(o, o->l->filed);
	}
	if (o->l->filed == o->l->place)
		return compare_tail(o);
	return 0;
}

/*
 * What is to be cut off must not have entries that only a later state can have: then it is no torn
 * end, but an entry before them was altered.
 */
static int check_rest(struct opening *o)
{
	struct vault_ledger *l = o->l;
	uint8_t entry[LEDGER_ENTRY_SIZE];
	struct ledger_entry e;

	for (uint32_t at = l->filed; at < o->places; at++) {
		bool ours = false;
		int r = vault_ledger_read(l, at, entry);

		ledger_entry_decode(entry, &e);
		if (r == 0 && e.sequence > l->own.sequence && e.sequence > l->chain.sequence)
			r = is_ours(o, entry, &ours);
		if (r != 0)
			return failed(o, r < 0 ? r : -EIO);
		if (ours)
			return altered_at(o, offset_of(l->filed));
	}
	return 0;
}

static bool is_hole(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] != 0)
			return false;
	}
	return true;
}

static int compare_file(struct opening *o)
{
	struct vault_ledger *l = o->l;
	uint8_t header[LEDGER_HEADER_SIZE];
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(l->fd, &st) != 0)
		return failed(o, -errno);
	o->size = st.st_size;
	n = pread(l->fd, header, sizeof(header), 0);
	if (n < 0)
		return failed(o, -errno);
	/* Its making was cut short, and of what was written there may be a later part: the rows
	   have all of it. */
	if (o->count > 0 && o->rows[0].place == 0 && is_hole(header, (size_t)n))
		return ftruncate(l->fd, 0) == 0 ? 0 : failed(o, -errno);
	if (n < (ssize_t)sizeof(header))
		return o->count > 0 && o->rows[0].place > 0 ? short_file(o) : 0;
	if (memcmp(header, l->header, sizeof(header)) != 0)
		return altered_at(o, 0);
	o->places = (uint32_t)((st.st_size - LEDGER_HEADER_SIZE) / LEDGER_ENTRY_SIZE);
	l->named = true;
	r = compare_entries(o);
	if (r == 0)
		r = check_rest(o);
	if (r != 0)
		return r;
	if (st.st_size > offset_of(l->filed) && ftruncate(l->fd, offset_of(l->filed)) != 0)
		return failed(o, -errno);
	/* Entries of the rows are not known to be durable; those before them are, and adopted ones.
	 */
	if (l->rolled_back)
		l->synced = l->filed;
	else
		l->synced = o->count == 0 ? 0 : o->rows[0].place;
	return 0;
}

/*
 * There are entries, but no file. Where the rows have all of them, another is made with the next
 * entry. Else the vault was moved here without it, or it was lost: nobody can tell what it said
 * more than the vault knows.
 */
static void lost_file(struct opening *o)
{
	struct vault_ledger *l = o->l;

	if (o->count == 0 || o->rows[0].place == 0)
		return;
	rolled_back(l, "lost ledger file", l->own.sequence);
	(void)ledger_state_begin(l->header, &l->chain);
	l->place = 0;
}

static int compare_anchor(struct opening *o, const struct ledger_state *seen)
{
	struct vault_ledger *l = o->l;
	bool other = false;
	int r;

	l->anchored = seen->sequence;
	r = vault_ledger_other(o->v, seen, &other);
	if (r != 0)
		return failed(o, r);
	if (other)
		rolled_back(l, "anchor",
			    seen->sequence > l->own.sequence ? seen->sequence : l->own.sequence);
	return 0;
}

/* The vault remembers its anchor, so that one that was taken away is missed. */
static int remembered(struct vault *v, const char *specification, bool *out)
{
	const struct vault_id id = {(enum vault_kind)VAULT_KIND_ANCHOR, BYTES_NONE, BYTES_NONE};
	struct vault_content content = {NULL, 0};
	int r = vault_get(v, &id, &content);

	*out = bytes_equal(bytes_of(content.data, content.size), bytes_text(specification));
	vault_content_free(&content);
	/* A damaged one is written anew. */
	return r > 0 ? 0 : r;
}

static int open_anchor(struct opening *o, const char *specification)
{
	struct vault_ledger *l = o->l;
	struct ledger_state seen;
	SCOPED_SECRET *auth = NULL;
	struct p1_context context;
	int r;

	p1_context_begin(&context, "pngw anchor auth");
	r = p1_hkdf(o->v->keys.signing, bytes_of(o->v->id, VAULT_ID_SIZE), &context, KEY_SIZE,
		    &auth);
	if (r != 0)
		return failed(o, r);
	r = anchor_open(specification, auth, &l->anchor, o->why, o->why_size);
	if (r != 0)
		return r == -ENOMEM ? r : VAULT_ANCHOR;
	r = remembered(o->v, specification, &l->remembers);
	if (r != 0)
		return r < 0 ? failed(o, r) : r;
	r = anchor_read(l->anchor, o->v->id, l->public_key, &seen, o->why, o->why_size);
	if (r == 0)
		return compare_anchor(o, &seen);
	if (r != ANCHOR_ABSENT)
		return VAULT_ANCHOR;
	if (!l->remembers)
		return 0;
	snprintf(o->why, o->why_size,
		 "anchor %s: it is gone; put it back, or open the vault without it once",
		 specification);
	return VAULT_ANCHOR;
}

/* anchor: NULL leaves what the vault remembers of its anchor as it is. */
static int compare(struct opening *o, const char *anchor)
{
	struct vault_ledger *l = o->l;
	int r = vault_ledger_keys(o->v);

	if (r != 0)
		return failed(o, r);
	r = check_rows(o);
	if (r == 0 && l->fd >= 0)
		r = compare_file(o);
	else if (r == 0)
		lost_file(o);
	if (r == 0 && !anchor)
		l->remembers = true;
	else if (r == 0 && anchor[0])
		return open_anchor(o, anchor);
	/* An anchor that is not used any more is not missed. */
	else if (r == 0)
		r = remembered(o->v, "", &l->remembers);
	return r;
}

/* Whether a backup was put back and no entry says so yet. A damaged mark is one. */
static int restored(struct vault *v, bool *out)
{
	const struct vault_id id = {(enum vault_kind)VAULT_KIND_RESTORED, BYTES_NONE, BYTES_NONE};
	struct vault_content content = {NULL, 0};
	int r = vault_get(v, &id, &content);

	vault_content_free(&content);
	*out = r == 0 || r == VAULT_DAMAGED;
	return r < 0 ? r : 0;
}

static int open_ledger(struct opening *o, const struct vault_options *options)
{
	const char *anchor = options->anchor ? options->anchor : "";
	struct vault_ledger *l = o->l;
	int r;

	l->specification = strdup(anchor);
	if (!l->specification)
		return failed(o, -ENOMEM);
	l->fd = open(l->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (l->fd < 0 && errno != ENOENT)
		return failed(o, -errno);
	r = vault_ledger_rows(o->v, -1, &o->rows, &o->count);
	if (r == 0)
		r = restored(o->v, &l->marked);
	if (r == 0 && o->count == 0 && l->fd < 0 && !anchor[0] && !l->marked) {
		l->remembers = true;
		return 0;
	}
	if (r == 0)
		r = compare(o, options->anchor);
	/* What became of the vault after the backup nobody may be left to tell. */
	if (r == 0 && l->marked && !l->rolled_back)
		rolled_back(l, "restore", l->own.sequence);
	/* The records are served, without the ledger. */
	if (r == VAULT_DAMAGED) {
		vault_ledger_damaged(l);
		return 0;
	}
	return r < 0 ? failed(o, r) : r;
}

int vault_ledger_open(struct vault *v, const struct vault_options *options, char *why,
		      size_t why_size)
{
	struct opening o = {.v = v, .why = why, .why_size = why_size};
	int r;

	v->ledger = o.l = calloc(1, sizeof(*v->ledger));
	if (o.l)
		o.l->fd = -1;
	if (!o.l || asprintf(&o.l->path, "%s.ledger", v->path) < 0) {
		vault_explain(why, why_size, v->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	r = open_ledger(&o, options);
	free(o.rows);
	if (r != 0)
		return r;
	o.l->ready = true;
	vault_ledger_advance(v, true);
	vault_ledger_remember(v);
	return 0;
}
