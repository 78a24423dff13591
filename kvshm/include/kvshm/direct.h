/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.h - memory for other devices: what a network card registers, files that a GPU reads and writes
 *
 * A card reads and writes the memory of a GPU by a dma-buf: kvshm_gpu_dmabuf(), ibv_reg_dmabuf_mr(3).  The arena needs
 * none: a card registers host memory by its mapping, kvshm_extents(), ibv_reg_mr(3); read-only for an untrusted client.
 * A block's @ptr lies in one of them.  Who lets a card read a block holds a pin until the card is done, as for any other
 * reader; who lets it write has been granted the block.
 *
 * A file of blocks is loaded into the engine's paged KV and saved from it: kvshm_file_open() -> kvshm_file_load() or
 * kvshm_file_save() -> kvshm_file_wait().  Where GPUDirect Storage is there (libcufile.so.0, found at run time), the disk
 * reads and writes device memory; else pinned host memory is on the way.  The file holds blocks and nothing else: whose
 * they are, and whether they still are what they were, is for the caller to know.
 *
 * Errors are negative errno, outputs are left alone on failure.  All calls belong to the thread of the handle.
 */
#ifndef KVSHM_DIRECT_H
#define KVSHM_DIRECT_H

#include <kvshm/gpu.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kvshm_gpu_dmabuf() - a range of device memory as a dma-buf
 * @g: the GPU side
 * @addr: device address, of one allocation
 * @len: bytes
 * @ret_off: where the range begins in the buffer, which is of whole pages
 *
 * The memory stays allocated until the descriptor is closed and whoever imported it has let go.
 *
 * Return: the descriptor, the caller's; -EOPNOTSUPP device or driver exports none (kvshm-doctor(1) says which); -EINVAL
 * not memory of this device; -ENOTRECOVERABLE the device is lost; other errors of the driver; -EOWNERDEAD.
 */
int kvshm_gpu_dmabuf(struct kvshm_gpu *g, uint64_t addr, uint64_t len, uint64_t *ret_off);

/**
 * struct kvshm_extent - a piece of the arena as this process maps it
 * @addr: where
 * @len: bytes, whole pages
 * @arena_offset: of its first byte
 * @node: NUMA node
 * @page_kind: enum kvshm_page_kind
 * @content: changes when the handle is attached to another arena: these mappings end then, registrations first
 * @is_writable: 0: a card may only be let read
 */
struct kvshm_extent {
	void *addr;
	uint64_t len, arena_offset;
	uint32_t node, page_kind;
	uint32_t content, is_writable;
};

/**
 * kvshm_extents() - the arena's mappings
 * @k: the handle
 * @ret: array of @max; may be NULL with 0
 * @max: of @ret
 *
 * An arena grows: when a block lies in none of them, there are more.
 *
 * Return: how many there are, @max at most are stored; -ESTALE nothing is attached; -EOWNERDEAD.
 */
int kvshm_extents(struct kvshm *k, struct kvshm_extent *ret, unsigned max);

/* ---- files -------------------------------------------------------------------------------------------- */

struct kvshm_file;

#define KVSHM_FILE_WRITE 0x1u		/* written too; made if it is not there */
#define KVSHM_FILE_DIRECT 0x2u		/* by GPUDirect Storage, or not at all */
#define KVSHM_FILE_BOUNCE 0x4u		/* through host memory, whatever there is */

/**
 * struct kvshm_file_options - a file of blocks; zero is the default of each field, but for @path
 * @sz: sizeof(struct kvshm_file_options)
 * @flags: KVSHM_FILE_*
 * @group: of the layout, whose blocks it holds
 * @path: of the file
 * @libcufile: path of GPUDirect Storage's library; NULL: $KVSHM_LIBCUFILE, else libcufile.so.0
 * @nr_slots: blocks under way at once, a thread and a block of device memory each; 0: 8, at most 64
 * @timeout_ms: how long kvshm_file_close() waits, 0: 5000
 */
struct kvshm_file_options {
	size_t sz;
	uint32_t flags, group;
	const char *path;
	const char *libcufile;
	uint32_t nr_slots, timeout_ms;
};

