/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and offsets of all that processes share, as numbers: whoever changes a layout changes this file
 * and Documentation/ABI/ in the same commit, and the ABI number.
 */
#include <kvshm/abi.h>

#include "tests/unit/kvshm/include/places.h"

static void block_descriptor_is_as_documented(void **state)
{
	SIZE(kvshm_desc, 64);
	AT(kvshm_desc, state, 0);
	AT(kvshm_desc, key, 8);
	AT(kvshm_desc, parent, 40);
	AT(kvshm_desc, depth, 44);
	AT(kvshm_desc, page, 48);
	AT(kvshm_desc, length, 52);
	AT(kvshm_desc, ns, 56);
	AT(kvshm_desc, tokens, 58);
	AT(kvshm_desc, checksum, 60);
}

static void state_word_has_its_bits(void **state)
{
	assert_int_equal(KVSHM_BLOCK_FREE, 0);
	assert_int_equal(KVSHM_BLOCK_GRANTED, 1);
	assert_int_equal(KVSHM_BLOCK_PUBLISHED, 2);
	assert_int_equal(KVSHM_BLOCK_EVICTING, 3);
	assert_int_equal(KVSHM_BLOCK_QUARANTINED, 4);
	assert_true(KVSHM_STATE_MASK == 0xf && KVSHM_FLAGS_MASK == 0xf0);
	assert_true(KVSHM_FLAG_NOPARENT == 0x10 && KVSHM_FLAG_CHECKSUM == 0x20 && KVSHM_FLAG_RELOCATED == 0x40);
	assert_int_equal(KVSHM_OWNER_SHIFT, 8);
	assert_int_equal(KVSHM_OWNER_MAX, (1 << 24) - 1);
	assert_int_equal(KVSHM_GENERATION_SHIFT, 32);
}

static void superblock_begins_with_its_frozen_part(void **state)
{
	SIZE(kvshm_superblock, 4096);
	AT(kvshm_superblock, magic, 0);
	AT(kvshm_superblock, abi, 8);
	AT(kvshm_superblock, frozen_len, 12);
	AT(kvshm_superblock, state, 16);
	AT(kvshm_superblock, boot_id, 24);
	AT(kvshm_superblock, geometry_hash, 40);
	AT(kvshm_superblock, resv0, 48);
	assert_true(KVSHM_DIRECTORY_MAGIC == 0x315249444d48534b);
	assert_true(KVSHM_SB_LIVE == 0x4556494c && KVSHM_SB_DEAD == 0x44414544);
}

static void superblock_goes_on_with_geometry(void **state)
{
	AT(kvshm_superblock, directory_len, 64);
	AT(kvshm_superblock, ns_off, 72);
	AT(kvshm_superblock, extent_off, 80);
	AT(kvshm_superblock, desc_off, 88);
	AT(kvshm_superblock, bucket_off, 96);
	AT(kvshm_superblock, max_ns, 104);
	AT(kvshm_superblock, max_extents, 108);
	AT(kvshm_superblock, max_blocks, 112);
	AT(kvshm_superblock, nr_buckets, 116);
	AT(kvshm_superblock, hash_seed, 120);
	AT(kvshm_superblock, instance, 128);
	AT(kvshm_superblock, resv1, 136);
	AT(kvshm_superblock, writer_asleep, 192);
	AT(kvshm_superblock, nr_extents, 196);
	AT(kvshm_superblock, nr_ns, 200);
	AT(kvshm_superblock, resv2, 204);
	AT(kvshm_superblock, daemon_pid, 208);
	AT(kvshm_superblock, daemon_start_ticks, 216);
	AT(kvshm_superblock, resv3, 224);
	AT(kvshm_superblock, pad, 256);
}

static void tables_are_as_documented(void **state)
{
	SIZE(kvshm_bucket, 64);
	AT(kvshm_bucket, slot, 0);
	assert_int_equal(KVSHM_BUCKET_SLOTS, 8);
	SIZE(kvshm_ns_entry, 128);
	AT(kvshm_ns_entry, fingerprint, 0);
	AT(kvshm_ns_entry, layout, 32);
	AT(kvshm_ns_entry, block_len, 64);
	AT(kvshm_ns_entry, block_tokens, 68);
	AT(kvshm_ns_entry, state, 72);
	AT(kvshm_ns_entry, uid, 76);
	AT(kvshm_ns_entry, label, 80);
	AT(kvshm_ns_entry, resv, 112);
	SIZE(kvshm_extent_entry, 64);
	AT(kvshm_extent_entry, base, 0);
	AT(kvshm_extent_entry, len, 8);
	AT(kvshm_extent_entry, node, 16);
	AT(kvshm_extent_entry, number, 20);
	AT(kvshm_extent_entry, page_kind, 24);
	AT(kvshm_extent_entry, resv0, 28);
	AT(kvshm_extent_entry, resv, 32);
}

