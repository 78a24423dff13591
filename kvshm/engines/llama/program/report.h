/* SPDX-License-Identifier: Apache-2.0 */
/* report.h - what kvshm-llama prints: the answer with a line of figures, or one JSON object */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_REPORT_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_REPORT_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct report - all of one answer; memory of the caller's
 * @cache: "attached", "none" (no daemon) or "off" (--no-cache)
 * @ttft_ms: from the question to the first token: tokenising, keys, match, restore, prefill
 */
struct report {
	const char *cache, *text;
	unsigned prompt_tokens, document_tokens, prefix_tokens, cached_tokens;
	unsigned saved_blocks, duplicate_blocks, dropped_blocks, block_tokens;
	size_t block_bytes;
	double load_ms, ttft_ms, acquire_us, restore_ms, prefill_ms, generate_ms, save_ms;
	const int32_t *token_ids;
	unsigned nr_token_ids;
};

/**
 * report_print_text() - the answer on standard output, the figures on standard error
 * Return: 0 or -errno of writing.
 */
int report_print_text(const struct report *r);

/**
 * report_print_json() - schema kvshm.llama/1
 * Return: 0, -ENOMEM, -EIO.
 */
int report_print_json(const struct report *r);

#endif
