#include "pan/bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Of an answer to RTM_GETLINK: some 1.5 kB and the statistics of every port. */
#define ANSWER_SIZE 32768

struct bridge {
	char name[BRIDGE_NAME_SIZE];
	unsigned index;
	int netlink;
	int lock; /* as long as it is open no other process may take the bridge for a left-over */
};

struct request {
	struct nlmsghdr header;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
	} body;
	char attributes[256];
};

struct prefix {
	struct in_addr address, broadcast;
	unsigned char bits;
};

bool bridge_name_valid(const char *name)
{
	size_t size = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789._-");

	return size > 0 && size < BRIDGE_NAME_SIZE && !name[size] && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static bool parse_prefix(const char *text, struct prefix *out)
{
	char host[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t digits = slash ? strspn(slash + 1, "0123456789") : 0;
	uint32_t address, mask;
	unsigned long bits;

	if (digits == 0 || digits > 2 || slash[1 + digits] ||
	    (size_t)(slash - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	bits = strtoul(slash + 1, NULL, 10);
	if (bits < 8 || bits > 30 || inet_pton(AF_INET, host, &out->address) != 1)
		return false;
	address = ntohl(out->address.s_addr);
	mask = UINT32_MAX << (32 - bits);
	out->broadcast.s_addr = htonl(address | ~mask);
	out->bits = (unsigned char)bits;
	return (address & ~mask) != 0 && (address | ~mask) != address && address >> 24 != 0 &&
	       address >> 24 != 127 && address >> 24 < 224;
}

bool bridge_address_valid(const char *text)
{
	struct prefix prefix;

	return parse_prefix(text, &prefix);
}

static struct rtattr *add(struct request *r, unsigned short type, const void *data, size_t size)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(size);
	if (size > 0)
		memcpy(RTA_DATA(a), data, size);
	r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static void begin(struct request *r, unsigned short type, unsigned short flags, size_t body)
{
	memset(r, 0, sizeof(*r));
	r->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
	r->header.nlmsg_type = type;
	r->header.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
}

static void begin_link(struct request *r, unsigned short type, unsigned short flags)
{
	begin(r, type, flags, sizeof(r->body.link));
	r->body.link.ifi_family = AF_UNSPEC;
}

/*
 * Asks and waits for the acknowledgement, which the kernel has queued when send() returns. 0 or a
 * negative errno. answer: NULL, or what is to be called with the message that comes before it.
 */
static int ask(int netlink, struct request *r, void (*answer)(void *arg, struct nlmsghdr *h),
	       void *arg)
{
	static uint32_t sequence;
	int result = -EIO;
	char *buffer = malloc(ANSWER_SIZE);
	bool acknowledged = false;

	if (!buffer)
		return -ENOMEM;
	r->header.nlmsg_seq = ++sequence;
	if (send(netlink, r, r->header.nlmsg_len, 0) < 0) {
		result = -errno;
		free(buffer);
		return result;
	}
	while (!acknowledged) {
		ssize_t n = recv(netlink, buffer, ANSWER_SIZE, MSG_DONTWAIT);
		size_t left = n > 0 ? (size_t)n : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			result = n < 0 ? -errno : -EIO;
			break;
		}
		for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)buffer; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != r->header.nlmsg_seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR) {
				result = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
				acknowledged = true;
			} else if (answer) {
				answer(arg, h);
			}
		}
	}
	free(buffer);
	return result;
}

/* What is known of an interface. */
struct found {
	unsigned index;
	bool bridge, alias;
};

static bool text_is(const struct rtattr *a, const char *text)
{
	size_t size = RTA_PAYLOAD(a);

	return size >= strlen(text) && strncmp(RTA_DATA(a), text, size) == 0;
}

static void look(void *arg, struct nlmsghdr *h)
{
	struct found *f = arg;
	struct ifinfomsg *link = NLMSG_DATA(h);
	size_t left = IFLA_PAYLOAD(h);

	if (h->nlmsg_type != RTM_NEWLINK)
		return;
	f->index = (unsigned)link->ifi_index;
	for (struct rtattr *a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_IFALIAS) {
			f->alias = text_is(a, BRIDGE_ALIAS);
		} else if (a->rta_type == IFLA_LINKINFO) {
			size_t rest = RTA_PAYLOAD(a);

			for (struct rtattr *i = RTA_DATA(a); RTA_OK(i, rest);
			     i = RTA_NEXT(i, rest)) {
				if (i->rta_type == IFLA_INFO_KIND)
					f->bridge = text_is(i, "bridge");
			}
		}
	}
}

