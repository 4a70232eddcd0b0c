/* Links come and go; inquiry, paging, advertising; data. */
#include "ether.h"

#include <string.h>

enum {
	INQUIRY_STEP_MS = 150,
	DATA_QUEUE_MAX = 256 * 1024,
	SCAN_PAGE = 2,
	SCAN_INQUIRY = 1,
};

bool audible(const struct radio *a, const struct radio *b)
{
	return a != b && a->plugged && b->plugged && !a->silent && !b->silent;
}

struct radio *radio_by_address(const uint8_t *address)
{
	for (size_t i = 0; i < radio_count; i++) {
		if (memcmp(radios[i].address, address, 6) == 0)
			return &radios[i];
	}
	return NULL;
}

int link_side(const struct link *link, const struct radio *radio)
{
	return link->end[1] == radio;
}

struct link *link_by_handle(const struct radio *radio, uint16_t handle)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		if (links[i].used && !links[i].requested && links[i].handle == handle &&
		    (links[i].end[0] == radio || links[i].end[1] == radio))
			return &links[i];
	}
	return NULL;
}

static struct link *find(const struct radio *radio, const uint8_t *address, bool requested)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &links[i];

		if (link->used && !link->le && link->requested == requested &&
		    (link->end[0] == radio || link->end[1] == radio) &&
		    memcmp(link->end[!link_side(link, radio)]->address, address, 6) == 0)
			return link;
	}
	return NULL;
}

struct link *link_by_address(const struct radio *radio, const uint8_t *address)
{
	return find(radio, address, false);
}

static struct link *link_new(struct radio *from, struct radio *to, bool le)
{
	static uint16_t handle;

	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &links[i];

		if (link->used)
			continue;
		memset(link, 0, sizeof(*link));
		link->used = true;
		link->le = le;
		link->end[0] = from;
		link->end[1] = to;
		memcpy(link->seen[0].octets, from->address, 6);
		memcpy(link->seen[1].octets, to->address, 6);
		link->lose_after = -1;
		handle = (uint16_t)(handle % 0xe00 + 1);
		link->handle = handle;
		return link;
	}
	return NULL;
}

static void connection_complete(struct radio *radio, const uint8_t *address, uint16_t handle,
				uint8_t status)
{
	uint8_t complete[11] = {status, (uint8_t)handle, (uint8_t)(handle >> 8)};

	memcpy(complete + 3, address, 6);
	complete[9] = 1;
	event(radio, 0x03, complete, sizeof(complete));
}

static unsigned piconet(const struct radio *radio)
{
	unsigned count = 0;

	for (size_t i = 0; i < LINKS_MAX; i++)
		count += links[i].used && !links[i].le &&
			 (links[i].end[0] == radio || links[i].end[1] == radio);
	return count;
}

void page(struct radio *radio, const uint8_t *address)
{
	struct radio *other = radio_by_address(address);
	uint8_t request[10];
	struct link *link;

	if (link_by_address(radio, address) != NULL) {
		connection_complete(radio, address, 0, ERROR_EXISTS);
		return;
	}
	if (piconet(radio) >= PICONET_MAX) {
		connection_complete(radio, address, 0, ERROR_TOO_MANY_LINKS);
		return;
	}
	memcpy(radio->page_target, address, 6);
	radio->page_end = now_ms() + page_timeout_ms;
	if (other == NULL || !audible(radio, other) || (other->scan_enable & SCAN_PAGE) == 0 ||
	    piconet(other) >= PICONET_MAX)
		return;
	link = link_new(radio, other, false);
	if (link == NULL)
		return;
	link->requested = true;
	memcpy(request, radio->address, 6);
	memcpy(request + 6, radio->class, 3);
	request[9] = 1;
	event(other, 0x04, request, sizeof(request));
}

