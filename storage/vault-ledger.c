#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/file.h"
#include "storage/vault-ledger.h"

static const char *const sql[LEDGER_STATEMENTS] = {
	[LEDGER_INSERT] = "INSERT INTO ledger (sequence, entry) VALUES (?1, ?2)",
	[LEDGER_TRIM] = "DELETE FROM ledger WHERE sequence <= ?1"
			" AND sequence < (SELECT max(sequence) FROM ledger)",
	[LEDGER_SELECT] =
		"SELECT sequence, entry FROM ledger WHERE sequence > ?1 ORDER BY sequence",
};

static uint32_t get_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static off_t offset_of(uint32_t place)
{
	return LEDGER_HEADER_SIZE + (off_t)place * LEDGER_ENTRY_SIZE;
}

void vault_batch_ledger(struct vault_batch *b, const struct ledger_fact *fact)
{
	struct vault_fact *facts, *f;

	if (b->failed)
		return;
	if (fact->entity.size > NAME_MAX_SIZE || fact->user.size > NAME_MAX_SIZE ||
	    fact->event <= LEDGER_CREATED || (int)fact->event > LEDGER_EVENT_MAX) {
		b->failed = -EINVAL;
		return;
	}
	facts = reallocarray(b->facts, b->fact_count + 1, sizeof(*facts));
	if (!facts) {
		b->failed = -ENOMEM;
		return;
	}
	b->facts = facts;
	f = facts + b->fact_count++;
	*f = (struct vault_fact){.fact = *fact};
	(void)name_set(&f->entity, fact->entity);
	(void)name_set(&f->user, fact->user);
}

void vault_facts_free(struct vault_batch *b)
{
	free(b->facts);
	b->facts = NULL;
	b->fact_count = 0;
}

void vault_ledger_state(const struct vault *v, struct ledger_state *out)
{
	*out = v->ledger->own;
}

const struct vault_rollback *vault_rollback(const struct vault *v)
{
	return v->ledger->rolled_back ? &v->ledger->rollback : NULL;
}

int vault_ledger_trouble(const struct vault *v, const char **with)
{
	*with = v->ledger->trouble_with;
	return v->ledger->trouble;
}

/* r: what an attempt gave. The first failure of a row is the one to tell. */
static void note(struct vault_ledger *l, const char *with, int r)
{
	if (r < 0) {
		l->trouble = r;
		l->trouble_with = with;
	} else if (l->trouble_with == with) {
		l->trouble = 0;
		l->trouble_with = NULL;
	}
}

static const char the_file[] = "ledger file";
static const char the_anchor[] = "anchor";
static const char the_record[] = "record of the anchor";

void vault_ledger_damaged(struct vault_ledger *l)
{
	l->damaged = true;
	note(l, "ledger table", -EBADMSG);
}

struct ledger_signer vault_ledger_signer(const struct vault *v)
{
	return (struct ledger_signer){v->id, v->ledger->public_key, v->keys.signing, v->keys.tags};
}

int vault_ledger_keys(struct vault *v)
{
	struct vault_ledger *l = v->ledger;
	struct ledger_signer signer = vault_ledger_signer(v);
	int r;

	if (l->keyed)
		return 0;
	r = p1_ed25519_public(v->keys.signing, l->public_key);
	if (r == 0)
		r = ledger_header_make(&signer, l->header);
	if (r == 0)
		r = ledger_state_begin(l->header, &l->own);
	l->chain = l->own;
	l->keyed = r == 0;
	return r;
}

static int statement(struct vault *v, enum ledger_statement which, sqlite3_stmt **out)
{
	sqlite3_stmt **s = v->ledger->statements + which;
	int r = SQLITE_OK;

	if (!*s)
		r = sqlite3_prepare_v3(v->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL);
	*out = *s;
	return r;
}

/* Runs a write whose parameters were bound with the result r. */
static int run(sqlite3_stmt *s, int r)
{
	if (r == SQLITE_OK)
		r = sqlite3_step(s);
	if (s) {
		(void)sqlite3_reset(s);
		(void)sqlite3_clear_bindings(s);
	}
	return r == SQLITE_DONE ? 0 : vault_errno(r);
}

