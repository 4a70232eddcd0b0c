/* Bluetooth1: devices, bonds, connections. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCAN_SECONDS_MAX 600
#define DISCOVERABLE_MAX 86400

bool gateway_api_has_bluetooth(struct api_call *call)
{
	if (!call->api->bluetooth)
		gateway_api_error(call->m, "NotConfigured",
				  "Bluetooth is not configured in this PN GW. Next: set "
				  "pan.bluetooth.enable in its configuration, then restart pngwd. "
				  "Retry: no.");
	return call->api->bluetooth;
}

/* NULL: the caller got an error. */
static struct gateway_bluetooth *bluetooth_of(struct api_call *call)
{
	return gateway_api_has_bluetooth(call) ? call->api->bluetooth : NULL;
}

static const char *state_name(enum bluez_state state)
{
	switch (state) {
	case BLUEZ_STARTING:
		return "starting";
	case BLUEZ_NO_BUS:
		return "no-bus";
	case BLUEZ_NO_DAEMON:
		return "no-daemon";
	case BLUEZ_NO_ADAPTER:
		return "no-adapter";
	case BLUEZ_BLOCKED:
		return "blocked";
	case BLUEZ_OFF:
		return "off";
	case BLUEZ_READY:
		return "ready";
	}
	return "no-bus";
}

static const char *why_down(struct gateway_bluetooth *b)
{
	return bluez_state_text(bluez_state(gateway_bluetooth_bluez(b)));
}

bool gateway_api_read_device(struct api_call *call, char address[BLUETOOTH_ADDRESS_SIZE])
{
	const char *word;
	int r;

	if (!gateway_api_read_text(call->m, &word))
		return false;
	r = gateway_bluetooth_address(call->api->bluetooth, word, address);
	if (r == 0)
		return true;
	if (r == -ENOENT)
		gateway_api_error(call->m, "NotFound", "no such device was seen yet");
	else
		gateway_api_error(call->m, "InvalidArguments",
				  "a device is named by its address or its Entity ID");
	return false;
}

static void count_stream(void *arg, const char *address, const struct name *entity,
			 enum pan_security level)
{
	(void)address;
	(void)entity;
	(void)level;
	++*(size_t *)arg;
}

void gateway_api_bluetooth_status(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	struct bluez *bluez = b ? gateway_bluetooth_bluez(b) : NULL;
	const char *adapter, *slash, *address;
	size_t streams = 0;
	struct api_writer w;

	if (!b)
		return;
	adapter = bluez_adapter(bluez);
	slash = adapter ? strrchr(adapter, '/') : NULL;
	address = bluez_adapter_address(bluez);
	gateway_bluetooth_each_stream(b, count_stream, &streams);
	gateway_api_reply_begin(&w, call->m);
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "State", state_name(bluez_state(bluez)));
	gateway_api_text(&w, "Text", why_down(b));
	gateway_api_text(&w, "Adapter", slash ? slash + 1 : "");
	gateway_api_text(&w, "Address", address ? address : "");
	gateway_api_u32(&w, "Streams", streams);
	gateway_api_text(&w, "Nap", gateway_bluetooth_nap_text(b));
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}

static void put_adapter(void *arg, const char *name, const char *address, bool powered, bool chosen)
{
	struct api_writer *w = arg;

	gateway_api_dict_begin(w);
	gateway_api_text(w, "Name", name);
	gateway_api_text(w, "Address", address);
	gateway_api_flag(w, "Powered", powered);
	gateway_api_flag(w, "Chosen", chosen);
	gateway_api_dict_end(w);
}

void gateway_api_bluetooth_adapters(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	struct api_writer w;

	if (!b)
		return;
	gateway_api_reply_begin(&w, call->m);
	gateway_api_list_begin(&w, "a{sv}");
	bluez_each_adapter(gateway_bluetooth_bluez(b), put_adapter, &w);
	gateway_api_list_end(&w);
	gateway_api_send(&w);
}

struct list {
	struct api_writer w;
	struct gateway_bluetooth *bluetooth;
	bool bonded;
};

