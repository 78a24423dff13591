/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi.h - everything that two processes share, to the byte
 *
 * All structs are little-endian, fixed width, with named padding that must be zero.  Offsets, never
 * pointers.  Each field has one writer, named beside it:
 *   [daemon] the writer thread of kvshmd; clients map these read-only
 *   [client] the one client that owns the file or segment; the daemon never trusts it
 * Shared words are plain integers here so that the header is C, C++ and FFI neutral; code touches
 * them only through kvshm/base/atomic.h.  Described in Documentation/ABI/; held by
 * tests/unit/kvshm/include/test_abi.c.
 */
#ifndef KVSHM_ABI_H
#define KVSHM_ABI_H

#include <stdint.h>

#include <kvshm/key.h>
#include <kvshm/version.h>

#define KVSHM_CACHELINE 64u
#define KVSHM_PAGE 4096u		/* unit of block offsets */

/* ---- block descriptor ------------------------------------------------------------------- */

/*
 * State word: bits 0-3 state, 4-7 flags, 8-31 owner (number of the pin file of the session that
 * holds the grant), 32-63 generation (which life of this descriptor).  Zero is FREE, life 0.
 */
enum kvshm_block_state {
	KVSHM_BLOCK_FREE = 0,
	KVSHM_BLOCK_GRANTED = 1,	/* handed to a session, being filled */
	KVSHM_BLOCK_PUBLISHED = 2,	/* the only state that a reader may use */
	KVSHM_BLOCK_EVICTING = 3,	/* closed to new pins, counts as published */
	KVSHM_BLOCK_QUARANTINED = 4,	/* unfindable, bytes still in use; freed when unpinned */
};

#define KVSHM_STATE_MASK 0xfull
#define KVSHM_FLAG_NOPARENT 0x10ull	/* a loose block or the root of a chain */
#define KVSHM_FLAG_CHECKSUM 0x20ull	/* .checksum is known */
#define KVSHM_FLAG_RELOCATED 0x40ull	/* QUARANTINED only: the old place of a moved block */
#define KVSHM_FLAGS_MASK 0xf0ull
#define KVSHM_OWNER_SHIFT 8
#define KVSHM_OWNER_MAX 0xffffffu
#define KVSHM_GENERATION_SHIFT 32

struct kvshm_desc {			/* [daemon] one cache line */
	uint64_t state;
	struct kvshm_key key;
	uint32_t parent;		/* block id, 0 with NOPARENT; RELOCATED: id of the moved block */
	uint32_t depth;			/* 0 at a root */
	uint32_t page;			/* arena offset / KVSHM_PAGE */
	uint32_t length;		/* payload bytes, 1..KVSHM_BLOCK_MAX */
	uint16_t ns;			/* namespace number */
	uint16_t tokens;		/* tokens in the block, 0 = the namespace's block_tokens */
	uint32_t checksum;		/* XXH3-64 of the payload folded to 32 bits, 0 = unknown */
};

#define KVSHM_BLOCK_MIN 4096u
#define KVSHM_BLOCK_MAX (64u << 20)

/* ---- index ------------------------------------------------------------------------------ */

#define KVSHM_BUCKET_SLOTS 8

struct kvshm_bucket {			/* [daemon] slot = tag << 32 | block id, 0 = empty */
	uint64_t slot[KVSHM_BUCKET_SLOTS];
};

/* ---- directory file --------------------------------------------------------------------- */

#define KVSHM_DIRECTORY_MAGIC 0x315249444d48534bull	/* "KSHMDIR1" */

/* Superblock state word: bits 0-31 LIVE or DEAD, bits 32-63 start count of the daemon. */
#define KVSHM_SB_LIVE 0x4556494cu	/* "LIVE" */
#define KVSHM_SB_DEAD 0x44414544u	/* "DEAD" */

struct kvshm_superblock {		/* [daemon] first page of the directory */
	/* 0..63: frozen for ever */
	uint64_t magic;
	uint32_t abi;
	uint32_t frozen_len;		/* 64 */
	uint64_t state;			/* tested by clients at each acquire */
	uint8_t boot_id[16];
	uint64_t geometry_hash;		/* over bytes 64..191 */
	uint64_t resv0[2];
	/* 64..191: geometry, fixed at creation */
	uint64_t directory_len;
	uint64_t ns_off, extent_off, desc_off, bucket_off;	/* byte offsets in this file */
	uint32_t max_ns, max_extents;
	uint32_t max_blocks;		/* ids 1..max_blocks; desc[0] is never used */
	uint32_t nr_buckets;		/* power of two */
	uint64_t hash_seed;		/* of the bucket hash, random per instance */
	uint64_t instance;		/* random identity of this content */
	uint64_t resv1[7];
	/* 192..255 */
	uint32_t writer_asleep;		/* DB-1: ring the doorbell when 1 */
	uint32_t nr_extents;		/* extents served so far: entries 0..nr_extents-1 are final */
	uint32_t nr_ns;
	uint32_t resv2;
	uint64_t daemon_pid;
	uint64_t daemon_start_ticks;	/* field 22 of /proc/pid/stat */
	uint64_t resv3[4];
	uint8_t pad[4096 - 256];
};

