#include "gateway/handover-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/file.h"
#include "protocol/p1.h"

#define MAGIC        "PNGW handover 1\n"
#define MAGIC_SIZE   (sizeof(MAGIC) - 1)
#define SALT_BYTES   32
#define HEADER_SIZE  (MAGIC_SIZE + SALT_BYTES)
#define CHUNK_SIZE   65536
#define MEMBER_FIXED 11 /* kind (1), size of the name (2), size (8) */

/* Text of a code: 26 digits of 5 bits and two that check them. */
#define CODE_DIGITS  28
#define CHECK_DIGITS 2

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static int failed(int r, const char *path, char *why, size_t why_size)
{
	(void)snprintf(why, why_size, "%s: %s", path, strerror(r < 0 ? -r : EIO));
	return r < 0 ? r : -EIO;
}

static int not_good(const char *path, const char *what, char *why, size_t why_size)
{
	(void)snprintf(why, why_size, "%s: %s", path, what);
	return HANDOVER_NOT_GOOD;
}

static void put_number(uint8_t *out, size_t size, uint64_t n)
{
	while (size-- > 0) {
		out[size] = (uint8_t)n;
		n >>= 8;
	}
}

static uint64_t get_number(const uint8_t *data, size_t size)
{
	uint64_t n = 0;

	for (size_t i = 0; i < size; i++)
		n = n << 8 | data[i];
	return n;
}

/* The code. */

/* The five bits at digit i of code, zeros behind its end. */
static unsigned five_bits(const uint8_t *code, size_t i)
{
	const size_t bit = 5 * i;
	unsigned pair = (unsigned)code[bit / 8] << 8;

	if (bit / 8 + 1 < HANDOVER_CODE_SIZE)
		pair |= code[bit / 8 + 1];
	return pair >> (11 - bit % 8) & 31;
}

/* Ten bits that show a slip. They tell nothing of the code to who has not got it. */
static int check_bits(const uint8_t code[HANDOVER_CODE_SIZE], unsigned out[CHECK_DIGITS])
{
	struct secret *key = secret_copy(bytes_of(code, HANDOVER_CODE_SIZE));
	uint8_t mac[P1_MAC_SIZE];
	int r = key ? p1_hmac(key, bytes_text("pngw handover check"), mac) : -ENOMEM;

	secret_unref(key);
	for (size_t i = 0; i < CHECK_DIGITS; i++)
		out[i] = r == 0 ? mac[i] & 31U : 0;
	return r;
}

int handover_code_new(struct secret **code, struct secret **text)
{
	SCOPED_SECRET *fresh = secret_random(HANDOVER_CODE_SIZE);
	SCOPED_SECRET *written = secret_new(HANDOVER_CODE_TEXT);
	unsigned check[CHECK_DIGITS];
	size_t at = 0;
	int r;

	if (!fresh || !written)
		return -ENOMEM;
	r = check_bits(secret_buffer(fresh), check);
	if (r != 0)
		return r;
	for (size_t i = 0; i < CODE_DIGITS; i++) {
		const unsigned value = i < CODE_DIGITS - CHECK_DIGITS
					       ? five_bits(secret_buffer(fresh), i)
					       : check[i - (CODE_DIGITS - CHECK_DIGITS)];

		if (i > 0 && i % 4 == 0)
			secret_buffer(written)[at++] = '-';
		secret_buffer(written)[at++] = (uint8_t)digits[value];
	}
	*code = secret_ref(fresh);
	*text = secret_ref(written);
	return 0;
}

