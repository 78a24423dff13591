/* SPDX-License-Identifier: Apache-2.0 */
/* mounts.h - what the mount of a file was given as options */
#ifndef KVSHM_ARENA_MOUNTS_H
#define KVSHM_ARENA_MOUNTS_H

#include <stdbool.h>

/**
 * mount_is_huge() - does the mount of this file say huge=always or huge=within_size?
 * Looks in /proc/self/mountinfo; false also where the mount is not to be seen from here.
 */
bool mount_is_huge(int fd);

#endif
