/* The work on a tray: what is to be done next with each unit, and what the PN GW says of it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "console/signals.h"
#include "console/tray.h"

#define ATTEMPTS_MAX  3
#define REFUSALS_MAX  60 /* a second or two each: it opens its vault, it is busy */
#define AGAIN_MS      2000
#define LOOK_MS       500    /* between two looks at who is connected */
#define APPEAR_MS     15000  /* for a headset that connects by itself */
#define RETURN_MS     120000 /* for a PN GW that has gone away */
#define SCAN_SECONDS  12
#define SCAN_WAIT_MS  20000
#define BLUETOOTH_MAX 7 /* devices of a piconet */

struct password {
	struct name user;
	struct secret *secret;
};

struct work {
	struct tray *t;
	struct console *console;
	struct client_events before;
	struct tray_show show;
	struct password *passwords;
	size_t password_count;
	bool bluetooth;
	bool stop; /* no more; code says how it ends */
	int code;  /* exit code, said */
	bool gone; /* pngwd is not there, since */
	int64_t gone_at;
	int64_t looked_at, appear_until;
	bool look; /* something has changed */
	char scan_path[CLIENT_NAME_MAX];
	bool scan_wanted, scan_ended;
	int64_t scan_until; /* a search that was on already may take longer than is waited */
};

int64_t tray_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

size_t tray_count(const struct tray *t, enum tray_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++)
		n += t->unit[i].state == state;
	return n;
}

static void unit_clear(struct tray_unit *u)
{
	(void)json_object_put(u->verdict);
	u->verdict = NULL;
	u->result[0] = '\0';
	u->path[0] = '\0';
	u->doing[0] = '\0';
}

void tray_free(struct tray *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++) {
		unit_clear(&t->unit[i]);
		(void)json_object_put(t->unit[i].outcome);
	}
	tray_journal_close(t);
	free(t);
}

static void stop(struct work *w, int code)
{
	if (!w->stop)
		w->code = code;
	w->stop = true;
}

static void stop_saying(struct work *w, int code, const char *why)
{
	if (w->stop)
		return;
	tray_show_progress(&w->show, true);
	stop(w, console_failed(w->console, code,
			       "%s; what was done is in %s, and the same command goes on with it",
			       why, w->t->journal.path));
}

static bool keep(struct work *w, const struct tray_unit *u, const char *is)
{
	int r = tray_journal_add(w->t, u, is);

	if (r == 0)
		return true;
	stop_saying(w, EXIT_RETRY, r == -ENOSPC ? "the disk is full" : strerror(-r));
	return false;
}

/* A call that failed. True: it may be tried again soon; else it is unit's end, or that of all. */
static bool may_go_on(struct work *w, const struct client_failure *failure)
{
	if (w->gone)
		return true;
	if (!failure->name[0]) {
		stop_saying(w, EXIT_RETRY, failure->message);
		return false;
	}
	if (strcmp(failure->name, "org.pngw.Error.NotFound") == 0 || failure->code == EXIT_RETRY)
		return true;
	stop_saying(w, failure->code, failure->message);
	return false;
}

static void set_text(json_object *o, const char *key, const char *text)
{
	(void)json_object_object_add(o, key, json_object_new_string(text));
}

static json_object *outcome_new(struct tray_unit *u, const char *id, const char *text,
				const char *retry)
{
	json_object *o = json_object_new_object();

	set_text(o, "verdict", id);
	set_text(o, "text", text);
	set_text(o, "retry", retry);
	(void)json_object_object_add(o, "figure", json_object_new_int64(0));
	(void)json_object_object_add(o, "key_index", json_object_new_int64(0));
	set_text(o, "fingerprint", "");
	(void)json_object_object_add(o, "attempts", json_object_new_int64(u->attempts));
	(void)json_object_object_add(o, "time", json_object_new_int64(time(NULL)));
	(void)json_object_put(u->outcome);
	u->outcome = o;
	return o;
}

static void copy_number(json_object *to, json_object *from, const char *key)
{
	(void)json_object_object_add(
		to, key,
		json_object_new_int64(json_object_get_int64(json_object_object_get(from, key))));
}