/* Its value, or -1. */
static int digit_value(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	at = c != '\0' ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* How many digits there were; CODE_DIGITS + 1 for what is none. */
static size_t read_digits(struct bytes typed, uint8_t values[CODE_DIGITS])
{
	size_t count = 0;

	for (size_t i = 0; i < typed.size; i++) {
		const char c = (char)typed.data[i];
		const int value = digit_value(c);

		if (c == '-' || c == ' ' || c == '\r')
			continue;
		if (value < 0 || count == CODE_DIGITS)
			return CODE_DIGITS + 1;
		values[count++] = (uint8_t)value;
	}
	return count;
}

int handover_code_parse(struct bytes typed, struct secret **code, char *why, size_t why_size)
{
	SCOPED_SECRET *read = secret_new(HANDOVER_CODE_SIZE + 1);
	uint8_t values[CODE_DIGITS];
	unsigned check[CHECK_DIGITS];
	size_t count;
	int r;

	if (!read)
		return failed(-ENOMEM, "the transfer code", why, why_size);
	count = read_digits(typed, values);
	for (size_t i = 0; count == CODE_DIGITS && i < CODE_DIGITS - CHECK_DIGITS; i++) {
		for (size_t bit = 0; bit < 5; bit++) {
			const size_t to = 5 * i + bit;

			if (values[i] >> (4 - bit) & 1)
				secret_buffer(read)[to / 8] |= (uint8_t)(0x80 >> to % 8);
		}
	}
	if (count != CODE_DIGITS) {
		wipe(values, sizeof(values));
		(void)snprintf(why, why_size,
			       "the transfer code has %d letters and digits, in groups of four",
			       CODE_DIGITS);
		return HANDOVER_NOT_GOOD;
	}
	r = check_bits(secret_buffer(read), check);
	if (r == 0 && (values[CODE_DIGITS - 2] != check[0] || values[CODE_DIGITS - 1] != check[1] ||
		       secret_buffer(read)[HANDOVER_CODE_SIZE] != 0))
		r = HANDOVER_NOT_GOOD;
	wipe(values, sizeof(values));
	if (r < 0)
		return failed(r, "the transfer code", why, why_size);
	if (r != 0) {
		(void)snprintf(why, why_size, "the transfer code was mistyped");
		return r;
	}
	secret_shrink(read, HANDOVER_CODE_SIZE);
	*code = secret_ref(read);
	return 0;
}

int handover_code_passphrase(const struct secret *code, struct secret **out)
{
	SCOPED_SECRET *key = NULL;
	SCOPED_SECRET *text = secret_new(2 * KEY_SIZE + 1);
	struct p1_context context;
	int r;

	if (!text)
		return -ENOMEM;
	p1_context_begin(&context, "pngw handover vault");
	r = p1_hkdf(code, BYTES_NONE, &context, KEY_SIZE, &key);
	if (r == 0)
		r = hex_encode(secret_bytes(key), (char *)secret_buffer(text), 2 * KEY_SIZE + 1);
	if (r < 0)
		return r;
	secret_shrink(text, 2 * KEY_SIZE);
	*out = secret_ref(text);
	return 0;
}

static int file_key(const struct secret *code, const uint8_t *header, struct secret **out)
{
	struct p1_context context;

	p1_context_begin(&context, "pngw handover file");
	return p1_hkdf(code, bytes_of(header, HEADER_SIZE), &context, KEY_SIZE, out);
}

/* Each piece has its own, which also says whether it is the last. */
static void make_nonce(uint64_t number, bool last, uint8_t nonce[P1_NONCE_SIZE])
{
	memset(nonce, 0, P1_NONCE_SIZE);
	put_number(nonce, 8, number);
	nonce[8] = last;
}

/* Writing. */

struct handover_writer {
	char *path, *new_path;
	int fd;
	bool made;
	struct secret *key;
	uint64_t number; /* of the next piece */
	size_t used;
	uint8_t plain[CHUNK_SIZE];
	uint8_t sealed[4 + CHUNK_SIZE + P1_SEAL_OVERHEAD];
};

void handover_writer_free(struct handover_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		(void)close(w->fd);
	if (w->made && w->new_path)
		(void)unlink(w->new_path);
	free(w->path);
	free(w->new_path);
	secret_unref(w->key);
	wipe(w->plain, sizeof(w->plain));
	free(w);
}

int handover_writer_new(const char *path, const struct secret *code, struct handover_writer **out,
			char *why, size_t why_size)
{
	struct handover_writer *w = calloc(1, sizeof(*w));
	uint8_t header[HEADER_SIZE] = MAGIC;
	struct stat st;
	int r = 0;

	if (!w)
		return failed(-ENOMEM, path, why, why_size);
	w->fd = -1;
	w->path = strdup(path);
	if (!w->path || asprintf(&w->new_path, "%s.new", path) < 0) {
		w->new_path = NULL;
		r = -ENOMEM;
	}
	if (r == 0 && lstat(path, &st) == 0)
		r = -EEXIST;
	if (r == 0)
		r = p1_random(header + MAGIC_SIZE, SALT_BYTES);
	if (r == 0)
		r = file_key(code, header, &w->key);
	if (r == 0) {
		(void)unlink(w->new_path);
		w->fd = open(w->new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			     0600);
		w->made = w->fd >= 0;
		r = w->made ? file_write_all(w->fd, bytes_of(header, sizeof(header))) : -errno;
	}
	if (r != 0) {
		handover_writer_free(w);
		return failed(r, path, why, why_size);
	}
	*out = w;
	return 0;
}

static int seal_piece(struct handover_writer *w, bool last)
{
	uint8_t nonce[P1_NONCE_SIZE];
	int r;

	make_nonce(w->number++, last, nonce);
	put_number(w->sealed, 4, w->used + P1_SEAL_OVERHEAD);
	r = p1_seal(w->key, nonce, BYTES_NONE, bytes_of(w->plain, w->used), w->sealed + 4);
	if (r == 0)
		r = file_write_all(w->fd, bytes_of(w->sealed, 4 + w->used + P1_SEAL_OVERHEAD));
	w->used = 0;
	return r;
}

static int add_bytes(struct handover_writer *w, const uint8_t *data, size_t size)
{
	int r = 0;

	while (r == 0 && size > 0) {
		const size_t room = sizeof(w->plain) - w->used;
		const size_t n = size < room ? size : room;

		memcpy(w->plain + w->used, data, n);
		w->used += n;
		data += n;
		size -= n;
		if (w->used == sizeof(w->plain))
			r = seal_piece(w, false);
	}
	return r;
}

static int add_file(struct handover_writer *w, enum handover_member member, const char *name,
		    int fd)
{
	uint8_t fixed[MEMBER_FIXED], block[4096];
	uint64_t left;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || strlen(name) > MEMBER_NAME_MAX)
		return -EINVAL;
	left = (uint64_t)st.st_size;
	fixed[0] = (uint8_t)member;
	put_number(fixed + 1, 2, strlen(name));
	put_number(fixed + 3, 8, left);
	r = add_bytes(w, fixed, sizeof(fixed));
	if (r == 0)
		r = add_bytes(w, (const uint8_t *)name, strlen(name));
	while (r == 0 && left > 0) {
		const size_t wanted = left < sizeof(block) ? (size_t)left : sizeof(block);
		const ssize_t n = file_read_all(fd, block, wanted);

		/* It became shorter meanwhile. */
		if (n >= 0 && (size_t)n < wanted)
			r = -EIO;
		else
			r = n < 0 ? (int)n : add_bytes(w, block, wanted);
		left -= wanted;
	}
	wipe(block, sizeof(block));
	return r;
}

