#ifndef PNGW_SERVER_ADMIN_H
#define PNGW_SERVER_ADMIN_H

/* The operator's tool. It works on the store, also while the daemon runs. */

#include "server/config.h"
#include "server/store.h"

struct admin {
	const struct server_config *config;
	struct store *store;
	int argc;
	char **argv; /* after the command */
	const char *challenge;
	bool yes;
};

/* Both say so on standard error and give the exit status. */
int admin_fail(const char *what, int r); /* r: of the store, or a negative errno */
int admin_refuse(const char *text);      /* the command itself is wrong */

/* Commands: each gives the exit status. */
int admin_revoke(struct admin *a);
int admin_revoke_user(struct admin *a);
int admin_revoke_all(struct admin *a);
int admin_allow_user(struct admin *a);
int admin_forget_vault(struct admin *a);

/* 0, a positive outcome of the store or a negative errno. */
int admin_list_revocations(struct admin *a);
int admin_list_vaults(struct admin *a);

#endif
