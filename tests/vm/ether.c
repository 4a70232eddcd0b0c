/*
 * The ether: serves controllers that hear each other.
 *
 *   ether DIR NAME COUNT [NAME COUNT]...   sockets DIR/NAME-0 and so on, and DIR/control
 *   ether -c DIR WORD...                   a word to the one that runs: see README.md
 */
#include "ether.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { IN_SIZE = 128 * 1024, TICK_MS = 20 };

struct radio radios[RADIOS_MAX];
size_t radio_count;
struct link links[LINKS_MAX];
unsigned page_timeout_ms = 2000;

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void random_bytes(void *to, size_t length)
{
	if (getrandom(to, length, 0) != (ssize_t)length)
		abort();
}

static void flush(struct radio *radio)
{
	while (radio->out_length > 0) {
		ssize_t sent =
			send(radio->fd, radio->out, radio->out_length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0)
			break;
		radio->out_length -= (size_t)sent;
		memmove(radio->out, radio->out + sent, radio->out_length);
	}
	link_credits(radio);
}

void send_packet(struct radio *radio, uint8_t type, const void *data, size_t length)
{
	if (radio->fd < 0)
		return;
	if (radio->out_length + length + 1 > radio->out_size) {
		radio->out_size = 2 * (radio->out_length + length + 1);
		radio->out = realloc(radio->out, radio->out_size);
		if (radio->out == NULL)
			abort();
	}
	radio->out[radio->out_length] = type;
	memcpy(radio->out + radio->out_length + 1, data, length);
	radio->out_length += length + 1;
}

void event(struct radio *radio, uint8_t code, const void *data, size_t length)
{
	uint8_t packet[2 + 255] = {code, (uint8_t)length};

	memcpy(packet + 2, data, length);
	send_packet(radio, H4_EVENT, packet, 2 + length);
}

void le_event(struct radio *radio, uint8_t subevent, const void *data, size_t length)
{
	uint8_t packet[255] = {subevent};

	memcpy(packet + 1, data, length);
	event(radio, 0x3e, packet, 1 + length);
}

void command_complete(struct radio *radio, uint16_t opcode, const void *data, size_t length)
{
	uint8_t packet[255] = {1, (uint8_t)opcode, (uint8_t)(opcode >> 8)};

	memcpy(packet + 3, data, length);
	event(radio, 0x0e, packet, 3 + length);
}

void command_ok(struct radio *radio, uint16_t opcode, uint8_t status)
{
	command_complete(radio, opcode, &status, 1);
}

void command_status(struct radio *radio, uint16_t opcode, uint8_t status)
{
	uint8_t packet[4] = {status, 1, (uint8_t)opcode, (uint8_t)(opcode >> 8)};

	event(radio, 0x0f, packet, sizeof(packet));
}

static void plug(struct radio *radio, bool in)
{
	radio->plugged = in;
	radio_reset(radio);
	radio->plugged = in;
	printf("%s: %s\n", radio->name, in ? "plugged" : "unplugged");
}

/* The length of the packet at data, 0: not complete yet, -1: not HCI. */
static ssize_t packet_length(const uint8_t *data, size_t length)
{
	size_t header = data[0] == H4_PLUG ? 2 : data[0] == H4_ACL || data[0] == H4_ISO ? 5 : 4;
	size_t whole = header;

	if (data[0] != H4_COMMAND && data[0] != H4_ACL && data[0] != H4_SCO && data[0] != H4_ISO &&
	    data[0] != H4_PLUG)
		return -1;
	if (length < header)
		return 0;
	if (header == 5)
		whole += (size_t)(data[3] | data[4] << 8);
	else if (header == 4)
		whole += data[3];
	return length < whole ? 0 : (ssize_t)whole;
}

static void radio_close(struct radio *radio)
{
	close(radio->fd);
	radio->fd = -1;
	radio->in_length = 0;
	radio->out_length = 0;
	if (radio->plugged)
		plug(radio, false);
}

