/* SPDX-License-Identifier: Apache-2.0 */
/* lcore.h - which lcore does what: 0 main, 1 the writer, 2.. copies */
#ifndef KVSHM_DAEMON_LCORE_H
#define KVSHM_DAEMON_LCORE_H

#define LCORE_WRITER 1u
#define LCORE_COPY 2u

/* Run @fn on an idle lcore.  Return: 0, -errno. */
int lcore_launch(unsigned lcore, int (*fn)(void *arg), void *arg);

/* Wait until its function has returned. */
void lcore_join(unsigned lcore);

/* Name of the calling thread, for top and ps. */
void lcore_name(const char *name);

#endif
