#include "console/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/entry.h"
#include "console/writer.h"

#define AGENT_PATH "/org/pngw/agent"
#define REFUSED    "org.pngw.Agent1.Error.Refused"

enum question { QUESTION_NONE, QUESTION_SECRET, QUESTION_YES_NO };

struct agent {
	struct client *client;
	const struct writer *writer;
	sd_bus_slot *slot;
	char registered_at[64]; /* the pngwd that knows of it */
	bool active, answered;
	struct agent_answers answers;
	enum question question;
	bool stdin_password; /* of this command, in case of a second question */
	struct secret *password;
	sd_bus_message *call; /* that waits for its answer; NULL */
};

static void refuse(struct agent *a, sd_bus_message *call, const char *why)
{
	(void)sd_bus_reply_method_errorf(call, REFUSED, "%s", why);
	a->answered = true;
}

static void drop_call(struct agent *a)
{
	a->call = sd_bus_message_unref(a->call);
	a->question = QUESTION_NONE;
}

static void answer_secret(struct agent *a, sd_bus_message *call, const struct secret *s)
{
	int fd = entry_pipe(s);

	if (fd < 0) {
		refuse(a, call, strerror(-fd));
		return;
	}
	(void)sd_bus_reply_method_return(call, "h", fd);
	(void)close(fd);
	a->answered = true;
}

/* From now on the person is waited for; false: it was refused. */
static bool ask(struct agent *a, sd_bus_message *call, enum question question, const char *prompt)
{
	char *clean = writer_clean(prompt);
	int r = clean ? entry_begin(clean, question == QUESTION_SECRET) : -ENOMEM;

	free(clean);
	if (r < 0) {
		refuse(a, call, strerror(-r));
		return false;
	}
	a->call = sd_bus_message_ref(call);
	a->question = question;
	return true;
}

static bool from_stranger(struct agent *a, sd_bus_message *m)
{
	if (client_is_service(a->client, m))
		return false;
	(void)sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED,
					 "only the PN GW is answered");
	return true;
}

/* What keeps the person from being asked now; NULL: nothing. */
static const char *hindrance(const struct agent *a)
{
	if (!a->active)
		return "nobody waits for this question";
	return a->call ? "another question is being answered" : NULL;
}

static int request_password(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct agent *a = arg;
	const char *user, *purpose;
	char prompt[256];
	int r = sd_bus_message_read(m, "ss", &user, &purpose);

	(void)error;
	if (r < 0 || from_stranger(a, m))
		return r < 0 ? r : 1;
	if (hindrance(a)) {
		refuse(a, m, hindrance(a));
		return 1;
	}
	if (a->answers.password_of && a->answers.password_of(a->answers.arg, user)) {
		answer_secret(a, m, a->answers.password_of(a->answers.arg, user));
		return 1;
	}
	if (a->answers.password || a->password) {
		answer_secret(a, m, a->answers.password ? a->answers.password : a->password);
		return 1;
	}
	if (strcmp(purpose, "passphrase") == 0)
		(void)snprintf(prompt, sizeof(prompt), "New passphrase for the vault: ");
	else
		(void)snprintf(prompt, sizeof(prompt), "Password of %s: ", user);
	a->stdin_password = !isatty(STDIN_FILENO);
	(void)ask(a, m, QUESTION_SECRET, prompt);
	return 1;
}

/* A question about a device that is not to be asked here gets no reply: it waits for "answer",
 * which any pngwctl may give. */
static bool left_open(const struct agent *a, const char *text)
{
	if (a->active && a->answers.interactive && !a->call)
		return false;
	writer_say(a->writer, "%s", text);
	return true;
}

static int request_pin(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct agent *a = arg;
	const char *address, *name, *kind;
	bool passkey;
	char text[512];
	int r = sd_bus_message_read(m, "sss", &address, &name, &kind);

	(void)error;
	if (r < 0 || from_stranger(a, m))
		return r < 0 ? r : 1;
	passkey = strcmp(kind, "passkey") == 0;
	if (a->active && a->answers.pin) {
		answer_secret(a, m, a->answers.pin);
		return 1;
	}
	if (passkey)
		(void)snprintf(text, sizeof(text),
			       "which 6 digits does %s (%s) show? answer: pngwctl answer %s",
			       address, name, address);
	else
		(void)snprintf(text, sizeof(text),
			       "%s (%s) wants its PIN; answer: pngwctl answer %s", address, name,
			       address);
	if (left_open(a, text))
		return 1;
	(void)snprintf(text, sizeof(text),
		       passkey ? "The 6 digits that %s (%s) shows: " : "PIN of %s (%s): ", address,
		       name);
	(void)ask(a, m, QUESTION_SECRET, text);
	return 1;
}

