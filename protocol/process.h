#ifndef PNGW_PROTOCOL_PROCESS_H
#define PNGW_PROTOCOL_PROCESS_H

/*
 * What every program that secrets go through does first: no core file is made of it, and nobody
 * else of the same user reads its memory. What the system refuses is no error.
 */
void process_keep_secrets(void);

/*
 * For a program that was told to stop, right after it has let go of its own handlers: one more
 * SIGTERM, SIGINT or SIGHUP no longer ends it, so that what it still writes is written and its exit
 * status is its own. Senders that signal a process and its group send two.
 */
void process_end_undisturbed(void);

#endif
