#include "pan/bluetooth-level.h"

#include <bluetooth/bluetooth.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pan/bluetooth-hci.h"
#include "protocol/secret.h"

#define KEY_SIZE_FULL 16 /* bytes; a shorter key can be guessed, whoever authenticated it */
#define INFO_LIMIT    SECRET_SCRATCH_SIZE

struct long_term_key {
	long type, size;
};

/* What is of interest in an info file; -1: not there. */
struct info {
	long type, pin_length; /* of the link key */
	struct long_term_key central, peripheral;
};

enum section {
	SECTION_OTHER,
	SECTION_LINK_KEY,
	SECTION_LONG_TERM_KEY,
	SECTION_PERIPHERAL_KEY, /* this side's, where it was peripheral or made it from a link key
				 */
};

static bool number_after(const char *line, const char *name, long *out)
{
	size_t size = strlen(name);
	char *end;
	long value;

	if (strncmp(line, name, size) != 0 || line[size] != '=')
		return false;
	errno = 0;
	value = strtol(line + size + 1, &end, 10);
	if (errno == 0 && end != line + size + 1 && *end == '\0')
		*out = value;
	return true;
}

static void parse_long_term_key(const char *line, struct long_term_key *key)
{
	if (!number_after(line, "Authenticated", &key->type))
		(void)number_after(line, "EncSize", &key->size);
}

static void parse_line(const char *line, enum section *section, struct info *info)
{
	if (line[0] == '[') {
		if (strcmp(line, "[LinkKey]") == 0)
			*section = SECTION_LINK_KEY;
		else if (strcmp(line, "[LongTermKey]") == 0)
			*section = SECTION_LONG_TERM_KEY;
		else if (strcmp(line, "[PeripheralLongTermKey]") == 0)
			*section = SECTION_PERIPHERAL_KEY;
		else
			*section = SECTION_OTHER;
		return;
	}
	switch (*section) {
	case SECTION_OTHER:
		return;
	case SECTION_LINK_KEY:
		if (!number_after(line, "Type", &info->type))
			(void)number_after(line, "PINLength", &info->pin_length);
		return;
	case SECTION_LONG_TERM_KEY:
		parse_long_term_key(line, &info->central);
		return;
	case SECTION_PERIPHERAL_KEY:
		parse_long_term_key(line, &info->peripheral);
		return;
	}
}

/* Types of the management interface's link keys (mgmt-api.txt, New Link Key event). */
static enum bluetooth_key link_key(const struct info *info)
{
	switch (info->type) {
	case 0x00: /* legacy combination: the kernel's own rule for BT_SECURITY_HIGH */
		return info->pin_length == 16 ? BLUETOOTH_KEY_AUTHENTICATED
					      : BLUETOOTH_KEY_UNAUTHENTICATED;
	case 0x05: /* P-192 */
	case 0x08: /* P-256 */
		return BLUETOOTH_KEY_AUTHENTICATED;
	case -1:
		return BLUETOOTH_KEY_UNKNOWN;
	default:
		return BLUETOOTH_KEY_UNAUTHENTICATED;
	}
}

/* Types of the management interface's long term keys. */
static enum bluetooth_key long_term_key(const struct long_term_key *key)
{
	switch (key->type) {
	case 0x01: /* legacy pairing */
	case 0x03: /* P-256 */
		return BLUETOOTH_KEY_AUTHENTICATED;
	case -1:
		return BLUETOOTH_KEY_UNKNOWN;
	default:
		return BLUETOOTH_KEY_UNAUTHENTICATED;
	}
}