static void queue_entries_are_as_documented(void **state)
{
	SIZE(kvshm_sqe, 64);
	AT(kvshm_sqe, op, 0);
	AT(kvshm_sqe, flags, 1);
	AT(kvshm_sqe, ns, 2);
	AT(kvshm_sqe, nr, 4);
	AT(kvshm_sqe, user_data, 8);
	AT(kvshm_sqe, off, 16);
	AT(kvshm_sqe, len, 20);
	AT(kvshm_sqe, stamp_ns, 24);
	AT(kvshm_sqe, key, 32);
	SIZE(kvshm_cqe, 64);
	AT(kvshm_cqe, user_data, 0);
	AT(kvshm_cqe, res, 8);
	AT(kvshm_cqe, op, 12);
	AT(kvshm_cqe, nr_runs, 14);
	AT(kvshm_cqe, nr_duplicate, 16);
	AT(kvshm_cqe, nr_dropped, 20);
	AT(kvshm_cqe, run, 24);
	SIZE(kvshm_id_run, 8);
	assert_int_equal(KVSHM_CQE_RUNS, 5);
}

static void opcodes_keep_their_numbers(void **state)
{
	assert_int_equal(KVSHM_OP_NOP, 0);
	assert_int_equal(KVSHM_OP_ATTACH_NS, 1);
	assert_int_equal(KVSHM_OP_GRANT, 2);
	assert_int_equal(KVSHM_OP_RETURN, 3);
	assert_int_equal(KVSHM_OP_COMMIT, 4);
	assert_int_equal(KVSHM_OP_DROP, 5);
	assert_int_equal(KVSHM_OP_HINT, 6);
	assert_int_equal(KVSHM_HINT_QUEUED, 1);
	assert_int_equal(KVSHM_HINT_TOOL, 2);
	assert_int_equal(KVSHM_HINT_RETAIN, 3);
	assert_int_equal(KVSHM_HINT_DONE, 4);
	assert_int_equal(KVSHM_HINT_CLOSED, 5);
	assert_int_equal(KVSHM_OP_PREFETCH, 7);
	assert_int_equal(KVSHM_OP_STAGE_IN, 8);
	assert_int_equal(KVSHM_OP_STAGE_OUT, 9);
	assert_int_equal(KVSHM_OP_DETACH, 10);
	assert_int_equal(KVSHM_SQE_F_KNOWN, KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE | KVSHM_SQE_F_STAGED |
						    KVSHM_SQE_F_ALL);
}

static void arguments_are_as_documented(void **state)
{
	SIZE(kvshm_block_ref, 8);
	AT(kvshm_block_ref, generation, 4);
	SIZE(kvshm_commit_rec, 64);
	AT(kvshm_commit_rec, key, 0);
	AT(kvshm_commit_rec, block, 32);
	AT(kvshm_commit_rec, length, 40);
	AT(kvshm_commit_rec, tokens, 44);
	AT(kvshm_commit_rec, flags, 46);
	AT(kvshm_commit_rec, checksum, 48);
	AT(kvshm_commit_rec, hint, 52);
	AT(kvshm_commit_rec, resv, 56);
	SIZE(kvshm_ns_args, 120);
	AT(kvshm_ns_args, layout, 32);
	AT(kvshm_ns_args, block_len, 64);
	AT(kvshm_ns_args, block_tokens, 68);
	AT(kvshm_ns_args, label, 72);
	AT(kvshm_ns_args, resv, 104);
	SIZE(kvshm_stage_rec, 40);
	AT(kvshm_stage_rec, block, 0);
	AT(kvshm_stage_rec, off, 8);
	AT(kvshm_stage_rec, len, 12);
	AT(kvshm_stage_rec, buffer, 16);
	AT(kvshm_stage_rec, buffer_off, 24);
	AT(kvshm_stage_rec, resv, 32);
	SIZE(kvshm_hint_rec, 40);
	AT(kvshm_hint_rec, block, 0);
	AT(kvshm_hint_rec, kind, 8);
	AT(kvshm_hint_rec, nr, 12);
	AT(kvshm_hint_rec, ticket, 16);
	AT(kvshm_hint_rec, ttl_ns, 24);
	AT(kvshm_hint_rec, priority, 32);
	AT(kvshm_hint_rec, resv, 36);
	SIZE(kvshm_touch, 32);
	AT(kvshm_touch, time_ns, 0);
	AT(kvshm_touch, id, 8);
	AT(kvshm_touch, generation, 12);
	AT(kvshm_touch, nr, 16);
	AT(kvshm_touch, hint, 20);
	AT(kvshm_touch, resv, 24);
}