void page_answer(struct radio *radio, const uint8_t *address, uint8_t status, uint8_t role)
{
	struct link *link = find(radio, address, true);
	struct radio *asker;

	if (link == NULL || link->end[1] != radio) {
		connection_complete(radio, address, 0, ERROR_UNKNOWN_LINK);
		return;
	}
	asker = link->end[0];
	asker->page_end = 0;
	link->requested = false;
	if (status != 0)
		link->used = false;
	else if (role == 0)
		link->central = 1;
	connection_complete(asker, radio->address, link->handle, status);
	connection_complete(radio, asker->address, link->handle, status);
	if (status == 0 && role == 0) {
		uint8_t change[8] = {0};

		memcpy(change + 1, radio->address, 6);
		change[7] = 1;
		event(asker, 0x12, change, sizeof(change));
		memcpy(change + 1, asker->address, 6);
		change[7] = 0;
		event(radio, 0x12, change, sizeof(change));
	}
}

static void page_give_up(struct radio *radio, uint8_t status)
{
	struct link *link = find(radio, radio->page_target, true);

	radio->page_end = 0;
	if (link != NULL && link->end[0] == radio)
		link->used = false;
	connection_complete(radio, radio->page_target, 0, status);
}

void page_cancel(struct radio *radio, const uint8_t *address, uint16_t opcode)
{
	bool paging = radio->page_end != 0 && memcmp(radio->page_target, address, 6) == 0;
	uint8_t complete[7] = {paging ? 0 : ERROR_UNKNOWN_LINK};

	memcpy(complete + 1, address, 6);
	command_complete(radio, opcode, complete, sizeof(complete));
	if (paging)
		page_give_up(radio, ERROR_UNKNOWN_LINK);
}

void link_end(struct link *link, int side, uint8_t mine, uint8_t theirs)
{
	uint8_t complete[4] = {0, (uint8_t)link->handle, (uint8_t)(link->handle >> 8)};

	if (!link->le)
		pair_abort(link);
	link->used = false;
	complete[3] = mine;
	if (link->end[side]->plugged)
		event(link->end[side], 0x05, complete, sizeof(complete));
	complete[3] = theirs;
	if (link->end[!side]->plugged)
		event(link->end[!side], 0x05, complete, sizeof(complete));
}

/* Its links are lost for the others, who notice at once: nobody waits 20 s for a supervision
 * timeout. */
void radio_gone(struct radio *radio)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &links[i];
		struct radio *other;

		if (!link->used || (link->end[0] != radio && link->end[1] != radio))
			continue;
		other = link->end[!link_side(link, radio)];
		if (link->requested) {
			link->used = false;
			continue;
		}
		if (!link->le && link->model != MODEL_NONE && link->end[link->asker] == radio)
			link->model = MODEL_NONE;
		link->used = false;
		if (other->plugged) {
			uint8_t complete[4] = {0, (uint8_t)link->handle,
					       (uint8_t)(link->handle >> 8), ERROR_TIMEOUT};

			event(other, 0x05, complete, sizeof(complete));
		}
	}
	for (size_t i = 0; i < radio_count; i++) {
		radios[i].inquiry_seen &= ~(UINT64_C(1) << (radio - radios));
		radios[i].scan_seen &= ~(UINT64_C(1) << (radio - radios));
	}
}

void radio_reset(struct radio *radio)
{
	radio_gone(radio);
	radio->scan_enable = 0;
	radio->ssp = 0;
	radio->secure_connections = 0;
	radio->host_features = 0;
	radio->inquiry_mode = 0;
	memset(radio->class, 0, sizeof(radio->class));
	memset(radio->eir, 0, sizeof(radio->eir));
	radio->inquiry_end = 0;
	radio->page_end = 0;
	radio->advertising = 0;
	radio->adv_length = 0;
	radio->response_length = 0;
	radio->scanning = 0;
	radio->initiating = 0;
	radio->accept_count = 0;
}

void encryption(struct link *link, uint8_t mode, uint8_t status)
{
	bool refresh = link->le && status == 0 && mode != 0 && link->encrypted;
	uint8_t change[4] = {status, (uint8_t)link->handle, (uint8_t)(link->handle >> 8), mode};

	if (status == 0)
		link->encrypted = mode != 0;
	for (int side = 0; side < 2; side++)
		event(link->end[side], refresh ? 0x30 : 0x08, change, refresh ? 3 : 4);
}