/* Of a key that only went through the PN GW there is none. */
static void add_fingerprint(struct work *w, struct tray_unit *u)
{
	sd_bus_message *m = client_call_new(w->console->client, CLIENT_GATEWAY, "Fingerprint"),
		       *reply = NULL;
	uint8_t challenge[TRAY_CHALLENGE_SIZE];
	struct client_failure failure;
	json_object *got;
	size_t size;

	if (!m || hex_decode(bytes_text(w->t->challenge), challenge, sizeof(challenge), &size) != 0)
		return;
	(void)sd_bus_message_append(m, "s", u->what.entity.text);
	(void)sd_bus_message_append_array(m, 'y', challenge, sizeof(challenge));
	if (client_call(w->console->client, m, &reply, &failure) != 0)
		return;
	got = client_decode(reply);
	(void)sd_bus_message_unref(reply);
	if (json_object_get_int64(json_object_object_get(got, "key_index")) ==
	    json_object_get_int64(json_object_object_get(u->outcome, "key_index")))
		set_text(u->outcome, "fingerprint", client_text(got, "fingerprint"));
	(void)json_object_put(got);
}

static void disconnect(struct work *w, struct tray_unit *u)
{
	sd_bus_message *m;

	if (!u->own_connection)
		return;
	u->own_connection = false;
	m = client_call_new(w->console->client, CLIENT_BLUETOOTH, "Disconnect");
	if (m)
		(void)sd_bus_message_append(m, "s", u->what.entity.text);
	client_send(w->console->client, m);
}

/* The journal has it before anybody is told. */
static void finish(struct work *w, struct tray_unit *u, enum tray_state state)
{
	const char *is = state == TRAY_PASSED ? "passed" : "failed";

	if (state == TRAY_PASSED)
		add_fingerprint(w, u);
	if (!keep(w, u, is))
		return;
	u->state = state;
	u->doubtful = false;
	unit_clear(u);
	tray_show_unit(&w->show, u, is, client_text(u->outcome, "text"));
	disconnect(w, u);
}

static void again(struct work *w, struct tray_unit *u, const char *why)
{
	u->state = TRAY_WAITING;
	u->not_before = tray_now() + AGAIN_MS;
	unit_clear(u);
	w->look = true;
	tray_show_unit(&w->show, u, "again", why);
}

/* Another procedure is not over: the PN GW took it up again, or it is somebody else's. Its key
 * counts. */
static bool wait_for_other(struct work *w, struct tray_unit *u, const char *why)
{
	if (strcmp(client_text(u->verdict, "id"), "BUSY_WITH_PNE") != 0) {
		u->refusals = 0;
		return false;
	}
	if (++u->refusals == REFUSALS_MAX)
		return false;
	if (u->attempts > 0)
		u->attempts--;
	u->doubtful = true;
	again(w, u, why);
	return true;
}

/* The procedure has ended. */
static void settle(struct work *w, struct tray_unit *u)
{
	const char *id = client_text(u->verdict, "id"), *text = client_text(u->verdict, "text"),
		   *retry = client_text(u->verdict, "retry");
	bool done = strcmp(u->result, "done") == 0;
	json_object *o;
	char why[1024];

	if (u->state == TRAY_CONNECTING && done) {
		u->state = TRAY_WAITING;
		u->own_connection = true;
		u->connected = true;
		unit_clear(u);
		return;
	}
	(void)snprintf(why, sizeof(why), "%s", text[0] ? text : "the PN GW gave no verdict on it");
	if (strcmp(id, "WRONG_PASSWORD") == 0 || strcmp(id, "USER_TAKEN") == 0) {
		/* The same for all of the user's: no headset is to blame. */
		u->state = TRAY_WAITING;
		unit_clear(u);
		stop_saying(w, EXIT_REFUSED, why);
		return;
	}
	if (wait_for_other(w, u, why))
		return;
	if (!done && u->attempts < ATTEMPTS_MAX && (!u->verdict || strcmp(retry, "yes") == 0)) {
		u->doubtful = true;
		again(w, u, why);
		return;
	}
	o = outcome_new(u, id[0] ? id : "NONE", why, done ? "no" : retry[0] ? retry : "later");
	copy_number(o, u->verdict, "figure");
	copy_number(o, u->verdict, "key_index");
	finish(w, u, done ? TRAY_PASSED : TRAY_FAILED);
}

