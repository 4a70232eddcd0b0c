/* Which of Figures 6 and 7 gives a PNE its EUKey. */

#include "gateway/core-internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((format(printf, 4, 5))) static enum figure
because(enum figure figure, char *why, size_t why_size, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	(void)vsnprintf(why, why_size, format, list);
	va_end(list);
	return figure;
}

enum figure gateway_core_choose(struct core *c, const struct name *user, const struct name *entity,
				char *why, size_t why_size)
{
	const struct core_link *l = gateway_core_link_of(c, entity);
	enum pan_security level = c->options.procedures.secure_level;
	struct core_pool_info pool = {.left = 0};

	if (!l)
		return because(FIGURE_7, why, why_size,
			       "Figure 7: the PNE is not connected, so nothing is known of its "
			       "PAN's security");
	if (l->level < level)
		return because(FIGURE_7, why, why_size,
			       "Figure 7: the PAN's security is %s, and Figure 6 needs %s",
			       pan_security_name(l->level), pan_security_name(level));
	if (c->owner.text[0] && !name_equal(&c->owner, user))
		return because(
			FIGURE_7, why, why_size,
			"Figure 7: the PAN is secure, but this PN GW belongs to another user");
	if (!c->wan.up && gateway_core_pool_info(c, entity, &pool) == 0 && pool.left > 0)
		return because(FIGURE_7, why, why_size,
			       "Figure 7: the PAN is secure, but the WAN is down, and %zu EUKeys "
			       "wait in the pool",
			       pool.left);
	if (c->wan.up && !c->wan.mutual)
		return because(FIGURE_7, why, why_size,
			       "Figure 7: the PAN is secure, but the server does not authenticate "
			       "this PN GW by TLS");
	return because(FIGURE_6, why, why_size, "Figure 6: the PAN's security is %s, and %s",
		       pan_security_name(l->level),
		       c->owner.text[0] ? "the PN GW belongs to the same user"
					: "the PN GW has no owner yet");
}

bool gateway_core_split(struct core *c, const struct core_start *s, struct name *out, size_t *six)
{
	size_t seven = 0;

	*six = 0;
	for (size_t i = 0; i < s->count; i++) {
		char why[160];
		enum figure figure =
			gateway_core_choose(c, &s->user, &s->entities[i], why, sizeof(why));

		if (c->ports.chosen)
			c->ports.chosen(c->arg, s->run, &s->entities[i], figure, why);
		if (figure == FIGURE_6)
			out[(*six)++] = s->entities[i];
		else
			out[s->count - ++seven] = s->entities[i];
	}
	return *six > 0;
}
