#ifndef PNGW_STORAGE_LIBRARY_H
#define PNGW_STORAGE_LIBRARY_H

/* SQLite's version: what this was compiled with, and what it runs with. */
const char *vault_library_built(void);
const char *vault_library_version(void);

#endif