static int row_of(sqlite3_stmt *s, struct ledger_row *out)
{
	const uint8_t *data = sqlite3_column_blob(s, 1);

	if (!data || sqlite3_column_bytes(s, 1) != LEDGER_ROW_SIZE)
		return VAULT_DAMAGED;
	out->place = get_u32(data);
	memcpy(out->entry, data + 4, LEDGER_ENTRY_SIZE);
	return sqlite3_column_int64(s, 0) == get_u32(out->entry) ? 0 : VAULT_DAMAGED;
}

int vault_ledger_rows(struct vault *v, int64_t above, struct ledger_row **out, size_t *count)
{
	struct ledger_row *rows = NULL;
	sqlite3_stmt *s = NULL;
	size_t used = 0;
	int r = statement(v, LEDGER_SELECT, &s);

	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 1, above);
	if (r != SQLITE_OK)
		return vault_errno(r);
	while ((r = sqlite3_step(s)) == SQLITE_ROW) {
		struct ledger_row *grown = reallocarray(rows, used + 1, sizeof(*rows));

		r = grown ? 0 : -ENOMEM;
		if (grown)
			rows = grown;
		if (r == 0)
			r = row_of(s, rows + used);
		if (r != 0)
			break;
		used++;
	}
	if (r == SQLITE_DONE)
		r = 0;
	else if (r > 0 && r != VAULT_DAMAGED)
		r = vault_errno(r);
	(void)sqlite3_reset(s);
	if (r != 0) {
		free(rows);
		return r == -EBADMSG ? VAULT_DAMAGED : r;
	}
	*out = rows;
	*count = used;
	return 0;
}

int vault_ledger_read(const struct vault_ledger *l, uint32_t place,
		      uint8_t entry[LEDGER_ENTRY_SIZE])
{
	size_t done = 0;

	while (done < LEDGER_ENTRY_SIZE) {
		ssize_t n = pread(l->fd, entry + done, LEDGER_ENTRY_SIZE - done,
				  offset_of(place) + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return LEDGER_REFUSED;
		done += (size_t)n;
	}
	return 0;
}

/* The entry at that place: of rows, which are newer than the file or the same, or of the file. */
static int entry_at(const struct vault_ledger *l, const struct ledger_row *rows, size_t count,
		    uint32_t place, uint8_t entry[LEDGER_ENTRY_SIZE])
{
	for (size_t i = count; i > 0 && rows[i - 1].place >= place; i--) {
		if (rows[i - 1].place == place) {
			memcpy(entry, rows[i - 1].entry, LEDGER_ENTRY_SIZE);
			return 0;
		}
	}
	return l->fd < 0 ? LEDGER_REFUSED : vault_ledger_read(l, place, entry);
}

/*
 * Whether the chain of hashes that ends in the vault's own head has an entry with that sequence and
 * hash, or leaves that sequence out: the file alone proves nothing. LEDGER_REFUSED: it has another
 * one, or the chain does not hold that far.
 */
static int follow_chain(const struct vault_ledger *l, const struct ledger_row *rows, size_t count,
			const struct ledger_state *seen)
{
	uint8_t expected[LEDGER_HASH_SIZE], hash[LEDGER_HASH_SIZE], entry[LEDGER_ENTRY_SIZE];
	struct ledger_entry e;
	int r;

	memcpy(expected, l->own.head, sizeof(expected));
	for (uint32_t place = l->place; place > 0; place--) {
		r = entry_at(l, rows, count, place - 1, entry);
		if (r == 0)
			r = p1_sha256(bytes_of(entry, sizeof(entry)), hash);
		if (r == 0 && memcmp(hash, expected, sizeof(hash)) != 0)
			r = LEDGER_REFUSED;
		if (r != 0)
			return r;
		ledger_entry_decode(entry, &e);
		if (e.sequence == seen->sequence)
			return memcmp(hash, seen->head, sizeof(hash)) == 0 ? 0 : LEDGER_REFUSED;
		if (e.sequence < seen->sequence)
			return 0;
		memcpy(expected, e.previous, sizeof(expected));
	}
	return 0;
}

int vault_ledger_other(struct vault *v, const struct ledger_state *seen, bool *other)
{
	const struct ledger_state *own = &v->ledger->own;
	struct ledger_row *rows = NULL;
	size_t count = 0;
	int r;

	*other = seen->sequence > own->sequence;
	if (*other || seen->sequence == 0)
		return 0;
	if (seen->sequence == own->sequence) {
		*other = memcmp(seen->head, own->head, sizeof(own->head)) != 0;
		return 0;
	}
	r = vault_ledger_rows(v, (int64_t)seen->sequence - 1, &rows, &count);
	if (r == 0)
		r = follow_chain(v->ledger, rows, count, seen);
	else if (r > 0)
		r = -EIO;
	free(rows);
	*other = r == LEDGER_REFUSED;
	return r < 0 ? r : 0;
}

static int write_at(int fd, const uint8_t *data, size_t size, off_t offset)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		size -= (size_t)n;
		offset += n;
	}
	return 0;
}