static struct tray_unit *unit_at(struct work *w, const char *path)
{
	for (size_t i = 0; i < w->t->count; i++) {
		if (w->t->unit[i].path[0] && strcmp(w->t->unit[i].path, path) == 0)
			return &w->t->unit[i];
	}
	return NULL;
}

/* A device that the scan found: where one of ours is. */
static void found(struct work *w, json_object *data)
{
	struct tray *t = w->t;

	for (size_t i = 0; i < t->count; i++) {
		if (!t->unit[i].what.address[0] &&
		    strcmp(client_text(data, "entity"), t->unit[i].what.entity.text) == 0)
			(void)label_address(client_text(data, "address"), t->unit[i].what.address);
	}
}

static void of_unit(struct tray_unit *u, const char *member, sd_bus_message *m)
{
	json_object *data;
	const char *result;

	if (strcmp(member, "Ended") == 0) {
		if (sd_bus_message_read(m, "s", &result) < 0)
			result = "retry";
		(void)snprintf(u->result, sizeof(u->result), "%s", result);
		return;
	}
	data = client_decode(m);
	if (strcmp(member, "Step") == 0) {
		(void)snprintf(u->doing, sizeof(u->doing), "Fig. %s step %s",
			       client_text(data, "figure"), client_text(data, "step"));
	} else if (strcmp(member, "Verdict") == 0) {
		(void)json_object_put(u->verdict);
		u->verdict = json_object_get(data);
	}
	(void)json_object_put(data);
}

static void on_signal(void *arg, const char *path, const char *interface, const char *member,
		      sd_bus_message *m)
{
	struct work *w = arg;
	struct tray_unit *u = unit_at(w, path);

	if (strcmp(interface, "org.pngw.Procedure1") != 0) {
		w->look = true;
		return;
	}
	if (u) {
		of_unit(u, member, m);
	} else if (w->scan_path[0] && strcmp(path, w->scan_path) == 0) {
		if (strcmp(member, "Ended") == 0) {
			w->scan_ended = true;
		} else if (strcmp(member, "Note") == 0) {
			json_object *data = client_decode(m);

			found(w, data);
			(void)json_object_put(data);
		}
	}
}

/* What was under way is as after a power cut. */
static void on_service(void *arg, bool there)
{
	struct work *w = arg;

	for (size_t i = 0; i < w->t->count; i++) {
		struct tray_unit *u = &w->t->unit[i];

		u->connected = false;
		u->own_connection = false;
		/* A result that came before is one. */
		if (u->result[0] || (u->state != TRAY_CONNECTING && u->state != TRAY_ASSIGNING))
			continue;
		u->doubtful |= u->state == TRAY_ASSIGNING;
		u->state = TRAY_WAITING;
		if (u->attempts > 0)
			u->attempts--;
		unit_clear(u);
	}
	w->scan_ended = w->scan_path[0] != '\0';
	w->gone = !there;
	w->gone_at = tray_now();
	w->look = true;
	w->appear_until = tray_now() + APPEAR_MS;
	tray_show_say(&w->show, there ? "the PN GW is back"
				      : "the PN GW has gone away; waiting until it is back");
}

static struct secret *password_of(void *arg, const char *user)
{
	struct work *w = arg;

	for (size_t i = 0; i < w->password_count; i++) {
		if (strcmp(w->passwords[i].user.text, user) == 0)
			return w->passwords[i].secret;
	}
	return NULL;
}

