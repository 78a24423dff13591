/* SPDX-License-Identifier: Apache-2.0 */
/* test_gather.c - pieces of blocks through the public call */
#include "fake.h"

#define NR_BLOCKS 3u
#define BLOCK_TOKENS 4u

static const struct kvshm_rows rows = {
	.nr_tokens = BLOCK_TOKENS, .nr_heads = 2, .nr_layers = 2, .nr_parts = 2, .run_len = 8,
	.layer_stride = 128, .part_stride = 64, .head_stride = 32, .token_stride = 8,
};

struct chain {
	uint8_t bytes[NR_BLOCKS][256];
	struct kvshm_block blocks[NR_BLOCKS];
	uint8_t dst[512];
	struct kvshm_gather_request g;
};

/* Two full blocks and one of two tokens, each byte its own number. */
static void chain_init(struct chain *c, const struct kvshm_piece *pieces, uint32_t nr)
{
	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < NR_BLOCKS; i++) {
		for (unsigned n = 0; n < 256; n++)
			c->bytes[i][n] = (uint8_t)(i * 81 + n);
		c->blocks[i] = (struct kvshm_block){ .ptr = c->bytes[i], .length = 256,
						     .tokens = i + 1 < NR_BLOCKS ? BLOCK_TOKENS : 2 };
	}
	c->g = (struct kvshm_gather_request){ .sz = sizeof(c->g), .rows = &rows, .blocks = c->blocks, .pieces = pieces,
				      .dst = c->dst, .dst_len = sizeof(c->dst), .nr_blocks = NR_BLOCKS, .nr_pieces = nr };
}

static void pieces_are_packed_and_those_held_left_out(void **state)
{
	const struct kvshm_piece pieces[] = {
		{ .id = 70, .layer = 1, .head = 1, .part = 1, .token = 9, .nr_tokens = 1 },
		{ .id = 3, .token = 0, .nr_tokens = 4 },
		{ .id = 5, .head = 1, .token = 3, .nr_tokens = 2 },
	};
	const uint64_t held[] = { 1u << 3 };
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_client_stats st = { .sz = sizeof(st) };
	uint64_t len = 0, at[3] = { 0 };
	struct chain c;

	chain_init(&c, pieces, 3);
	c.g.held = held;
	c.g.nr_held = 64;
	c.g.at = at;
	assert_int_equal(kvshm_gather(k, &c.g, &len), 2);
	assert_int_equal(len, 24);
	assert_int_equal(at[0], 0);
	assert_true(at[1] == UINT64_MAX);
	assert_int_equal(at[2], 8);
	assert_memory_equal(c.dst, &c.bytes[2][128 + 64 + 32 + 8], 8);
	/* from the end of one block into the next */
	assert_memory_equal(c.dst + 8, &c.bytes[0][32 + 24], 8);
	assert_memory_equal(c.dst + 16, &c.bytes[1][32], 8);
	assert_int_equal(kvshm_stats(k, &st), 0);
	assert_int_equal(st.copy_out_bytes, 24);
	kvshm_close(k);
}

#define REFUSED(error, change)                                                                                         \
	do {                                                                                                           \
		piece = (struct kvshm_piece){ .token = 8, .nr_tokens = 2 };                                            \
		r = rows;                                                                                              \
		chain_init(&c, &piece, 1);                                                                             \
		c.g.rows = &r;                                                                                         \
		assert_int_equal(kvshm_gather(k, &c.g, &len), 1);                                                      \
		change;                                                                                                \
		assert_int_equal(kvshm_gather(k, &c.g, &len), error);                                                  \
	} while (0)

static void what_is_out_of_range_is_refused(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	struct kvshm_piece piece;
	struct kvshm_rows r;
	struct chain c;
	uint64_t len;

	REFUSED(-EINVAL, piece.nr_tokens = 3);	/* past the tokens of the last block */
	REFUSED(-EINVAL, piece.layer = 2);
	REFUSED(-EINVAL, piece.head = 2);
	REFUSED(-EINVAL, piece.part = 2);
	REFUSED(-EINVAL, piece.resv = 1);
	REFUSED(-EINVAL, c.g.sz--);
	REFUSED(-EINVAL, c.g.resv = 1);
	REFUSED(-EINVAL, r.nr_layers = 3);	/* more than a block has room for */
	REFUSED(-EINVAL, r.nr_tokens = 0);
	REFUSED(-EINVAL, r.layer_stride = UINT64_MAX);
	REFUSED(-EINVAL, c.blocks[0].tokens = 3);
	REFUSED(-EINVAL, c.blocks[2].tokens = 5);
	REFUSED(-EINVAL, c.blocks[1].length = 255);
	REFUSED(-EINVAL, c.g.nr_blocks = 0);
	REFUSED(-ENOSPC, c.g.dst_len = 15);
	kvshm_close(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pieces_are_packed_and_those_held_left_out, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_is_out_of_range_is_refused, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
