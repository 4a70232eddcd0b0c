#include "pne/bluetooth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pan/bearer-bluez.h"

#define ANSWER_SIZE 64

struct pne_bluetooth {
	uv_loop_t *loop;
	void (*line)(void *arg, const char *text);
	void *arg;
	char entity[NAME_MAX_SIZE + 1];
	bool le;
	enum pne_confirm confirm;
	char pin[PAIRING_PIN_SIZE]; /* "": none */
	struct bluez *bluez;
	struct bluez_watcher watcher;
	struct pairing *pairing; /* NULL: pairings are another's */
	uv_poll_t input;
	bool reading;
	char typed[ANSWER_SIZE];
	size_t typed_size;
	char asked[BLUETOOTH_ADDRESS_SIZE]; /* by whom; "": nobody */
	bool stopping;
};

static void say(struct pne_bluetooth *b, const char *level, const char *text, const char *detail)
{
	char line[512];

	(void)snprintf(line, sizeof(line), "PNE %s: %s: %s%s%s", b->entity, level, text,
		       detail ? ": " : "", detail ? detail : "");
	b->line(b->arg, line);
}

/* The adapter. */

static void state_changed(struct bluez_watcher *w, enum bluez_state state)
{
	struct pne_bluetooth *b =
		(struct pne_bluetooth *)((char *)w - offsetof(struct pne_bluetooth, watcher));
	char text[128];

	if (b->stopping || state == BLUEZ_STARTING)
		return;
	if (state != BLUEZ_READY) {
		say(b, "info", bluez_state_text(state), NULL);
		return;
	}
	if (!b->le)
		(void)bluez_discoverable(b->bluez, BLUEZ_ALWAYS);
	(void)snprintf(text, sizeof(text), "Bluetooth is ready, address %s",
		       bluez_adapter_address(b->bluez));
	say(b, "info", text, NULL);
}

/* Pairing. */

static void answer(struct pne_bluetooth *b, const char *address, const char *text)
{
	int r = pairing_answer(b->pairing, address, text);

	if (r == 0)
		return;
	say(b, "warning",
	    r == -EINVAL ? "the answer does not fit the question" : "no question is open", NULL);
}

static const char *question_text(enum pairing_question q)
{
	switch (q) {
	case PAIRING_AUTHORIZE:
		return "may it pair? yes or no";
	case PAIRING_CONFIRM:
		return "does it show the same number? yes or no";
	case PAIRING_ENTER_PIN:
		return "enter its PIN";
	case PAIRING_ENTER_PASSKEY:
		return "enter the 6 digits it shows";
	case PAIRING_SHOW_PIN:
		return "PIN to enter there";
	case PAIRING_SHOW_PASSKEY:
		return "passkey to enter there";
	}
	return "";
}

static void question(void *arg, const struct bluez_device *d, enum pairing_question q,
		     const char *value)
{
	struct pne_bluetooth *b = arg;
	char text[256];

	(void)snprintf(text, sizeof(text), "%s: %s%s%s", d->address, question_text(q),
		       value ? ": " : "", value ? value : "");
	say(b, "pairing", text, NULL);
	switch (q) {
	case PAIRING_AUTHORIZE:
	case PAIRING_CONFIRM:
		if (b->confirm != PNE_CONFIRM_ASK) {
			answer(b, d->address, b->confirm == PNE_CONFIRM_YES ? "yes" : "no");
			return;
		}
		break;
	case PAIRING_ENTER_PIN:
		if (b->pin[0]) {
			answer(b, d->address, b->pin);
			return;
		}
		if (b->reading)
			break;
		answer(b, d->address, "no");
		return;
	case PAIRING_ENTER_PASSKEY:
		if (b->reading)
			break;
		answer(b, d->address, "no");
		return;
	case PAIRING_SHOW_PIN:
	case PAIRING_SHOW_PASSKEY:
		return;
	}
	(void)snprintf(b->asked, sizeof(b->asked), "%s", d->address);
}

static void withdrawn(void *arg, const char *address)
{
	struct pne_bluetooth *b = arg;

	if (strcmp(b->asked, address) == 0)
		b->asked[0] = '\0';
}

static void ended(void *arg, const char *address, int error, const char *why)
{
	struct pne_bluetooth *b = arg;
	char text[256];

	(void)snprintf(text, sizeof(text), "%s: %s", address, error == 0 ? "paired" : why);
	say(b, "pairing", text, NULL);
}

/* A PNE looks for nobody. */
static void found(void *arg, const struct bluez_device *d)
{
	(void)arg;
	(void)d;
}

static void scan_ended(void *arg, int error)
{
	(void)arg;
	(void)error;
}

/* What a person types. */

