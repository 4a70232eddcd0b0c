/* Which PNE is found at which address. */

#include "gateway/bluetooth-internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void address_text(const uint8_t address[6], char out[BLUETOOTH_ADDRESS_SIZE])
{
	(void)snprintf(out, BLUETOOTH_ADDRESS_SIZE, "%02X:%02X:%02X:%02X:%02X:%02X", address[0],
		       address[1], address[2], address[3], address[4], address[5]);
}

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* text is valid. */
static void address_bytes(const char *text, uint8_t out[6])
{
	for (size_t i = 0; i < 6; i++)
		out[i] = (uint8_t)(digit(text[3 * i]) << 4 | digit(text[3 * i + 1]));
}

struct known_walk {
	void (*each)(void *arg, const struct name *entity, const char *address);
	void *arg;
};

static int walk(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	const struct known_walk *w = arg;
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct bluetooth_place place;
	struct name entity;

	(void)item;
	if (records_parse_bluetooth(owner, content, &entity, &place) != 0)
		return 0;
	address_text(place.address, address);
	w->each(w->arg, &entity, address);
	return 0;
}

int gateway_bluetooth_each_known(struct gateway_bluetooth *b,
				 void (*each)(void *arg, const struct name *entity,
					      const char *address),
				 void *arg)
{
	struct known_walk w = {each, arg};

	return vault_each(b->options.vault, VAULT_BLUETOOTH, BYTES_NONE, walk, &w, NULL);
}

struct search {
	const char *address;
	const struct name *but; /* not this one; may be NULL */
	struct name found;
};

static void compare(void *arg, const struct name *entity, const char *address)
{
	struct search *s = arg;

	if (strcasecmp(address, s->address) == 0 && (!s->but || !name_equal(entity, s->but)))
		s->found = *entity;
}

int gateway_bluetooth_entity(struct gateway_bluetooth *b, const char *address, struct name *out)
{
	struct search s = {.address = address};
	int r = gateway_bluetooth_each_known(b, compare, &s);

	if (r != 0)
		return r;
	if (!s.found.text[0])
		return -ENOENT;
	*out = s.found;
	return 0;
}

int gateway_known_address(struct gateway_bluetooth *b, const struct name *entity,
			  char out[BLUETOOTH_ADDRESS_SIZE])
{
	struct bluetooth_place place;

	if (records_get_bluetooth(b->options.vault, entity, &place) != 0)
		return -ENOENT;
	address_text(place.address, out);
	return 0;
}

int gateway_bluetooth_address(struct gateway_bluetooth *b, const char *word,
			      char out[BLUETOOTH_ADDRESS_SIZE])
{
	struct name entity;

	if (bluetooth_address_valid(word)) {
		for (size_t i = 0; i < BLUETOOTH_ADDRESS_SIZE; i++)
			out[i] = (char)toupper((unsigned char)word[i]);
		return 0;
	}
	if (!entity_id_valid(bytes_text(word)) || name_set(&entity, bytes_text(word)) != 0)
		return -EINVAL;
	return gateway_known_address(b, &entity, out);
}

static void stored(void *arg, int result)
{
	if (result != 0)
		gateway_bluetooth_say(arg, LOG_LEVEL_WARNING,
				      "where a PNE is found could not be stored: %s",
				      strerror(-result));
}

static void store(struct gateway_bluetooth *b, const struct name *entity,
		  const struct bluetooth_place *place, const struct name *replaced)
{
	struct vault_batch *batch = vault_batch_new();
	int r = -ENOMEM;

	if (batch) {
		if (replaced->text[0])
			records_erase_bluetooth(batch, replaced);
		records_put_bluetooth(batch, entity, place);
		r = vault_submit(b->options.vault, batch, stored, b);
	}
	if (r != 0)
		stored(b, r);
}

void gateway_known_arrived(struct gateway_bluetooth *b, const struct place *p)
{
	const struct bluez_device *d = bluez_find(b->bluez, p->address);
	const char *address = d ? d->address : p->address;
	bool bonded = d && d->bonded;
	char before[BLUETOOTH_ADDRESS_SIZE] = "";
	struct search other = {.address = address, .but = &p->entity};
	struct bluetooth_place place = {.random = d && d->random_address}, old;

	address_bytes(address, place.address);
	if (records_get_bluetooth(b->options.vault, &p->entity, &old) == 0) {
		if (memcmp(old.address, place.address, sizeof(old.address)) == 0)
			return;
		address_text(old.address, before);
	}
	if (gateway_bluetooth_each_known(b, compare, &other) != 0)
		return;
	if (before[0])
		gateway_bluetooth_say(b, LOG_LEVEL_WARNING,
				      "PNE %s was at %s and calls itself so at %s now%s",
				      p->entity.text, before, address,
				      bonded ? "" : ": not kept, that device is not bonded");
	if (other.found.text[0])
		gateway_bluetooth_say(b, LOG_LEVEL_WARNING, "at %s was PNE %s and is PNE %s now%s",
				      address, other.found.text, p->entity.text,
				      bonded ? "" : ": not kept, the device is not bonded");
	if (bonded)
		store(b, &p->entity, &place, &other.found);
}