int handover_writer_add(struct handover_writer *w, enum handover_member member, const char *name,
			const char *from, char *why, size_t why_size)
{
	int fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = fd < 0 ? -errno : add_file(w, member, name, fd);

	if (fd >= 0)
		(void)close(fd);
	return r == 0 ? 0 : failed(r, from, why, why_size);
}

int handover_writer_end(struct handover_writer *w, char *why, size_t why_size)
{
	int r = seal_piece(w, true);

	if (r == 0 && fsync(w->fd) < 0)
		r = -errno;
	if (close(w->fd) < 0 && r == 0)
		r = -errno;
	w->fd = -1;
	if (r == 0 && renameat2(AT_FDCWD, w->new_path, AT_FDCWD, w->path, RENAME_NOREPLACE) < 0)
		/* FAT, as sticks have it, knows of no such rename. */
		r = errno == EINVAL ? (rename(w->new_path, w->path) < 0 ? -errno : 0) : -errno;
	if (r == 0) {
		w->made = false;
		r = file_sync_folder_of(w->path);
	}
	return r == 0 ? 0 : failed(r, w->path, why, why_size);
}

/* Reading. */

struct reader {
	const char *path;
	int fd;
	struct secret *key;
	uint64_t number;
	bool last; /* the piece that is open is the last */
	size_t at, size;
	uint8_t plain[CHUNK_SIZE];
	uint8_t sealed[CHUNK_SIZE + P1_SEAL_OVERHEAD];
	char *why;
	size_t why_size;
};