/* Entries that follow one another, from where the file ends. */
static int append(struct vault_ledger *l, const struct ledger_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r;

		if (rows[i].place < l->filed)
			continue;
		if (rows[i].place > l->filed)
			return -EIO;
		r = write_at(l->fd, rows[i].entry, LEDGER_ENTRY_SIZE, offset_of(rows[i].place));
		if (r != 0)
			return r;
		l->filed++;
	}
	return 0;
}

static int ready_file(struct vault_ledger *l)
{
	if (l->fd < 0)
		l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->fd < 0)
		return -errno;
	return l->filed == 0 ? write_at(l->fd, l->header, LEDGER_HEADER_SIZE, 0) : 0;
}

/* What was committed just now goes to the file, behind all that could not go there before. */
static int file_entries(struct vault *v)
{
	struct vault_ledger *l = v->ledger;
	struct ledger_row *rows = NULL;
	size_t count = 0;
	int r = ready_file(l);

	if (r == 0 && l->made_count > 0 && l->made[0].place == l->filed)
		return append(l, l->made, l->made_count);
	if (r == 0)
		r = vault_ledger_rows(v, (int64_t)l->synced_sequence, &rows, &count);
	if (r == 0)
		r = append(l, rows, count);
	free(rows);
	return r > 0 ? -EBADMSG : r;
}

int vault_ledger_sync(struct vault_ledger *l)
{
	int r = 0;

	if (l->fd < 0 || (l->filed == l->synced && l->named))
		return 0;
	if (fdatasync(l->fd) != 0)
		r = -errno;
	if (r == 0 && !l->named)
		r = file_sync_folder_of(l->path);
	/* After a failed flush nobody knows what is on the disk: it is written again. */
	if (r != 0) {
		l->filed = l->synced;
		return r;
	}
	l->named = true;
	l->synced = l->filed;
	if (l->filed == l->place)
		l->synced_sequence = l->own.sequence;
	return 0;
}

static int64_t seconds_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec + 1;
}

void vault_ledger_advance(struct vault *v, bool now)
{
	struct vault_ledger *l = v->ledger;
	const struct ledger_signer signer = vault_ledger_signer(v);
	uint8_t statement_bytes[ANCHOR_STATEMENT_SIZE];
	int r;

	if (!l->ready || !l->anchor || l->own.sequence == 0 || l->anchored == l->own.sequence ||
	    l->owes)
		return;
	if (!now && l->anchored_at > 0 &&
	    seconds_now() - l->anchored_at < (int64_t)anchor_interval(l->anchor))
		return;
	r = anchor_statement_make(&signer, &l->own, statement_bytes);
	if (r == 0)
		r = anchor_write(l->anchor, statement_bytes);
	if (r == 0) {
		l->anchored = l->own.sequence;
		l->anchored_at = seconds_now();
	}
	note(l, the_anchor, r);
}

static int any_row(void *arg, const uint8_t name[VAULT_NAME_SIZE], int64_t sequence,
		   uint32_t generation)
{
	(void)arg;
	(void)name;
	(void)sequence;
	(void)generation;
	return 1;
}

/* Whether the ledger that is to begin must say that there are keys older than it. */
static int look_for_older(struct vault *v)
{
	uint8_t low[VAULT_NAME_SIZE];
	uint8_t high[VAULT_NAME_SIZE];
	size_t gaps = 0;
	int r;

	vault_name_range_of_kind(VAULT_EUKEY, low, high);
	r = vault_walk_rows(v, low, high, any_row, NULL, &gaps);
	v->ledger->older = r > 0 || gaps > 0;
	return r < 0 ? r : 0;
}

