/* The commands that Linux gives a controller. */
#include "ether.h"

#include <stdio.h>
#include <string.h>

enum {
	ACL_SIZE = 1021,
	ACL_COUNT = 8,
	LE_SIZE = 251,
	LE_COUNT = 8,
	VERSION = 9, /* 5.0 */
};

/* Encryption, role switch, EDR, RSSI and extended inquiry results, LE, Simple Pairing, and more
 * pages. */
static const uint8_t features[8] = {0x27, 0x00, 0x00, 0x4e, 0xc0, 0x01, 0x5b, 0x82};
static const uint8_t features_2[8] = {0x00, 0x01}; /* Secure Connections */
static const uint8_t le_features[8] = {0x29};      /* encryption, features exchange, long packets */

static const uint8_t commands[64] = {
	[0] = 0xb3,  [1] = 0xff,  [2] = 0xf9,  [3] = 0x01,  [4] = 0x80,  [5] = 0xdf,  [6] = 0x01,
	[7] = 0xff,  [8] = 0x33,  [9] = 0x0f,  [12] = 0xc0, [14] = 0xe8, [15] = 0x22, [17] = 0xe3,
	[18] = 0x81, [19] = 0x1f, [20] = 0x1c, [22] = 0x04, [24] = 0x60, [25] = 0xf7, [26] = 0xff,
	[27] = 0xff, [28] = 0x07, [32] = 0x7c, [33] = 0x70, [34] = 0x01, [35] = 0x08,
};

static uint16_t get16(const uint8_t *data)
{
	return (uint16_t)(data[0] | data[1] << 8);
}

/* Of another length than the command's, an array would be read past its end. */
static bool shorter(struct radio *radio, uint16_t opcode, size_t length, size_t wanted)
{
	if (length >= wanted)
		return false;
	command_ok(radio, opcode, 0x12);
	return true;
}

static void host_features(const struct radio *radio, uint8_t *page)
{
	memset(page, 0, 8);
	page[0] = (uint8_t)((radio->ssp != 0) | radio->host_features << 1 |
			    (radio->secure_connections != 0 ? 8 : 0));
}

static void local_features(struct radio *radio, uint16_t opcode, uint8_t page)
{
	uint8_t answer[11] = {0, page, 2};

	if (page == 0)
		memcpy(answer + 3, features, 8);
	else if (page == 1)
		host_features(radio, answer + 3);
	else if (page == 2)
		memcpy(answer + 3, features_2, 8);
	command_complete(radio, opcode, answer, sizeof(answer));
}

static void remote_features(struct radio *radio, const struct link *link, uint8_t page,
			    bool extended)
{
	uint8_t answer[13] = {0, (uint8_t)link->handle, (uint8_t)(link->handle >> 8), page, 2};
	uint8_t *at = extended ? answer + 5 : answer + 3;

	if (page == 1)
		host_features(link->end[!link_side(link, radio)], at);
	else
		memcpy(at, page == 0 ? features : features_2, 8);
	event(radio, extended ? 0x23 : 0x0b, answer, extended ? 13 : 11);
}

static void remote_name(struct radio *radio, const uint8_t *address)
{
	const struct radio *other = radio_by_address(address);
	uint8_t answer[255] = {ERROR_PAGE_TIMEOUT};

	memcpy(answer + 1, address, 6);
	if (other != NULL && audible(radio, other) &&
	    ((other->scan_enable & 2) != 0 || link_by_address(radio, address) != NULL)) {
		answer[0] = 0;
		memcpy(answer + 7, other->local_name, 248);
	}
	event(radio, 0x07, answer, sizeof(answer));
}

