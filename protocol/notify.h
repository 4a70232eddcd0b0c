#ifndef PNGW_PROTOCOL_NOTIFY_H
#define PNGW_PROTOCOL_NOTIFY_H

/*
 * What a daemon tells the service manager that started it (sd_notify(3)). Where there is none
 * nothing happens, and a failure is nobody's business: the manager draws its own conclusions.
 */

/* Serving, also again after notify_reloading(). */
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

/* One line for a person: `systemctl status`. */
void notify_status(const char *text);

/* Starting is under way and takes its time: that many seconds more from now. */
void notify_extend(unsigned seconds);

/* How often notify_alive() is to be called, in milliseconds; 0: nobody waits for it. */
unsigned notify_interval(void);
void notify_alive(void);

#endif