static void radio_read(struct radio *radio)
{
	ssize_t got = recv(radio->fd, radio->in + radio->in_length, IN_SIZE - radio->in_length,
			   MSG_DONTWAIT);
	size_t at = 0;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		radio_close(radio);
		return;
	}
	radio->in_length += (size_t)got;
	while (at < radio->in_length) {
		const uint8_t *data = radio->in + at;
		ssize_t length = packet_length(data, radio->in_length - at);

		if (length < 0) {
			printf("%s: not HCI: %02x\n", radio->name, data[0]);
			radio_close(radio);
			return;
		}
		if (length == 0)
			break;
		if (data[0] == H4_PLUG)
			plug(radio, data[1] != 0);
		else if (data[0] == H4_COMMAND)
			command(radio, (uint16_t)(data[1] | data[2] << 8), data + 4, data[3]);
		else if (data[0] == H4_ACL)
			link_data(radio, data + 1, (size_t)length - 1);
		at += (size_t)length;
	}
	radio->in_length -= at;
	memmove(radio->in, radio->in + at, radio->in_length);
}

static int listen_at(const char *dir, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || (size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir,
				       name) >= sizeof(address.sun_path)) {
		fprintf(stderr, "ether: %s is too long\n", dir);
		exit(1);
	}
	unlink(address.sun_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
		perror(address.sun_path);
		exit(1);
	}
	return fd;
}

static struct radio *named(const char *name)
{
	for (size_t i = 0; name != NULL && i < radio_count; i++) {
		if (strcmp(radios[i].name, name) == 0)
			return &radios[i];
	}
	return NULL;
}

static void list(FILE *out)
{
	for (size_t i = 0; i < radio_count; i++) {
		const struct radio *radio = &radios[i];

		if (radio->plugged)
			fprintf(out, "%s %02X:%02X:%02X:%02X:%02X:%02X%s%s%s%s%s\n", radio->name,
				radio->address[5], radio->address[4], radio->address[3],
				radio->address[2], radio->address[1], radio->address[0],
				radio->silent ? " silent" : "",
				(radio->scan_enable & 2) != 0 ? " connectable" : "",
				(radio->scan_enable & 1) != 0 ? " discoverable" : "",
				radio->advertising != 0 ? " advertising" : "",
				radio->scanning != 0 ? " scanning" : "");
	}
	for (size_t i = 0; i < LINKS_MAX; i++) {
		const struct link *link = &links[i];

		if (link->used)
			fprintf(out, "link %s %s %s%s%s\n", link->end[0]->name, link->end[1]->name,
				link->le ? "le" : "br/edr", link->requested ? " requested" : "",
				link->encrypted ? " encrypted" : "");
	}
}

/* Does it to every link between the two, or of the first with anyone. */
static unsigned for_links(const struct radio *a, const struct radio *b, const char *what,
			  long number)
{
	unsigned count = 0;

	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &links[i];
		int side;

		if (!link->used || link->requested || (link->end[0] != a && link->end[1] != a))
			continue;
		side = link_side(link, a);
		if (b != NULL && link->end[!side] != b)
			continue;
		count++;
		if (strcmp(what, "lose") == 0 && number > 0)
			link->lose_after = number;
		else if (strcmp(what, "lose") == 0)
			link_end(link, side, ERROR_TIMEOUT, ERROR_TIMEOUT);
		else
			encryption(link, number != 0 ? (link->key_type >= 7 ? 2 : 1) : 0, 0);
	}
	return count;
}

static void control(int listener)
{
	char line[256] = "";
	char *words[5] = {NULL};
	struct radio *a;
	struct radio *b;
	ssize_t got;
	FILE *out;
	char *save;
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return;
	got = recv(fd, line, sizeof(line) - 1, 0);
	out = fdopen(fd, "w");
	if (got <= 0 || out == NULL) {
		close(fd);
		return;
	}
	printf("control: %s\n", line);
	words[0] = strtok_r(line, " \n", &save);
	for (int i = 1; i < 5 && words[i - 1] != NULL; i++)
		words[i] = strtok_r(NULL, " \n", &save);
	a = named(words[1]);
	b = named(words[2]);
	if (words[0] == NULL || strcmp(words[0], "list") == 0) {
		list(out);
	} else if (strcmp(words[0], "reset") == 0) {
		page_timeout_ms = 2000;
		for (size_t i = 0; i < radio_count; i++) {
			radios[i].silent = false;
			radios[i].rssi = -60;
			radios[i].key_size = 16;
		}
	} else if (strcmp(words[0], "page-timeout") == 0 && words[1] != NULL) {
		page_timeout_ms = (unsigned)atol(words[1]);
	} else if (a == NULL) {
		fprintf(out, "error: no such radio\n");
	} else if (strcmp(words[0], "silent") == 0 && words[2] != NULL) {
		a->silent = strcmp(words[2], "on") == 0;
		if (a->silent)
			for_links(a, NULL, "lose", 0);
	} else if (strcmp(words[0], "rssi") == 0 && words[2] != NULL) {
		a->rssi = (int8_t)atoi(words[2]);
	} else if (strcmp(words[0], "key-size") == 0 && words[2] != NULL) {
		a->key_size = (uint8_t)atoi(words[2]);
	} else if (b != NULL && strcmp(words[0], "lose") == 0) {
		if (for_links(a, b, "lose", words[3] != NULL ? atol(words[3]) : 0) == 0)
			fprintf(out, "error: no link\n");
	} else if (b != NULL && strcmp(words[0], "encryption") == 0 && words[3] != NULL) {
		if (for_links(a, b, "encryption", strcmp(words[3], "on") == 0) == 0)
			fprintf(out, "error: no link\n");
	} else {
		fprintf(out, "error: not known\n");
	}
	fclose(out);
}

