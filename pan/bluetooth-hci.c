#include "pan/bluetooth-hci.h"

#include <bluetooth/hci.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/secret.h"

/* Of the kernel's hci.h. */
#define HCI_LM_FIPS 0x0040
#define LE_LINK     0x80

#define CONTROLLERS_MAX 64

static uint8_t hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0');
	return (uint8_t)((c & ~0x20) - 'A' + 10);
}

bdaddr_t bluetooth_bdaddr(const char *text)
{
	bdaddr_t out = {{0}};

	for (size_t i = 0; i < sizeof(out.b); i++)
		out.b[sizeof(out.b) - 1 - i] =
			(uint8_t)(hex_digit(text[3 * i]) << 4 | hex_digit(text[3 * i + 1]));
	return out;
}

/* The controller's number. A negative errno when there is none of this address. */
static int find(int fd, const char *adapter)
{
	struct {
		struct hci_dev_list_req head;
		struct hci_dev_req all[CONTROLLERS_MAX];
	} list;
	const bdaddr_t wanted = bluetooth_bdaddr(adapter);
	const struct hci_dev_req *requests =
		(const struct hci_dev_req *)(const void *)((const char *)&list +
							   offsetof(struct hci_dev_list_req,
								    dev_req));

	memset(&list, 0, sizeof(list));
	list.head.dev_num = CONTROLLERS_MAX;
	if (ioctl(fd, HCIGETDEVLIST, &list) < 0)
		return -errno;
	for (unsigned i = 0; i < list.head.dev_num; i++) {
		struct hci_dev_info info;

		memset(&info, 0, sizeof(info));
		info.dev_id = requests[i].dev_id;
		if (ioctl(fd, HCIGETDEVINFO, &info) == 0 &&
		    memcmp(&info.bdaddr, &wanted, sizeof(wanted)) == 0)
			return info.dev_id;
	}
	return -ENODEV;
}

/* A raw socket bound to the controller. */
static int open_bound(const char *adapter)
{
	struct sockaddr_hci address = {.hci_family = AF_BLUETOOTH, .hci_channel = HCI_CHANNEL_RAW};
	int fd = socket(AF_BLUETOOTH, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, BTPROTO_HCI);
	int rc;

	if (fd < 0)
		return -errno;
	rc = find(fd, adapter);
	if (rc >= 0) {
		address.hci_dev = (unsigned short)rc;
		if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
			rc = -errno;
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int bluetooth_hci_link(const char *adapter, const char *device, enum bluetooth_transport transport,
		       struct bluetooth_hci_link *out)
{
	union {
		struct hci_conn_info_req head;
		uint8_t room[sizeof(struct hci_conn_info_req) + sizeof(struct hci_conn_info)];
	} request;
	struct hci_conn_info info;
	int fd = open_bound(adapter);
	int rc = 0;

	if (fd < 0)
		return fd;
	memset(&request, 0, sizeof(request));
	request.head.bdaddr = bluetooth_bdaddr(device);
	request.head.type = transport == BLUETOOTH_LE ? LE_LINK : ACL_LINK;
	if (ioctl(fd, HCIGETCONNINFO, &request) < 0)
		rc = errno == ENOENT ? -ENOTCONN : -errno;
	close(fd);
	if (rc < 0)
		return rc;
	memcpy(&info, request.room + offsetof(struct hci_conn_info_req, conn_info), sizeof(info));
	out->encrypted = (info.link_mode & HCI_LM_ENCRYPT) != 0;
	out->p256 = (info.link_mode & HCI_LM_FIPS) != 0;
	return 0;
}

int bluetooth_hci_watch(const char *adapter)
{
	static const uint8_t events[] = {
		EVT_DISCONN_COMPLETE,
		EVT_AUTH_COMPLETE,
		EVT_ENCRYPT_CHANGE,
		EVT_LINK_KEY_NOTIFY,
		EVT_ENCRYPTION_KEY_REFRESH_COMPLETE,
	};
	struct hci_filter filter = {.type_mask = 1u << HCI_EVENT_PKT};
	int fd = open_bound(adapter);
	int rc;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < sizeof(events); i++)
		filter.event_mask[events[i] / 32] |= 1u << (events[i] % 32);
	if (setsockopt(fd, SOL_HCI, HCI_FILTER, &filter, sizeof(filter)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* Packet type, event code, length, status. */
static bool is_unproven(const uint8_t *event, ssize_t size)
{
	return size > 3 && event[0] == HCI_EVENT_PKT && event[1] == EVT_AUTH_COMPLETE &&
	       (event[3] == HCI_AUTHENTICATION_FAILURE || event[3] == HCI_PIN_OR_KEY_MISSING);
}

int bluetooth_hci_drain(int fd, bool *unproven)
{
	uint8_t event[1 + HCI_MAX_EVENT_SIZE];
	ssize_t n;

	do {
		n = recv(fd, event, sizeof(event), MSG_DONTWAIT);
		if (is_unproven(event, n))
			*unproven = true;
	} while (n > 0 || (n < 0 && errno == EINTR));
	wipe(event, sizeof(event));
	if (n == 0)
		return -EPIPE;
	return errno == EAGAIN ? 0 : -errno;
}