/*
 * A host refuses channels until it has read the key's size after the change. On the air the other's
 * first data comes later than that; here it may not: the end that asked is told when the other has
 * read it.
 */
void encryption_begin(struct link *link, int side, uint8_t mode)
{
	uint8_t change[4] = {0, (uint8_t)link->handle, (uint8_t)(link->handle >> 8), mode};

	link->encrypted = true;
	link->encrypting = mode;
	event(link->end[!side], 0x08, change, sizeof(change));
}

/* side has read the size. */
void encryption_end(struct link *link, int side)
{
	uint8_t change[4] = {0, (uint8_t)link->handle, (uint8_t)(link->handle >> 8),
			     link->encrypting};

	if (link->encrypting != 0)
		event(link->end[!side], 0x08, change, sizeof(change));
	link->encrypting = 0;
}

static void inquire(struct radio *radio, uint64_t now)
{
	for (size_t i = 0; i < radio_count; i++) {
		struct radio *other = &radios[i];
		uint8_t result[255] = {1};

		if (!audible(radio, other) || (other->scan_enable & SCAN_INQUIRY) == 0 ||
		    (radio->inquiry_seen & UINT64_C(1) << i) != 0)
			continue;
		radio->inquiry_seen |= UINT64_C(1) << i;
		memcpy(result + 1, other->address, 6);
		if (radio->inquiry_mode == 0) {
			memcpy(result + 10, other->class, 3);
			event(radio, 0x02, result, 15);
		} else {
			memcpy(result + 9, other->class, 3);
			result[14] = (uint8_t)other->rssi;
			memcpy(result + 15, other->eir + 1, 240);
			event(radio, radio->inquiry_mode == 2 ? 0x2f : 0x22, result,
			      radio->inquiry_mode == 2 ? 255 : 15);
		}
		break; /* one a step */
	}
	radio->inquiry_next = now + INQUIRY_STEP_MS;
}

static void own_address(const struct radio *radio, uint8_t type, struct device_address *address)
{
	address->type = type & 1;
	memcpy(address->octets, address->type != 0 ? radio->random_address : radio->address, 6);
}

static void report(struct radio *to, const struct radio *from, uint8_t type, const uint8_t *data,
		   uint8_t length)
{
	uint8_t packet[10 + 31] = {1, type};
	struct device_address address;

	own_address(from, from->adv_own_type, &address);
	packet[2] = address.type;
	memcpy(packet + 3, address.octets, 6);
	packet[9] = length;
	memcpy(packet + 10, data, length);
	packet[10 + length] = (uint8_t)from->rssi;
	le_event(to, 0x02, packet, 11u + length);
}

void le_advertise(void)
{
	for (size_t s = 0; s < radio_count; s++) {
		struct radio *scanner = &radios[s];

		if (scanner->scanning == 0)
			continue;
		for (size_t a = 0; a < radio_count; a++) {
			const struct radio *from = &radios[a];
			/* the types of advertising and of its report: undirected, directed,
			 * scannable, not connectable, directed again */
			static const uint8_t reports[] = {0, 1, 2, 3, 1};

			if (from->advertising == 0 || !audible(scanner, from) ||
			    from->adv_type > 4 || (scanner->scan_seen & UINT64_C(1) << a) != 0)
				continue;
			if (scanner->scan_filter != 0)
				scanner->scan_seen |= UINT64_C(1) << a;
			report(scanner, from, reports[from->adv_type], from->adv_data,
			       from->adv_length);
			if (scanner->scan_active != 0 &&
			    (from->adv_type == 0 || from->adv_type == 2))
				report(scanner, from, 4, from->response_data,
				       from->response_length);
		}
	}
}

static bool wants(const struct radio *central, const struct device_address *peer)
{
	if (central->init_by_list == 0)
		return central->init_peer.type == peer->type &&
		       memcmp(central->init_peer.octets, peer->octets, 6) == 0;
	for (size_t i = 0; i < central->accept_count; i++) {
		if (central->accept[i].type == peer->type &&
		    memcmp(central->accept[i].octets, peer->octets, 6) == 0)
			return true;
	}
	return false;
}