/* One question for each user that something is still to be done for. 0 or an exit code, said. */
static int ask_passwords(struct work *w)
{
	struct tray *t = w->t;
	char prompt[128];
	int code;

	w->passwords = calloc(t->count, sizeof(*w->passwords));
	if (!w->passwords)
		return console_failed(w->console, EXIT_RETRY, "there is no memory");
	for (size_t i = 0; i < t->count; i++) {
		const struct name *user = &t->unit[i].what.user;

		if (t->unit[i].state == TRAY_PASSED || password_of(w, user->text))
			continue;
		if (w->console->password_file && w->password_count > 0)
			return console_failed(w->console, EXIT_WRONG_USAGE,
					      "tray: there are several users; a file of a "
					      "password is for one: leave it out, and each is "
					      "asked for");
		(void)snprintf(prompt, sizeof(prompt), "Password of %s: ", user->text);
		code = console_secret(w->console, prompt, w->console->password_file,
				      &w->passwords[w->password_count].secret);
		if (code != 0)
			return code;
		w->passwords[w->password_count++].user = *user;
	}
	return 0;
}

static void take_element(struct work *w, json_object *e)
{
	for (size_t i = 0; i < w->t->count; i++) {
		struct tray_unit *u = &w->t->unit[i];

		if (strcmp(u->what.entity.text, client_text(e, "entity")) != 0)
			continue;
		u->connected = json_object_get_boolean(json_object_object_get(e, "connected"));
		u->held = (uint32_t)json_object_get_int64(json_object_object_get(e, "held"));
		u->owner.text[0] = '\0';
		(void)name_set(&u->owner, bytes_text(client_text(e, "owner")));
		return;
	}
}

/* Who is connected, and what the PN GW knows of them. False: not now. */
static bool look(struct work *w)
{
	sd_bus_message *reply = NULL;
	struct client_failure failure;
	json_object *list;

	w->looked_at = tray_now();
	w->look = false;
	if (client_call(w->console->client,
			client_call_new(w->console->client, CLIENT_GATEWAY, "ListElements"), &reply,
			&failure) != 0) {
		(void)may_go_on(w, &failure);
		w->look = true;
		return false;
	}
	list = client_decode(reply);
	(void)sd_bus_message_unref(reply);
	for (size_t i = 0; i < w->t->count; i++)
		w->t->unit[i].connected = false;
	for (size_t i = 0;
	     json_object_is_type(list, json_type_array) && i < json_object_array_length(list); i++)
		take_element(w, json_object_array_get_idx(list, i));
	(void)json_object_put(list);
	return true;
}

/* Begins a procedure: its path, or false. */
static bool begin(struct work *w, struct tray_unit *u, sd_bus_message *m)
{
	sd_bus_message *reply = NULL;
	struct client_failure failure;
	const char *path = "";

	if (client_call(w->console->client, m, &reply, &failure) != 0) {
		u->state = TRAY_WAITING;
		u->not_before = tray_now() + 1000;
		if (!may_go_on(w, &failure) || w->gone)
			return false;
		if (++u->refusals < REFUSALS_MAX &&
		    strcmp(failure.name, "org.pngw.Error.NotFound") != 0)
			return false;
		(void)outcome_new(u, "NOT_BEGUN", failure.message, "later");
		finish(w, u, TRAY_FAILED);
		return false;
	}
	if (sd_bus_message_read(reply, "o", &path) >= 0)
		(void)snprintf(u->path, sizeof(u->path), "%s", path);
	(void)sd_bus_message_unref(reply);
	return true;
}

static void assign(struct work *w, struct tray_unit *u)
{
	sd_bus_message *m;

	u->held_before = u->held;
	u->owner_before = u->owner;
	if (!keep(w, u, "begun"))
		return;
	m = client_call_new(w->console->client, CLIENT_GATEWAY, "Assign");
	if (m)
		(void)sd_bus_message_append(m, "sasa{sv}", u->what.user.text, 1,
					    u->what.entity.text, 0);
	u->state = TRAY_ASSIGNING;
	u->attempts++;
	if (begin(w, u, m))
		tray_show_unit(&w->show, u, "begun", "");
	else if (u->state == TRAY_WAITING && u->attempts > 0)
		u->attempts--;
}