static int spoiled(struct reader *r)
{
	return not_good(r->path,
			r->number == 0 ? "that transfer code does not open it, or its beginning is "
					 "damaged"
				       : "the file is damaged: it was cut off or altered",
			r->why, r->why_size);
}

static int open_piece(struct reader *r)
{
	uint8_t head[4], nonce[P1_NONCE_SIZE];
	ssize_t n = file_read_all(r->fd, head, sizeof(head));
	size_t size;
	int result;

	if (n < 0)
		return failed((int)n, r->path, r->why, r->why_size);
	size = (size_t)get_number(head, sizeof(head));
	if (n < (ssize_t)sizeof(head) || size < P1_SEAL_OVERHEAD || size > sizeof(r->sealed))
		return not_good(r->path, "the file is damaged: it was cut off or altered", r->why,
				r->why_size);
	n = file_read_all(r->fd, r->sealed, size);
	if (n < 0)
		return failed((int)n, r->path, r->why, r->why_size);
	if ((size_t)n < size)
		return not_good(r->path, "the file is damaged: it was cut off", r->why,
				r->why_size);
	r->at = 0;
	r->size = size - P1_SEAL_OVERHEAD;
	make_nonce(r->number, false, nonce);
	result = p1_open(r->key, nonce, BYTES_NONE, bytes_of(r->sealed, size), r->plain);
	if (result == P1_REFUSED) {
		make_nonce(r->number, true, nonce);
		result = p1_open(r->key, nonce, BYTES_NONE, bytes_of(r->sealed, size), r->plain);
		r->last = result == 0;
	}
	if (result == P1_REFUSED)
		return spoiled(r);
	if (result < 0)
		return failed(result, r->path, r->why, r->why_size);
	r->number++;
	return 0;
}

/* *got: less than size only where the file ends. */
static int take_bytes(struct reader *r, uint8_t *out, size_t size, size_t *got)
{
	*got = 0;
	while (*got < size) {
		size_t n = r->size - r->at;
		int result;

		if (n == 0) {
			if (r->last)
				return 0;
			result = open_piece(r);
			if (result != 0)
				return result;
			continue;
		}
		if (n > size - *got)
			n = size - *got;
		memcpy(out + *got, r->plain + r->at, n);
		r->at += n;
		*got += n;
	}
	return 0;
}

static int take_content(struct reader *r, uint64_t left, int to)
{
	uint8_t block[4096];
	int result = 0;

	while (result == 0 && left > 0) {
		const size_t wanted = left < sizeof(block) ? (size_t)left : sizeof(block);
		size_t got;

		result = take_bytes(r, block, wanted, &got);
		if (result == 0 && got < wanted)
			return spoiled(r);
		if (result == 0 && to >= 0 && file_write_all(to, bytes_of(block, wanted)) < 0)
			result = failed(-errno, "writing what is in the file", r->why, r->why_size);
		left -= wanted;
	}
	wipe(block, sizeof(block));
	if (result == 0 && to >= 0 && fsync(to) < 0)
		result = failed(-errno, "writing what is in the file", r->why, r->why_size);
	return result;
}