static void an_export_is_as_documented(void **state)
{
	SIZE(kvshm_export, 96);
	AT(kvshm_export, magic, 0);
	AT(kvshm_export, abi, 8);
	AT(kvshm_export, len, 12);
	AT(kvshm_export, instance, 16);
	AT(kvshm_export, ns, 24);
	AT(kvshm_export, first, 28);
	AT(kvshm_export, nr, 32);
	AT(kvshm_export, resv0, 36);
	AT(kvshm_export, key, 40);
	AT(kvshm_export, resv1, 72);
	SIZE(kvshm_export_block, 16);
	AT(kvshm_export_block, id, 0);
	AT(kvshm_export_block, generation, 4);
	AT(kvshm_export_block, offset, 8);
}

static void session_segment_is_as_documented(void **state)
{
	SIZE(kvshm_ring_ctl, 128);
	AT(kvshm_ring_ctl, tail, 0);
	AT(kvshm_ring_ctl, head, 64);
	AT(kvshm_segment, magic, 0);
	AT(kvshm_segment, abi, 8);
	AT(kvshm_segment, header_len, 12);
	AT(kvshm_segment, len, 16);
	AT(kvshm_segment, sq_off, 24);
	AT(kvshm_segment, args_len, 52);
	AT(kvshm_segment, sq, 64);
	AT(kvshm_segment, cq, 192);
	AT(kvshm_segment, touch, 320);
	AT(kvshm_segment, staging, 448);
	AT(kvshm_segment, client_asleep, 576);
	AT(kvshm_segment, counter, 640);
	SIZE(kvshm_segment, 640 + 8 * KVSHM_CC_WORDS);
	assert_true(KVSHM_CC_LAST <= KVSHM_CC_WORDS);
}

static void socket_messages_are_as_documented(void **state)
{
	SIZE(kvshm_msg_hdr, 8);
	SIZE(kvshm_msg_hello, 80);
	AT(kvshm_msg_hello, abi, 8);
	AT(kvshm_msg_hello, flags, 12);
	AT(kvshm_msg_hello, old_slot, 16);
	AT(kvshm_msg_hello, pin_words, 20);
	AT(kvshm_msg_hello, instance, 24);
	AT(kvshm_msg_hello, label, 32);
	AT(kvshm_msg_hello, resv, 64);
	SIZE(kvshm_msg_welcome, 72);
	AT(kvshm_msg_welcome, abi, 8);
	AT(kvshm_msg_welcome, flags, 12);
	AT(kvshm_msg_welcome, slot, 16);
	AT(kvshm_msg_welcome, credit_bytes, 32);
	AT(kvshm_msg_welcome, pin_quota_bytes, 40);
	AT(kvshm_msg_welcome, instance, 48);
	AT(kvshm_msg_welcome, resv, 56);
	SIZE(kvshm_msg_plain, 16);
	SIZE(kvshm_msg_refused, 128);
	AT(kvshm_msg_refused, text, 16);
	assert_true(sizeof(struct kvshm_msg_refused) <= KVSHM_MSG_MAX);
}

static void defaults_are_those_of_the_design(void **state)
{
	assert_int_equal(KVSHM_SQ_ENTRIES, 256);
	assert_int_equal(KVSHM_CQ_ENTRIES, 512);
	assert_int_equal(KVSHM_TOUCH_ENTRIES, 4096);
	assert_int_equal(KVSHM_PIN_WORDS, 4096);
	assert_int_equal(KVSHM_ARGS_LEN, 256 * 1024);
	assert_int_equal(KVSHM_COMMIT_MAX, 4096);
	assert_int_equal(KVSHM_CHAIN_MAX, 65536);
	assert_int_equal(KVSHM_BLOCK_MIN, 4096);
	assert_int_equal(KVSHM_BLOCK_MAX, 64 << 20);
	assert_int_equal(KVSHM_STAGING_SLICE, 256 * 1024);
	assert_int_equal(KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES, 4 << 20);
	/* A full COMMIT fits the argument area. */
	assert_true(KVSHM_COMMIT_MAX * sizeof(struct kvshm_commit_rec) <= KVSHM_ARGS_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_descriptor_is_as_documented),
		cmocka_unit_test(state_word_has_its_bits),
		cmocka_unit_test(superblock_begins_with_its_frozen_part),
		cmocka_unit_test(superblock_goes_on_with_geometry),
		cmocka_unit_test(tables_are_as_documented),
		cmocka_unit_test(queue_entries_are_as_documented),
		cmocka_unit_test(opcodes_keep_their_numbers),
		cmocka_unit_test(arguments_are_as_documented),
		cmocka_unit_test(an_export_is_as_documented),
		cmocka_unit_test(session_segment_is_as_documented),
		cmocka_unit_test(socket_messages_are_as_documented),
		cmocka_unit_test(defaults_are_those_of_the_design),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