static void put_device(struct api_writer *w, struct gateway_bluetooth *b,
		       const struct bluez_device *d)
{
	struct name entity = {{0}};

	(void)gateway_bluetooth_entity(b, d->address, &entity);
	gateway_api_text(w, "Address", d->address);
	gateway_api_text(w, "Name", d->name);
	gateway_api_text(w, "Entity", entity.text);
	if (d->has_rssi)
		gateway_api_i16(w, "Rssi", d->rssi);
	gateway_api_flag(w, "Pne", d->offers_pne);
	gateway_api_flag(w, "Le", d->le_only);
	gateway_api_flag(w, "Bonded", d->bonded);
	gateway_api_flag(w, "Trusted", d->trusted);
	gateway_api_flag(w, "Connected", d->connected);
	gateway_api_flag(w, "Blocked", d->blocked);
	gateway_api_flag(w, "Known", true);
}

static void list_device(void *arg, const struct bluez_device *d)
{
	struct list *l = arg;

	if (l->bonded && !d->bonded)
		return;
	gateway_api_dict_begin(&l->w);
	put_device(&l->w, l->bluetooth, d);
	gateway_api_dict_end(&l->w);
}

/* What was bonded when it was last connected, and BlueZ knows no more. */
static void list_known(void *arg, const struct name *entity, const char *address)
{
	struct list *l = arg;

	if (l->bonded || bluez_find(gateway_bluetooth_bluez(l->bluetooth), address))
		return;
	gateway_api_dict_begin(&l->w);
	gateway_api_text(&l->w, "Address", address);
	gateway_api_text(&l->w, "Name", "");
	gateway_api_text(&l->w, "Entity", entity->text);
	gateway_api_flag(&l->w, "Pne", true);
	gateway_api_flag(&l->w, "Le", false);
	gateway_api_flag(&l->w, "Bonded", false);
	gateway_api_flag(&l->w, "Trusted", false);
	gateway_api_flag(&l->w, "Connected", false);
	gateway_api_flag(&l->w, "Blocked", false);
	gateway_api_flag(&l->w, "Known", false);
	gateway_api_dict_end(&l->w);
}

void gateway_api_bluetooth_devices(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	struct list l = {.bluetooth = b};
	const struct api_option options[] = {{"Bonded", 'b', &l.bonded}};

	if (!b || !gateway_api_read_options(call->m, options, 1))
		return;
	gateway_api_reply_begin(&l.w, call->m);
	gateway_api_list_begin(&l.w, "a{sv}");
	bluez_each(gateway_bluetooth_bluez(b), list_device, &l);
	(void)gateway_bluetooth_each_known(b, list_known, &l);
	gateway_api_list_end(&l.w);
	gateway_api_send(&l.w);
}

/* Jobs: each hears what pairing and scans tell until its procedure ends. */

struct bluetooth_job {
	struct gateway_bluetooth_listener listener;
	struct gateway_bluetooth *bluetooth;
	struct api_procedure *procedure;
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool scanning, pairing; /* begun here: ended when the procedure is cancelled */
	unsigned found;
};

static void job_free(struct bluetooth_job *job)
{
	gateway_bluetooth_unlisten(job->bluetooth, &job->listener);
	gateway_bluetooth_forget(job->bluetooth, job);
	free(job);
}

static void job_cancel(struct api_procedure *p)
{
	struct bluetooth_job *job = p->job;
	struct pairing *pairing = gateway_bluetooth_pairing(job->bluetooth);
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool scanning = job->scanning, paired = job->pairing;

	memcpy(address, job->address, sizeof(address));
	job_free(job);
	if (scanning)
		pairing_scan_stop(pairing);
	if (paired)
		(void)pairing_cancel(pairing, address);
}

static void job_end(struct bluetooth_job *job, enum verdict_id id, const char *who,
		    const char *detail)
{
	struct api_procedure *p = job->procedure;

	p->job = NULL;
	gateway_api_procedure_finish(p, id, who, detail);
	job_free(job);
}

/* NULL: the caller got an error. */
static struct bluetooth_job *job_new(struct api_call *call, struct gateway_bluetooth *b,
				     const char *kind, bool detach)
{
	struct bluetooth_job *job = calloc(1, sizeof(*job));

	if (!job) {
		gateway_api_errno(call->m, -ENOMEM);
		return NULL;
	}
	job->procedure = gateway_api_procedure_new(call, kind, NULL, NULL, 0, detach);
	if (!job->procedure) {
		free(job);
		return NULL;
	}
	job->bluetooth = b;
	job->procedure->job = job;
	job->procedure->job_cancel = job_cancel;
	gateway_api_procedure_reply(job->procedure, call);
	return job;
}

