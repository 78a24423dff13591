/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learnt.h - what the policy has learnt, in a private file named `policy` beside the pin files
 *
 * Two copies by turns, each with a number and a checksum over all of it: a write that SIGKILL cuts short
 * leaves the one before.  Whatever the file holds, a start goes on: at worst the policy learns from nothing.
 */
#ifndef KVSHM_DAEMON_LEARNT_H
#define KVSHM_DAEMON_LEARNT_H

#include <stddef.h>
#include <stdint.h>

#define LEARNT_FILE "policy"
#define LEARNT_MAX (16u << 20)		/* bytes of a copy, its header included */

struct learnt_id {			/* whose state it is; all of it must match */
	const char *policy;
	uint64_t instance;		/* of the content */
	uint32_t max_blocks;
};

struct learnt_file {
	int fd;
	unsigned copy;			/* written last, 0 or 1 */
	uint64_t number;		/* of that write, 0: none */
};

/* Return: 0, -errno. */
int learnt_open(int dirfd, struct learnt_file *ret_f);
void learnt_close(struct learnt_file *f);

/**
 * learnt_read() - the newest copy that verifies
 * @ret_buf: malloc()ed, the caller's; set only on success
 * Return: bytes; -ENOENT nothing was written, -EUCLEAN no copy verifies, -ESTALE of other content, another
 * policy or another form, -ENOMEM, -EIO.
 */
long learnt_read(struct learnt_file *f, const struct learnt_id *id, void **ret_buf);

/* Over the older copy.  Return: 0, -EFBIG, -errno. */
int learnt_write(struct learnt_file *f, const struct learnt_id *id, const void *buf, size_t len);

#endif
