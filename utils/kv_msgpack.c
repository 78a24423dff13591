/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_msgpack.c - KV events in the form of vLLM's publisher; no other file knows the library
 *
 * [ts, [event...], data_parallel_rank], an event a map whose "type" is its class.  Fields that vLLM leaves out when
 * they are None are left out; fields of ours come last, and its decoders pass over them.  Earlier vLLMs and SGLang
 * have the same events as arrays, the class first: those have no fields of ours.
 */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "utils/kv_batch.h"

static void pack_text(msgpack_packer *p, const char *text)
{
	msgpack_pack_str_with_body(p, text, strlen(text));
}

static void pack_key(msgpack_packer *p, const struct kvshm_key *key, bool is_whole)
{
	uint64_t n = 0;

	if (is_whole) {
		msgpack_pack_bin_with_body(p, key->bytes, sizeof(key->bytes));
		return;
	}
	for (unsigned i = KVSHM_KEY_LEN - 8; i < KVSHM_KEY_LEN; i++)
		n = n << 8 | key->bytes[i];
	msgpack_pack_uint64(p, n);
}

/* An event is a map of @nr_map fields, "type" first, or an array of the first @nr_array of them without names. */
static void pack_type(msgpack_packer *p, const char *type, bool is_array, size_t nr_map, size_t nr_array)
{
	if (is_array) {
		msgpack_pack_array(p, nr_array);
	} else {
		msgpack_pack_map(p, nr_map);
		pack_text(p, "type");
	}
	pack_text(p, type);
}

static void pack_name(msgpack_packer *p, const struct kv_form *f, const char *name)
{
	if (!f->is_array)
		pack_text(p, name);
}

static void pack_keys(msgpack_packer *p, const struct kv_batch *b, const struct kv_event *e, const struct kv_form *f)
{
	pack_name(p, f, "block_hashes");
	msgpack_pack_array(p, e->nr);
	for (size_t i = 0; i < e->nr; i++)
		pack_key(p, &b->key[e->first + i], f->is_whole);
}

static void pack_medium(msgpack_packer *p, const struct kv_form *f)
{
	pack_name(p, f, "medium");
	pack_text(p, KV_MEDIUM);
}

static void pack_incarnation(msgpack_packer *p, const struct kv_batch *b)
{
	pack_text(p, "incarnation");
	msgpack_pack_uint64(p, b->incarnation);
}

/* Fields of our own: by their names only. */
static void pack_namespace(msgpack_packer *p, const struct kv_batch *b, const struct kv_event *e)
{
	pack_text(p, "namespace");
	msgpack_pack_bin_with_body(p, e->ns, sizeof(e->ns));
	pack_incarnation(p, b);
}

static void pack_stored(msgpack_packer *p, const struct kv_batch *b, const struct kv_event *e, const struct kv_form *f)
{
	pack_type(p, "BlockStored", f->is_array, 11, 8);
	pack_keys(p, b, e, f);
	pack_name(p, f, "parent_block_hash");
	if (e->has_parent)
		pack_key(p, &e->parent, f->is_whole);
	else
		msgpack_pack_nil(p);
	pack_name(p, f, "token_ids");
	msgpack_pack_array(p, 0);
	pack_name(p, f, "block_size");
	msgpack_pack_uint32(p, e->block_size);
	pack_name(p, f, "lora_id");
	msgpack_pack_nil(p);
	pack_medium(p, f);
	pack_name(p, f, "lora_name");
	msgpack_pack_nil(p);
	if (f->is_array)
		return;
	pack_text(p, "block_bytes");
	msgpack_pack_uint32(p, e->length);
	pack_namespace(p, b, e);
}

static void pack_removed(msgpack_packer *p, const struct kv_batch *b, const struct kv_event *e, const struct kv_form *f)
{
	pack_type(p, "BlockRemoved", f->is_array, 5, 3);
	pack_keys(p, b, e, f);
	pack_medium(p, f);
	if (!f->is_array)
		pack_namespace(p, b, e);
}

static void pack_cleared(msgpack_packer *p, const struct kv_batch *b, const struct kv_event *e, const struct kv_form *f)
{
	pack_type(p, "AllBlocksCleared", f->is_array, 3, 1);
	if (f->is_array)
		return;
	pack_text(p, "reason");
	pack_text(p, e->reason);
	pack_incarnation(p, b);
}

static void pack_event(msgpack_packer *p, const struct kv_batch *b, const struct kv_event *e, const struct kv_form *f)
{
	if (e->type == KV_STORED)
		pack_stored(p, b, e, f);
	else if (e->type == KV_REMOVED)
		pack_removed(p, b, e, f);
	else
		pack_cleared(p, b, e, f);
}

/* What goes in is kept by the caller, so its failures are seen at the end. */
static int write_to(void *arg, const char *bytes, size_t len)
{
	return fwrite(bytes, 1, len, arg) == len ? 0 : -1;
}

void *kv_msgpack(const struct kv_batch *b, const struct kv_form *f, size_t *ret_len)
{
	char *bytes = NULL;
	msgpack_packer p;
	size_t len = 0;
	FILE *out = open_memstream(&bytes, &len);

	if (!out)
		return NULL;
	msgpack_packer_init(&p, out, write_to);
	msgpack_pack_array(&p, 3);
	msgpack_pack_double(&p, f->ts);
	msgpack_pack_array(&p, b->nr_events);
	for (size_t i = 0; i < b->nr_events; i++)
		pack_event(&p, b, &b->event[i], f);
	msgpack_pack_unsigned_int(&p, f->rank);
	if (ferror(out) | fclose(out)) {
		free(bytes);
		return NULL;
	}
	*ret_len = len;
	return bytes;
}