/* Those that name a link by its handle. False: not one of them. */
static bool by_handle(struct radio *radio, uint16_t opcode, const uint8_t *data, size_t length)
{
	uint8_t answer[16] = {0};
	struct link *link;
	uint8_t change[8];
	bool complete = true;
	size_t wanted = 2;
	int side;

	switch (opcode) {
	case 0x0406: /* Disconnect */
	case 0x0413: /* Set Connection Encryption */
	case 0x041c: /* Read Remote Extended Features */
		wanted = 3;
		complete = false;
		break;
	case 0x2019: /* LE Start Encryption */
		wanted = 28;
		complete = false;
		break;
	case 0x2013: /* LE Connection Update */
		wanted = 14;
		complete = false;
		break;
	case 0x040f: /* Change Packet Type */
		wanted = 4;
		complete = false;
		break;
	case 0x0411: /* Authentication Requested */
	case 0x041b: /* Read Remote Features */
	case 0x041d: /* Read Remote Version */
	case 0x041f: /* Read Clock Offset */
	case 0x2016: /* LE Read Remote Features */
		complete = false;
		break;
	case 0x201a: /* LE Long Term Key Reply */
		wanted = 18;
		break;
	case 0x0809: /* Role Discovery */
	case 0x080c: /* Read, Write Link Policy */
	case 0x080d:
	case 0x0c2d: /* Read Transmit Power */
	case 0x0c36: /* Read, Write Link Supervision Timeout */
	case 0x0c37:
	case 0x0c28: /* Write Automatic Flush Timeout */
	case 0x1405: /* Read RSSI */
	case 0x1407: /* Read Clock */
	case 0x1408: /* Read Encryption Key Size */
	case 0x201b: /* LE Long Term Key Negative Reply */
	case 0x2022: /* LE Set Data Length */
		break;
	default:
		return false;
	}
	if (shorter(radio, opcode, length, wanted))
		return true;
	link = link_by_handle(radio, get16(data) & 0xfff);
	answer[1] = data[0];
	answer[2] = data[1];
	if (link == NULL) {
		answer[0] = ERROR_UNKNOWN_LINK;
		if (complete)
			command_complete(radio, opcode, answer, 7);
		else
			command_status(radio, opcode, ERROR_UNKNOWN_LINK);
		return true;
	}
	side = link_side(link, radio);
	if (!complete)
		command_status(radio, opcode, 0);

	switch (opcode) {
	case 0x0406:
		link_end(link, side, ERROR_LOCAL_HOST, data[2]);
		break;
	case 0x0413:
		if (data[2] != 0 && !link->has_key) {
			encryption(link, 0, ERROR_KEY_MISSING);
		} else if (data[2] != 0) {
			encryption_begin(link, side, link->key_type >= 7 ? 2 : 1);
		} else {
			encryption(link, 0, 0);
		}
		break;
	case 0x041b:
		remote_features(radio, link, 0, false);
		break;
	case 0x041c:
		remote_features(radio, link, data[2], true);
		break;
	case 0x2019:
		memcpy(link->ltk, data + 12, 16);
		memcpy(answer, data, 12);
		le_event(link->end[!side], 0x05, answer, 12);
		break;
	case 0x2013:
		memcpy(answer + 3, data + 4, 6);
		le_event(radio, 0x03, answer, 9);
		le_event(link->end[!side], 0x03, answer, 9);
		break;
	case 0x040f:
		memcpy(answer + 3, data + 2, 2);
		event(radio, 0x1d, answer, 5);
		break;
	case 0x0411:
		pair_begin(link, side);
		break;
	case 0x041d:
		answer[3] = VERSION;
		answer[4] = 0xf1;
		answer[5] = 0x05;
		event(radio, 0x0c, answer, 8);
		break;
	case 0x041f:
		event(radio, 0x1c, answer, 5);
		break;
	case 0x2016:
		memcpy(answer + 3, le_features, 8);
		le_event(radio, 0x04, answer, 11);
		break;
	case 0x201a:
		command_complete(radio, opcode, answer, 3);
		if (memcmp(link->ltk, data + 2, 16) == 0)
			encryption(link, 1, 0);
		else
			link_end(link, side, ERROR_MIC, ERROR_MIC);
		break;
	case 0x201b:
		command_complete(radio, opcode, answer, 3);
		change[0] = ERROR_KEY_MISSING;
		change[1] = data[0];
		change[2] = data[1];
		change[3] = 0;
		event(link->end[!side], 0x08, change, 4);
		break;
	case 0x0809:
		answer[3] = link->central != side;
		command_complete(radio, opcode, answer, 4);
		break;
	case 0x1405:
		answer[3] = (uint8_t)link->end[!side]->rssi;
		command_complete(radio, opcode, answer, 4);
		break;
	case 0x1407:
		command_complete(radio, opcode, answer, 9);
		break;
	case 0x1408:
		answer[3] = link->end[0]->key_size < link->end[1]->key_size
				    ? link->end[0]->key_size
				    : link->end[1]->key_size;
		command_complete(radio, opcode, answer, 4);
		encryption_end(link, side);
		break;
	case 0x0c2d:
		command_complete(radio, opcode, answer, 4);
		break;
	case 0x080c:
		answer[3] = 1;
		command_complete(radio, opcode, answer, 5);
		break;
	case 0x0c36:
		answer[4] = 0x7d;
		command_complete(radio, opcode, answer, 5);
		break;
	default:
		command_complete(radio, opcode, answer, 3);
		break;
	}
	return true;
}

