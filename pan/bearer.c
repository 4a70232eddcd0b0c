#include "pan/bearer.h"

const char *pan_security_name(enum pan_security level)
{
	switch (level) {
	case PAN_SECURITY_NONE:
		return "none";
	case PAN_SECURITY_ENCRYPTED:
		return "encrypted";
	case PAN_SECURITY_AUTHENTICATED:
		return "authenticated";
	}
	return "unknown";
}