struct kvshm_ns_entry {			/* [daemon] */
	uint8_t fingerprint[32];	/* what the namespace is named by */
	uint8_t layout[32];		/* layout fingerprint; a different one is refused */
	uint32_t block_len;		/* bytes of a full block */
	uint32_t block_tokens;
	uint32_t state;			/* 0 unused, 1 live */
	uint32_t uid;			/* who attached it first */
	uint8_t label[32];		/* for people, NUL padded, never trusted */
	uint64_t resv[2];
};

enum kvshm_page_kind {
	KVSHM_PAGES_4K = 1,
	KVSHM_PAGES_TMPFS_HUGE = 2,	/* PMD-mapped shmem */
	KVSHM_PAGES_HUGETLB = 3,
};

struct kvshm_extent_entry {		/* [daemon] */
	uint64_t base;			/* arena offset of its first byte, 2 MiB aligned */
	uint64_t len;			/* bytes, 2 MiB aligned; 0 = unused */
	uint32_t node;			/* NUMA node */
	uint32_t number;		/* file arena.<node>.<number> */
	uint32_t page_kind;		/* as read back from smaps */
	uint32_t resv0;
	uint64_t resv[4];
};

/* ---- pin file --------------------------------------------------------------------------- */

/*
 * Word = generation << 32 | block id; 0 = free.  Word 0 of the file is its state in the low half; in the
 * high half how many leading words may be in use, word 0 included, stored before the first use of a
 * word beyond (0: unknown, all are scanned).
 */
#define KVSHM_PINFILE_OPEN 0x4e45504fu		/* "OPEN", low half of word 0 */
#define KVSHM_PINFILE_CLOSED 0x534f4c43u	/* orderly last release */
#define KVSHM_PIN_WORDS 4096u

/* ---- export: a pinned prefix as plain data ------------------------------------------------- */

#define KVSHM_EXPORT_MAGIC 0x315058454d48534bull	/* "KSHMEXP1" */

struct kvshm_export_block {		/* the parent of block i is block i - 1 */
	uint32_t id, generation;
	uint64_t offset;		/* in the arena, a hint: blocks may move */
};

/* Made by one client and read by another, in whatever way the engine carries it; never trusted. */
struct kvshm_export {			/* @nr struct kvshm_export_block follow */
	uint64_t magic;
	uint32_t abi;
	uint32_t len;			/* bytes of all of it */
	uint64_t instance;		/* content that the ids belong to */
	uint32_t ns;			/* namespace number in that content */
	uint32_t first;			/* depth of the first block that follows */
	uint32_t nr;			/* the last of them is the one to pin */
	uint32_t resv0;
	struct kvshm_key key;		/* of the last block */
	uint64_t resv1[3];
};

/* ---- session segment -------------------------------------------------------------------- */

enum kvshm_op {
	KVSHM_OP_NOP = 0,
	KVSHM_OP_ATTACH_NS = 1,		/* args: struct kvshm_ns_args */
	KVSHM_OP_GRANT = 2,		/* nr blocks of .len bytes (0: the namespace's) */
	KVSHM_OP_RETURN = 3,		/* args: nr struct kvshm_block_ref */
	KVSHM_OP_COMMIT = 4,		/* args: nr struct kvshm_commit_rec; parent key in .key */
	KVSHM_OP_DROP = 5,		/* .key, or the whole namespace with SQE_F_ALL */
	KVSHM_OP_HINT = 6,		/* args: nr struct kvshm_hint_rec, of blocks of .ns */
	KVSHM_OP_PREFETCH = 7,
	KVSHM_OP_STAGE_IN = 8,		/* args: nr struct kvshm_stage_rec: from the arena to a GPU, by kvshm-gpud */
	KVSHM_OP_STAGE_OUT = 9,		/* a COMMIT of blocks that kvshm-gpud fills from a GPU before; args: nr struct
					 * kvshm_commit_rec, behind them the copies as struct kvshm_stage_rec */
	KVSHM_OP_DETACH = 10,
	KVSHM_OP_LAST
};

