/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage FILE - a prompt whose keys and values lie on a GPU: load what is cached, compute and save the rest
 *
 * The file stands for the prompt and for its keys and values, see chain.h; a block is what the engine of engine.h keeps
 * of 16 tokens.  Only whole blocks count.
 */
#include <kvshm/gpu.h>

#include "chain.h"
#include "engine.h"

#define WAIT_US 5000000u

_Static_assert(NR_LAYERS * LAYER_LEN == BLOCK_LEN, "a block of the file is a block of the engine");

/* Tell the library where the engine keeps its blocks. */
static int open_gpu(struct kvshm *k, const struct engine *e, struct kvshm_gpu **ret_g)
{
	const struct kvshm_gpu_group group = {
		.nr_blocks = NR_BLOCKS, .nr_tokens = NR_TOKENS, .nr_heads = NR_HEADS, .nr_parts = 2, .run_len = CONTENT,
		.block_stride = LAYER_LEN, .head_stride = NR_TOKENS * CONTENT, .token_stride = CONTENT,
	};
	struct kvshm_gpu_layer layers[NR_LAYERS] = { 0 };
	struct kvshm_gpu_options o = { .sz = sizeof(o), .flags = KVSHM_GPU_CURRENT, .groups = &group, .nr_groups = 1,
				       .layers = layers, .nr_layers = NR_LAYERS };
	uint32_t len;
	int ret;

	for (unsigned i = 0; i < NR_LAYERS; i++) {
		layers[i].dev[0] = e->layer[i];
		layers[i].dev[1] = e->layer[i] + LAYER_LEN / 2;
	}
	ret = kvshm_gpu_block_len(&o, 0, &len);
	if (ret == 0 && len != BLOCK_LEN)
		ret = -EINVAL;
	return ret < 0 ? ret : kvshm_gpu_open(k, &o, ret_g);
}

/* The first @nr blocks out of the cache, a layer at a time: the engine's stream waits, this thread does not. */
static int load(struct kvshm *k, struct kvshm_gpu *g, struct engine *e, const struct chain *c, struct kvshm_pin *pin,
		const uint32_t *places)
{
	struct kvshm_stage_desc desc = { .sz = sizeof(desc), .layers_per_step = 1 };
	struct kvshm_stage_load l = { .engine_blocks = places, .nr_pins = 1, .pins = pin };
	struct kvshm_block *blocks = calloc(pin->nr, sizeof(*blocks));
	struct kvshm_stage *s;
	int ret = blocks ? kvshm_resolve(k, pin, c->keys, blocks) : -ENOMEM;

	l.blocks = blocks;
	if (ret >= 0) {
		l.nr = (unsigned)ret;
		ret = kvshm_stage_in(g, &l, &desc, &s);
	}
	free(blocks);
	if (ret < 0) {
		kvshm_release(k, pin);
		return ret;
	}
	for (uint32_t i = 0; i < NR_LAYERS && ret >= 0; i++) {
		while ((ret = kvshm_stage_block(s, i, e->stream)) == -EAGAIN)
			kvshm_gpu_poll(g);
		/* here the engine puts the layer's kernels onto its stream */
	}
	/* The pin ends by itself, when the last byte has landed. */
	if (ret >= 0)
		ret = kvshm_stage_wait(s, KVSHM_STAGE_ALL, WAIT_US);
	kvshm_stage_end(s);
	return ret < 0 ? ret : ret ? (int)l.nr : -ETIMEDOUT;
}