static int request_confirmation(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct agent *a = arg;
	const char *address, *name, *kind, *value;
	char text[512], question[256];
	int r = sd_bus_message_read(m, "ssss", &address, &name, &kind, &value);

	(void)error;
	if (r < 0 || from_stranger(a, m))
		return r < 0 ? r : 1;
	if (strcmp(kind, "compare") == 0)
		(void)snprintf(question, sizeof(question), "does %s (%s) show %s?", address, name,
			       value);
	else
		(void)snprintf(question, sizeof(question),
			       "%s (%s) wants to be paired, nothing is compared", address, name);
	if (a->active && a->answers.yes) {
		writer_say(a->writer, "%s yes", question);
		(void)sd_bus_reply_method_return(m, "b", 1);
		a->answered = true;
		return 1;
	}
	(void)snprintf(text, sizeof(text), "%s; answer: pngwctl answer %s yes|no", question,
		       address);
	if (left_open(a, text))
		return 1;
	(void)snprintf(text, sizeof(text), "%s [yes/no] ", question);
	(void)ask(a, m, QUESTION_YES_NO, text);
	return 1;
}

static int display(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct agent *a = arg;
	const char *address, *name, *kind, *value;
	int r = sd_bus_message_read(m, "ssss", &address, &name, &kind, &value);

	(void)error;
	if (r < 0 || from_stranger(a, m))
		return r < 0 ? r : 1;
	writer_say(a->writer, "type the %s %s on %s (%s)",
		   strcmp(kind, "pin") == 0 ? "PIN" : "passkey", value, address, name);
	(void)sd_bus_reply_method_return(m, "");
	return 1;
}

static int cancelled(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct agent *a = arg;
	const char *why;
	int r = sd_bus_message_read(m, "s", &why);

	(void)error;
	if (r < 0 || from_stranger(a, m))
		return r < 0 ? r : 1;
	if (a->question != QUESTION_NONE) {
		entry_abort();
		writer_say(a->writer, "this is not asked any more: %s", why);
	}
	drop_call(a);
	(void)sd_bus_reply_method_return(m, "");
	return 1;
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("RequestPassword", "ss", "h", request_password, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestPin", "sss", "h", request_pin, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RequestConfirmation", "ssss", "b", request_confirmation,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Display", "ssss", "", display, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Cancel", "s", "", cancelled, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

int agent_new(struct client *client, const struct writer *writer, struct agent **out)
{
	struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->client = client;
	a->writer = writer;
	r = sd_bus_add_object_vtable(client_bus(client), &a->slot, AGENT_PATH, "org.pngw.Agent1",
				     vtable, a);
	if (r < 0) {
		free(a);
		return r;
	}
	*out = a;
	return 0;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	agent_end(a);
	(void)sd_bus_message_unref(a->call);
	(void)sd_bus_slot_unref(a->slot);
	free(a);
}

static int call_register(struct agent *a, bool always, struct client_failure *failure)
{
	sd_bus_message *call = client_call_new(a->client, CLIENT_AGENTS, "RegisterAgent");

	if (call && always)
		(void)sd_bus_message_append(call, "oa{sv}", AGENT_PATH, 1, "Default", "b", 1);
	else if (call)
		(void)sd_bus_message_append(call, "oa{sv}", AGENT_PATH, 0);
	return client_call(a->client, call, NULL, failure);
}

int agent_register(struct agent *a, bool always, struct client_failure *failure)
{
	const char *service = client_service(a->client);
	int r;

	if (service[0] && strcmp(a->registered_at, service) == 0)
		return 0;
	r = call_register(a, always, failure);
	if (r != 0 && always && strcmp(failure->name, "org.pngw.Error.NotAuthorized") == 0)
		r = call_register(a, false, failure);
	if (r == 0)
		(void)snprintf(a->registered_at, sizeof(a->registered_at), "%s",
			       client_service(a->client));
	return r;
}

void agent_begin(struct agent *a, const struct agent_answers *answers)
{
	a->answers = *answers;
	a->active = true;
	a->answered = false;
}

void agent_end(struct agent *a)
{
	agent_give_up(a);
	a->active = false;
	a->answers = (struct agent_answers){.password = NULL};
	secret_clear(&a->password);
}

bool agent_answered(const struct agent *a)
{
	return a->answered;
}

int agent_fd(const struct agent *a)
{
	return a && a->question != QUESTION_NONE ? entry_fd() : -1;
}

void agent_give_up(struct agent *a)
{
	if (a->question == QUESTION_NONE)
		return;
	entry_abort();
	refuse(a, a->call, "the person gave up");
	drop_call(a);
}

static bool says_yes(const struct secret *typed)
{
	struct bytes text = secret_bytes(typed);

	return (text.size == 1 && (text.data[0] | 0x20) == 'y') ||
	       bytes_equal(text, bytes_text("yes"));
}

void agent_input(struct agent *a)
{
	struct secret *typed;
	int r = entry_read();

	if (r == 0)
		return;
	typed = entry_take();
	if (r < 0 || !typed) {
		refuse(a, a->call, "nothing was entered");
		/* A script, which was not asked anything that it could see. */
		if (a->question == QUESTION_SECRET && !isatty(STDIN_FILENO))
			(void)fputs("pngwctl: standard input has no password: give it as the "
				    "first line, or with --password-file FILE\n",
				    stderr);
	} else if (a->question == QUESTION_YES_NO) {
		(void)sd_bus_reply_method_return(a->call, "b", says_yes(typed));
		a->answered = true;
	} else {
		answer_secret(a, a->call, typed);
		if (a->stdin_password)
			a->password = secret_ref(typed);
	}
	secret_unref(typed);
	drop_call(a);
}