/* Those that name the other by its address, for a link that is there or wanted. */
static bool by_address(struct radio *radio, uint16_t opcode, const uint8_t *data, size_t length)
{
	struct capability capability = {0};
	uint8_t answer[7] = {0};
	struct link *link;
	size_t wanted = 6;
	uint8_t change[8];
	int side;

	switch (opcode) {
	case 0x0405: /* Create Connection */
	case 0x0408: /* Create Connection Cancel */
	case 0x0419: /* Remote Name Request, Cancel */
	case 0x041a:
		break;
	case 0x0409: /* Accept, Reject Connection */
	case 0x040a:
	case 0x080b: /* Switch Role */
		wanted = 7;
		break;
	case 0x040b: /* Link Key Reply */
		wanted = 22;
		break;
	case 0x040d: /* PIN Code Reply */
		wanted = 23;
		break;
	case 0x042b: /* IO Capability Reply */
		wanted = 9;
		break;
	case 0x0434: /* IO Capability Negative Reply */
		wanted = 7;
		break;
	case 0x042e: /* User Passkey Reply */
		wanted = 10;
		break;
	case 0x0430: /* Remote OOB Data Reply */
		wanted = 38;
		break;
	case 0x0445: /* Remote OOB Extended Data Reply */
		wanted = 70;
		break;
	case 0x040c: /* Link Key, PIN, User Confirmation, Passkey and OOB negative replies; User
			Confirmation */
	case 0x040e:
	case 0x042c:
	case 0x042d:
	case 0x042f:
	case 0x0433:
		break;
	default:
		return false;
	}
	if (shorter(radio, opcode, length, wanted))
		return true;
	memcpy(answer + 1, data, 6);
	link = link_by_address(radio, data);

	switch (opcode) {
	case 0x0405:
		if (radio->page_end != 0) {
			command_status(radio, opcode, ERROR_DISALLOWED);
			return true;
		}
		command_status(radio, opcode, 0);
		page(radio, data);
		return true;
	case 0x0408:
		page_cancel(radio, data, opcode);
		return true;
	case 0x0409:
		command_status(radio, opcode, 0);
		page_answer(radio, data, 0, data[6]);
		return true;
	case 0x040a:
		command_status(radio, opcode, 0);
		page_answer(radio, data, data[6], 0);
		return true;
	case 0x0419:
		command_status(radio, opcode, 0);
		remote_name(radio, data);
		return true;
	case 0x041a:
		command_complete(radio, opcode, answer, 7);
		return true;
	case 0x080b:
		command_status(radio, opcode, link == NULL ? ERROR_UNKNOWN_LINK : 0);
		if (link != NULL) {
			side = link_side(link, radio);
			link->central = (uint8_t)(data[6] == 0 ? side : !side);
			for (int end = 0; end < 2; end++) {
				change[0] = 0;
				memcpy(change + 1, link->seen[!end].octets, 6);
				change[7] = link->central != end;
				event(link->end[end], 0x12, change, 8);
			}
		}
		return true;
	default:
		break;
	}

	if (link == NULL)
		answer[0] = ERROR_UNKNOWN_LINK;
	command_complete(radio, opcode, answer, 7);
	if (link == NULL)
		return true;
	side = link_side(link, radio);
	switch (opcode) {
	case 0x040b:
		pair_link_key(link, side, data + 6);
		break;
	case 0x040c:
		pair_link_key(link, side, NULL);
		break;
	case 0x040d:
		pair_pin(link, side, data + 7, data[6]);
		break;
	case 0x040e:
		pair_pin(link, side, NULL, 0);
		break;
	case 0x042b:
		capability.io = data[6];
		capability.oob = data[7];
		capability.authentication = data[8];
		pair_capability(link, side, &capability, 0);
		break;
	case 0x0434:
		pair_capability(link, side, NULL, data[6]);
		break;
	case 0x042c:
		pair_answer(link, side, ANSWER_YES, 0);
		break;
	case 0x042e:
		pair_answer(link, side, ANSWER_YES,
			    data[6] | (uint32_t)data[7] << 8 | (uint32_t)data[8] << 16 |
				    (uint32_t)data[9] << 24);
		break;
	case 0x0430:
		pair_oob(link, side, data + 6, NULL);
		break;
	case 0x0445:
		pair_oob(link, side, data + 6, data + 38);
		break;
	default:
		pair_answer(link, side, ANSWER_NO, 0);
		break;
	}
	return true;
}

