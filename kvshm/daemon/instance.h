/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.h - where the files of this daemon lie, and that nobody else uses them
 *
 *   run directory     kvshm.sock, stats, lock
 *   memory directory  directory, arena.<node>.<n>, lock
 *   pins directory    pins.<slot>, sessions
 *
 * The locks are on files that no client gets a descriptor of: a client may flock what it has.
 */
#ifndef KVSHM_DAEMON_INSTANCE_H
#define KVSHM_DAEMON_INSTANCE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvshm/daemon/conf.h"

struct instance {
	char run_dir[PATH_MAX], mem_dir[PATH_MAX], pins_dir[PATH_MAX], socket[PATH_MAX];
	int run_fd, mem_fd, pins_fd;
	int lock_fd[2]; /* of run and memory directory, held while we live */
	bool is_system; /* root or a service: not somebody's login */
	bool is_hugetlbfs; /* memory directory; no plain files can lie there */
};

/* Names only, by design.md 12; creates nothing.  Return: 0, -1 with @d. */
int instance_name(struct instance *in, const struct conf *c, struct diag *d);

/**
 * instance_open() - make the directories, check their owner, take the locks
 * Return: 0; -1 with @d: EX_TEMPFAIL another daemon has it, EX_NOPERM, EX_CANTCREAT.
 */
int instance_open(struct instance *in, const struct conf *c, struct diag *d);
void instance_close(struct instance *in);

/**
 * instance_size() - bytes of a new arena
 * As configured, or min(25 % of MemAvailable, half of what the tmpfs has free, half of the cgroup's
 * headroom, 4 GiB); hugetlbfs: half of the free pages.  Return: 0, -1 with @d naming the cure.
 */
int instance_size(const struct instance *in, const struct conf *c, uint64_t *ret_size,
		  struct diag *d);

/**
 * memsize_check() - is there room for @len more bytes in the memory directory?
 * Asked before pages are faulted: past the machine's memory the kernel would kill somebody instead of
 * refusing us.  Return: 0, -ENOSPC file system, -ENOMEM memory or cgroup.
 */
int memsize_check(const struct instance *in, uint64_t len);

/* Bytes free in the memory directory's file system or pool. */
uint64_t memsize_free(const struct instance *in);

/* Bytes that the cgroups of this process still allow, UINT64_MAX: no limit (memsize.c). */
uint64_t memsize_cgroup_headroom(void);
uint64_t memsize_available(void);

#endif