static void connect_to(struct work *w, struct tray_unit *u)
{
	sd_bus_message *m = client_call_new(w->console->client, CLIENT_BLUETOOTH, "Connect");

	if (m)
		(void)sd_bus_message_append(
			m, "sa{sv}", u->what.address[0] ? u->what.address : u->what.entity.text, 0);
	u->state = TRAY_CONNECTING;
	u->attempts++;
	if (begin(w, u, m))
		tray_show_unit(&w->show, u, "connecting", "");
	else if (u->state == TRAY_WAITING && u->attempts > 0)
		u->attempts--;
}

/* It got its EUKey, and the interruption came before that was written down. */
static bool has_it(const struct tray_unit *u)
{
	return u->doubtful &&
	       (u->held > u->held_before || (name_equal(&u->owner, &u->what.user) &&
					     !name_equal(&u->owner_before, &u->what.user)));
}

static void pass_what_has_it(struct work *w, struct tray_unit *u)
{
	char text[256];
	json_object *o;

	if (u->held > 0)
		(void)snprintf(text, sizeof(text),
			       "%s: had its EUKey, key index %u, before the interruption",
			       u->what.entity.text, u->held);
	else
		(void)snprintf(text, sizeof(text), "%s: had its EUKey before the interruption",
			       u->what.entity.text);
	o = outcome_new(u, "DONE", text, "no");
	(void)json_object_object_add(o, "key_index", json_object_new_int64(u->held));
	finish(w, u, TRAY_PASSED);
}

static void start_scan(struct work *w)
{
	sd_bus_message *m = client_call_new(w->console->client, CLIENT_BLUETOOTH, "Scan"),
		       *reply = NULL;
	struct client_failure failure;
	const char *path = "";

	w->scan_wanted = false;
	w->scan_ended = true;
	if (m)
		(void)sd_bus_message_append(m, "ua{sv}", (uint32_t)SCAN_SECONDS, 0);
	if (client_call(w->console->client, m, &reply, &failure) != 0) {
		(void)may_go_on(w, &failure);
		return;
	}
	if (sd_bus_message_read(reply, "o", &path) >= 0) {
		(void)snprintf(w->scan_path, sizeof(w->scan_path), "%s", path);
		w->scan_ended = false;
		w->scan_until = tray_now() + SCAN_WAIT_MS;
	}
	(void)sd_bus_message_unref(reply);
	tray_show_say(&w->show, "searching the headsets whose address is not known");
}

/* One headset tries the user's password, the others of that user wait for what becomes of it. */
static bool password_is_tried(const struct tray *t, const struct tray_unit *u)
{
	bool tried = false;

	for (size_t i = 0; i < t->count; i++) {
		const struct tray_unit *other = &t->unit[i];

		if (other == u || !name_equal(&other->what.user, &u->what.user))
			continue;
		if (other->state == TRAY_PASSED && other->attempts > 0)
			return false;
		tried |= other->state == TRAY_ASSIGNING;
	}
	return tried;
}

/* Whether u's turn has come, and what is done with it then. */
static void advance(struct work *w, struct tray_unit *u)
{
	/* The verdict on one that does not appear is the PN GW's. */
	bool late = !w->bluetooth && tray_now() >= w->appear_until;

	if (tray_now() < u->not_before)
		return;
	if (has_it(u))
		pass_what_has_it(w, u);
	else if ((u->connected || late) && !password_is_tried(w->t, u))
		assign(w, u);
	else if (u->connected || late)
		return;
	else if (w->bluetooth &&
		 (u->what.address[0] || w->scan_ended || tray_now() >= w->scan_until))
		connect_to(w, u);
}

static size_t under_way(const struct tray *t)
{
	return tray_count(t, TRAY_CONNECTING) + tray_count(t, TRAY_ASSIGNING);
}

