/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key.h - block keys and namespace fingerprints
 *
 * A key is a 32-byte digest that an engine chains over a prompt: the key of block i covers the
 * tokens of blocks 0..i, so equal keys mean equal prefixes.  kvshm compares keys, it never computes
 * them.  A namespace fingerprint covers all that makes KV bytes of two engines interchangeable:
 * model, revision, dtype, layout, rank, tenant salt.
 */
#ifndef KVSHM_KEY_H
#define KVSHM_KEY_H

#include <stdint.h>

#define KVSHM_KEY_LEN 32

struct kvshm_key {
	uint8_t bytes[KVSHM_KEY_LEN];
};

#endif
