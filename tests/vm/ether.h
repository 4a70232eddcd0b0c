/*
 * An ether for Bluetooth: controllers that hear each other, served over Unix sockets (H4). Link
 * keys are random and nothing is encrypted on the way: it imitates what a host can see of a
 * controller, not a radio.
 */
#ifndef ETHER_H
#define ETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	H4_COMMAND = 1,
	H4_ACL = 2,
	H4_SCO = 3,
	H4_EVENT = 4,
	H4_ISO = 5,
	/* From radio.c: one byte, 1 when a machine plugs the controller in, 0 when it unplugs it.
	 */
	H4_PLUG = 254,

	RADIOS_MAX = 64,
	LINKS_MAX = 256,
	ACCEPT_MAX = 32,
	PICONET_MAX = 7,

	ERROR_UNKNOWN_COMMAND = 0x01,
	ERROR_UNKNOWN_LINK = 0x02,
	ERROR_PAGE_TIMEOUT = 0x04,
	ERROR_AUTHENTICATION = 0x05,
	ERROR_KEY_MISSING = 0x06,
	ERROR_TIMEOUT = 0x08,
	ERROR_TOO_MANY_LINKS = 0x09,
	ERROR_EXISTS = 0x0b,
	ERROR_DISALLOWED = 0x0c,
	ERROR_REMOTE_USER = 0x13,
	ERROR_LOCAL_HOST = 0x16,
	ERROR_NOT_ALLOWED = 0x18,
	ERROR_MIC = 0x3d,
};

struct device_address {
	uint8_t type; /* 0 public, 1 random; always 0 on BR/EDR */
	uint8_t octets[6];
};

struct radio {
	char name[32];
	uint8_t address[6];
	int listener;
	int fd;
	uint8_t *in;
	size_t in_length;
	uint8_t *out;
	size_t out_length;
	size_t out_size;

	bool plugged;
	bool silent; /* by the control socket: nobody hears it, it hears nobody */
	int8_t rssi;
	uint8_t key_size;

	uint8_t scan_enable;
	uint8_t ssp;
	uint8_t secure_connections;
	uint8_t host_features;
	uint8_t inquiry_mode;
	uint8_t local_name[248];
	uint8_t class[3];
	uint8_t eir[241];
	uint8_t voice[2];
	uint8_t oob[4][16]; /* C and R for P-192, C and R for P-256 */

	uint64_t inquiry_end; /* ms, 0: none */
	uint64_t inquiry_next;
	uint64_t inquiry_seen; /* a bit for each radio */

	uint64_t page_end; /* ms, 0: none */
	uint8_t page_target[6];

	uint8_t random_address[6];
	uint8_t advertising;
	uint8_t adv_type;
	uint8_t adv_own_type;
	uint8_t adv_peer_type;
	uint8_t adv_peer[6];
	uint8_t adv_length;
	uint8_t adv_data[31];
	uint8_t response_length;
	uint8_t response_data[31];
	uint8_t scanning;
	uint8_t scan_active;
	uint8_t scan_filter; /* duplicates */
	uint64_t scan_seen;
	uint8_t initiating;
	uint8_t init_by_list;
	uint8_t init_own_type;
	struct device_address init_peer;
	struct device_address accept[ACCEPT_MAX];
	size_t accept_count;
};

struct capability {
	bool known;
	uint8_t io;
	uint8_t oob;
	uint8_t authentication;
};

enum model { MODEL_NONE, MODEL_KEY, MODEL_PIN, MODEL_COMPARE, MODEL_PASSKEY, MODEL_OOB };
enum answer { ANSWER_NONE, ANSWER_YES, ANSWER_NO };

/* One side's part in an authentication. */
struct part {
	struct capability capability;
	enum answer answer;
	uint32_t passkey;
	uint8_t pin[16];
	uint8_t pin_length;
};

struct link {
	bool used;
	bool requested; /* the other side has not accepted yet */
	bool le;
	uint16_t handle;
	struct radio *end[2];          /* who began it first: on LE that is the central */
	uint8_t central;               /* which end */
	struct device_address seen[2]; /* each end's address, as the other sees it */
	bool encrypted;
	uint8_t encrypting; /* mode that the end which asked is yet to be told, 0: none */
	bool has_key;
	uint8_t key[16];
	uint8_t key_type;
	uint8_t ltk[16];
	enum model model;
	int asker;     /* which end asked for authentication first */
	bool asked[2]; /* both may */
	struct part part[2];
	unsigned deferred[2];
	long lose_after; /* data packets until the link is lost, negative: never */
};

extern struct radio radios[RADIOS_MAX];
extern size_t radio_count;
extern struct link links[LINKS_MAX];
extern unsigned page_timeout_ms;

/* ether.c */
uint64_t now_ms(void);
void random_bytes(void *to, size_t length);
void send_packet(struct radio *radio, uint8_t type, const void *data, size_t length);
void event(struct radio *radio, uint8_t code, const void *data, size_t length);
void le_event(struct radio *radio, uint8_t subevent, const void *data, size_t length);
void command_complete(struct radio *radio, uint16_t opcode, const void *data, size_t length);
void command_ok(struct radio *radio, uint16_t opcode, uint8_t status);
void command_status(struct radio *radio, uint16_t opcode, uint8_t status);

/* ether-link.c: links come and go, discovery, advertising */
void radio_reset(struct radio *radio);
void radio_gone(struct radio *radio);
void links_tick(void);
struct link *link_by_handle(const struct radio *radio, uint16_t handle);
struct link *link_by_address(const struct radio *radio, const uint8_t *address);
struct radio *radio_by_address(const uint8_t *address);
/* Which end of the link the radio is. */
int link_side(const struct link *link, const struct radio *radio);
bool audible(const struct radio *a, const struct radio *b);
void page(struct radio *radio, const uint8_t *address);
void page_answer(struct radio *radio, const uint8_t *address, uint8_t status, uint8_t role);
void page_cancel(struct radio *radio, const uint8_t *address, uint16_t opcode);
/* The end whose side is given hears mine, the other theirs. */
void link_end(struct link *link, int side, uint8_t mine, uint8_t theirs);
void link_data(struct radio *radio, const uint8_t *data, size_t length);
void link_credits(struct radio *radio);
void encryption(struct link *link, uint8_t mode, uint8_t status);
void encryption_begin(struct link *link, int side, uint8_t mode);
void encryption_end(struct link *link, int side);
void le_connect(void);
void le_advertise(void);

/* ether-pair.c */
void pair_begin(struct link *link, int side);
void pair_link_key(struct link *link, int side, const uint8_t *key);
void pair_pin(struct link *link, int side, const uint8_t *pin, uint8_t length);
void pair_capability(struct link *link, int side, const struct capability *capability,
		     uint8_t refused);
void pair_answer(struct link *link, int side, enum answer answer, uint32_t passkey);
void pair_oob(struct link *link, int side, const uint8_t *c192, const uint8_t *c256);
void pair_abort(struct link *link);

/* ether-command.c */
void command(struct radio *radio, uint16_t opcode, const uint8_t *data, size_t length);

#endif
