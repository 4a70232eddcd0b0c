#ifndef PNGW_TESTS_SERVER_CLIENT_H
#define PNGW_TESTS_SERVER_CLIENT_H

/*
 * What converses with the server's core: no socket, no loop; the store is SQLite in memory. Tests
 * are written with it; every function checks what it does itself.
 */

#include "server/core.h"

#define ITERATIONS  1000
#define SERVER_NAME "cpns.example"
#define PATH        "/cpns"
#define ANSWERS_MAX 8

extern struct store *store;
extern struct core *core;
extern uint64_t clock_ms;
extern int64_t clock_s;
extern char journal[65536];

struct answer {
	int http;
	size_t reply;
	char body[MESSAGE_MAX_SIZE + 1];
	size_t size;
	char challenge[512];
};

/* What came back, in order. */
extern struct answer answers[ANSWERS_MAX];
extern size_t answers_count;
extern size_t derivations_count; /* under way, until pump() */

/* What was sent last. */
extern struct message_id last_id;
extern char last_request[MESSAGE_MAX_SIZE];
extern size_t last_request_size;

struct client {
	struct server_peer peer; /* its session is the client's, and NULL unless mutual */
	struct name self;
};

enum via { REGISTER, SUBSCRIBE };

/* An EUKeyAssignmentRequest in the making, and what its answer is opened with. */
struct asking {
	struct message m;
	struct message_id id;
	struct name user, entity;
	char nonce[129], client_nonce[33];
	uint8_t response[32];
	uint8_t rand_pne[RAND_SIZE], auth_data[P1_MAC_SIZE], proof[P1_MAC_SIZE];
	struct secret *ph;
};

/* A test's fixture: a new store and core, and neither secret nor job left. */
void setup(void);
void teardown(void);
void start_core(void); /* over the same store: what a restart is */

void pump(void); /* computes what the core wants computed */

struct client gateway(const char *entity, bool mutual);

void client_free(struct client *c);

void envelope(struct message *m, const struct message_id *id, const char *source,
	      const char *target);

void fresh_id(void);                  /* into last_id */
void encode(const struct message *m); /* into last_request */

/* One answer must come. */
struct answer *post_bytes(const struct client *c, struct bytes body, const char *header);

/* The decoded answer is the caller's to free; raw may be NULL. */
struct message *post(const struct client *c, const struct message *m, struct answer **raw);

enum status status_of(struct message *m); /* frees it */

struct secret *password(const char *text);

/* Seals and sends; secret NULL means the exporter. */
struct message *registers(const struct client *c, enum via via, const char *user, const char *pass,
			  const struct m_gateway_key *key, struct secret *secret);

enum status registered(const struct client *c, enum via via, const char *user, const char *pass);

struct secret *ph_of(const char *user, const char *pass);

void ask(struct asking *q, const char *source, const char *user, const char *entity,
	 enum entity_mode mode);

void ask_set(struct asking *q, enum key_set_kind kind, uint32_t count, enum gateway_key_kind by,
	     uint32_t index);

void ask_held(struct asking *q, const struct secret *eukey, uint32_t index);

/* First request without credentials; takes nonce and parameters from the challenge. */
void challenged(const struct client *c, struct asking *q, const char *pass);

void credentials(struct asking *q, uint32_t count);

/* Both requests of Figures 5, 7 and 8. */
struct message *asked(const struct client *c, struct asking *q, const char *pass);

void asking_end(struct asking *q);

struct secret *open_digest(const struct asking *q, struct message *m);

bool server_has(const char *user, const char *entity, uint32_t index);

/* A key by Figure 5; held_index 0: HeldKey is not sent. */
enum status figure5(const struct client *c, const char *user, const char *pass, const char *entity,
		    const struct secret *held, uint32_t held_index, struct secret **key);

void ask_figure6(struct asking *q, const char *entity, const char *user, const struct secret *ph);

void give_temporary_key(const char *entity, struct secret *key);

/* What is in a set opens with shared, and is what the server has. */
void check_set(struct message *m, const char *entity, const struct secret *shared,
	       const struct secret *temporary_key, uint32_t first, uint32_t count);

struct store_element element_of(const char *entity);

struct secret *stored_key(const char *user, const char *entity, uint32_t index);

/* The proof of a refill, made with key, for the PN GW of that name. */
void ask_refill(struct asking *q, const struct secret *key, uint32_t index, const char *gateway);

/* A refill of one key as client, everything right but for what the arguments say. */
enum status refill(const struct client *client, const char *user, const char *entity,
		   const struct secret *key, uint32_t index, const char *gateway);

/* gw-1 of alice has EUKeys 1 to 3 of her headset. */
void first_set(const struct client *gw, const struct secret *temporary_key);

/* What cpns-server-admin does while the server runs. */
int operator_revokes(const char *entity);

void operator_forgets_handover(const char *gateway);

void operator_blocks(const char *user, bool blocked);

#endif