#define KVSHM_SQE_F_NOPARENT 0x01	/* COMMIT, STAGE_OUT: a chain from its root (.key is zero) */
#define KVSHM_SQE_F_LOOSE 0x02		/* COMMIT, STAGE_OUT: every record is a loose block */
#define KVSHM_SQE_F_STAGED 0x04		/* COMMIT: payload comes through the staging window */
#define KVSHM_SQE_F_ALL 0x08		/* DROP: all blocks of the namespace */
#define KVSHM_SQE_F_KNOWN 0x0f

struct kvshm_sqe {			/* [client] 64 bytes */
	uint8_t op;
	uint8_t flags;
	uint16_t ns;
	uint32_t nr;			/* records, keys or blocks, as the opcode says */
	uint64_t user_data;		/* comes back in the completion */
	uint32_t off;			/* byte offset in the argument area, 8-aligned */
	uint32_t len;			/* bytes of arguments; GRANT: bytes of a block */
	uint64_t stamp_ns;		/* CLOCK_MONOTONIC at submit, 0 = unknown */
	struct kvshm_key key;		/* COMMIT, STAGE_OUT: key of the parent; DROP: key; else zero */
};

struct kvshm_id_run {
	uint32_t first, nr;		/* block ids first .. first + nr - 1 */
};

#define KVSHM_CQE_RUNS 5

struct kvshm_cqe {			/* [daemon] 64 bytes */
	uint64_t user_data;
	int32_t res;			/* >= 0: count or number, < 0: -errno */
	uint8_t op;
	uint8_t resv0;
	uint16_t nr_runs;
	uint32_t nr_duplicate;		/* COMMIT, STAGE_OUT: keys that were there already */
	uint32_t nr_dropped;		/* COMMIT, STAGE_OUT: keys not published */
	struct kvshm_id_run run[KVSHM_CQE_RUNS];	/* GRANT: what was granted */
};

struct kvshm_block_ref {
	uint32_t id, generation;
};

struct kvshm_commit_rec {		/* 64 bytes; the parent of record i is record i - 1 */
	struct kvshm_key key;
	struct kvshm_block_ref block;	/* the grant; zero when staged, and of STAGE_OUT */
	uint32_t length;		/* payload bytes */
	uint16_t tokens;		/* 0 = the namespace's */
	uint16_t flags;			/* 0 */
	uint32_t checksum;		/* as in the descriptor, 0 = unknown */
	uint32_t hint;			/* class hint, 0 = none */
	uint32_t resv[2];
};

struct kvshm_ns_args {
	uint8_t fingerprint[32];
	uint8_t layout[32];
	uint32_t block_len;
	uint32_t block_tokens;
	uint8_t label[32];
	uint64_t resv[2];
};

/* What the client knows of the time to come.  Wishes: one that is lost or refused costs nothing. */
enum kvshm_hint_kind {
	KVSHM_HINT_QUEUED = 1,		/* a request that waits or runs will use the path to the block */
	KVSHM_HINT_TOOL = 2,		/* a tool was called: the path will be used when it answers */
	KVSHM_HINT_RETAIN = 3,		/* keep the path, by .priority and .ttl_ns */
	KVSHM_HINT_DONE = 4,		/* all that was said under .ticket is over */
	KVSHM_HINT_CLOSED = 5,		/* nobody comes back for the last .nr blocks of the path */
	KVSHM_HINT_NODE = 6,		/* blocks granted to this session are wanted on NUMA node .nr */
	KVSHM_HINT_LAST
};

#define KVSHM_HINTS_MAX 64u		/* records of one HINT */
#define KVSHM_HINT_PRIORITY_MAX 7u
#define KVSHM_HINT_TTL_NS 60000000000ull	/* where .ttl_ns is 0 */
#define KVSHM_HINT_TTL_MAX_NS 86400000000000ull	/* a longer one counts as this */

struct kvshm_hint_rec {			/* 40 bytes; what a kind does not use is zero */
	struct kvshm_block_ref block;	/* deepest block of the path; DONE, NODE: zero */
	uint32_t kind;			/* enum kvshm_hint_kind */
	uint32_t nr;			/* CLOSED: blocks of the session's own, > 0; NODE: number */
	uint64_t ticket;		/* QUEUED, TOOL, RETAIN, DONE: the client's name for it */
	uint64_t ttl_ns;		/* QUEUED, TOOL, RETAIN */
	uint32_t priority;		/* RETAIN: 0..KVSHM_HINT_PRIORITY_MAX */
	uint32_t resv;
};

