/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rofd.h - descriptors that an untrusted client cannot turn into writable ones
 *
 * An O_RDONLY descriptor can be opened again through /proc/self/fd by whoever passes the inode's
 * permission check.  One that was opened through a read-only mount that lies in no mount namespace
 * cannot: the daemon clones its memory directory's mount once, makes the clone read-only and keeps
 * it (needs CAP_SYS_ADMIN), or is given a read-only view of it by the service manager.
 */
#ifndef KVSHM_DAEMON_ROFD_H
#define KVSHM_DAEMON_ROFD_H

struct rofd {
	int fd; /* directory that files are opened in */
	const char *protection; /* what is in force, for people */
};

/**
 * rofd_init() - find the best protection there is
 * @dir: the memory directory; @mem_fd: the same, open, outlives @r
 * @readonly_dir: a read-only view of it, or ""
 * Return: 0, -errno when the configured view cannot be opened or is not read-only.
 */
int rofd_init(struct rofd *r, const char *dir, int mem_fd, const char *readonly_dir);
void rofd_fini(struct rofd *r, int mem_fd);

/* Open a file of the memory directory read-only.  Return: descriptor, the caller's; -errno. */
int rofd_open(const struct rofd *r, const char *name);

#endif
