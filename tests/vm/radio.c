/*
 * Plugs a controller into the virtual machine: carries HCI packets between a virtio port, behind
 * which the ether keeps the controller, and /dev/vhci. SIGTERM unplugs the controller.
 *
 *   radio PORT-NAME
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	H4_COMMAND = 1,
	H4_ACL = 2,
	H4_SCO = 3,
	H4_EVENT = 4,
	H4_ISO = 5,
	H4_PLUG = 254, /* to the ether: one byte, whether the controller is plugged in */
	H4_VENDOR = 255,
	VHCI_PRIMARY = 0,
	PACKET_MAX = 4096,
};

struct stream {
	uint8_t data[4 * PACKET_MAX];
	size_t length;
};

static volatile sig_atomic_t ending;

static void end(int number)
{
	(void)number;
	ending = 1;
}

static int port_open(const char *name)
{
	const char *folder = "/sys/class/virtio-ports";
	struct dirent *entry;
	char path[512];
	int fd = -1;
	DIR *dir = opendir(folder);

	if (dir == NULL)
		return -1;
	while (fd < 0 && (entry = readdir(dir)) != NULL) {
		char found[64] = "";
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s/name", folder, entry->d_name);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fgets(found, sizeof(found), file) != NULL)
			found[strcspn(found, "\n")] = '\0';
		fclose(file);
		if (strcmp(found, name) == 0) {
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, O_RDWR);
			break;
		}
	}
	closedir(dir);
	return fd;
}

/* The length of the packet at the start of data, 0 if its header is not complete, -1 if it is none.
 */
static ssize_t packet_length(const uint8_t *data, size_t length)
{
	if (length < 1)
		return 0;
	switch (data[0]) {
	case H4_COMMAND:
	case H4_SCO:
		return length < 4 ? 0 : 4 + data[3];
	case H4_ACL:
		return length < 5 ? 0 : 5 + (data[3] | data[4] << 8);
	case H4_EVENT:
		return length < 3 ? 0 : 3 + data[2];
	case H4_ISO:
		return length < 5 ? 0 : 5 + (data[3] | (data[4] & 0x3f) << 8);
	default:
		return -1;
	}
}

static int write_all(int fd, const uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, data, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		data += written;
		length -= (size_t)written;
	}
	return 0;
}

/* /dev/vhci wants whole packets, one a write; what the kernel refuses is dropped, as on a real bus.
 */
static int to_kernel(int vhci, int port, struct stream *stream)
{
	ssize_t got =
		read(port, stream->data + stream->length, sizeof(stream->data) - stream->length);
	size_t at = 0;

	if (got <= 0)
		return got < 0 && errno == EINTR ? 0 : -1;
	stream->length += (size_t)got;
	for (;;) {
		ssize_t length = packet_length(stream->data + at, stream->length - at);

		if (length < 0 || length > PACKET_MAX) {
			fprintf(stderr, "radio: not HCI: %02x\n", stream->data[at]);
			return -1;
		}
		if (length == 0 || (size_t)length > stream->length - at)
			break;
		if (write(vhci, stream->data + at, (size_t)length) < 0)
			perror("radio: vhci");
		at += (size_t)length;
	}
	memmove(stream->data, stream->data + at, stream->length - at);
	stream->length -= at;
	return 0;
}

int main(int argc, char **argv)
{
	static struct stream stream;
	uint8_t packet[PACKET_MAX];
	const uint8_t create[] = {H4_VENDOR, VHCI_PRIMARY};
	const uint8_t plugged[] = {H4_PLUG, 1};
	const uint8_t unplugged[] = {H4_PLUG, 0};
	struct sigaction action = {.sa_handler = end};
	sigset_t none;
	sigset_t blocked;
	struct pollfd fds[2];

	if (argc != 2) {
		fprintf(stderr, "radio PORT-NAME\n");
		return 2;
	}
	fds[0].fd = port_open(argv[1]);
	fds[1].fd = open("/dev/vhci", O_RDWR);
	if (fds[0].fd < 0 || fds[1].fd < 0) {
		fprintf(stderr, "radio: %s: %s\n", fds[0].fd < 0 ? argv[1] : "/dev/vhci",
			strerror(errno));
		return 1;
	}
	if (write_all(fds[0].fd, plugged, sizeof(plugged)) < 0) {
		perror("radio: port");
		return 1;
	}
	if (write(fds[1].fd, create, sizeof(create)) != sizeof(create)) {
		perror("radio: create");
		return 1;
	}
	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGTERM, &action, NULL);
	fds[0].events = POLLIN;
	fds[1].events = POLLIN;
	while (!ending) {
		if (ppoll(fds, 2, NULL, &none) < 0) {
			if (errno == EINTR)
				continue;
			return 1;
		}
		if ((fds[1].revents & POLLIN) != 0) {
			ssize_t got = read(fds[1].fd, packet, sizeof(packet));

			if (got < 0 && errno != EINTR)
				return 1;
			if (got > 0 && packet[0] == H4_VENDOR) {
				printf("hci%d\n", packet[2] | packet[3] << 8);
				fflush(stdout);
			} else if (got > 0 && write_all(fds[0].fd, packet, (size_t)got) < 0) {
				return 1;
			}
		}
		if ((fds[0].revents & POLLIN) != 0) {
			if (to_kernel(fds[1].fd, fds[0].fd, &stream) < 0)
				return 1;
		} else if ((fds[0].revents & POLLHUP) != 0) {
			return 1;
		}
	}
	return write_all(fds[0].fd, unplugged, sizeof(unplugged)) < 0;
}
