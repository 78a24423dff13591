/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats.h - the statistics page of a daemon, to the byte
 *
 * A named file `stats` in the instance's run directory, mode 0640, mapped read-only by tools.  It
 * holds numbers, pids and uids; no keys, salts or bytes.  All fields are written by the daemon.
 */
#ifndef KVSHM_STATS_H
#define KVSHM_STATS_H

#include <stdint.h>

#define KVSHM_STATS_MAGIC 0x3154415453564b53ull
#define KVSHM_STATS_MAJOR 2u
#define KVSHM_STATS_MINOR 0u
#define KVSHM_STATS_SESSIONS 256u
#define KVSHM_STATS_THREADS 16u
#define KVSHM_STATS_METRICS 256u
#define KVSHM_STATS_TEXTS 8u
#define KVSHM_STATS_HISTS 32u
#define KVSHM_STATS_HIST_CELLS 576u
#define KVSHM_STATS_NS 65u		/* uses by namespace; 0: of all that have a higher number */
#define KVSHM_STATS_CLASSES 16u		/* uses by the request's type of the hint; 0: not said, 15: 15 and above */

enum kvshm_stats_type {
	KVSHM_STATS_COUNTER = 1,	/* only grows; from zero at each start of the daemon */
	KVSHM_STATS_GAUGE = 2,
};

enum kvshm_stats_unit {
	KVSHM_STATS_UNIT_NONE = 0,
	KVSHM_STATS_UNIT_BYTES = 1,
	KVSHM_STATS_UNIT_NS = 2,
	KVSHM_STATS_UNIT_BLOCKS = 3,
};

enum kvshm_stats_text {
	KVSHM_TEXT_INSTANCE,
	KVSHM_TEXT_PAGES,		/* page kind in use */
	KVSHM_TEXT_POLICY,
	KVSHM_TEXT_START,		/* "cold: why" or "warm" */
	KVSHM_TEXT_PROTECTION,		/* what stops clients from writing */
	KVSHM_TEXT_VERSION,
	KVSHM_TEXT_MEMORY_DIR,		/* where arena, directory and pins lie */
	KVSHM_TEXT_SOCKET,
};

#define KVSHM_STATS_TEXT_LEN 128u

struct kvshm_stats_session {
	uint32_t state;			/* 0 unused, 1 attached, 2 detached (pins count until death), 3 orphan (old pin file over a restart) */
	uint32_t slot;			/* number of its pin file */
	uint32_t pid, uid;
	uint32_t is_trusted;
	uint32_t pins;
	uint64_t pinned_bytes, quota_bytes;
	uint64_t since_ns;		/* CLOCK_MONOTONIC of attach */
	uint64_t grants, grant_bytes;
	uint64_t lookups, lookup_blocks, hit_blocks, commits, dropped;
	char label[32];			/* printable, NUL padded */
	uint64_t hit_tokens;
	uint32_t sq_entries;		/* sent and not served yet */
	uint32_t cq_entries;		/* served and not taken yet */
};

struct kvshm_stats_metric {		/* description of one cell */
	char name[56];
	uint32_t type;			/* enum kvshm_stats_type */
	uint32_t unit;			/* enum kvshm_stats_unit */
};

/*
 * Nanoseconds or, by the end of its name, milliseconds; log-linear: cells 0-15 hold the values 0-15; then 16 cells an octave, cell 16 k + j being
 * [(16 + j) 2^(k-1), (17 + j) 2^(k-1)).  The last cell also has what is greater.
 */
struct kvshm_stats_hist {
	char name[40];			/* "kvshm_op_ns" */
	char label[24];			/* "op=\"grant\"", may be empty */
	uint64_t count[KVSHM_STATS_HIST_CELLS];
};

/* From the daemon's start; evictions and drops by namespace only, as a block does not keep its class. */
struct kvshm_stats_use {
	uint64_t hit_blocks, hit_tokens;	/* found by acquires that the daemon heard of */
	uint64_t put_blocks, put_tokens;	/* published */
	uint64_t evicted_blocks, dropped_blocks;
	uint64_t resv[2];
};

struct kvshm_stats_page {
	uint64_t magic;
	uint32_t major, minor;
	uint64_t len;
	uint8_t boot_id[16];
	uint64_t start_ns;		/* CLOCK_MONOTONIC */
	uint64_t pid, start_ticks;	/* of the daemon: field 22 of /proc/pid/stat */
	uint32_t nr_metrics, nr_sessions;
	uint32_t metric_off, cell_off, session_off, text_off;
	uint64_t pid_ns;		/* inode of its PID namespace: is .pid meaningful here? */
	uint32_t hist_off, nr_hists;
	uint32_t use_off, nr_uses;
	uint64_t resv[5];
	uint64_t heartbeat_ns[KVSHM_STATS_THREADS];	/* 0: no such thread */
	uint64_t session_seq;		/* ST-1: odd while the table changes */
	uint64_t resv1[7];
	/* metric[KVSHM_STATS_METRICS], cell[] of uint64_t, session[], text[][KVSHM_STATS_TEXT_LEN], hist[], use[KVSHM_STATS_NS + KVSHM_STATS_CLASSES] at the offsets */
};

#endif
