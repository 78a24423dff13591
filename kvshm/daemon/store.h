/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - the content: directory, arena, pins and the cache over them; taken over or begun anew
 *
 * Warm: the files of an earlier daemon are mapped, pin files of living clients go into the scan set
 * before anything else, the cache recovers.  Cold: DEAD goes into the old directory first, so that its
 * clients leave at their next acquire; then the old files go and new ones are made.
 */
#ifndef KVSHM_DAEMON_STORE_H
#define KVSHM_DAEMON_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvshm/arena/arena.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/buserror.h"
#include "kvshm/daemon/instance.h"
#include "kvshm/daemon/learnt.h"
#include "kvshm/daemon/pinowner.h"
#include "kvshm/pin/pin.h"

struct orphan { /* pin file of a living client of an earlier daemon */
	struct pinowner owner; /* .pid 0: unknown */
	int fd;
};

struct store {
	struct directory dir;
	struct arena arena;
	struct pin_set *pins;
	struct cache *cache;
	struct event_ring *events; /* NULL: could not be made */
	struct arena_config grow; /* for the extents still to come */
	int nodes[64];
	int owners_fd; /* pinowner.h */
	struct learnt_file learnt; /* of the policy; the writer's */
	uint64_t learnt_ns, learnt_from; /* when it was written last, and from how many events */
	bool has_owners; /* ... was there before this start */
	bool is_warm;
	char reason[128]; /* "cold: ..." or "warm" */
	uint32_t start_count;
	uint64_t recovery_ns; /* that took */
	long recovered;
	uint64_t retired[RETIRED_MAX]; /* arena offsets of 2 MiB units not to be used */
	unsigned nr_retired;
	uint64_t quota_bytes; /* of a session's pins */
	uint64_t credit_bytes; /* of a session's grants */
	struct orphan orphan[PINOWNER_MAX];
	unsigned nr_orphans;
	uint32_t last_slot; /* highest pin file number seen */
};

/**
 * store_open() - take over or begin
 * The first extent is served; more come by arena_grow() with .grow.
 * Return: 0; -1 with @d.
 */
int store_open(struct store *st, const struct instance *in, const struct conf *c, struct diag *d);

/* Unmaps and closes; the files stay. */
void store_close(struct store *st);

/**
 * store_set_limits() - what one session may hold of an arena of this size
 * From main also while the writer reads them: they hold for sessions to come and grants to come.
 */
void store_set_limits(struct store *st, const struct conf *c, uint64_t arena_bytes);

/* The directory says LIVE with the next start count (SB-1). */
void store_go_live(struct store *st);

/* ---- pieces, in files of their own ----------------------------------------------------------- */

/*
 * store_learnt.c: take over what the policy learnt under an earlier daemon, before the content; without it, or
 * when it does not verify, it learns anew.  Write it down; the writer calls that at each tick, and at the end.
 */
void store_learn(struct store *st, const struct conf *c, int dirfd);
void store_keep_learnt(struct store *st, const struct conf *c, uint64_t now_ns);
void store_save_learnt(struct store *st, const struct conf *c);

/* Find the pin files that still count, remove the others (orphan.c).  Return: 0, -errno. */
int store_find_orphans(struct store *st, int pins_fd);
/**
 * store_grow() - arena_grow(), by the NUMA rule: preferred lets an extent come from another node
 * Spilling, all later extents come from anywhere too.  Return: as arena_grow().
 */
long store_grow(struct arena *a, struct directory *dir, struct arena_config *cfg, unsigned numa);
/* Directory and first extent, new (store_cold.c).  Return: 0, -1 with @d. */
int store_create(struct store *st, const struct instance *in, const struct conf *c, struct diag *d);
/* Remove every file of earlier content (store_cold.c). */
void store_remove_files(const struct instance *in);
/* Whatever its ABI: DEAD into the directory file, if it is one (store_cold.c). */
void store_mark_dead(int fd);

#endif