static void scan_found(struct gateway_bluetooth_listener *l, const struct bluez_device *d)
{
	struct bluetooth_job *job = (struct bluetooth_job *)(void *)l;
	char text[API_TEXT_SIZE], rssi[24] = "";
	struct api_writer w;

	job->found++;
	if (d->has_rssi)
		(void)snprintf(rssi, sizeof(rssi), ", %d dBm", d->rssi);
	(void)snprintf(text, sizeof(text), "%s %s%s%s", d->address,
		       d->name[0] ? d->name : "without a name", rssi,
		       d->offers_pne ? ", a PNE" : "");
	gateway_api_signal_begin(&w, job->procedure->api, job->procedure->path, API_PROCEDURE,
				 "Note");
	gateway_api_dict_begin(&w);
	gateway_api_text(&w, "Text", text);
	put_device(&w, job->bluetooth, d);
	gateway_api_dict_end(&w);
	gateway_api_send(&w);
}

static void scan_ended(struct gateway_bluetooth_listener *l, int error)
{
	struct bluetooth_job *job = (struct bluetooth_job *)(void *)l;
	char detail[96];

	if (error != 0) {
		job_end(job, VERDICT_PAN_BLUETOOTH_DOWN, NULL, why_down(job->bluetooth));
		return;
	}
	(void)snprintf(detail, sizeof(detail), "%u found%s", job->found,
		       job->found ? "" : ": is the device on, and can it be discovered?");
	job_end(job, VERDICT_DONE, NULL, detail);
}

void gateway_api_bluetooth_scan(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	struct pairing_filter filter = {.all = false};
	const char *name = "";
	bool detach = false;
	const struct api_option options[] = {{"All", 'b', &filter.all},
					     {"Near", 'n', &filter.rssi},
					     {"Name", 's', &name},
					     {"Detach", 'b', &detach}};
	struct bluetooth_job *job;
	uint32_t seconds;
	int r;

	if (!b || !gateway_api_read_u32(call->m, &seconds) ||
	    !gateway_api_read_options(call->m, options, 4))
		return;
	if (seconds < 1 || seconds > SCAN_SECONDS_MAX) {
		gateway_api_error(call->m, "InvalidArguments", "a search takes 1 to %d seconds",
				  SCAN_SECONDS_MAX);
		return;
	}
	if (name[0])
		filter.name = name;
	job = job_new(call, b, "scan", detach);
	if (!job)
		return;
	/* Listening first: known devices are told from within the call. */
	job->listener.found = scan_found;
	gateway_bluetooth_listen(b, &job->listener);
	r = pairing_scan(gateway_bluetooth_pairing(b), &filter, seconds);
	if (r != 0 && r != -EALREADY) {
		job_end(job, VERDICT_PAN_BLUETOOTH_DOWN, NULL, why_down(b));
		return;
	}
	job->scanning = r == 0;
	job->listener.scan_ended = scan_ended;
	if (r != 0)
		gateway_api_procedure_note(job->procedure,
					   "a search is on already: this is what it still finds");
}

static void pair_ended(struct gateway_bluetooth_listener *l, const char *address, int error,
		       const char *why)
{
	struct bluetooth_job *job = (struct bluetooth_job *)(void *)l;

	if (strcasecmp(address, job->address) != 0)
		return;
	job->pairing = false;
	job_end(job, error == 0 ? VERDICT_DONE : gateway_bluetooth_pairing_verdict(error), address,
		why);
}

void gateway_api_bluetooth_pair(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct bluetooth_job *job;
	int r;

	if (!b || !gateway_api_read_device(call, address) ||
	    !gateway_api_read_options(call->m, options, 1))
		return;
	job = job_new(call, b, "pair", detach);
	if (!job)
		return;
	memcpy(job->address, address, sizeof(job->address));
	(void)snprintf(job->procedure->label, sizeof(job->procedure->label), "%s", address);
	job->listener.ended = pair_ended;
	gateway_bluetooth_listen(b, &job->listener);
	r = pairing_start(gateway_bluetooth_pairing(b), address);
	if (r == 0)
		job->pairing = true;
	else if (r == -EEXIST)
		job_end(job, VERDICT_PAN_PAIRING_REFUSED, address,
			"it is bonded already: to pair anew, remove the bond first");
	else if (r == -EALREADY)
		job_end(job, VERDICT_GATEWAY_BUSY, address, "it is being paired already");
	else if (r == -ENETDOWN)
		job_end(job, VERDICT_PAN_BLUETOOTH_DOWN, address, why_down(b));
	else
		job_end(job, gateway_bluetooth_pairing_verdict(r), address, strerror(-r));
}

