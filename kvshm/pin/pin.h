/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.h - who may read what: pin words and the scan
 *
 * A client writes {block id, generation} into a word of its own file, fences (PN-1), and looks at
 * the descriptor again.  The writer closes a batch of victims, fences (PN-1), and scans all files.
 * One of the two sees the other.  A pin on a block protects all its ancestors (Invariant T).
 */
#ifndef KVSHM_PIN_PIN_H
#define KVSHM_PIN_PIN_H

#include <stdbool.h>
#include <stdint.h>

#include "kvshm/arena/directory.h"
#include "kvshm/index/index.h"

/* ---- the client's half (slot.c) -------------------------------------------------------------- */

struct pin_table {			/* private to the client */
	uint64_t *word;			/* mapped pin file, [nr]; word[0]: its state, and words in use */
	uint32_t nr;
	uint32_t *free_slot;		/* stack of free words */
	uint32_t nr_free;
	uint64_t *cost;			/* [nr] bytes protected by each, for the quota */
	uint64_t quota_bytes, used_bytes;
};

/**
 * pin_table_init() - take a mapped pin file
 * @word: @nr words, zeroed by the daemon, nr >= 2.  Return: 0, -ENOMEM.
 */
int pin_table_init(struct pin_table *t, uint64_t *word, uint32_t nr, uint64_t quota_bytes);
void pin_table_fini(struct pin_table *t);

/**
 * pin_take() - write the word, fence, look again (PN-1)
 * Costs (depth + 1) x length of the quota.
 * @ret_slot: set on success.  Return: 0; -ESTALE evicted between find and pin: search again;
 * -ENOBUFS no free word, or past the quota.
 */
int pin_take(struct pin_table *t, const struct directory *dir, const struct index_hit *hit,
	     uint32_t *ret_slot);

/**
 * pin_lower() - let a pin protect less: move it to an ancestor of its block
 * @id: the ancestor.  Whichever of the two words a scan sees, the ancestor is protected.
 * Return: its generation.
 */
uint32_t pin_lower(struct pin_table *t, const struct directory *dir, uint32_t slot, blk_id_t id);

/* Clear the word (PN-2: reads before are done).  A slot that is not taken is left alone. */
void pin_drop(struct pin_table *t, uint32_t slot);

/**
 * pin_longest() - index_longest() + pin_take(), again a bounded number of times when lost
 * @block_len: bytes of a block, for the quota; past it the longest prefix that fits is pinned
 * @ret_retries: races lost to eviction, set always; after eight of them it is a miss
 * Return: blocks pinned, 0, or -ENOBUFS: something is cached, and not even one block fits the quota, or
 * no word is free.
 */
int pin_longest(struct pin_table *t, const struct directory *dir, uint16_t ns,
		const struct kvshm_key *keys, unsigned nr, uint32_t block_len,
		struct index_hit *ret_hit, uint32_t *ret_slot, unsigned *ret_retries);

/* The same with keys that lie wherever the caller has them. */
int pin_longest_in(struct pin_table *t, const struct directory *dir, uint16_t ns,
		   const struct index_keys *keys, unsigned nr, uint32_t block_len,
		   struct index_hit *ret_hit, uint32_t *ret_slot, unsigned *ret_retries);

/* ---- pin files (pinfile.c) --------------------------------------------------------------------- */

/* pins.<number> in @dirfd, @nr_words words of zero, word 0 OPEN.  Return: descriptor or -errno. */
int pinfile_create(int dirfd, uint32_t number, uint32_t nr_words);

/* The client's only descriptor of the file is locked (fcntl, not inherited, dropped at death). */
int pinfile_lock(int fd);

/**
 * pinfile_map() - the client's side: map its pin file, lock it, make a table of it
 * @fd: the process's only descriptor of it, and the caller's: open for as long as pins count
 * @ret_t: ended by pinfile_unmap() and pin_table_fini(); a forked child has not got the map
 * Return: 0; -EBADMSG no number of words that a file has, or the file is shorter; -EAGAIN another process
 * has locked it; -ENOMEM; -errno.
 */
int pinfile_map(int fd, uint32_t nr_words, uint64_t quota_bytes, struct pin_table *ret_t);

/* The words stay as they are in the file; @t is for pin_table_fini() only. */
void pinfile_unmap(struct pin_table *t);

/* Is the file locked by somebody?  Return: 1, 0, -errno.  @ret_pid: who, may be NULL. */
int pinfile_is_locked(int fd, int *ret_pid);

/* ---- the scan (scan.c), the writer's side ------------------------------------------------------ */

struct pin_set;

int pin_set_create(uint32_t max_files, struct pin_set **ret_s);
struct pin_set *pin_set_destroy(struct pin_set *s);

/**
 * pin_set_add() - scan this file from now on
 * @fd: read-only is enough; stays the caller's until pin_set_remove()
 * @number: the file's number; @quota_bytes: 0 = none
 */
int pin_set_add(struct pin_set *s, uint32_t number, int fd, uint32_t nr_words, uint64_t quota_bytes);
/* Its pins stop counting at once. */
void pin_set_remove(struct pin_set *s, uint32_t number);

/**
 * pin_set_scan() - read all files once by pread, mark pinned blocks and their ancestors
 * The caller has closed its victims and executed the full fence (PN-1).  Words out of range, of
 * another generation or of a FREE block are ignored.  Sessions past twice their quota are
 * reported and not counted.
 * Return: number of valid pins; -EIO a file could not be read, -ENOMEM at the first scan (then
 * everything counts as pinned until a scan succeeds).
 */
long pin_set_scan(struct pin_set *s, const struct directory *dir);

/* After a scan: is this block, or a descendant of it, pinned?  O(1). */
bool pin_set_is_pinned(const struct pin_set *s, blk_id_t id);

/* After a scan: bytes protected by all (shared ancestors once), per file, and hostile files. */
uint64_t pin_set_bytes(const struct pin_set *s);
int pin_set_file(const struct pin_set *s, uint32_t number, uint64_t *ret_bytes, uint32_t *ret_pins,
		 bool *ret_is_hostile);

/* Every pinned block is PUBLISHED, EVICTING or QUARANTINED with that generation.  Return: violations. */
unsigned long pin_verify(struct pin_set *s, const struct directory *dir, char *first);

#endif
