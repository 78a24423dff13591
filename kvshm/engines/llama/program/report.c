/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <jansson.h>

#include <kvshm/version.h>

#include "kvshm/engines/llama/program/text_json.h"

int report_print_text(const struct report *r)
{
	puts(r->text);
	fprintf(stderr,
		"prompt %u tokens, %u from the cache; first token after %.1f ms (restore %.1f,"
		" prefill %.1f); saved %u blocks in %.1f ms\n",
		r->prompt_tokens, r->cached_tokens, r->ttft_ms, r->restore_ms, r->prefill_ms,
		r->saved_blocks, r->save_ms);
	return fflush(stdout) ? -errno : 0;
}

/* The part that a reader does not need in more digits. */
static json_t *rounded(double x)
{
	return json_real((double)(long long)(x * 1000.0 + 0.5) / 1000.0);
}

static json_t *machine(void)
{
	char line[256], cpu[128] = "unknown";
	struct utsname u;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %127[^\n]", cpu) == 1)
			break;
	if (f)
		fclose(f);
	uname(&u);
	return json_pack("{s:s, s:s}", "cpu", cpu, "kernel", u.release);
}

static json_t *token_ids(const struct report *r)
{
	json_t *ids = json_array();
	unsigned i;

	for (i = 0; i < r->nr_token_ids; i++)
		json_array_append_new(ids, json_integer(r->token_ids[i]));
	return ids;
}

int report_print_json(const struct report *r)
{
	double ratio = r->prompt_tokens ? (double)r->cached_tokens / r->prompt_tokens : 0.0;
	json_t *o;
	int ret;

	o = json_pack("{s:s, s:s, s:o, s:s, s:i, s:i, s:i, s:i, s:o, s:i, s:I, s:i, s:i, s:i}",
		      "schema", "kvshm.llama/1", "version", KVSHM_VERSION_STRING, "machine",
		      machine(), "cache", r->cache, "prompt_tokens", (int)r->prompt_tokens,
		      "document_tokens", (int)r->document_tokens, "prefix_tokens",
		      (int)r->prefix_tokens, "cached_tokens", (int)r->cached_tokens, "cached_ratio",
		      rounded(ratio), "block_tokens", (int)r->block_tokens, "block_bytes",
		      (json_int_t)r->block_bytes, "saved_blocks", (int)r->saved_blocks,
		      "duplicate_blocks", (int)r->duplicate_blocks, "dropped_blocks",
		      (int)r->dropped_blocks);
	if (!o)
		return -ENOMEM;
	json_object_set_new(o, "load_ms", rounded(r->load_ms));
	json_object_set_new(o, "ttft_ms", rounded(r->ttft_ms));
	json_object_set_new(o, "acquire_us", rounded(r->acquire_us));
	json_object_set_new(o, "restore_ms", rounded(r->restore_ms));
	json_object_set_new(o, "prefill_ms", rounded(r->prefill_ms));
	json_object_set_new(o, "generate_ms", rounded(r->generate_ms));
	json_object_set_new(o, "save_ms", rounded(r->save_ms));
	json_object_set_new(o, "text", text_json(r->text, strlen(r->text)));
	json_object_set_new(o, "token_ids", token_ids(r));
	ret = json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(o);
	putchar('\n');
	return ret || fflush(stdout) ? -EIO : 0;
}
