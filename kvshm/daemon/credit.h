/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credit.h - what a session has out of the cache's hands, against what it may have
 *
 * Kept here and nowhere near the client.  A commit or a return may name rubbish, or one block twice: only
 * blocks that were this session's before and are not afterwards are taken off the count, each once.
 */
#ifndef KVSHM_DAEMON_CREDIT_H
#define KVSHM_DAEMON_CREDIT_H

#include <stdint.h>

#include <kvshm/abi.h>

struct session;
struct writer;

/* As many of @nr blocks of @len bytes as the credit allows. */
unsigned credit_allows(const struct writer *w, const struct session *s, unsigned nr, uint32_t len);

/* It was granted @nr blocks. */
void credit_spend(struct session *s, unsigned nr, uint32_t len);

/* Around what may take blocks from the session: each block that is named there, before and after. */
void credit_before(struct writer *w, struct session *s, struct kvshm_block_ref ref);
void credit_after(struct writer *w, struct session *s, struct kvshm_block_ref ref);

#endif
