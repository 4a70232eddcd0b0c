/*
 * Preloaded into the bluetoothds of the machine "pnes", where each radio is a device of its own: a
 * bluetoothd then sees radio PNGW_RADIO alone (0 without it). Real devices do not share one either:
 * with profiles of the same UUID, or agents, several would be taken for one another.
 *
 * What the kernel tells on the management socket (mgmt-api.txt) is passed on only for that
 * controller, and servers on "any adapter" are bound to it.
 */
#include <bluetooth/bluetooth.h>
#include <bluetooth/hci.h>
#include <bluetooth/l2cap.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENT_COMPLETE        0x0001
#define EVENT_INDEX_ADDED     0x0004
#define EVENT_EXT_INDEX_ADDED 0x0020
#define READ_INDEX_LIST       0x0003
#define NO_INDEX              0xffff
#define INDEXES               256

static int management = -1;
static enum { UNKNOWN, OURS, ANOTHERS } controllers[INDEXES];

static int radio(void)
{
	const char *number = getenv("PNGW_RADIO");

	return number ? atoi(number) : 0;
}

static int elsewhere(void)
{
	char name[64] = "";

	(void)gethostname(name, sizeof(name) - 1);
	return strcmp(name, "pnes") != 0;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

/* An address ends with the number of its radio. */
static int ours(uint16_t index, int anew)
{
	struct hci_dev_info info = {.dev_id = index};
	int fd;

	if (index >= INDEXES)
		return 1;
	if (controllers[index] == UNKNOWN || anew) {
		fd = socket(AF_BLUETOOTH, SOCK_RAW | SOCK_CLOEXEC, BTPROTO_HCI);
		controllers[index] = fd >= 0 && ioctl(fd, HCIGETDEVINFO, &info) == 0 &&
						     info.bdaddr.b[0] == radio()
					     ? OURS
					     : ANOTHERS;
		close(fd);
	}
	return controllers[index] == OURS;
}

/* READ_INDEX_LIST's answer: the count at 9, then the indexes. What is left of size. */
static size_t keep_ours(uint8_t *data, size_t size)
{
	size_t count = size >= 11 ? get16(data + 9) : 0, kept = 0;

	for (size_t i = 0; i < count && 13 + 2 * i <= size; i++) {
		if (!ours(get16(data + 11 + 2 * i), 1))
			continue;
		memmove(data + 11 + 2 * kept, data + 11 + 2 * i, 2);
		kept++;
	}
	if (size < 11)
		return size;
	size = 11 + 2 * kept;
	data[4] = (uint8_t)(size - 6);
	data[5] = (uint8_t)((size - 6) >> 8);
	data[9] = (uint8_t)kept;
	data[10] = 0;
	return size;
}

ssize_t read(int fd, void *buffer, size_t room)
{
	ssize_t size = syscall(SYS_read, fd, buffer, room);
	uint8_t *data = buffer;
	uint16_t event;

	if (fd != management || size < 6 || elsewhere())
		return size;
	event = get16(data);
	if (event == EVENT_COMPLETE && size >= 9 && get16(data + 6) == READ_INDEX_LIST)
		return (ssize_t)keep_ours(data, (size_t)size);
	if (get16(data + 2) != NO_INDEX &&
	    !ours(get16(data + 2), event == EVENT_INDEX_ADDED || event == EVENT_EXT_INDEX_ADDED))
		return 0; /* too short to be anything; an error would make bluetoothd stop listening
			   */
	return size;
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
	struct sockaddr_l2 l2;
	const struct sockaddr_hci *hci = (const void *)address;
	int protocol = 0;
	socklen_t protocol_size = sizeof(protocol);

	(void)getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_size);
	if (address->sa_family == AF_BLUETOOTH && protocol == BTPROTO_HCI && size >= sizeof(*hci) &&
	    hci->hci_channel == HCI_CHANNEL_CONTROL)
		management = fd;
	if (address->sa_family == AF_BLUETOOTH && protocol == BTPROTO_L2CAP && size == sizeof(l2) &&
	    !elsewhere()) {
		memcpy(&l2, address, sizeof(l2));
		if (l2.l2_psm != 0 && bacmp(&l2.l2_bdaddr, BDADDR_ANY) == 0) {
			/* 00:1B:DC:10:02:NN */
			l2.l2_bdaddr = (bdaddr_t){{(uint8_t)radio(), 0x02, 0x10, 0xdc, 0x1b, 0x00}};
			return (int)syscall(SYS_bind, fd, &l2, size);
		}
	}
	return (int)syscall(SYS_bind, fd, address, size);
}
