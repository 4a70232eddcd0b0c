/* Bluetooth: BlueZ, its adapter, and bonds against what the vault knows. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/doctor-internal.h"
#include "gateway/records.h"
#include "pan/bridge.h"

/* The oldest BlueZ that pngwd is tested with. */
#define BLUEZ_OLDEST 0x0542U

static const enum doctor_id of_bluetooth[] = {
	DOCTOR_BT_BUS,     DOCTOR_BT_DAEMON,   DOCTOR_BT_FEATURES,
	DOCTOR_BT_ADAPTER, DOCTOR_BT_RFKILL,   DOCTOR_BT_POWERED,
	DOCTOR_BT_BONDS,   DOCTOR_BT_UNBONDED, DOCTOR_BT_STALE,
};

/* What has to be there first, in order; the state is that of BlueZ when it is missing. */
static const struct rung {
	enum doctor_id id;
	enum bluez_state missing;
	const char *there, *not_there, *without;
} rungs[] = {
	{DOCTOR_BT_BUS, BLUEZ_NO_BUS, "the bus answers", "no D-Bus system bus answers",
	 "there is no D-Bus"},
	{DOCTOR_BT_DAEMON, BLUEZ_NO_DAEMON, "bluetoothd answers",
	 "bluetoothd does not run, or does not answer", "bluetoothd does not run"},
	{DOCTOR_BT_ADAPTER, BLUEZ_NO_ADAPTER, "it is there", "the Bluetooth adapter is not there",
	 "there is no adapter"},
	{DOCTOR_BT_RFKILL, BLUEZ_BLOCKED, "rfkill does not block it", "rfkill blocks it",
	 "the adapter is blocked"},
	{DOCTOR_BT_POWERED, BLUEZ_OFF, "it is on", "it is off", "the adapter is off"},
};

static void examine_rungs(struct doctor_findings *f, const struct doctor_subject *s)
{
	enum bluez_state state = bluez_state(s->bluez);
	const char *address = bluez_adapter_address(s->bluez);
	const char *without = NULL;

	for (size_t i = 0; i < sizeof(rungs) / sizeof(rungs[0]); i++) {
		const struct rung *r = &rungs[i];

		if (without) {
			doctor_find(f, r->id, DOCTOR_NOT_APPLICABLE, "%s", without);
		} else if (state <= r->missing) {
			doctor_find(f, r->id, DOCTOR_FAILED, "%s", r->not_there);
			without = r->without;
		} else if (r->id == DOCTOR_BT_ADAPTER && address) {
			doctor_find(f, r->id, DOCTOR_OK, "%s is there", address);
		} else {
			doctor_find(f, r->id, DOCTOR_OK, "%s", r->there);
		}
	}
}

static void examine_features(struct doctor_findings *f, const struct doctor_subject *s,
			     const struct bluez_features *x)
{
	const char *missing = NULL;
	char version[32] = "";

	if (!doctor_stands(f, DOCTOR_BT_DAEMON)) {
		doctor_find(f, DOCTOR_BT_FEATURES, DOCTOR_NOT_APPLICABLE,
			    "bluetoothd does not run");
		return;
	}
	if (!x) {
		doctor_find(f, DOCTOR_BT_FEATURES, DOCTOR_WARNING,
			    "bluetoothd did not say what it offers");
		return;
	}
	if (x->version != 0)
		(void)snprintf(version, sizeof(version), " %u.%u", x->version >> 8,
			       x->version & 0xff);
	if (!x->profiles)
		missing = "ProfileManager1: no stream from a PNE is possible";
	else if (!x->agents)
		missing = "AgentManager1: no pairing is possible";
	else if (s->config->nap && bluez_adapter(s->bluez) && !x->network)
		missing = "NetworkServer1: there is no Network Access Point";
	else if (s->config->bluetooth_le && bluez_adapter(s->bluez) && !x->advertising)
		missing = "LEAdvertisingManager1: the PN GW cannot be found over LE";
	if (missing)
		doctor_find(f, DOCTOR_BT_FEATURES, DOCTOR_FAILED, "bluetoothd%s lacks %s", version,
			    missing);
	else if (x->version != 0 && x->version < BLUEZ_OLDEST)
		doctor_find(f, DOCTOR_BT_FEATURES, DOCTOR_WARNING,
			    "bluetoothd%s has everything, but is older than any that was tried",
			    version);
	else
		doctor_find(f, DOCTOR_BT_FEATURES, DOCTOR_OK,
			    "bluetoothd%s has everything, and %u adapters, of which %u are on",
			    version, x->adapters, x->powered);
}

/* Known PNEs against BlueZ's devices. */
struct bonds {
	const struct doctor_subject *s;
	size_t known, unbonded, bonded, stale;
	char unbonded_text[128], stale_text[128];
	const char *looked_for;
	bool found;
};

static void append(char *text, size_t size, size_t count, const char *name)
{
	size_t used = strlen(text);

	if (count <= 3)
		(void)snprintf(text + used, size - used, "%s%.40s", used ? ", " : "", name);
}

static void address_text(const struct bluetooth_place *place, char out[BLUETOOTH_ADDRESS_SIZE])
{
	(void)snprintf(out, BLUETOOTH_ADDRESS_SIZE, "%02X:%02X:%02X:%02X:%02X:%02X",
		       place->address[0], place->address[1], place->address[2], place->address[3],
		       place->address[4], place->address[5]);
}