/**
 * kvshm_file_open() - a file of blocks, for a GPU side
 * @g: the GPU side
 * @opts: copied
 * @ret_f: ended by kvshm_file_close(), and by kvshm_gpu_close()
 *
 * Return: 0; -EOPNOTSUPP with KVSHM_FILE_DIRECT: there is no GPUDirect Storage, or not for this file; -EINVAL; -ENOMEM;
 * errors of open(2) and of the driver; -EOWNERDEAD.
 */
int kvshm_file_open(struct kvshm_gpu *g, const struct kvshm_file_options *opts, struct kvshm_file **ret_f);

/**
 * kvshm_file_close() - wait for what is under way; what has not begun is dropped
 * @f: may be NULL; not used afterwards, whatever the result
 *
 * What was saved is with the kernel; that it is on the disk is for fsync(2).
 *
 * Return: 0; -ETIMEDOUT, -ENOTRECOVERABLE disk or device do not answer, or it is lost: what they may still touch is left
 * behind until the process ends.
 */
int kvshm_file_close(struct kvshm_file *f);

/**
 * kvshm_file_load() - begin to load blocks into the engine's
 * @f: the file
 * @places: where in the file each is, in blocks from its begin
 * @engine_blocks: where it goes
 * @nr: of both arrays, which stay until the transfer is over
 *
 * Waits for nothing.  One transfer at a time.
 *
 * Return: 0; -EBUSY one is under way; -EINVAL no such block; -EOVERFLOW a place past any file; -ENOTRECOVERABLE,
 * -ETIMEDOUT after a lost device; -EOWNERDEAD.
 */
int kvshm_file_load(struct kvshm_file *f, const uint64_t *places, const uint32_t *engine_blocks, unsigned nr);

/**
 * kvshm_file_save() - begin to save blocks of the engine
 * @f: the file, opened with KVSHM_FILE_WRITE
 * @places: where in the file each goes
 * @engine_blocks: where it is; the device has written it, and does not again until the transfer is over
 * @nr: of both arrays, which stay until then
 *
 * Return: as kvshm_file_load(); -EROFS not opened for writing.
 */
int kvshm_file_save(struct kvshm_file *f, const uint64_t *places, const uint32_t *engine_blocks, unsigned nr);

/**
 * kvshm_file_wait() - go on with the transfer, wait for its end
 * @f: the file
 * @timeout_us: 0: look only
 *
 * A transfer goes on in these calls alone.  One that fails is told of when all of it has passed; what it has loaded
 * until then is undefined.
 *
 * Return: 1 it is over, or there is none; 0 not yet; -ENODATA past the end of the file; -ENOSPC, -EIO and others of
 * read(2), write(2) and the driver; -ENOTRECOVERABLE, -ETIMEDOUT the device is lost or hangs, for good; -EOWNERDEAD.
 */
int kvshm_file_wait(struct kvshm_file *f, unsigned timeout_us);

/**
 * struct kvshm_file_facts - how a file is reached, and what it has carried
 * @sz: in: sizeof(struct kvshm_file_facts)
 * @is_direct: 1: by GPUDirect Storage
 * @nr_slots: blocks under way at once
 * @stride: bytes from a block to the next, whole pages
 * @in_blocks: loaded
 * @out_blocks: saved
 * @in_bytes: read
 * @out_bytes: written
 * @how: what GPUDirect Storage stands on, as "nvidia-fs 2.17"; "" while it is not used
 * @why: why it is not used; "" while it is
 */
struct kvshm_file_facts {
	size_t sz;
	uint32_t is_direct, nr_slots;
	uint64_t stride;
	uint64_t in_blocks, out_blocks;
	uint64_t in_bytes, out_bytes;
	char how[48];
	char why[128];
};

/**
 * kvshm_file_info() - how a file is reached, and what it has carried
 * @f: the file
 * @info: .sz is set by the caller, the rest is filled in
 *
 * Return: 0; -EINVAL for a .sz that no version had; -EOWNERDEAD.
 */
int kvshm_file_info(struct kvshm_file *f, struct kvshm_file_facts *info);

#ifdef __cplusplus
}
#endif
#endif
