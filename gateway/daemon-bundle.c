/* What a bundle tells beside the recorder: versions, settings, vault, ledger, doctor; nothing
 * secret. */

#include "gateway/daemon-internal.h"

#include <config.h>
#include <errno.h>
#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "gateway/trace.h"

#define LEDGER_TAIL 40

static void write_versions(const struct gateway_daemon *d, FILE *out)
{
	struct utsname system;

	(void)d;
	(void)fprintf(out, "pngw %s\nwolfSSL %s\nlibuv %s\nnghttp2 %s\nSQLite %s\n",
		      PACKAGE_VERSION, wolfSSL_lib_version(), uv_version_string(),
		      nghttp2_version(0)->version_str, sqlite3_libversion());
	if (uname(&system) == 0)
		(void)fprintf(out, "%s %s %s\n", system.sysname, system.release, system.machine);
}

static void write_configuration(const struct gateway_daemon *d, FILE *out)
{
	gateway_config_write(&d->config, out);
}

static void write_vault(const struct gateway_daemon *d, FILE *out)
{
	const struct vault_rollback *rollback;
	struct ledger_state ledger;
	const char *with = "";
	int trouble;

	if (!d->vault) {
		(void)fputs("not open\n", out);
		return;
	}
	vault_ledger_state(d->vault, &ledger);
	(void)fprintf(out, "open; newest ledger entry %" PRIu32 "\n", ledger.sequence);
	rollback = vault_rollback(d->vault);
	if (rollback)
		(void)fprintf(out,
			      "an older copy was put back: it is at %" PRIu32
			      ", %s knows of %" PRIu32 "\n",
			      rollback->own, rollback->who, rollback->known);
	trouble = vault_ledger_trouble(d->vault, &with);
	if (trouble != 0)
		(void)fprintf(out, "%s: %s\n", with, strerror(-trouble));
	for (size_t i = 0; i < d->health.count; i++)
		(void)fprintf(out, "%s\n", d->health.lines[i]);
}

static void write_examination(const struct gateway_daemon *d, FILE *out)
{
	const struct doctor_report *report = gateway_daemon_examined(d);

	if (report)
		gateway_doctor_print(report, out);
	else
		(void)fputs("none since the start\n", out);
}

/* Without the tags: nobody without the vault could tell whose they are. */
static void write_ledger(const struct gateway_daemon *d, FILE *out)
{
	const long header = LEDGER_HEADER_SIZE, entry = LEDGER_ENTRY_SIZE;
	uint8_t bytes[LEDGER_ENTRY_SIZE];
	char path[CONFIG_TEXT_MAX + 16];
	struct ledger_entry e;
	long size, from;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s.ledger", d->config.vault_path);
	f = fopen(path, "rbe");
	if (!f) {
		(void)fprintf(out, "%s: %s\n", path, strerror(errno));
		return;
	}
	size = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
	if (size > header) {
		from = (size - header) / entry - LEDGER_TAIL;
		if (from < 0)
			from = 0;
		if (fseek(f, header + from * entry, SEEK_SET) != 0)
			size = -1;
		while (size > 0 && fread(bytes, sizeof(bytes), 1, f) == 1) {
			ledger_entry_decode(bytes, &e);
			(void)fprintf(out,
				      "%" PRIu32 " %" PRIu64
				      " %s, %s, Figure %u, key index %" PRIu32 ", epoch %" PRIu32
				      "\n",
				      e.sequence, e.time, ledger_event_text(e.event),
				      ledger_reason_text(e.reason), e.figure, e.key_index, e.epoch);
		}
	}
	(void)fclose(f);
}

int gateway_daemon_bundle(struct gateway_daemon *d, FILE *out)
{
	static const struct {
		const char *name;
		void (*write)(const struct gateway_daemon *d, FILE *out);
	} parts[] = {
		{"versions", write_versions},
		{"configuration", write_configuration},
		{"vault", write_vault},
		{"ledger", write_ledger},
		{"examination", write_examination},
	};
	enum { PARTS = sizeof(parts) / sizeof(parts[0]) };
	struct bundle_section sections[PARTS];
	char *texts[PARTS] = {NULL};
	int r = 0;

	for (size_t i = 0; r == 0 && i < PARTS; i++) {
		size_t size;
		FILE *f = open_memstream(&texts[i], &size);

		if (f)
			parts[i].write(d, f);
		if (!f || fclose(f) != 0)
			r = -ENOMEM;
		sections[i] = (struct bundle_section){parts[i].name, texts[i]};
	}
	if (r == 0)
		r = gateway_recorder_bundle(d->recorder, sections, PARTS, out);
	for (size_t i = 0; i < PARTS; i++)
		free(texts[i]);
	return r;
}