struct unpacking {
	struct reader *r;
	const char *folder;
	enum handover_member only;
	handover_member_fn *each;
	void *arg;
	unsigned count;
};

static int unpack_member(struct unpacking *u, unsigned kind, const char *name, uint64_t size)
{
	struct reader *r = u->r;
	char *path = NULL;
	int fd, result;

	if ((u->only != 0 && kind != u->only) || kind == 0 || kind > MEMBER_MAX)
		return take_content(r, size, -1);
	if (asprintf(&path, "%s/%u", u->folder, u->count++) < 0)
		return failed(-ENOMEM, r->path, r->why, r->why_size);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	result = fd < 0 ? failed(-errno, path, r->why, r->why_size) : take_content(r, size, fd);
	if (fd >= 0)
		(void)close(fd);
	if (result == 0)
		result = u->each(u->arg, (enum handover_member)kind, name, path);
	free(path);
	return result;
}

static int unpack(struct unpacking *u)
{
	struct reader *r = u->r;
	uint8_t fixed[MEMBER_FIXED];
	char name[MEMBER_NAME_MAX + 1];
	size_t got, name_size;
	int result;

	for (;;) {
		result = take_bytes(r, fixed, sizeof(fixed), &got);
		if (result != 0 || got == 0)
			return result;
		name_size = (size_t)get_number(fixed + 1, 2);
		if (got < sizeof(fixed) || name_size >= sizeof(name))
			return spoiled(r);
		result = take_bytes(r, (uint8_t *)name, name_size, &got);
		if (result != 0 || got < name_size)
			return result != 0 ? result : spoiled(r);
		name[name_size] = '\0';
		result = unpack_member(u, fixed[0], name, get_number(fixed + 3, 8));
		if (result != 0 || (u->only != 0 && u->count > 0))
			return result;
	}
}

/* Nothing may follow the last piece. */
static int check_end(struct reader *r)
{
	uint8_t byte;
	ssize_t n = file_read_all(r->fd, &byte, 1);

	if (n < 0)
		return failed((int)n, r->path, r->why, r->why_size);
	return n == 0 ? 0 : spoiled(r);
}

int handover_unpack(const char *path, const struct secret *code, enum handover_member only,
		    const char *folder, handover_member_fn *each, void *arg, char *why,
		    size_t why_size)
{
	struct reader *r = calloc(1, sizeof(*r));
	struct unpacking u = {.r = r, .folder = folder, .only = only, .each = each, .arg = arg};
	uint8_t header[HEADER_SIZE];
	int result;
	ssize_t n;

	if (!r)
		return failed(-ENOMEM, path, why, why_size);
	r->path = path;
	r->why = why;
	r->why_size = why_size;
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	n = r->fd < 0 ? -errno : file_read_all(r->fd, header, sizeof(header));
	if (n < 0)
		result = failed((int)n, path, why, why_size);
	else if (n < (ssize_t)sizeof(header) || memcmp(header, MAGIC, MAGIC_SIZE) != 0)
		result = not_good(path, "that is no file of a hand-over", why, why_size);
	else
		result = file_key(code, header, &r->key);
	if (n == (ssize_t)sizeof(header) && result < 0)
		result = failed(result, path, why, why_size);
	if (result == 0)
		result = unpack(&u);
	if (result == 0 && only == 0)
		result = check_end(r);
	if (r->fd >= 0)
		(void)close(r->fd);
	secret_unref(r->key);
	wipe(r->plain, sizeof(r->plain));
	free(r);
	return result;
}
