#include "storage/library.h"

#include <sqlite3.h>

const char *vault_library_built(void)
{
	return SQLITE_VERSION;
}

const char *vault_library_version(void)
{
	return sqlite3_libversion();
}
