/* The commands about the vault itself. Whatever takes long is done in steps or on another thread.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/control-internal.h"
#include "storage/vault-backup.h"

#define BACKUP_PAGES 64 /* in one turn of the loop */
#define WHY_SIZE     512

struct backup_job {
	uv_idle_t idle;
	struct control_client *client; /* NULL: it has gone */
	struct vault_backup *backup;
};

static void backup_freed(uv_handle_t *handle)
{
	free(handle->data);
}

static void backup_end(struct backup_job *job)
{
	vault_backup_end(job->backup);
	uv_close((uv_handle_t *)&job->idle, backup_freed);
}

static void backup_gone(void *arg)
{
	backup_end(arg);
}

static void backup_step(uv_idle_t *idle)
{
	struct backup_job *job = idle->data;
	struct control_client *client = job->client;
	struct vault_backup_progress progress;
	char why[WHY_SIZE];
	int r = vault_backup_step(job->backup, BACKUP_PAGES, why, sizeof(why));

	if (r == VAULT_BACKUP_MORE)
		return;
	gateway_control_job(client, NULL, NULL);
	vault_backup_progress(job->backup, &progress);
	backup_end(job);
	if (r != 0) {
		gateway_control_say(client, "%s", why);
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	gateway_control_backed_up(client);
	gateway_control_say(client, "backed up: %d pages", progress.total);
	gateway_control_say(client, "pngw-vault drill proves that it opens");
	gateway_control_end(client, CONTROL_DONE);
}

void gateway_control_vault_backup(struct control_client *client, const struct control_words *w,
				  size_t first)
{
	struct backup_job *job;
	char why[WHY_SIZE];
	int r;

	if (w->count != first + 1 || w->word[first][0] != '/') {
		gateway_control_usage(client);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		gateway_control_say(client, "%s", strerror(ENOMEM));
		gateway_control_end(client, CONTROL_RETRY);
		return;
	}
	r = vault_backup_begin(gateway_control_vault(client), w->word[first], &job->backup, why,
			       sizeof(why));
	if (r != 0) {
		free(job);
		gateway_control_say(client, "%s", why);
		gateway_control_end(client, CONTROL_REFUSED);
		return;
	}
	job->client = client;
	(void)uv_idle_init(gateway_control_loop(client), &job->idle);
	job->idle.data = job;
	gateway_control_job(client, job, backup_gone);
	(void)uv_idle_start(&job->idle, backup_step);
}
