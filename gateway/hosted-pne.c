#include "gateway/hosted-pne.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pne/device.h"

struct gateway_hosted_pne {
	struct pne_device *device;
};

static void write_line(void *arg, const char *text)
{
	char line[1024];
	int size = snprintf(line, sizeof(line), "%s\n", text);

	(void)arg;
	if (size < 0)
		return;
	if ((size_t)size >= sizeof(line)) {
		size = sizeof(line) - 1;
		line[size - 1] = '\n';
	}
	/* Nothing is left to tell it to when standard error is gone. */
	if (write(STDERR_FILENO, line, (size_t)size) < 0)
		return;
}

/* The core has told it in a line already. */
static void verdict(void *arg, struct pne_device *d, const struct verdict *v)
{
	(void)arg;
	(void)d;
	(void)v;
}

static void settled(void *arg, struct pne_device *d)
{
	(void)arg;
	(void)d;
}

static void stopped(void *arg, struct pne_device *d)
{
	(void)d;
	free(arg);
}

static const struct config_listen *best_listener(const struct config *config)
{
	const struct config_listen *best = &config->listen[0];

	for (size_t i = 1; i < config->listen_count; i++) {
		if (config->listen[i].security > best->security)
			best = &config->listen[i];
	}
	return best;
}

int gateway_hosted_pne_new(uv_loop_t *loop, const struct config *config,
			   struct gateway_hosted_pne **out, char *why, size_t why_size)
{
	static const struct pne_device_callbacks callbacks = {
		.line = write_line,
		.verdict = verdict,
		.settled = settled,
		.stopped = stopped,
	};
	const struct config_listen *listener = best_listener(config);
	const struct vault_opener opener = {.source = VAULT_SOURCE_KEY_FILE,
					    .path = config->pne_vault_key_file};
	struct pne_device_options options = {
		.core = {.iterations_floor = config->iterations_floor},
		.connect = listener->address,
		.vault = {.path = config->pne_vault_path,
			  .openers = &opener,
			  .opener_count = 1,
			  .create = true},
		.security = listener->security,
		.secure_from = config->secure_level,
		.ui = true,
	};
	struct gateway_hosted_pne *h;
	int r;

	*out = NULL;
	if (!config->pne_entity_id[0])
		return 0;
	if (name_set(&options.core.entity, bytes_text(config->pne_entity_id)) != 0)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	r = pne_device_new(loop, &options, &callbacks, h, &h->device, why, why_size);
	if (r != 0) {
		free(h);
		return r < 0 ? r : -EACCES;
	}
	pne_device_start(h->device);
	*out = h;
	return 0;
}

void gateway_hosted_pne_stop(struct gateway_hosted_pne *h)
{
	if (h)
		pne_device_stop(h->device);
}