#define KVSHM_STAGE_MAX 256u		/* copies of one STAGE_IN or STAGE_OUT */

struct kvshm_stage_rec {		/* 40 bytes: one contiguous copy */
	struct kvshm_block_ref block;	/* published; kvshm-gpud pins it itself while it copies.  STAGE_OUT: zero */
	uint32_t off, len;		/* of its payload; len > 0.  STAGE_OUT: without a gap, see the ABI's page */
	uint64_t buffer;		/* token that kvshm-gpud gave for a buffer of the client */
	uint64_t buffer_off;
	uint64_t resv;
};

struct kvshm_touch {			/* [client] 32 bytes, lossy */
	uint64_t time_ns;		/* CLOCK_MONOTONIC */
	uint32_t id, generation;	/* deepest block of the match */
	uint32_t nr;			/* blocks from the root to it */
	uint32_t hint;			/* class hint, 0 = none */
	uint64_t resv;
};

/* Free-running index words; each on a line of its own.  pending = tail - head, unsigned. */
struct kvshm_ring_ctl {
	uint32_t tail;			/* producer */
	uint32_t pad0[15];
	uint32_t head;			/* consumer */
	uint32_t pad1[15];
};

/* The client library's own counters: monotone, untrusted, carried over a re-attach. */
enum kvshm_client_counter {
	KVSHM_CC_LOOKUPS,
	KVSHM_CC_LOOKUP_BLOCKS,		/* asked for */
	KVSHM_CC_HIT_BLOCKS,
	KVSHM_CC_HIT_TOKENS,
	KVSHM_CC_MISS_BLOCKS,
	KVSHM_CC_RESOLVE_SHORT,		/* resolve found less than the match */
	KVSHM_CC_PIN_RETRIES,
	KVSHM_CC_QUOTA_REFUSALS,
	KVSHM_CC_COMMITS,
	KVSHM_CC_COMMIT_BLOCKS,
	KVSHM_CC_DROPPED_DEAD,		/* blocks not put: daemon dead */
	KVSHM_CC_DROPPED_CREDIT,	/* no grant in hand, queue full */
	KVSHM_CC_DROPPED_FULL,		/* daemon said: all pinned, index full */
	KVSHM_CC_COPY_OUT_BYTES,
	KVSHM_CC_COPY_IN_BYTES,
	KVSHM_CC_TOUCHES_DROPPED,
	KVSHM_CC_REATTACHES,
	KVSHM_CC_GPU_IN_BYTES,		/* copied to a GPU by the client, and landed */
	KVSHM_CC_GPU_OUT_BYTES,
	KVSHM_CC_GPU_BOUNCED,	/* of both, through bounce slices */
	KVSHM_CC_GPU_IN_BLOCKS,
	KVSHM_CC_GPU_OUT_BLOCKS,
	KVSHM_CC_GPU_FAILED,		/* jobs that ended by an error */
	KVSHM_CC_GPU_HELD,		/* jobs whose blocks are kept: the device is lost or hangs */
	KVSHM_CC_LAST
};
#define KVSHM_CC_WORDS 64

#define KVSHM_SEGMENT_MAGIC 0x314745534d48534bull	/* "KSHMSEG1" */
#define KVSHM_SQ_ENTRIES 256u
#define KVSHM_CQ_ENTRIES 512u
#define KVSHM_TOUCH_ENTRIES 4096u
#define KVSHM_ARGS_LEN (256u << 10)
#define KVSHM_COMMIT_MAX 4096u		/* keys of one COMMIT */
#define KVSHM_CHAIN_MAX 65536u		/* keys of one acquire */

struct kvshm_segment {			/* offset 0 of the session segment */
	uint64_t magic;
	uint32_t abi, header_len;	/* header_len = sizeof(struct kvshm_segment) */
	uint64_t len;
	uint32_t sq_off, sq_entries, cq_off, cq_entries;
	uint32_t touch_off, touch_entries, args_off, args_len;
	uint64_t resv0;
	struct kvshm_ring_ctl sq;	/* tail [client], head [daemon] */
	struct kvshm_ring_ctl cq;	/* tail [daemon], head [client] */
	struct kvshm_ring_ctl touch;	/* tail [client], head [daemon] */
	struct kvshm_ring_ctl staging;	/* slices filled [client], consumed [daemon] */
	uint32_t client_asleep;		/* [client] send a wake-up after a completion */
	uint32_t pad0[15];
	uint64_t counter[KVSHM_CC_WORDS];	/* [client] enum kvshm_client_counter */
};

