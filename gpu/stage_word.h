/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_word.h - the completion word of a layer: from the thread that polls to any other
 *
 * 64 bits, in any memory that both see, a session segment too.  Holds the ticket of the last job that landed there, with
 * STAGE_WORD_FAILED if it never will.  Set after the device's mark was seen (dma_copy_landed()) or the bounce slice copied
 * out, so whoever reads the ticket sees the bytes.
 */
#ifndef GPU_STAGE_WORD_H
#define GPU_STAGE_WORD_H

#include <errno.h>
#include <stdint.h>

#include "kvshm/base/atomic.h"

#define STAGE_WORD_FAILED (1ull << 63)

static inline void stage_word_set(uint64_t *word, uint64_t value)
{
	/* GL-1: the layer's bytes before its word; pairs with stage_word_look(). */
	store_release(word, value);
}

/* Return: 1 landed, 0 not yet, -EIO failed. */
static inline int stage_word_look(const uint64_t *word, uint64_t ticket)
{
	/* GL-1: the word before the bytes of its layer; pairs with stage_word_set(). */
	uint64_t v = load_acquire(word);

	if (v == ticket)
		return 1;
	return v == (ticket | STAGE_WORD_FAILED) ? -EIO : 0;
}

#endif
