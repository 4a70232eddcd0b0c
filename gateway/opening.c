#include "gateway/opening.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/openers.h"

struct gateway_opening {
	uv_work_t work;
	struct config config;
	gateway_opened_fn *opened; /* NULL: abandoned */
	void *arg;
	int result;
	struct vault *vault;
	char why[OPENING_WHY_SIZE];
	struct gateway_health health;
};

static void examine(struct gateway_opening *o)
{
	int r = gateway_health_examine(o->vault, &o->config.entity_id, &o->health);

	if (r != 0) {
		(void)snprintf(o->health.lines[0], HEALTH_LINE_SIZE,
			       "the vault could not be examined: %s", strerror(-r));
		o->health.count = 1;
	}
}

static void open_work(uv_work_t *work)
{
	struct gateway_opening *o = work->data;
	struct gateway_openers openers;
	struct vault_options options = {.path = o->config.vault_path,
					.create = o->config.vault_create,
					.anchor = o->config.vault_anchor};
	int r = gateway_openers_load(&o->config, &openers, o->why, sizeof(o->why));

	/* A vault is not made without the wrap that was asked for; one that is there may open. */
	options.create = options.create && r == 0;
	options.openers = openers.opener;
	options.opener_count = openers.count;
	o->result = r;
	if (openers.count > 0 && (r == 0 || access(options.path, F_OK) == 0))
		o->result = vault_open(&options, &o->vault, o->why, sizeof(o->why));
	gateway_openers_clear(&openers);
	if (o->result == 0)
		examine(o);
}

static void open_done(uv_work_t *work, int status)
{
	struct gateway_opening *o = work->data;
	struct vault *v = o->vault;

	if (status != 0)
		o->result = status;
	if (o->opened)
		o->opened(o->arg, o->result, v, o->why, &o->health);
	else
		vault_close(v);
	free(o);
}

int gateway_opening_start(uv_loop_t *loop, const struct config *config, gateway_opened_fn *opened,
			  void *arg, struct gateway_opening **out)
{
	struct gateway_opening *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->work.data = o;
	o->config = *config;
	o->opened = opened;
	o->arg = arg;
	r = uv_queue_work(loop, &o->work, open_work, open_done);
	if (r != 0) {
		free(o);
		return r;
	}
	*out = o;
	return 0;
}

void gateway_opening_abandon(struct gateway_opening *o)
{
	o->opened = NULL;
	/* Fails when the thread has begun: then its end is waited for. */
	(void)uv_cancel((uv_req_t *)&o->work);
}
