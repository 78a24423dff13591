/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - the form of a kvshm trace
 *
 * JSON lines, compressed by xz or zstd or not at all.  The first is the header:
 *
 *   {"kvshm_trace": 1, "block_tokens": 16, "is_synthetic": true, "note": "..."}
 *
 * each other one a request, in order of time:
 *
 *   {"timestamp": 1.25, "chat_id": 7, "parent_chat_id": 3, "session": "s1", "turn": 2, "type": "text",
 *    "stop": "end_turn", "input_length": 900, "output_length": 120, "hash_ids": [1, 2, 9]}
 *
 * timestamp      seconds since the trace began
 * hash_ids       a whole number of 63 bits for each block of the prompt, root first; the same numbers at
 *                the same places mean the same prefix; the last block may be short
 * chat_id, parent_chat_id   this request, and the one that it goes on from (-1: none)
 * All but timestamp and hash_ids may be left out.  Fields that a reader does not know it passes over; a
 * version that it does not know it refuses.
 */
#ifndef KVSHM_TRACE_H
#define KVSHM_TRACE_H

#define KVSHM_TRACE_VERSION 1
#define KVSHM_TRACE_MARK "kvshm_trace"	/* the field that makes a line a header; its value is the version */

#endif
