/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_pins.c - F2: a pin file that its owner scribbles, truncates and grows, over several scans */
#include "kvshm/pin/pin.h"
#include "kvshm/index/index.h"
#include "tests/fuzz/fuzz_dir.h"

enum { WORDS = 64 };

static struct fuzz_dir f;
static int pin_fd = -1;

static void scribble(struct input *in)
{
	uint64_t word = take64(in);

	switch (take8(in) % 8) {
	case 0:
		MUST(ftruncate(pin_fd, take8(in) * 8) == 0);
		break;
	case 1:
		word = (uint64_t)take8(in) << 32 | KVSHM_PINFILE_OPEN;
		MUST(pwrite(pin_fd, &word, 8, 0) == 8);
		break;
	default:
		if (take8(in) % 4)
			word = 1ull << 32 | word % (FD_BLOCKS + 2);
		MUST(pwrite(pin_fd, &word, 8, (take8(in) % (2 * WORDS)) * 8) == 8);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len }, damage = { data, len < 32 ? len : 32 };
	struct pin_set *s;
	struct directory d;
	uint64_t bytes;
	uint32_t pins;
	bool is_hostile;
	char first[160];
	blk_id_t id;

	fuzz_dir_damage(&f, &damage);
	if (pin_fd < 0)
		pin_fd = memfd_create("pins", MFD_CLOEXEC);
	MUST(ftruncate(pin_fd, 0) == 0 && ftruncate(pin_fd, WORDS * 8) == 0);
	if (directory_attach(f.fd, false, &d) < 0)
		return 0;
	MUST(pin_set_create(2, &s) == 0 && pin_set_add(s, 7, pin_fd, WORDS, take8(&in) % 2 ? 0 : 4 * FD_LEN) == 0);
	while (in.left) {
		unsigned n = take8(&in) % 16;

		while (n--)
			scribble(&in);
		if (pin_set_scan(s, &d) < 0)
			continue;
		for (id = 0; id <= d.max_blocks && id < FD_BLOCKS + 4; id++)
			pin_set_is_pinned(s, id);
		pin_set_bytes(s);
		pin_set_file(s, 7, &bytes, &pins, &is_hostile);
		MUST(pins <= WORDS);
	}
	pin_verify(s, &d, first);
	pin_set_destroy(s);
	directory_detach(&d);
	return 0;
}
