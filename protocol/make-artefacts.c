#include <stdio.h>
#include <string.h>

#include "protocol/message.h"

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*write)(FILE *out);
	} artefacts[] = {{"xsd", message_write_xsd},
			 {"markdown", message_write_markdown},
			 {"dictionary", message_write_dictionary}};

	for (size_t i = 0; argc == 2 && i < sizeof(artefacts) / sizeof(artefacts[0]); i++) {
		if (strcmp(argv[1], artefacts[i].name) == 0)
			return artefacts[i].write(stdout) < 0 ? 1 : 0;
	}
	(void)fputs("usage: make-artefacts xsd|markdown|dictionary\n", stderr);
	return 2;
}