/* Blocks from @done on: written behind the computing, committed when they have landed. */
static int save(struct kvshm *k, struct kvshm_gpu *g, struct engine *e, uint32_t ns, const struct chain *c,
		unsigned done, const uint32_t *places)
{
	struct kvshm_stage_desc desc = { .sz = sizeof(desc), .flags = KVSHM_STAGE_AFTER, .engine_stream = e->stream };
	struct kvshm_stage_save v = { .ns = ns, .parent = done ? &c->keys[done - 1] : NULL, .keys = c->keys + done,
				      .engine_blocks = places + done, .nr = c->nr - done };
	struct kvshm_block *blocks = calloc(v.nr, sizeof(*blocks));
	struct kvshm_completion end;
	int ret;

	if (!blocks)
		return -ENOMEM;
	ret = kvshm_grant(k, ns, 0, v.nr, blocks, WAIT_US);
	if (ret == -EPERM) {		/* not trusted: through the library's buffer */
		ret = kvshm_stage_out(g, &v, &desc, NULL);
	} else if (ret >= 0) {
		v.blocks = blocks;
		v.nr = (unsigned)ret;	/* the cache may be short of room */
		ret = kvshm_stage_out(g, &v, &desc, NULL);
		if (ret < 0)
			kvshm_return(k, blocks, v.nr);
	}
	free(blocks);
	/* An engine goes on with other work, and polls now and then. */
	while (ret >= 0 && (ret = kvshm_gpu_poll(g)) > 0)
		;
	if (ret >= 0)
		ret = kvshm_poll(k, &end, 1, WAIT_US);
	return ret < 0 ? ret : ret == 1 ? end.res : -ETIMEDOUT;
}

/* Return: blocks whose bytes on the device are those of the file. */
static unsigned check(struct engine *e, const struct chain *c, const uint32_t *places)
{
	static char kv[BLOCK_LEN];
	unsigned nr = 0;

	for (unsigned i = 0; i < c->nr; i++)
		nr += !engine_read(e, places[i], kv) && !memcmp(kv, c->src[i], BLOCK_LEN);
	return nr;
}

static int run(struct kvshm *k, struct kvshm_gpu *g, struct engine *e, uint32_t ns, const struct chain *c)
{
	struct kvshm_gpu_facts info = { .sz = sizeof(info) };
	uint32_t places[NR_BLOCKS];
	struct kvshm_pin pin;
	int loaded, saved = 0;
	unsigned nr;

	for (unsigned i = 0; i < NR_BLOCKS; i++)
		places[i] = i * 5 % NR_BLOCKS;	/* as a block table is after a while */
	loaded = kvshm_acquire(k, ns, c->keys, c->nr, &pin);
	if (loaded > 0)
		loaded = load(k, g, e, c, &pin, places);
	if (loaded < 0)
		return fail("load", loaded);
	for (unsigned i = (unsigned)loaded; i < c->nr; i++)
		if (engine_compute(e, places[i], c->src[i]))
			return fail("compute", -EIO);
	if ((unsigned)loaded < c->nr)
		saved = save(k, g, e, ns, c, (unsigned)loaded, places);
	if (saved < 0)
		return fail("save", saved);
	nr = check(e, c, places);
	kvshm_gpu_info(g, &info);
	printf("%s%s: loaded %d, computed %u, saved %d, right on the device %u of %u blocks\n", info.name,
	       info.is_simulated ? " (simulated)" : "", loaded, c->nr - (unsigned)loaded, saved, nr, c->nr);
	return nr != c->nr;
}

int main(int argc, char **argv)
{
	struct kvshm_gpu *g = NULL;
	struct engine e = { 0 };
	struct chain c = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: stage FILE\n");
		return 2;
	}
	if (engine_open(&e) || chain_read(&c, argv[1]) || chain_open(&k, &ns))
		return 1;
	c.nr = c.nr && c.lengths[c.nr - 1] < BLOCK_LEN ? c.nr - 1 : c.nr;
	c.nr = c.nr < NR_BLOCKS ? c.nr : NR_BLOCKS;
	ret = open_gpu(k, &e, &g);
	ret = ret < 0 ? fail("kvshm_gpu_open", ret) : run(k, g, &e, ns, &c);
	kvshm_close(k);
	chain_free(&c);
	return ret;
}