static int on_known(void *arg, struct bytes owner, struct bytes item, struct bytes content)
{
	struct bonds *b = arg;
	char address[BLUETOOTH_ADDRESS_SIZE];
	const struct bluez_device *d;
	struct bluetooth_place place;
	struct name entity;

	(void)item;
	if (records_parse_bluetooth(owner, content, &entity, &place) != 0)
		return 0;
	address_text(&place, address);
	if (b->looked_for) {
		b->found = b->found || strcmp(b->looked_for, address) == 0;
		return 0;
	}
	b->known++;
	d = bluez_find(b->s->bluez, address);
	if (!d || !d->bonded)
		append(b->unbonded_text, sizeof(b->unbonded_text), ++b->unbonded, entity.text);
	return 0;
}

static void on_device(void *arg, const struct bluez_device *d)
{
	struct bonds *b = arg;

	if (!d->bonded || !d->offers_pne)
		return;
	b->bonded++;
	b->looked_for = d->address;
	b->found = false;
	(void)vault_each(b->s->vault, VAULT_BLUETOOTH, BYTES_NONE, on_known, b, NULL);
	b->looked_for = NULL;
	if (!b->found)
		append(b->stale_text, sizeof(b->stale_text), ++b->stale, d->address);
}

static void examine_bonds(struct doctor_findings *f, const struct doctor_subject *s)
{
	const char *folder = s->config->bluetooth_bonds;
	struct bonds b = {.s = s};

	if (access(folder, R_OK | X_OK) == 0)
		doctor_find(f, DOCTOR_BT_BONDS, DOCTOR_OK, "%s can be read", folder);
	else
		doctor_find(f, DOCTOR_BT_BONDS, DOCTOR_WARNING, "%s: %s", folder, strerror(errno));
	if (!s->vault || !doctor_stands(f, DOCTOR_BT_ADAPTER)) {
		const char *why = s->vault ? "there is no adapter" : "the vault is not open";

		doctor_find(f, DOCTOR_BT_UNBONDED, DOCTOR_NOT_APPLICABLE, "%s", why);
		doctor_find(f, DOCTOR_BT_STALE, DOCTOR_NOT_APPLICABLE, "%s", why);
		return;
	}
	(void)vault_each(s->vault, VAULT_BLUETOOTH, BYTES_NONE, on_known, &b, NULL);
	bluez_each(s->bluez, on_device, &b);
	if (b.unbonded > 0)
		doctor_find(f, DOCTOR_BT_UNBONDED, DOCTOR_WARNING,
			    "%zu of %zu known PNEs have no bond: %s", b.unbonded, b.known,
			    b.unbonded_text);
	else
		doctor_find(f, DOCTOR_BT_UNBONDED, DOCTOR_OK, "%zu known PNEs have one", b.known);
	if (b.stale > 0)
		doctor_find(f, DOCTOR_BT_STALE, DOCTOR_WARNING,
			    "%zu bonded devices offer a PNE and are not known: %s", b.stale,
			    b.stale_text);
	else
		doctor_find(f, DOCTOR_BT_STALE, DOCTOR_OK, "%zu bonded PNEs are known", b.bonded);
}

static void examine_bridge(struct doctor_findings *f, const struct doctor_subject *s)
{
	char path[128], alias[64] = "";
	FILE *file;

	if (!s->config->nap || !s->core) {
		doctor_find(f, DOCTOR_NAP_BRIDGE, DOCTOR_NOT_APPLICABLE, "%s",
			    s->config->nap ? "pngwd does not run"
					   : "pan.bluetooth.nap is not enabled");
		return;
	}
	(void)snprintf(path, sizeof(path), "/sys/class/net/%.15s/ifalias", s->config->nap_bridge);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(alias, sizeof(alias), file))
			alias[0] = '\0';
		(void)fclose(file);
	}
	alias[strcspn(alias, "\n")] = '\0';
	if (!file)
		doctor_find(f, DOCTOR_NAP_BRIDGE, DOCTOR_FAILED, "there is no bridge %s",
			    s->config->nap_bridge);
	else if (strcmp(alias, BRIDGE_ALIAS) != 0)
		doctor_find(f, DOCTOR_NAP_BRIDGE, DOCTOR_FAILED, "%s is somebody else's",
			    s->config->nap_bridge);
	else
		doctor_find(f, DOCTOR_NAP_BRIDGE, DOCTOR_OK, "%s is there", s->config->nap_bridge);
}

static void examine_levels(struct doctor_findings *f, const struct config *c)
{
	bool secure = c->bluetooth && c->secure_level <= PAN_SECURITY_AUTHENTICATED;

	for (size_t i = 0; i < c->listen_count; i++)
		secure = secure || c->listen[i].security >= c->secure_level;
	if (secure)
		doctor_find(f, DOCTOR_PAN_SECURE, DOCTOR_OK, "there is one");
	else
		doctor_find(f, DOCTOR_PAN_SECURE, DOCTOR_WARNING,
			    "no listener reaches pan.secure_level: Figure 6 always fails");
}

void doctor_examine_bluetooth(struct doctor_findings *f, const struct doctor_subject *s,
			      const struct bluez_features *features)
{
	examine_bridge(f, s);
	examine_levels(f, s->config);
	if (!s->bluez) {
		for (size_t i = 0; i < sizeof(of_bluetooth) / sizeof(of_bluetooth[0]); i++)
			doctor_find(f, of_bluetooth[i], DOCTOR_NOT_APPLICABLE,
				    "pan.bluetooth is not enabled");
		return;
	}
	examine_rungs(f, s);
	examine_features(f, s, features);
	examine_bonds(f, s);
}