int vault_ledger_begin(struct vault *v, const struct vault_batch *first,
		       const struct vault_batch *end)
{
	struct vault_ledger *l = v->ledger;
	bool any = false;
	int r;

	l->made_count = 0;
	l->remembering = false;
	for (const struct vault_batch *b = first; b != end; b = b->next)
		any = any || b->fact_count > 0;
	if (!any)
		return 0;
	if (l->damaged)
		return -EBADMSG;
	r = vault_ledger_keys(v);
	if (r == 0 && l->chain.sequence == 0 && !l->owes)
		r = look_for_older(v);
	l->next = l->chain;
	l->next_place = l->place;
	l->told_rollback = false;
	return r;
}

static struct ledger_row *next_made(struct vault_ledger *l)
{
	struct ledger_row *made;
	size_t capacity = l->made_capacity ? 2 * l->made_capacity : 8;

	if (l->made_count < l->made_capacity)
		return l->made + l->made_count;
	made = reallocarray(l->made, capacity, sizeof(*made));
	if (!made)
		return NULL;
	l->made = made;
	l->made_capacity = capacity;
	return made + l->made_count;
}

/* Signs an entry and writes its row. */
static int add_entry(struct vault *v, const struct ledger_fact *fact)
{
	struct vault_ledger *l = v->ledger;
	const struct ledger_signer signer = vault_ledger_signer(v);
	struct ledger_row *row = next_made(l);
	uint8_t bytes[LEDGER_ROW_SIZE];
	sqlite3_stmt *s = NULL;
	int r;

	if (!row)
		return -ENOMEM;
	r = ledger_entry_make(&signer, fact, &l->next, row->entry);
	if (r != 0)
		return r;
	row->place = l->next_place++;
	for (size_t i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(row->place >> (24 - 8 * i));
	memcpy(bytes + 4, row->entry, LEDGER_ENTRY_SIZE);
	r = statement(v, LEDGER_INSERT, &s);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 1, l->next.sequence);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(s, 2, bytes, sizeof(bytes), SQLITE_STATIC);
	r = run(s, r);
	if (r == 0)
		l->made_count++;
	return r;
}

/* Rows up to a sequence go; the newest stays. */
static int trim(struct vault *v, uint32_t sequence)
{
	sqlite3_stmt *s = NULL;
	int r = statement(v, LEDGER_TRIM, &s);

	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(s, 1, sequence);
	return run(s, r);
}

static const struct vault_id restored_id = {(enum vault_kind)VAULT_KIND_RESTORED, BYTES_NONE,
					    BYTES_NONE};

int vault_restored_mark(struct vault *v, void *none)
{
	(void)none;
	return vault_write_record(v, &restored_id, BYTES_NONE);
}

static int unmark(struct vault *v)
{
	sqlite3_stmt *s = v->statements[STATEMENT_ERASE];
	uint8_t name[VAULT_NAME_SIZE];
	int r = vault_name(&v->keys, &restored_id, name);

	if (r != 0)
		return r;
	r = sqlite3_bind_blob(s, 1, name, VAULT_NAME_SIZE, SQLITE_STATIC);
	return r == SQLITE_OK ? vault_run(v, STATEMENT_ERASE) : vault_errno(r);
}

/*
 * What comes before the first fact: that the ledger is created, or that an older state was put
 * back. Where the file goes on from another state, the rows have no place in it any more.
 */
static int add_beginning(struct vault *v, const struct ledger_fact *fact)
{
	struct vault_ledger *l = v->ledger;
	struct ledger_fact first = {.event = LEDGER_ROLLED_BACK,
				    .reason = LEDGER_REASON_ROLLBACK,
				    .known = l->rollback.known,
				    .time = fact->time};
	int r;

	if (l->owes && !l->told_rollback) {
		if (fact->event == LEDGER_ROLLED_BACK && fact->known > first.known)
			first.known = fact->known;
		r = add_entry(v, &first);
		l->told_rollback = r == 0;
		if (r == 0 && memcmp(l->chain.head, l->own.head, sizeof(l->own.head)) != 0)
			r = trim(v, l->next.sequence - 1);
		return r == 0 && l->marked ? unmark(v) : r;
	}
	if (l->next.sequence > 0)
		return 0;
	first.event = LEDGER_CREATED;
	first.reason = l->older ? LEDGER_REASON_OLDER : LEDGER_REASON_NONE;
	return add_entry(v, &first);
}