static int client(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char text[256] = "";
	bool failed = false;
	FILE *in;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", argv[0]);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("ether");
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		strncat(text, argv[i], sizeof(text) - strlen(text) - 2);
		strcat(text, " ");
	}
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 || (in = fdopen(fd, "r")) == NULL) {
		perror("ether");
		return 1;
	}
	while (fgets(text, sizeof(text), in) != NULL) {
		failed = failed || strncmp(text, "error", 5) == 0;
		fputs(text, stdout);
	}
	fclose(in);
	return failed;
}

static void radios_make(const char *dir, const char *name, int count, int machine)
{
	for (int i = 0; i < count && radio_count < RADIOS_MAX; i++) {
		struct radio *radio = &radios[radio_count++];
		const uint8_t address[6] = {(uint8_t)i, (uint8_t)machine, 0x10, 0xdc, 0x1b, 0x00};

		snprintf(radio->name, sizeof(radio->name), "%s-%d", name, i);
		memcpy(radio->address, address, sizeof(address));
		radio->listener = listen_at(dir, radio->name);
		radio->fd = -1;
		radio->rssi = -60;
		radio->key_size = 16;
		radio->in = malloc(IN_SIZE);
		if (radio->in == NULL)
			abort();
	}
}

int main(int argc, char **argv)
{
	struct pollfd fds[2 * RADIOS_MAX + 1];
	int controller;

	if (argc > 2 && strcmp(argv[1], "-c") == 0)
		return client(argc - 2, argv + 2);
	if (argc < 4) {
		fprintf(stderr, "ether DIR NAME COUNT [NAME COUNT]...\nether -c DIR WORD...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 2; i + 1 < argc; i += 2)
		radios_make(argv[1], argv[i], atoi(argv[i + 1]), i / 2);
	controller = listen_at(argv[1], "control");
	for (;;) {
		size_t i;

		for (i = 0; i < radio_count; i++) {
			struct radio *radio = &radios[i];

			fds[2 * i] = (struct pollfd){.fd = radio->listener, .events = POLLIN};
			fds[2 * i + 1] = (struct pollfd){
				.fd = radio->fd,
				.events = (short)(POLLIN | (radio->out_length > 0 ? POLLOUT : 0))};
		}
		fds[2 * i] = (struct pollfd){.fd = controller, .events = POLLIN};
		if (poll(fds, 2 * i + 1, TICK_MS) < 0 && errno != EINTR)
			return 1;
		for (i = 0; i < radio_count; i++) {
			struct radio *radio = &radios[i];

			if ((fds[2 * i].revents & POLLIN) != 0) {
				if (radio->fd >= 0)
					radio_close(radio);
				radio->fd = accept4(radio->listener, NULL, NULL, SOCK_CLOEXEC);
			} else if (radio->fd >= 0 &&
				   (fds[2 * i + 1].revents & (POLLIN | POLLHUP)) != 0) {
				radio_read(radio);
			}
		}
		if ((fds[2 * radio_count].revents & POLLIN) != 0)
			control(controller);
		links_tick();
		for (i = 0; i < radio_count; i++) {
			if (radios[i].fd >= 0 && radios[i].out_length > 0)
				flush(&radios[i]);
		}
	}
}
