#include "pan/bluetooth.h"

#include <ctype.h>
#include <stddef.h>

bool bluetooth_address_valid(const char *text)
{
	size_t i;

	for (i = 0; i < BLUETOOTH_ADDRESS_SIZE - 1; i++) {
		if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return text[i] == '\0';
}
