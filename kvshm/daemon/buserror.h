/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buserror.h - the daemon touches memory that is not there any more: a page given up by the hardware
 *
 * It cannot go on: the instruction waits for bytes that nobody has.  It notes the 2 MiB unit in a file
 * beside the pin files, says so, and dies without a core.  Its successor does not use that unit; if the
 * directory itself lies there, it starts cold.
 */
#ifndef KVSHM_DAEMON_BUSERROR_H
#define KVSHM_DAEMON_BUSERROR_H

#include <stddef.h>
#include <stdint.h>

#define RETIRED_MAX 64u

struct store;

/* Units noted so far, without repetitions.  Return: number; -EIO: the directory is among them; -errno. */
int retired_read(int dirfd, uint64_t *ret_units);

/* New files lie in new memory.  Return: 0, -errno. */
int retired_forget(int dirfd);

/* From now on, for all threads.  @dirfd: of the pin files; while .dir is not mapped, all else counts as it.  Return: 0, -errno. */
int buserror_watch(const struct store *st, int dirfd);

#endif