static void le_complete(const struct link *link, int side)
{
	uint8_t complete[18] = {0, (uint8_t)link->handle, (uint8_t)(link->handle >> 8),
				(uint8_t)side};

	complete[4] = link->seen[!side].type;
	memcpy(complete + 5, link->seen[!side].octets, 6);
	complete[11] = 24;  /* interval, 30 ms */
	complete[15] = 200; /* supervision timeout, 2 s */
	le_event(link->end[side], 0x01, complete, sizeof(complete));
}

void le_connect(void)
{
	for (size_t c = 0; c < radio_count; c++) {
		struct radio *central = &radios[c];

		for (size_t a = 0; a < radio_count && central->initiating != 0; a++) {
			struct radio *peripheral = &radios[a];
			struct device_address peer;
			struct link *link;

			if (peripheral->advertising == 0 || !audible(central, peripheral) ||
			    (peripheral->adv_type > 1 && peripheral->adv_type != 4))
				continue;
			own_address(peripheral, peripheral->adv_own_type, &peer);
			if (!wants(central, &peer))
				continue;
			link = link_new(central, peripheral, true);
			if (link == NULL)
				return;
			own_address(central, central->init_own_type, &link->seen[0]);
			link->seen[1] = peer;
			central->initiating = 0;
			peripheral->advertising = 0;
			le_complete(link, 1);
			le_complete(link, 0);
		}
	}
}

void links_tick(void)
{
	static uint64_t advertised;
	uint64_t now = now_ms();

	for (size_t i = 0; i < radio_count; i++) {
		struct radio *radio = &radios[i];

		if (radio->page_end != 0 && now >= radio->page_end)
			page_give_up(radio, ERROR_PAGE_TIMEOUT);
		if (radio->inquiry_end != 0 && now >= radio->inquiry_end) {
			uint8_t status = 0;

			radio->inquiry_end = 0;
			event(radio, 0x01, &status, 1);
		} else if (radio->inquiry_end != 0 && now >= radio->inquiry_next) {
			inquire(radio, now);
		}
	}
	if (now >= advertised + 200) {
		advertised = now;
		le_advertise();
	}
	le_connect();
}

static void completed(struct radio *radio, uint16_t handle, unsigned count)
{
	uint8_t packet[5] = {1, (uint8_t)handle, (uint8_t)(handle >> 8), (uint8_t)count, 0};

	event(radio, 0x13, packet, sizeof(packet));
}

void link_data(struct radio *radio, const uint8_t *data, size_t length)
{
	uint16_t handle = (uint16_t)((data[0] | data[1] << 8) & 0xfff);
	struct link *link = link_by_handle(radio, handle);
	uint8_t packet[4 + 65535];
	struct radio *other;
	int side;

	if (link == NULL || length > sizeof(packet))
		return;
	side = link_side(link, radio);
	other = link->end[!side];
	memcpy(packet, data, length);
	if ((packet[1] & 0x30) == 0)
		packet[1] |= 0x20; /* the first fragment, as a controller says it */
	send_packet(other, H4_ACL, packet, length);
	if (other->out_length < DATA_QUEUE_MAX)
		completed(radio, handle, 1);
	else
		link->deferred[side]++;
	if (link->lose_after > 0 && --link->lose_after == 0)
		link_end(link, side, ERROR_TIMEOUT, ERROR_TIMEOUT);
}

/* The radio's queue is short again: who sends to it may go on. */
void link_credits(struct radio *radio)
{
	if (radio->out_length >= DATA_QUEUE_MAX)
		return;
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &links[i];

		for (int side = 0; side < 2 && link->used; side++) {
			if (link->end[!side] != radio || link->deferred[side] == 0)
				continue;
			completed(link->end[side], link->handle, link->deferred[side]);
			link->deferred[side] = 0;
		}
	}
}
