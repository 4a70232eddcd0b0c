#include "gateway/opening.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/openers.h"
#include "storage/vault-manage.h"

struct gateway_opening {
	uv_work_t work;
	struct config config;
	gateway_opened_fn *opened; /* NULL: abandoned */
	void *arg;
	int result;
	struct vault *vault;
	char why[OPENING_WHY_SIZE];
};

/* A key that was asked for and is of no use: it would be missed on the day the other one is lost.
 */
static void try_others(struct gateway_opening *o, const struct gateway_openers *openers)
{
	for (size_t i = 0; i < openers->count && !o->why[0]; i++) {
		const struct vault_opener *opener = &openers->opener[i];
		struct vault_opener_check check;

		if (opener->source != VAULT_SOURCE_KEY_FILE)
			continue;
		vault_check_opener(o->vault, opener, &check);
		if (check.result != 0)
			(void)snprintf(o->why, sizeof(o->why), "%s does not open the vault: %s",
				       opener->path, check.why);
	}
}

bool gateway_opening_cut_short(const struct config *c, char *why, size_t why_size)
{
	char plan[CONFIG_TEXT_MAX + 16];

	(void)snprintf(plan, sizeof(plan), "%s.take.plan", c->vault_path);
	if (access(plan, F_OK) != 0)
		return false;
	(void)snprintf(why, why_size,
		       "a hand-over to this box was cut short (%s): pngw-handover finish", plan);
	return true;
}

static void open_work(uv_work_t *work)
{
	struct gateway_opening *o = work->data;
	struct gateway_openers openers;
	struct vault_options options = {.path = o->config.vault_path,
					.create = o->config.vault_create,
					.anchor = o->config.vault_anchor};
	char passphrase_why[OPENING_WHY_SIZE] = "";
	int r = gateway_openers_load(&o->config, &openers, passphrase_why, sizeof(passphrase_why));

	/* A vault is not made without the wrap that was asked for; one that is there may open. */
	options.create = options.create && r == 0;
	options.openers = openers.opener;
	options.opener_count = openers.count;
	o->result = r;
	if (openers.count > 0 && (r == 0 || access(options.path, F_OK) == 0))
		o->result = vault_open(&options, &o->vault, o->why, sizeof(o->why));
	if (!o->why[0])
		(void)snprintf(o->why, sizeof(o->why), "%s", passphrase_why);
	if (o->result == 0)
		try_others(o, &openers);
	gateway_openers_clear(&openers);
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
