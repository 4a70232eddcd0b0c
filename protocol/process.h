#ifndef PNGW_PROTOCOL_PROCESS_H
#define PNGW_PROTOCOL_PROCESS_H

/*
 * What every program that secrets go through does first: no core file is made of it, and nobody
 * else of the same user reads its memory. What the system refuses is no error.
 */
void process_keep_secrets(void);

#endif