static void advance_all(struct work *w)
{
	struct tray *t = w->t;
	struct client_failure failure;

	for (size_t i = 0; i < t->count && !w->stop && !w->gone; i++) {
		struct tray_unit *u = &t->unit[i];

		if (u->result[0])
			settle(w, u);
	}
	if (w->stop || w->gone || tray_count(t, TRAY_WAITING) == 0 || under_way(t) >= t->parallel)
		return;
	if (agent_register(w->console->agent, false, &failure) != 0) {
		(void)may_go_on(w, &failure);
		return;
	}
	if ((w->look || tray_now() - w->looked_at >= LOOK_MS) && !look(w))
		return;
	if (w->scan_wanted)
		start_scan(w);
	for (size_t i = 0; i < t->count && !w->stop && !w->gone && under_way(t) < t->parallel;
	     i++) {
		if (t->unit[i].state == TRAY_WAITING)
			advance(w, &t->unit[i]);
	}
}

static void cancel_all(struct work *w)
{
	for (size_t i = 0; i < w->t->count; i++) {
		struct tray_unit *u = &w->t->unit[i];
		sd_bus_message *m = NULL;

		if (u->path[0] && sd_bus_message_new_method_call(
					  client_bus(w->console->client), &m, CLIENT_SERVICE,
					  u->path, "org.pngw.Procedure1", "Cancel") >= 0)
			client_send(w->console->client, m);
		disconnect(w, u);
	}
}

static void turn(struct work *w)
{
	int r = client_turn(w->console->client, agent_fd(w->console->agent), LOOK_MS);

	if (r < 0)
		stop_saying(w, EXIT_RETRY, "the connection to the bus is lost");
	else if (r & CLIENT_INPUT)
		agent_input(w->console->agent);
	else if ((r & CLIENT_SIGNAL) && (signals_interrupted() || signals_ending()))
		stop_saying(w, EXIT_RETRY, "interrupted");
	(void)signals_resized();
	if (w->gone && tray_now() - w->gone_at > RETURN_MS)
		stop_saying(w, EXIT_RETRY, "the PN GW has not come back");
}

/* Whose tray it is, and by which radio. */
static int first_look(struct work *w)
{
	struct tray *t = w->t;
	json_object *status = NULL;
	int code = console_get(w->console, CLIENT_GATEWAY, "GetStatus", &status);
	const char *entity;

	if (code != 0)
		return code;
	entity = client_text(status, "entity");
	w->bluetooth = client_text(status, "bluetooth")[0] != '\0';
	if (strcmp(entity, t->gateway.text) != 0)
		code = console_failed(w->console, EXIT_REFUSED,
				      "this tray was begun at the PN GW %s, this one is %s",
				      t->gateway.text, entity);
	(void)json_object_put(status);
	if (w->bluetooth && t->parallel > BLUETOOTH_MAX) {
		t->parallel = BLUETOOTH_MAX;
		tray_show_say(&w->show, "over Bluetooth at most 7 headsets at a time");
	}
	for (size_t i = 0; i < t->count; i++)
		w->scan_wanted |= w->bluetooth && t->unit[i].state == TRAY_WAITING &&
				  !t->unit[i].what.address[0];
	w->scan_ended = !w->scan_wanted;
	return code;
}

int tray_work(struct tray *t)
{
	struct work w = {.t = t,
			 .console = t->console,
			 .before = *client_events_of(t->console->client),
			 .show = {.tray = t},
			 .look = true,
			 .appear_until = tray_now() + APPEAR_MS};
	const struct client_events events = {on_signal, on_service, &w};
	const struct agent_answers answers = {.password_of = password_of, .arg = &w};

	w.code = first_look(&w);
	if (w.code == 0)
		w.code = ask_passwords(&w);
	if (w.code == 0) {
		w.appear_until = tray_now() + APPEAR_MS;
		client_listen(t->console->client, &events);
		agent_begin(t->console->agent, &answers);
		while (!w.stop &&
		       tray_count(t, TRAY_PASSED) + tray_count(t, TRAY_FAILED) < t->count) {
			advance_all(&w);
			tray_show_progress(&w.show, false);
			if (!w.stop)
				turn(&w);
		}
		cancel_all(&w);
		tray_show_progress(&w.show, true);
		agent_end(t->console->agent);
		client_listen(t->console->client, &w.before);
	}
	for (size_t i = 0; i < w.password_count; i++)
		secret_unref(w.passwords[i].secret);
	free(w.passwords);
	return w.code;
}