/*
 * Staging window, a second memfd made at the first staged put: a byte stream in slices.  The
 * payload of each staged commit record follows in order of submission; a record starts on a
 * slice and its last slice may be partly filled.
 */
#define KVSHM_STAGING_SLICE (256u << 10)
#define KVSHM_STAGING_SLICES 16u

/* ---- socket messages (SOCK_SEQPACKET, one struct a message, exact length) ------------------ */

#define KVSHM_MSG_MAGIC 0x4d53564bu	/* "KVSM" */

enum kvshm_msg_type {
	KVSHM_MSG_HELLO = 1,		/* client: struct kvshm_msg_hello */
	KVSHM_MSG_WELCOME = 2,		/* daemon: struct kvshm_msg_welcome + 4 descriptors */
	KVSHM_MSG_MAPPED = 3,		/* client: segment (or staging) is mapped, seal it */
	KVSHM_MSG_READY = 4,		/* daemon: sealed, the queue pair is served */
	KVSHM_MSG_EXTENTS = 5,		/* client: .arg = first extent wanted */
	KVSHM_MSG_EXTENT_FDS = 6,	/* daemon: .arg = first, .nr descriptors follow */
	KVSHM_MSG_STAGING = 7,		/* client: make the staging window */
	KVSHM_MSG_STAGING_FD = 8,	/* daemon: one descriptor */
	KVSHM_MSG_WAKE = 9,		/* daemon: completions are there */
	KVSHM_MSG_REFUSED = 10,		/* daemon: .error, .text; the socket is closed next */
};

struct kvshm_msg_hdr {
	uint32_t magic;
	uint16_t type;
	uint16_t len;			/* of the whole message */
};

#define KVSHM_HELLO_F_UNTRUSTED 0x1u	/* treat me as untrusted */
#define KVSHM_HELLO_F_KNOWN 0x1u

struct kvshm_msg_hello {
	struct kvshm_msg_hdr hdr;
	uint32_t abi;
	uint32_t flags;
	uint32_t old_slot;		/* pin file of an earlier session over a restart, or 0 */
	uint32_t pin_words;		/* 0 = default */
	uint64_t instance;		/* content that the client has mapped, 0 = none */
	char label[32];			/* shown by kvshm clients, NUL padded */
	uint64_t resv[2];
};

#define KVSHM_WELCOME_F_TRUSTED 0x1u	/* extents come writable */

struct kvshm_msg_welcome {		/* descriptors: directory (ro), pin file, segment, doorbell */
	struct kvshm_msg_hdr hdr;
	uint32_t abi;
	uint32_t flags;
	uint32_t slot;			/* number of the pin file, owner of grants */
	uint32_t pin_words;
	uint32_t nr_extents;
	uint32_t credit_blocks;		/* grants that may be out at once */
	uint64_t credit_bytes;
	uint64_t pin_quota_bytes;
	uint64_t instance;
	uint64_t resv[2];
};

struct kvshm_msg_plain {		/* MAPPED, READY, EXTENTS, EXTENT_FDS, STAGING*, WAKE */
	struct kvshm_msg_hdr hdr;
	uint32_t arg;
	uint32_t nr;
};

struct kvshm_msg_refused {
	struct kvshm_msg_hdr hdr;
	int32_t error;			/* -errno */
	uint32_t abi;			/* of the daemon */
	char text[112];
};

#define KVSHM_MSG_MAX 256		/* no message is longer */
#define KVSHM_MSG_MAX_FDS 64		/* descriptors in one message */

#ifdef __cplusplus
#define KVSHM_ABI_ASSERT(e, t) static_assert(e, t)
#else
#define KVSHM_ABI_ASSERT(e, t) _Static_assert(e, t)
#endif
KVSHM_ABI_ASSERT(sizeof(struct kvshm_desc) == 64, "descriptor is one cache line");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_bucket) == 64, "bucket is one cache line");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_superblock) == 4096, "superblock is one page");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_ns_entry) == 128, "namespace entry");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_extent_entry) == 64, "extent entry");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_sqe) == 64, "SQE");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_cqe) == 64, "CQE");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_commit_rec) == 64, "commit record");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_hint_rec) == 40, "hint record");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_touch) == 32, "touch record");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_stage_rec) == 40, "stage record");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_export) == 96, "export header");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_export_block) == 16, "export block");
KVSHM_ABI_ASSERT(sizeof(struct kvshm_segment) % 64 == 0, "segment header in whole lines");

#endif
