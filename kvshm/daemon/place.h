/* SPDX-License-Identifier: Apache-2.0 */
/* place.h - blocks for records whose bytes are to come */
#ifndef KVSHM_DAEMON_PLACE_H
#define KVSHM_DAEMON_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/abi.h>

struct writer;

#define PLACE_MAX 256u /* records at once */

/* A record without a block, of a length that may be, zero where nothing belongs. */
bool place_rec_ok(const struct kvshm_commit_rec *rec);

/**
 * place_records() - grant a block to each of some records, neighbours where possible
 * @owner: as of cache_grant()
 * @rec: at most PLACE_MAX, all of the length of the first; .block is set of those that got one
 * @stamp_ns: of their entry
 * Return: how many got one, the first ones; -EINVAL no such namespace or length.
 */
int place_records(struct writer *w, uint32_t owner, uint16_t ns, struct kvshm_commit_rec *rec, uint32_t nr,
		  uint64_t stamp_ns);

#endif
