#include "gateway/opening.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gateway_opening {
	uv_work_t work;
	struct config config;
	gateway_opened_fn *opened; /* NULL: abandoned */
	void *arg;
	int result;
	struct vault *vault;
	char why[OPENING_WHY_SIZE];
};

static void open_work(uv_work_t *work)
{
	struct gateway_opening *o = work->data;
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE,
					    .path = o->config.vault_key_file};
	struct vault_options options = {.path = o->config.vault_path,
					.openers = &opener,
					.opener_count = 1,
					.create = o->config.vault_create};

	o->result = vault_open(&options, &o->vault, o->why, sizeof(o->why));
}

static void open_done(uv_work_t *work, int status)
{
	struct gateway_opening *o = work->data;
	struct vault *v = o->vault;

	if (status != 0)
		o->result = status;
	if (o->opened)
		o->opened(o->arg, o->result, v, o->why);
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
