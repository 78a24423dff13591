/* SPDX-License-Identifier: Apache-2.0 */
/* sdnotify.h - what systemd wants to hear and what it hands over; nothing where there is none */
#ifndef KVSHM_DAEMON_SDNOTIFY_H
#define KVSHM_DAEMON_SDNOTIFY_H

#include <stdint.h>

/* Send a state ("READY=1") to $NOTIFY_SOCKET; failures are ignored. */
void sd_tell(const char *state);

/* Half of the watchdog's interval in ns, 0: no watchdog. */
uint64_t sd_watchdog_ns(void);

/* The listening socket passed by socket activation, or -1. */
int sd_listen_fd(void);

#endif