static void adv_enable(struct radio *radio, uint16_t opcode, uint8_t enable)
{
	radio->advertising = enable;
	for (size_t i = 0; i < radio_count; i++)
		radios[i].scan_seen &= ~(UINT64_C(1) << (radio - radios));
	command_ok(radio, opcode, 0);
}

static void accept_list(struct radio *radio, uint16_t opcode, const uint8_t *data)
{
	if (opcode == 0x2011 && radio->accept_count < ACCEPT_MAX) {
		radio->accept[radio->accept_count].type = data[0];
		memcpy(radio->accept[radio->accept_count++].octets, data + 1, 6);
	}
	for (size_t i = 0; opcode == 0x2012 && i < radio->accept_count; i++) {
		if (radio->accept[i].type == data[0] &&
		    memcmp(radio->accept[i].octets, data + 1, 6) == 0)
			radio->accept[i--] = radio->accept[--radio->accept_count];
	}
	command_ok(radio, opcode, 0);
}

static void copy_data(uint8_t *to, uint8_t *to_length, const uint8_t *data)
{
	*to_length = data[0] > 31 ? 31 : data[0];
	memcpy(to, data + 1, *to_length);
}

static void low_energy(struct radio *radio, uint16_t opcode, const uint8_t *data, size_t length)
{
	static const uint8_t wanted[] = {
		[0x05] = 6, [0x06] = 15, [0x08] = 32, [0x09] = 32, [0x0a] = 1,
		[0x0b] = 7, [0x0c] = 2,  [0x0d] = 25, [0x11] = 7,  [0x12] = 7};
	uint8_t answer[16] = {0};

	if ((opcode & 0xff) < sizeof(wanted) &&
	    shorter(radio, opcode, length, wanted[opcode & 0xff]))
		return;
	switch (opcode) {
	case 0x2002: /* Read Buffer Size */
		answer[1] = LE_SIZE;
		answer[3] = LE_COUNT;
		command_complete(radio, opcode, answer, 4);
		break;
	case 0x2003: /* Read Local Features */
		memcpy(answer + 1, le_features, 8);
		command_complete(radio, opcode, answer, 9);
		break;
	case 0x2005:
		memcpy(radio->random_address, data, 6);
		command_ok(radio, opcode, 0);
		break;
	case 0x2006: /* Set Advertising Parameters */
		radio->adv_type = data[4];
		radio->adv_own_type = data[5];
		radio->adv_peer_type = data[6];
		memcpy(radio->adv_peer, data + 7, 6);
		command_ok(radio, opcode, 0);
		break;
	case 0x2007: /* Read Transmit Power */
		command_complete(radio, opcode, answer, 2);
		break;
	case 0x2008:
		copy_data(radio->adv_data, &radio->adv_length, data);
		adv_enable(radio, opcode, radio->advertising);
		break;
	case 0x2009:
		copy_data(radio->response_data, &radio->response_length, data);
		command_ok(radio, opcode, 0);
		break;
	case 0x200a:
		adv_enable(radio, opcode, data[0]);
		break;
	case 0x200b:
		radio->scan_active = data[0];
		command_ok(radio, opcode, 0);
		break;
	case 0x200c:
		radio->scanning = data[0];
		radio->scan_filter = data[1];
		radio->scan_seen = 0;
		command_ok(radio, opcode, 0);
		break;
	case 0x200d: /* Create Connection */
		radio->initiating = 1;
		radio->init_by_list = data[4];
		radio->init_peer.type = data[5];
		memcpy(radio->init_peer.octets, data + 6, 6);
		radio->init_own_type = data[12];
		command_status(radio, opcode, 0);
		break;
	case 0x200e: /* Create Connection Cancel */
		command_ok(radio, opcode, radio->initiating != 0 ? 0 : ERROR_DISALLOWED);
		if (radio->initiating != 0) {
			uint8_t cancelled[18] = {ERROR_UNKNOWN_LINK};

			radio->initiating = 0;
			le_event(radio, 0x01, cancelled, sizeof(cancelled));
		}
		break;
	case 0x200f:
		answer[1] = ACCEPT_MAX;
		command_complete(radio, opcode, answer, 2);
		break;
	case 0x2010:
		radio->accept_count = 0;
		command_ok(radio, opcode, 0);
		break;
	case 0x2011:
	case 0x2012:
		accept_list(radio, opcode, data);
		break;
	case 0x2018: /* Rand */
		random_bytes(answer + 1, 8);
		command_complete(radio, opcode, answer, 9);
		break;
	case 0x201c: /* Read Supported States */
		memset(answer + 1, 0xff, 8);
		answer[6] = 0x03;
		answer[7] = answer[8] = 0;
		command_complete(radio, opcode, answer, 9);
		break;
	case 0x2023: /* Read Suggested Default, Maximum Data Length */
	case 0x202f:
		answer[1] = answer[5] = LE_SIZE;
		answer[3] = answer[7] = 0x48;
		answer[4] = answer[8] = 0x08;
		command_complete(radio, opcode, answer, opcode == 0x2023 ? 5 : 9);
		break;
	case 0x2001: /* Set Event Mask */
	case 0x2014: /* Set Host Channel Classification */
	case 0x2024: /* Write Suggested Default Data Length */
		command_ok(radio, opcode, 0);
		break;
	default:
		printf("%s: command %04x is not known\n", radio->name, opcode);
		command_ok(radio, opcode, ERROR_UNKNOWN_COMMAND);
		break;
	}
}

