#include "protocol/process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void process_keep_secrets(void)
{
	static const struct rlimit none;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void process_end_undisturbed(void)
{
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
}
