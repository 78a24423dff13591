/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_batch.h - KV events as the engines name them, gathered into one message, and its two forms
 *
 * BlockStored, BlockRemoved and AllBlocksCleared with the fields of vLLM's kv_events.py, and more fields of our own
 * behind those.  Neighbours that say the same of several blocks become one event: a run of a chain, a
 * batch of victims.
 */
#ifndef UTILS_KV_BATCH_H
#define UTILS_KV_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <kvshm/key.h>

#define KV_MEDIUM "CPU"			/* vLLM's word for host memory */

enum kv_type { KV_STORED, KV_REMOVED, KV_CLEARED };

struct kv_event {
	enum kv_type type;
	size_t first, nr;		/* KV_STORED, KV_REMOVED: keys of the batch */
	bool has_parent;
	struct kvshm_key parent;	/* KV_STORED: of the first key, each other one's is the key before it */
	uint8_t ns[KVSHM_KEY_LEN];	/* fingerprint */
	uint32_t block_size;		/* tokens of each block */
	uint32_t length;		/* bytes of each */
	const char *reason;		/* KV_CLEARED: static */
};

struct kv_batch {
	uint64_t incarnation;		/* of what the numbers and blocks belong to */
	struct kv_event *event;
	size_t nr_events, max_events;
	struct kvshm_key *key;
	size_t nr_keys, max_keys;
	bool is_broken;			/* memory ran out: what is in it is not all */
};

void kv_cleared(struct kv_batch *b, const char *reason);
/* One block; .first and .nr of @e are filled in. */
void kv_add(struct kv_batch *b, const struct kv_event *e, const struct kvshm_key *key);

/* Empty, its memory kept; and freed. */
void kv_batch_empty(struct kv_batch *b);
void kv_batch_free(struct kv_batch *b);

struct kv_form {
	double ts;			/* seconds since 1970 */
	uint64_t number;		/* of the message */
	unsigned rank;			/* data_parallel_rank */
	bool is_array;			/* msgpack: events as arrays, as earlier vLLMs and SGLang have them */
	bool is_whole;			/* all 32 bytes of a key; else a number out of its last 8, as vLLM does by default */
};

/* vLLM's payload: msgpack.  Return: bytes from malloc() with @ret_len; NULL no memory. */
void *kv_msgpack(const struct kv_batch *b, const struct kv_form *f, size_t *ret_len);

/* One JSON object, on one line; keys whole, in hexadecimal. */
void kv_json(const struct kv_batch *b, const struct kv_form *f, FILE *out);

#endif