static int read_info(int fd, char *text, size_t room)
{
	size_t size = 0;

	for (;;) {
		ssize_t n = read(fd, text + size, room - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		size += (size_t)n;
		if (size == room)
			return -EFBIG;
		if (n == 0)
			break;
	}
	text[size] = '\0';
	return 0;
}

int bluetooth_bond_read(const char *bonds, const char *adapter, const char *device,
			enum bluetooth_transport transport, struct bluetooth_bond *out)
{
	struct info info = {-1, -1, {-1, -1}, {-1, -1}};
	const struct long_term_key *key;
	enum section section = SECTION_OTHER;
	char path[512];
	char *text, *line, *rest;
	int fd, rc;

	*out = (struct bluetooth_bond){BLUETOOTH_KEY_UNKNOWN, 0};
	rc = snprintf(path, sizeof(path), "%s/%s/%s/info", bonds, adapter, device);
	if (rc < 0 || (size_t)rc >= sizeof(path))
		return -ENAMETOOLONG;
	text = secret_scratch_new();
	if (!text)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		rc = -errno;
		secret_scratch_free(text);
		return rc;
	}
	rc = read_info(fd, text, INFO_LIMIT);
	close(fd);
	if (rc == 0) {
		for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			parse_line(line, &section, &info);
		switch (transport) {
		case BLUETOOTH_RFCOMM:
			out->key = link_key(&info);
			break;
		case BLUETOOTH_LE:
			key = info.central.type != -1 ? &info.central : &info.peripheral;
			out->key = long_term_key(key);
			if (key->size > 0 && key->size <= KEY_SIZE_FULL)
				out->key_size = (uint8_t)key->size;
			break;
		}
	}
	secret_scratch_free(text);
	return rc;
}

struct bluetooth_level bluetooth_level_judge(const struct bluetooth_evidence *e)
{
	struct bluetooth_level out = {PAN_SECURITY_ENCRYPTED, e->key_size, ""};

	if (out.key_size == 0)
		out.key_size = e->bond.key_size;
	if (e->link_known ? !e->encrypted : e->enforced < BT_SECURITY_MEDIUM) {
		out.level = PAN_SECURITY_NONE;
		out.why = e->link_known ? "the link is not encrypted"
					: "nothing demands that the link is encrypted";
	} else if (out.key_size != 0 && out.key_size < KEY_SIZE_FULL) {
		out.why = "encrypted with a short key";
	} else if (e->link_known && e->p256) {
		out.level = PAN_SECURITY_AUTHENTICATED;
		out.why = "the link's key is authenticated (P-256)";
	} else if (e->enforced >= BT_SECURITY_HIGH) {
		out.level = PAN_SECURITY_AUTHENTICATED;
		out.why = "the kernel demands an authenticated key";
	} else {
		switch (e->bond.key) {
		case BLUETOOTH_KEY_AUTHENTICATED:
			out.level = PAN_SECURITY_AUTHENTICATED;
			out.why = "the bond's key is authenticated";
			break;
		case BLUETOOTH_KEY_UNAUTHENTICATED:
			out.why = "the bond's key is not authenticated";
			break;
		case BLUETOOTH_KEY_UNKNOWN:
			out.why = "encrypted; the bond cannot be read";
			break;
		}
	}
	return out;
}

int bluetooth_level_read(int fd, const char *adapter, const char *device, const char *bonds,
			 struct bluetooth_level *out)
{
	struct bluetooth_evidence evidence = {.enforced = -1};
	struct bluetooth_hci_link link = {false, false};
	enum bluetooth_transport transport;
	struct bt_security security = {0, 0};
	socklen_t size = sizeof(int);
	int protocol, rc;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0)
		return -errno;
	transport = protocol == BTPROTO_L2CAP ? BLUETOOTH_LE : BLUETOOTH_RFCOMM;
	size = sizeof(security);
	if (getsockopt(fd, SOL_BLUETOOTH, BT_SECURITY, &security, &size) < 0)
		return -errno;
	evidence.enforced = security.level;
	evidence.key_size = security.key_size;
	rc = bluetooth_hci_link(adapter, device, transport, &link);
	if (rc == -ENOTCONN)
		return rc;
	evidence.link_known = rc == 0;
	evidence.encrypted = link.encrypted;
	evidence.p256 = link.p256;
	/* A bond that cannot be read does not count. */
	(void)bluetooth_bond_read(bonds, adapter, device, transport, &evidence.bond);
	*out = bluetooth_level_judge(&evidence);
	return 0;
}
