/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - what kvshm doctor looks at, and what it found
 *
 * Every file of /proc, /sys, /etc, /run and /dev is read below a root, so a test, or a copy of another
 * host's files, is a host.  A check adds one finding or more; what it cannot read it says so in a note.
 */
#ifndef UTILS_DOCTOR_H
#define UTILS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "utils/target.h"

enum verdict {
	VERDICT_OK,
	VERDICT_NOTE,			/* nothing to change, or nothing known */
	VERDICT_CHANGE,
};

struct finding {
	const char *check;		/* which check, one word */
	enum verdict verdict;
	char text[256];
	char suggest[512];		/* lines to add or run, '\n' between them; "" none */
};

#define DOCTOR_FINDINGS 64u

struct doctor {
	const char *root;		/* "" or a directory */
	struct target target;
	struct statpage *page;		/* NULL: no daemon was ever here */
	enum target_state state;
	char memory_dir[KVSHM_STATS_TEXT_LEN], socket[KVSHM_STATS_TEXT_LEN];
	bool is_system;			/* its socket lies below /run/kvshm */
	uint64_t arena_bytes;		/* capacity; without a page what a plain kvshmd would take at most */
	struct finding finding[DOCTOR_FINDINGS];
	unsigned nr;
};

/* Add a finding; @suggest may be NULL. */
__attribute__((format(printf, 5, 6))) void doctor_find(struct doctor *d, const char *check, enum verdict v,
						       const char *suggest, const char *fmt, ...);

/* ---- files below the root (doctor_file.c) ------------------------------------------------------ */

/* The path below the root; @buf of DOCTOR_PATH bytes. */
#define DOCTOR_PATH 640u
const char *doctor_path(const struct doctor *d, const char *path, char *buf);

/* A whole file, at most @len - 1 bytes, NUL behind.  Return: its length, -errno. */
int doctor_read(const struct doctor *d, const char *path, char *buf, size_t len);

/* The first number of a file.  Return: 0, -errno, -EINVAL it is none ("max"). */
int doctor_number(const struct doctor *d, const char *path, uint64_t *ret_v);

struct doctor_mount {
	char dir[256], type[32], options[256];
};

/* The mount that @path lies on, by /proc/self/mounts.  Return: 0, -ENOENT, -errno. */
int doctor_mount(const struct doctor *d, const char *path, struct doctor_mount *ret_m);

/* The value of "name=" among options by commas, "" if it stands without one; NULL. */
const char *doctor_option(const char *options, const char *name, char *buf, size_t len);

/* ---- checks ------------------------------------------------------------------------------------- */

extern const char doctor_no_daemon[];

void check_daemon(struct doctor *d);		/* doctor_daemon.c */
void check_abi(struct doctor *d);
void check_protection(struct doctor *d);
void check_trust(struct doctor *d);
void check_socket(struct doctor *d);
void check_stats(struct doctor *d);
void check_remove_ipc(struct doctor *d);

void check_pages(struct doctor *d);		/* doctor_memory.c */
void check_hugepages(struct doctor *d);
void check_shmem(struct doctor *d);
void check_mount(struct doctor *d);
void check_shm_size(struct doctor *d);
void check_pins(struct doctor *d);
void check_swap(struct doctor *d);
void check_numa(struct doctor *d);

void check_kernel(struct doctor *d);		/* doctor_host.c */
void check_clock(struct doctor *d);
void check_memlock(struct doctor *d);
void check_nofile(struct doctor *d);
void check_cgroup(struct doctor *d);
void check_io_uring(struct doctor *d);

void check_gpu(struct doctor *d);		/* doctor_gpu.c */

#endif