static void take_answer(struct pne_bluetooth *b)
{
	b->typed[b->typed_size] = '\0';
	b->typed_size = 0;
	if (b->asked[0] == '\0')
		say(b, "warning", "no question is open", NULL);
	else
		answer(b, b->asked, b->typed);
}

static void typed(uv_poll_t *poll, int status, int events)
{
	struct pne_bluetooth *b = poll->data;
	char c;

	(void)events;
	if (status < 0 || read(STDIN_FILENO, &c, 1) != 1) {
		(void)uv_poll_stop(poll);
		b->reading = false;
		return;
	}
	if (c == '\n')
		take_answer(b);
	else if (b->typed_size < ANSWER_SIZE - 1)
		b->typed[b->typed_size++] = c;
}

static int start_reading(struct pne_bluetooth *b)
{
	int r = uv_poll_init(b->loop, &b->input, STDIN_FILENO);

	if (r < 0)
		return r;
	b->input.data = b;
	b->reading = true;
	return uv_poll_start(&b->input, UV_READABLE, typed);
}

static int start_pairing(struct pne_bluetooth *b, const struct pne_bluetooth_options *options)
{
	static const struct pairing_callbacks callbacks = {.question = question,
							   .withdrawn = withdrawn,
							   .ended = ended,
							   .found = found,
							   .scan_ended = scan_ended};
	const struct pairing_options pairing = {
		.capability = options->capability, .policy = PAIRING_ASK, .every_adapter = true};

	/* Not pairing's, which would have it answer only pairings that were begun here. */
	if (options->pin && strlen(options->pin) >= sizeof(b->pin))
		return -EINVAL;
	if (options->pin)
		memcpy(b->pin, options->pin, strlen(options->pin) + 1);
	return pairing_new(b->loop, b->bluez, &pairing, &callbacks, b, &b->pairing);
}

int pne_bluetooth_new(uv_loop_t *loop, const struct pne_bluetooth_options *options,
		      void (*line)(void *arg, const char *text), void *arg,
		      struct pne_bluetooth **out, char *why, size_t why_size)
{
	const struct bluez_options bluez = {.bus = options->address,
					    .adapter = options->adapter,
					    .alias = options->name,
					    .power_on = true,
					    .pairable = true};
	struct pne_bluetooth *b = calloc(1, sizeof(*b));
	int r = b ? 0 : -ENOMEM;

	if (r == 0) {
		b->loop = loop;
		b->line = line;
		b->arg = arg;
		b->le = options->le;
		b->confirm = options->confirm;
		b->watcher.state = state_changed;
		(void)snprintf(b->entity, sizeof(b->entity), "%s", options->entity);
		r = bluez_new(loop, &bluez, &b->bluez);
	}
	if (r != 0) {
		(void)snprintf(why, why_size, "%s: %s",
			       r == -EINVAL ? "no adapter can be called that" : "Bluetooth",
			       strerror(-r));
		free(b);
		return r;
	}
	bluez_watch(b->bluez, &b->watcher);
	if (options->agent)
		r = start_pairing(b, options);
	if (r == 0 && options->agent && options->confirm == PNE_CONFIRM_ASK)
		r = start_reading(b);
	if (r != 0) {
		(void)snprintf(why, why_size, "nobody can answer pairings: %s", strerror(-r));
		pne_bluetooth_stop(b);
		return r;
	}
	bluez_start(b->bluez);
	*out = b;
	return 0;
}

int pne_bluetooth_bearer(void *b, uv_loop_t *loop, const struct bearer_callbacks *callbacks,
			 void *arg, struct bearer **out)
{
	const struct pne_bluetooth *bluetooth = b;
	const struct bearer_bluez_options options = {.le = bluetooth->le, .note = pne_device_note};

	return bearer_bluez_new(loop, bluetooth->bluez, &options, callbacks, arg, out);
}

static void bluez_gone(void *arg)
{
	free(arg);
}

static void pairing_gone(void *arg)
{
	struct pne_bluetooth *b = arg;

	b->pairing = NULL;
	bluez_stop(b->bluez, bluez_gone, b);
}

static void input_closed(uv_handle_t *handle)
{
	struct pne_bluetooth *b = handle->data;

	if (b->pairing)
		pairing_stop(b->pairing, pairing_gone, b);
	else
		bluez_stop(b->bluez, bluez_gone, b);
}

void pne_bluetooth_stop(struct pne_bluetooth *b)
{
	b->stopping = true;
	b->reading = false;
	bluez_unwatch(b->bluez, &b->watcher);
	if (b->input.data)
		uv_close((uv_handle_t *)&b->input, input_closed);
	else if (b->pairing)
		pairing_stop(b->pairing, pairing_gone, b);
	else
		bluez_stop(b->bluez, bluez_gone, b);
}