/* 0, -ENODEV, or another negative errno. */
static int find(int netlink, const char *name, struct found *out)
{
	struct request r;

	memset(out, 0, sizeof(*out));
	begin_link(&r, RTM_GETLINK, 0);
	(void)add(&r, IFLA_IFNAME, name, strlen(name) + 1);
	return ask(netlink, &r, look, out);
}

static int erase(int netlink, unsigned index)
{
	struct request r;

	begin_link(&r, RTM_DELLINK, 0);
	r.body.link.ifi_index = (int)index;
	return ask(netlink, &r, NULL, NULL);
}

static int create(int netlink, const char *name)
{
	struct rtattr *info;
	struct request r;

	begin_link(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	(void)add(&r, IFLA_IFNAME, name, strlen(name) + 1);
	info = add(&r, IFLA_LINKINFO, NULL, 0);
	(void)add(&r, IFLA_INFO_KIND, "bridge", 6);
	info->rta_len = (unsigned short)((char *)&r + r.header.nlmsg_len - (char *)info);
	return ask(netlink, &r, NULL, NULL);
}

static int mark(int netlink, unsigned index)
{
	struct request r;

	begin_link(&r, RTM_NEWLINK, 0);
	r.body.link.ifi_index = (int)index;
	(void)add(&r, IFLA_IFALIAS, BRIDGE_ALIAS, strlen(BRIDGE_ALIAS));
	return ask(netlink, &r, NULL, NULL);
}

static int set_address(int netlink, unsigned index, const struct prefix *prefix)
{
	struct request r;

	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(r.body.address));
	r.body.address.ifa_family = AF_INET;
	r.body.address.ifa_prefixlen = prefix->bits;
	r.body.address.ifa_index = index;
	(void)add(&r, IFA_LOCAL, &prefix->address, sizeof(prefix->address));
	(void)add(&r, IFA_ADDRESS, &prefix->address, sizeof(prefix->address));
	(void)add(&r, IFA_BROADCAST, &prefix->broadcast, sizeof(prefix->broadcast));
	return ask(netlink, &r, NULL, NULL);
}

static int switch_on(int netlink, unsigned index)
{
	struct request r;

	begin_link(&r, RTM_NEWLINK, 0);
	r.body.link.ifi_index = (int)index;
	r.body.link.ifi_flags = IFF_UP;
	r.body.link.ifi_change = IFF_UP;
	return ask(netlink, &r, NULL, NULL);
}

/* An abstract socket lives as long as its process, in the same network namespace as the bridge. */
static int lock(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "pngw-bridge-%s",
			 name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) != 0) {
		int error = -errno;

		(void)close(fd);
		return error;
	}
	return fd;
}

static int remove_left_over(int netlink, const char *name)
{
	struct found f;
	int r = find(netlink, name, &f);

	if (r == -ENODEV)
		return 0;
	if (r != 0)
		return r;
	return f.bridge && f.alias ? erase(netlink, f.index) : -EEXIST;
}

static int make(struct bridge *b, const struct prefix *prefix)
{
	struct found f;
	int r = remove_left_over(b->netlink, b->name);

	if (r == 0)
		r = create(b->netlink, b->name);
	if (r != 0)
		return r;
	r = find(b->netlink, b->name, &f);
	if (r != 0)
		return r;
	r = mark(b->netlink, f.index);
	if (r == 0)
		r = set_address(b->netlink, f.index, prefix);
	if (r == 0)
		r = switch_on(b->netlink, f.index);
	if (r != 0)
		(void)erase(b->netlink, f.index);
	b->index = f.index;
	return r;
}

static void release(struct bridge *b)
{
	if (b->netlink >= 0)
		(void)close(b->netlink);
	if (b->lock >= 0)
		(void)close(b->lock);
	free(b);
}

int bridge_make(const char *name, const char *address, struct bridge **out)
{
	struct prefix prefix;
	struct bridge *b;
	int r;

	if (!bridge_name_valid(name) || !parse_prefix(address, &prefix))
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	memcpy(b->name, name, strlen(name) + 1);
	b->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	r = b->netlink < 0 ? -errno : 0;
	b->lock = lock(name);
	if (r == 0 && b->lock < 0)
		r = b->lock;
	if (r == 0)
		r = make(b, &prefix);
	if (r != 0) {
		release(b);
		return r;
	}
	*out = b;
	return 0;
}

void bridge_remove(struct bridge *b)
{
	struct found f;

	if (!b)
		return;
	if (find(b->netlink, b->name, &f) == 0 && f.index == b->index && f.bridge && f.alias)
		(void)erase(b->netlink, f.index);
	release(b);
}