static void inquiry(struct radio *radio, uint16_t opcode, const uint8_t *data)
{
	command_status(radio, opcode, radio->inquiry_end != 0 ? ERROR_DISALLOWED : 0);
	if (radio->inquiry_end != 0)
		return;
	radio->inquiry_seen = 0;
	radio->inquiry_next = now_ms() + 50;
	radio->inquiry_end = now_ms() + data[3] * 1280u;
}

/* Page, local name and such: what Linux reads and writes of the controller itself. */
static void baseband(struct radio *radio, uint16_t opcode, const uint8_t *data, size_t length)
{
	static const struct {
		uint16_t opcode;
		uint8_t wanted;
	} sizes[] = {{0x0401, 5}, {0x1004, 1}, {0x0c13, 248}, {0x0c1a, 1},
		     {0x0c24, 3}, {0x0c45, 1}, {0x0c52, 241}, {0x0c56, 1},
		     {0x0c6d, 2}, {0x0c7a, 1}, {0x0c26, 2}};
	uint8_t answer[256] = {0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i].opcode == opcode && shorter(radio, opcode, length, sizes[i].wanted))
			return;
	}
	switch (opcode) {
	case 0x0401:
		inquiry(radio, opcode, data);
		return;
	case 0x0402:
		radio->inquiry_end = 0;
		command_ok(radio, opcode, 0);
		return;
	case 0x0c03:
		radio_reset(radio);
		command_ok(radio, opcode, 0);
		return;
	case 0x0c13:
		memcpy(radio->local_name, data, 248);
		command_ok(radio, opcode, 0);
		return;
	case 0x0c14:
		memcpy(answer + 1, radio->local_name, 248);
		command_complete(radio, opcode, answer, 249);
		return;
	case 0x0c19:
		answer[1] = radio->scan_enable;
		command_complete(radio, opcode, answer, 2);
		return;
	case 0x0c1a:
		radio->scan_enable = data[0];
		command_ok(radio, opcode, 0);
		return;
	case 0x0c23:
		memcpy(answer + 1, radio->class, 3);
		command_complete(radio, opcode, answer, 4);
		return;
	case 0x0c24:
		memcpy(radio->class, data, 3);
		command_ok(radio, opcode, 0);
		return;
	case 0x0c25:
		memcpy(answer + 1, radio->voice, 2);
		command_complete(radio, opcode, answer, 3);
		return;
	case 0x0c26:
		memcpy(radio->voice, data, 2);
		command_ok(radio, opcode, 0);
		return;
	case 0x0c38: /* Read Number of Supported IAC */
		answer[1] = 1;
		command_complete(radio, opcode, answer, 2);
		return;
	case 0x0c39: /* Read Current IAC */
		answer[1] = 1;
		answer[2] = 0x33;
		answer[3] = 0x8b;
		answer[4] = 0x9e;
		command_complete(radio, opcode, answer, 5);
		return;
	case 0x0c45:
		radio->inquiry_mode = data[0];
		command_ok(radio, opcode, 0);
		return;
	case 0x0c52:
		memcpy(radio->eir, data, 241);
		command_ok(radio, opcode, 0);
		return;
	case 0x0c56:
		radio->ssp = data[0];
		command_ok(radio, opcode, 0);
		return;
	case 0x0c57: /* Read Local OOB Data, Extended */
	case 0x0c7d:
		random_bytes(radio->oob, sizeof(radio->oob));
		memcpy(answer + 1, radio->oob, 64);
		command_complete(radio, opcode, answer, opcode == 0x0c57 ? 33 : 65);
		return;
	case 0x0c58: /* Read Inquiry Response Transmit Power */
		command_complete(radio, opcode, answer, 2);
		return;
	case 0x0c6d: /* Write LE Host Support */
		radio->host_features = (uint8_t)((data[0] & 1) | (data[1] & 1) << 1);
		command_ok(radio, opcode, 0);
		return;
	case 0x0c7a:
		radio->secure_connections = data[0];
		command_ok(radio, opcode, 0);
		return;
	case 0x0c1b: /* Read Page Scan Activity */
		answer[2] = 0x08;
		answer[3] = 0x12;
		command_complete(radio, opcode, answer, 5);
		return;
	case 0x0c46: /* Read Page Scan Type */
	case 0x080e: /* Read Default Link Policy */
		command_complete(radio, opcode, answer, opcode == 0x080e ? 3 : 2);
		return;
	case 0x1001: /* Read Local Version */
		answer[1] = answer[4] = VERSION;
		answer[5] = 0xf1;
		answer[6] = 0x05;
		command_complete(radio, opcode, answer, 9);
		return;
	case 0x1002:
		memcpy(answer + 1, commands, 64);
		command_complete(radio, opcode, answer, 65);
		return;
	case 0x1003:
		memcpy(answer + 1, features, 8);
		command_complete(radio, opcode, answer, 9);
		return;
	case 0x1004:
		local_features(radio, opcode, data[0]);
		return;
	case 0x1005: /* Read Buffer Size */
		answer[1] = (uint8_t)(ACL_SIZE & 0xff);
		answer[2] = ACL_SIZE >> 8;
		answer[3] = 64;
		answer[4] = ACL_COUNT;
		answer[6] = 8;
		command_complete(radio, opcode, answer, 8);
		return;
	case 0x1009:
		memcpy(answer + 1, radio->address, 6);
		command_complete(radio, opcode, answer, 7);
		return;
	case 0x0c01: /* Set Event Mask, Filter; Write the time limits, Page Scan, Authentication,
			IAC, ... */
	case 0x0c05:
	case 0x0c16:
	case 0x0c18:
	case 0x0c1c:
	case 0x0c1e:
	case 0x0c20:
	case 0x0c33:
	case 0x0c3a:
	case 0x0c47:
	case 0x0c63:
	case 0x080f:
		command_ok(radio, opcode, 0);
		return;
	default:
		printf("%s: command %04x is not known\n", radio->name, opcode);
		command_ok(radio, opcode, ERROR_UNKNOWN_COMMAND);
		return;
	}
}

void command(struct radio *radio, uint16_t opcode, const uint8_t *data, size_t length)
{
	if (by_handle(radio, opcode, data, length) || by_address(radio, opcode, data, length))
		return;
	if (opcode >> 10 == 8)
		low_energy(radio, opcode, data, length);
	else
		baseband(radio, opcode, data, length);
}
