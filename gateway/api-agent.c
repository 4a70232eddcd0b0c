/* Agents: who is asked for what a person has to give. */

#include "gateway/api-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENT "org.pngw.Agent1"

void gateway_api_register_agent(struct api_call *call)
{
	struct api_client *client = call->client;
	bool general = false;
	const struct api_option options[] = {{"Default", 'b', &general}};
	const char *path;
	char *copy;

	if (sd_bus_message_read_basic(call->m, 'o', (void *)&path) <= 0) {
		gateway_api_error(call->m, "InvalidArguments", "the agent's path cannot be read");
		return;
	}
	if (!gateway_api_read_options(call->m, options, 1))
		return;
	if (general && !gateway_api_has(client, RIGHT_PAIR)) {
		gateway_api_error(call->m, "NotAuthorized", "the right to pair is missing");
		return;
	}
	if (client->agent) {
		gateway_api_error(call->m, "InvalidArguments",
				  "this connection has an agent already, %s", client->agent);
		return;
	}
	copy = strdup(path);
	if (!copy) {
		gateway_api_errno(call->m, -ENOMEM);
		return;
	}
	client->agent = copy;
	client->agent_default = general;
	gateway_api_done(call->m);
}

void gateway_api_unregister_agent(struct api_call *call)
{
	struct api_client *client = call->client;
	const char *path;

	if (sd_bus_message_read_basic(call->m, 'o', (void *)&path) <= 0 || !client->agent ||
	    strcmp(client->agent, path) != 0) {
		gateway_api_error(call->m, "NotFound", "this connection has no such agent");
		return;
	}
	free(client->agent);
	client->agent = NULL;
	client->agent_default = false;
	gateway_api_done(call->m);
}

bool gateway_api_has_agent(struct api_call *call)
{
	if (call->client->agent)
		return true;
	gateway_api_error(call->m, "NoAgent",
			  "this needs a password: register an agent that is asked for it");
	return false;
}

static unsigned wait_ms(const struct gateway_api *api)
{
	return api->options.config->agent_wait;
}

static void question_end(struct api_question *q)
{
	q->slot = sd_bus_slot_unref(q->slot);
	gateway_api_reader_drop(q->reader);
	q->reader = NULL;
	free(q->client);
	free(q->agent);
	q->client = NULL;
	q->agent = NULL;
}

static void answer(struct api_question *q, int error, const char *why, struct secret *secret,
		   bool yes)
{
	question_end(q);
	q->answered(q->arg, error, why, secret, yes);
}

static void secret_read(void *arg, int error, struct secret *secret)
{
	struct api_question *q = arg;

	q->reader = NULL;
	if (error == -ETIMEDOUT)
		answer(q, error, "the agent's pipe was not closed in time", NULL, false);
	else if (error == -EMSGSIZE)
		answer(q, error, "what the agent gave is too long", NULL, false);
	else
		answer(q, error, error ? strerror(-error) : "", secret, false);
}

static void refused(struct api_question *q, const sd_bus_error *error)
{
	char why[96];

	if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT) ||
	    sd_bus_error_has_name(error, "org.freedesktop.DBus.Error.TimedOut"))
		answer(q, -ETIMEDOUT, "the agent did not answer, or has gone", NULL, false);
	else if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
		 sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
		 sd_bus_error_has_name(error, SD_BUS_ERROR_DISCONNECTED))
		answer(q, -ENOTCONN, "the agent has gone", NULL, false);
	else if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD) ||
		 sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT) ||
		 sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_INTERFACE))
		answer(q, -ENOSYS, "there is no agent where one was registered", NULL, false);
	else if (sd_bus_error_has_name(error, AGENT ".Error.Refused"))
		answer(q, -EACCES,
		       q->expects == 'b' ? "the question was dismissed" : "nothing was entered",
		       NULL, false);
	else {
		(void)snprintf(why, sizeof(why), "the agent refused: %.60s", error->name);
		answer(q, -EACCES, why, NULL, false);
	}
}

static int replied(sd_bus_message *m, void *userdata, sd_bus_error *unused)
{
	struct api_question *q = userdata;
	int fd = -1, yes = 0, r;

	(void)unused;
	if (sd_bus_message_is_method_error(m, NULL)) {
		refused(q, sd_bus_message_get_error(m));
		return 0;
	}
	if (q->expects == 0) {
		answer(q, 0, "", NULL, true);
		return 0;
	}
	r = sd_bus_message_read_basic(m, q->expects, q->expects == 'b' ? &yes : &fd);
	if (r <= 0) {
		answer(q, -EBADMSG, "the agent's answer is not what was asked for", NULL, false);
		return 0;
	}
	if (q->expects == 'b') {
		answer(q, 0, "", NULL, yes);
		return 0;
	}
	r = gateway_api_reader_new(q->api, fd, API_PASSWORD_MAX, wait_ms(q->api), secret_read, q,
				   &q->reader);
	if (r == -EBADF)
		answer(q, r, "the agent gave no pipe to read from", NULL, false);
	else if (r != 0)
		answer(q, r, strerror(-r), NULL, false);
	return 0;
}

int gateway_api_question_begin(struct api_question *q, const struct api_client *client,
			       const char *member, sd_bus_message **out)
{
	int r;

	q->api = client->api;
	q->client = strdup(client->name);
	q->agent = client->agent ? strdup(client->agent) : NULL;
	if (!q->client || !q->agent) {
		question_end(q);
		return -ENOMEM;
	}
	r = q->api->connection ? sd_bus_message_new_method_call(q->api->connection, out, q->client,
								q->agent, AGENT, member)
			       : -ENOTCONN;
	if (r < 0)
		question_end(q);
	return r < 0 ? r : 0;
}

int gateway_api_question_send(struct api_question *q, sd_bus_message *m)
{
	int r = sd_bus_call_async(q->api->connection, &q->slot, m, replied, q,
				  (uint64_t)wait_ms(q->api) * 1000);

	sd_bus_message_unref(m);
	if (r < 0) {
		question_end(q);
		return r;
	}
	return 0;
}

void gateway_api_question_drop(struct api_question *q, const char *why)
{
	if (q->slot && !q->reader && q->api->connection) {
		sd_bus_message *m = NULL;

		if (sd_bus_message_new_method_call(q->api->connection, &m, q->client, q->agent,
						   AGENT, "Cancel") >= 0 &&
		    sd_bus_message_append(m, "s", why) >= 0 &&
		    sd_bus_message_set_expect_reply(m, 0) >= 0)
			(void)sd_bus_send(q->api->connection, m, NULL);
		sd_bus_message_unref(m);
	}
	question_end(q);
}