static void connected(void *arg, enum verdict_id id, const char *detail, const struct name *entity)
{
	struct bluetooth_job *job = arg;

	job_end(job, id, entity ? entity->text : job->address, detail);
}

void gateway_api_bluetooth_connect(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	char address[BLUETOOTH_ADDRESS_SIZE];
	bool detach = false;
	const struct api_option options[] = {{"Detach", 'b', &detach}};
	struct bluetooth_job *job;
	int r;

	if (!b || !gateway_api_read_device(call, address) ||
	    !gateway_api_read_options(call->m, options, 1))
		return;
	job = job_new(call, b, "connect", detach);
	if (!job)
		return;
	memcpy(job->address, address, sizeof(job->address));
	r = gateway_bluetooth_connect(b, address, connected, job);
	if (r == -EISCONN)
		job_end(job, VERDICT_DONE, address, "it is connected already");
	else if (r != 0)
		job_end(job, gateway_bluetooth_connect_verdict(r), address, strerror(-r));
}

void gateway_api_bluetooth_disconnect(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	char address[BLUETOOTH_ADDRESS_SIZE];

	if (!b || !gateway_api_read_device(call, address))
		return;
	if (gateway_bluetooth_disconnect(b, address) == 0)
		gateway_api_done(call->m);
	else
		gateway_api_error(call->m, "NotFound", "%s is not connected", address);
}

void gateway_api_bluetooth_discoverable(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	uint32_t seconds;

	if (!b || !gateway_api_read_u32(call->m, &seconds))
		return;
	if (seconds > DISCOVERABLE_MAX)
		gateway_api_error(call->m, "InvalidArguments", "at most %d seconds",
				  DISCOVERABLE_MAX);
	else if (bluez_discoverable(gateway_bluetooth_bluez(b), seconds) != 0)
		gateway_api_error(call->m, "Failed", "%s", why_down(b));
	else
		gateway_api_done(call->m);
}

/* Bonds. */

struct api_unbond {
	struct api_unbond *next;
	struct gateway_api *api;
	sd_bus_message *m;
	char address[BLUETOOTH_ADDRESS_SIZE];
};

static void unbond_free(struct api_unbond *u)
{
	struct api_unbond **at = &u->api->unbonds;

	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	sd_bus_message_unref(u->m);
	free(u);
}

void gateway_api_unbonds_end(struct gateway_api *api)
{
	while (api->unbonds) {
		pairing_forget(gateway_bluetooth_pairing(api->bluetooth), api->unbonds);
		unbond_free(api->unbonds);
	}
}

static void unbonded(void *arg, int error, const char *why)
{
	struct api_unbond *u = arg;

	if (error == 0)
		gateway_api_done(u->m);
	else
		gateway_api_error(u->m, "Failed", "%s: %s", u->address, why);
	unbond_free(u);
}

void gateway_api_bluetooth_unbond(struct api_call *call)
{
	struct gateway_bluetooth *b = bluetooth_of(call);
	char address[BLUETOOTH_ADDRESS_SIZE];
	struct api_unbond *u;
	int r;

	if (!b || !gateway_api_read_device(call, address))
		return;
	u = calloc(1, sizeof(*u));
	if (!u) {
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	u->api = call->api;
	u->m = sd_bus_message_ref(call->m);
	u->next = call->api->unbonds;
	call->api->unbonds = u;
	memcpy(u->address, address, sizeof(u->address));
	r = pairing_unbond(gateway_bluetooth_pairing(b), address, unbonded, u);
	if (r == 0)
		return;
	if (r == -ENOENT)
		gateway_api_error(call->m, "NotFound", "BlueZ knows no device %s", address);
	else
		gateway_api_error(call->m, "Failed", "%s",
				  r == -ENETDOWN ? why_down(b) : strerror(-r));
	unbond_free(u);
}
