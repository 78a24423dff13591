/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.h - the session segment: create, map, seal; its geometry is checked and copied
 */
#ifndef IPC_SEGMENT_H
#define IPC_SEGMENT_H

#include <stddef.h>

#include <kvshm/abi.h>

struct segment {
	struct kvshm_segment *hdr;	/* the mapping; NULL: not mapped */
	size_t len;
	/* private, checked copies */
	uint32_t sq_entries, cq_entries, touch_entries, args_len;
	struct kvshm_sqe *sq;
	struct kvshm_cqe *cq;
	struct kvshm_touch *touch;
	char *args;
};

/**
 * segment_create() - daemon: a memfd with header and rings, all pages faulted, mapped
 * @ret_fd: the caller's; sent to the client, then sealed by segment_seal().  Return: 0, -errno.
 */
int segment_create(struct segment *ret_s, int *ret_fd);

/**
 * segment_seal() - FUTURE_WRITE, SHRINK, GROW, SEAL, after the client has mapped it
 * Also for a staging window.  Return: 0, -errno: the session must end.
 */
int segment_seal(int fd);

/* Client: map and check (sizes, offsets, entries, against fstat).  Return: 0, -EBADMSG, -errno. */
int segment_map(int fd, struct segment *ret_s);

void segment_unmap(struct segment *s);

/* Daemon: staging window of KVSHM_STAGING_SLICES slices, faulted in, mapped at @ret_map. */
int staging_create(char **ret_map, int *ret_fd);
/* Client: map it.  Return: 0, -EBADMSG wrong size, -errno. */
int staging_map(int fd, char **ret_map);
void staging_unmap(char *map);

#endif
