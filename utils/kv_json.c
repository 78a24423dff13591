/* SPDX-License-Identifier: Apache-2.0 */
/* kv_json.c - KV events as a line of JSON; numbers and hexadecimal only, so nothing needs quoting */
#include <inttypes.h>

#include "utils/kv_batch.h"

static void write_hex(FILE *out, const uint8_t bytes[KVSHM_KEY_LEN])
{
	static const char digit[] = "0123456789abcdef";
	char text[2 * KVSHM_KEY_LEN + 2], *to = text;

	*to++ = '"';
	for (unsigned i = 0; i < KVSHM_KEY_LEN; i++) {
		*to++ = digit[bytes[i] >> 4];
		*to++ = digit[bytes[i] & 15];
	}
	*to++ = '"';
	fwrite(text, 1, sizeof(text), out);
}

static void write_keys(const struct kv_batch *b, const struct kv_event *e, FILE *out)
{
	fputs("\"block_hashes\":[", out);
	for (size_t i = 0; i < e->nr; i++) {
		if (i)
			fputc(',', out);
		write_hex(out, b->key[e->first + i].bytes);
	}
	fputs("],\"medium\":\"" KV_MEDIUM "\",\"namespace\":", out);
	write_hex(out, e->ns);
}

static void write_stored(const struct kv_batch *b, const struct kv_event *e, FILE *out)
{
	fputs("{\"type\":\"BlockStored\",", out);
	write_keys(b, e, out);
	fputs(",\"parent_block_hash\":", out);
	if (e->has_parent)
		write_hex(out, e->parent.bytes);
	else
		fputs("null", out);
	fprintf(out, ",\"token_ids\":[],\"block_size\":%" PRIu32 ",\"lora_id\":null,\"lora_name\":null,\"block_bytes\":%" PRIu32 "}",
		e->block_size, e->length);
}

static void write_event(const struct kv_batch *b, const struct kv_event *e, FILE *out)
{
	if (e->type == KV_STORED) {
		write_stored(b, e, out);
	} else if (e->type == KV_REMOVED) {
		fputs("{\"type\":\"BlockRemoved\",", out);
		write_keys(b, e, out);
		fputc('}', out);
	} else {
		fprintf(out, "{\"type\":\"AllBlocksCleared\",\"reason\":\"%s\"}", e->reason);
	}
}

void kv_json(const struct kv_batch *b, const struct kv_form *f, FILE *out)
{
	fprintf(out, "{\"schema\":\"kvshm.events/1\",\"seq\":%" PRIu64 ",\"incarnation\":%" PRIu64
		",\"ts\":%.6f,\"data_parallel_rank\":%u,\"events\":[", f->number, b->incarnation, f->ts, f->rank);
	for (size_t i = 0; i < b->nr_events; i++) {
		if (i)
			fputc(',', out);
		write_event(b, &b->event[i], out);
	}
	fputs("]}\n", out);
}
