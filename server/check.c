/* --check-config: what the settings name, as far as it can be looked at without changing anything.
 */

#include "server/daemon.h"
#include "server/store.h"
#include "wan/tls-config.h"

/* What the packaged unit makes when it starts. */
#define STATE_FOLDER "/var/lib/cpns-server"

static unsigned line_of(const void *config, const char *setting)
{
	return server_config_line(config, setting);
}

int server_config_check(const char *file, const struct server_config *config, FILE *notes,
			char *why, size_t why_size)
{
	const struct config_check c = {.file = file,
				       .line = line_of,
				       .config = config,
				       .state_folder = STATE_FOLDER,
				       .notes = notes,
				       .why = why,
				       .why_size = why_size};
	const struct store_sqlite_options store = {
		.path = config->database, .key_file = config->key_file, .create = true};
	struct tls_options tls;
	bool later = false;
	char text[512];
	int r;

	server_daemon_tls_options(config, &tls);
	r = tls_config_check(&c, &tls, server_daemon_tls_names);
	if (r == 0)
		r = config_check_folder(&c, "database", config->database, &later);
	if (r == 0)
		r = config_check_folder(&c, "key_file", config->key_file, &later);
	if (r == 0 && !later && store_check_sqlite(&store, text, sizeof(text)) != 0)
		r = config_check_wrong(&c, "key_file", "%s", text);
	return r;
}