static bool must_remember(const struct vault_ledger *l)
{
	return !l->remembers && !l->damaged && !(l->anchor && l->anchored == 0);
}

static int write_anchor_record(struct vault *v, void *arg)
{
	const struct vault_id id = {(enum vault_kind)VAULT_KIND_ANCHOR, BYTES_NONE, BYTES_NONE};

	(void)arg;
	return vault_write_record(v, &id, bytes_text(v->ledger->specification));
}

int vault_ledger_execute(struct vault *v, const struct vault_batch *b)
{
	struct vault_ledger *l = v->ledger;
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->fact_count; i++) {
		struct ledger_fact fact = b->facts[i].fact;

		fact.entity = name_bytes(&b->facts[i].entity);
		fact.user = name_bytes(&b->facts[i].user);
		r = add_beginning(v, &fact);
		if (r == 0 && !(fact.event == LEDGER_ROLLED_BACK && l->told_rollback))
			r = add_entry(v, &fact);
	}
	if (r == 0 && b->fact_count > 0 && l->synced_sequence > l->trimmed_sequence)
		r = trim(v, l->synced_sequence);
	/* It failed behind an earlier entry: none more is told without it. */
	if (r == 0 && b->fact_count > 0 && !l->remembering && must_remember(l)) {
		r = write_anchor_record(v, NULL);
		l->remembering = r == 0;
	}
	return r;
}

void vault_ledger_remember(struct vault *v)
{
	struct vault_ledger *l = v->ledger;
	int r;

	if (!must_remember(l))
		return;
	r = vault_transaction(v, write_anchor_record, NULL);
	l->remembers = r == 0;
	note(l, the_record, r);
}

void vault_ledger_catch_up(struct vault *v)
{
	if (!v->ledger || !v->ledger->ready)
		return;
	vault_ledger_advance(v, false);
	vault_ledger_remember(v);
}

void vault_ledger_end(struct vault *v, int result)
{
	struct vault_ledger *l = v->ledger;
	int r;

	if (result != 0 || l->made_count == 0) {
		l->made_count = 0;
		return;
	}
	l->own = l->chain = l->next;
	l->place = l->next_place;
	l->trimmed_sequence = l->synced_sequence;
	if (l->told_rollback)
		l->owes = l->marked = false;
	if (l->remembering) {
		l->remembers = true;
		note(l, the_record, 0);
	}
	r = file_entries(v);
	if (r == 0 && l->filed - l->synced >= LEDGER_UNSYNCED_MAX)
		r = vault_ledger_sync(l);
	note(l, the_file, r);
	l->made_count = 0;
	vault_ledger_advance(v, false);
	/*
	 * Behind the anchor, for a record of one that is not there yet would be in the way of the
	 * next start; and before anything is acknowledged.
	 */
	vault_ledger_remember(v);
}

/* The rows whose entries are in the file go. */
static int trim_synced(struct vault *v, void *arg)
{
	(void)arg;
	return trim(v, v->ledger->synced_sequence);
}

static void finish(struct vault *v)
{
	struct vault_ledger *l = v->ledger;
	int r = 0;

	if (l->fd >= 0 && l->filed < l->place)
		r = file_entries(v);
	if (r == 0)
		r = vault_ledger_sync(l);
	if (r == 0 && l->synced_sequence > l->trimmed_sequence)
		(void)vault_transaction(v, trim_synced, NULL);
	vault_ledger_advance(v, true);
	vault_ledger_remember(v);
}

void vault_ledger_close(struct vault *v)
{
	struct vault_ledger *l = v->ledger;

	if (!l)
		return;
	if (l->ready && !l->damaged)
		finish(v);
	for (size_t i = 0; i < LEDGER_STATEMENTS; i++)
		(void)sqlite3_finalize(l->statements[i]);
	if (l->fd >= 0)
		(void)close(l->fd);
	anchor_close(l->anchor);
	free(l->specification);
	free(l->made);
	free(l->path);
	free(l);
	v->ledger = NULL;
}
