/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each refusal has its test: everything else in the superblock is valid, the geometry hash included, or
 * an earlier check would answer for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/directory.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

static const struct directory_geometry geometry = { .max_blocks = 1000, .max_ns = 16, .max_extents = 8 };

/* A live directory in a memfd. */
static int make(void)
{
	struct directory dir;
	int fd = memfd_create("directory", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)directory_size(&geometry)), 0);
	assert_int_equal(directory_create(fd, &geometry, &dir), 0);
	directory_set_state(&dir, KVSHM_SB_LIVE, 1);
	directory_detach(&dir);
	return fd;
}

static void read_sb(int fd, struct kvshm_superblock *sb)
{
	assert_int_equal(pread(fd, sb, sizeof(*sb), 0), sizeof(*sb));
}

static void write_sb(int fd, const struct kvshm_superblock *sb)
{
	assert_int_equal(pwrite(fd, sb, sizeof(*sb), 0), sizeof(*sb));
}

static int attach_both(int fd, bool writable)
{
	struct directory dir = { .max_ns = 4711 };
	int ret = directory_attach(fd, writable, &dir);

	if (ret < 0)
		assert_int_equal(dir.max_ns, 4711);
	else
		directory_detach(&dir);
	return ret;
}

/* Attach to a directory that @damage has changed; the hash is made to fit when @rehash. */
static int attach_damaged(void (*damage)(struct kvshm_superblock *), bool rehash)
{
	struct kvshm_superblock sb;
	int fd = make(), ret;

	read_sb(fd, &sb);
	damage(&sb);
	if (rehash)
		sb.geometry_hash = directory_geometry_hash(&sb);
	write_sb(fd, &sb);
	ret = attach_both(fd, false);
	assert_int_equal(attach_both(fd, true), ret);
	close(fd);
	return ret;
}

#define DAMAGE(test, statement, rehash, error)                                                  \
	static void damage_##test(struct kvshm_superblock *sb)                                  \
	{                                                                                       \
		statement;                                                                      \
	}                                                                                       \
	static void test(void **state)                                                          \
	{                                                                                       \
		assert_int_equal(attach_damaged(damage_##test, rehash), error);                 \
	}

#define LEN(sb) ((sb)->directory_len)
DAMAGE(attach_takes_what_create_left, (void)sb, false, 0)
DAMAGE(attach_takes_a_state_not_yet_live, sb->state = 0, false, 0)
DAMAGE(attach_refuses_a_wrong_magic, sb->magic ^= 1, true, -EBADMSG)
DAMAGE(attach_refuses_another_abi, sb->abi++, true, -EPROTONOSUPPORT)
DAMAGE(attach_refuses_another_frozen_length, sb->frozen_len = 128, true, -EBADMSG)
DAMAGE(attach_refuses_a_dead_directory, sb->state = 5ull << 32 | KVSHM_SB_DEAD, true, -ENODATA)
DAMAGE(attach_says_dead_also_of_another_abi, (sb->state = KVSHM_SB_DEAD, sb->abi++), true, -ENODATA)
DAMAGE(attach_refuses_an_unknown_state, sb->state = 17, true, -EBADMSG)
DAMAGE(attach_refuses_a_wrong_hash, sb->geometry_hash ^= 1, false, -EBADMSG)
DAMAGE(attach_refuses_changed_geometry, sb->hash_seed ^= 1, false, -EBADMSG)
DAMAGE(attach_refuses_a_length_past_the_file, sb->directory_len += HUGE_LEN, true, -EBADMSG)
DAMAGE(attach_refuses_a_length_that_is_not_2_mib, sb->directory_len -= 4096, true, -EBADMSG)
DAMAGE(attach_refuses_a_length_of_0, sb->directory_len = 0, true, -EBADMSG)
DAMAGE(attach_refuses_no_blocks, sb->max_blocks = 0, true, -EBADMSG)
DAMAGE(attach_refuses_blocks_past_the_buckets, sb->max_blocks = 5000, true, -EBADMSG)
DAMAGE(attach_refuses_no_namespaces, sb->max_ns = 0, true, -EBADMSG)
DAMAGE(attach_refuses_namespaces_past_the_extents, sb->max_ns = 64, true, -EBADMSG)
DAMAGE(attach_refuses_no_extents, sb->max_extents = 0, true, -EBADMSG)
DAMAGE(attach_refuses_extents_past_the_descriptors, sb->max_extents = 4096, true, -EBADMSG)
DAMAGE(attach_refuses_no_buckets, sb->nr_buckets = 0, true, -EBADMSG)
DAMAGE(attach_refuses_buckets_not_a_power_of_two, sb->nr_buckets--, true, -EBADMSG)
DAMAGE(attach_refuses_buckets_past_the_end, sb->nr_buckets = 1u << 16, true, -EBADMSG)
DAMAGE(attach_refuses_namespaces_inside_the_superblock, sb->ns_off = 4032, true, -EBADMSG)
DAMAGE(attach_refuses_misaligned_namespaces, sb->ns_off += 8, true, -EBADMSG)
DAMAGE(attach_refuses_namespaces_past_the_end, sb->ns_off = LEN(sb) - 64, true, -EBADMSG)
DAMAGE(attach_refuses_namespaces_that_wrap, sb->ns_off = UINT64_MAX - 63, true, -EBADMSG)
DAMAGE(attach_refuses_misaligned_extents, sb->extent_off += 4, true, -EBADMSG)
DAMAGE(attach_refuses_extents_over_namespaces, sb->extent_off = sb->ns_off, true, -EBADMSG)
DAMAGE(attach_refuses_extents_that_wrap, sb->extent_off = UINT64_MAX - 63, true, -EBADMSG)
DAMAGE(attach_refuses_misaligned_descriptors, sb->desc_off += 32, true, -EBADMSG)
DAMAGE(attach_refuses_descriptors_over_extents, sb->desc_off = sb->extent_off, true, -EBADMSG)
DAMAGE(attach_refuses_descriptors_that_wrap, sb->desc_off = UINT64_MAX - 63, true, -EBADMSG)
DAMAGE(attach_refuses_misaligned_buckets, sb->bucket_off += 16, true, -EBADMSG)
DAMAGE(attach_refuses_buckets_over_descriptors, sb->bucket_off = sb->desc_off, true, -EBADMSG)
DAMAGE(attach_refuses_bucket_table_past_the_end, sb->bucket_off = LEN(sb) - 64, true, -EBADMSG)
DAMAGE(attach_refuses_buckets_that_wrap, sb->bucket_off = UINT64_MAX - 63, true, -EBADMSG)

/* A file without holes in its layout, as long as these counts need; only the counts may be wrong. */
static int attach_counts(uint32_t max_blocks, uint32_t max_ns, uint32_t max_extents)
{
	struct kvshm_superblock sb;
	int fd = make(), ret;

	read_sb(fd, &sb);
	sb.max_blocks = max_blocks;
	sb.max_ns = max_ns;
	sb.max_extents = max_extents;
	sb.extent_off = sb.ns_off + max_ns * sizeof(struct kvshm_ns_entry);
	sb.desc_off = sb.extent_off + max_extents * sizeof(struct kvshm_extent_entry);
	sb.bucket_off = sb.desc_off + ((uint64_t)max_blocks + 1) * sizeof(struct kvshm_desc);
	sb.directory_len = round_up(sb.bucket_off + sb.nr_buckets * sizeof(struct kvshm_bucket), HUGE_LEN);
	sb.geometry_hash = directory_geometry_hash(&sb);
	write_sb(fd, &sb);
	assert_int_equal(ftruncate(fd, (off_t)sb.directory_len), 0);
	ret = attach_both(fd, false);
	close(fd);
	return ret;
}

static void attach_refuses_too_many_blocks(void **state)
{
	assert_int_equal(attach_counts(100000, 16, 8), 0);
	assert_int_equal(attach_counts((1u << 31) + 1, 16, 8), -EBADMSG);
}

static void attach_refuses_too_many_namespaces(void **state)
{
	assert_int_equal(attach_counts(1000, 65536, 8), 0);
	assert_int_equal(attach_counts(1000, 65537, 8), -EBADMSG);
}

static void attach_refuses_too_many_extents(void **state)
{
	assert_int_equal(attach_counts(1000, 16, 65536), 0);
	assert_int_equal(attach_counts(1000, 16, 65537), -EBADMSG);
}

static void only_a_writer_minds_another_boot(void **state)
{
	struct kvshm_superblock sb;
	int fd = make();

	read_sb(fd, &sb);
	sb.boot_id[7] ^= 1;
	write_sb(fd, &sb);
	assert_int_equal(attach_both(fd, true), -ESTALE);
	assert_int_equal(attach_both(fd, false), 0);
	close(fd);
}

static void attach_refuses_a_short_file(void **state)
{
	int fd = make();

	assert_int_equal(ftruncate(fd, (off_t)HUGE_LEN - 4096), 0);
	assert_int_equal(attach_both(fd, false), -EBADMSG);
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(attach_both(fd, false), -EBADMSG);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(attach_both(fd, false), -EBADMSG);
	close(fd);
}

static void attach_passes_on_a_bad_descriptor(void **state)
{
	assert_int_equal(attach_both(-1, false), -EBADF);
}

static void a_half_made_directory_is_none(void **state)
{
	struct kvshm_superblock sb;
	int fd = make();

	read_sb(fd, &sb);
	sb.magic = 0;			/* written last */
	write_sb(fd, &sb);
	assert_int_equal(attach_both(fd, true), -EBADMSG);
	close(fd);
}

static void tables_are_where_they_were_laid(void **state)
{
	struct directory w, r;
	int fd = make();

	assert_int_equal(directory_attach(fd, true, &w), 0);
	assert_int_equal(directory_attach(fd, false, &r), 0);
	w.ns[15].uid = 1;
	w.extent[7].base = 2;
	w.desc[1000].page = 3;
	w.bucket[w.bucket_mask].slot[7] = 4;
	assert_int_equal(r.ns[15].uid, 1);
	assert_int_equal(r.extent[7].base, 2);
	assert_int_equal(r.desc[1000].page, 3);
	assert_int_equal(r.bucket[r.bucket_mask].slot[7], 4);
	assert_true((r.bucket_mask + 1) * KVSHM_BUCKET_SLOTS >= 2 * r.max_blocks);
	assert_true(r.instance != 0 && r.hash_seed != 0 && r.instance == w.instance);
	assert_int_equal((uintptr_t)w.desc % KVSHM_CACHELINE, 0);
	directory_detach(&w);
	directory_detach(&r);
	close(fd);
}

static void state_word_is_seen_by_a_reader(void **state)
{
	struct directory w, r;
	int fd = make();

	assert_int_equal(directory_attach(fd, true, &w), 0);
	assert_int_equal(directory_attach(fd, false, &r), 0);
	directory_set_state(&w, KVSHM_SB_LIVE, 9);
	assert_true(directory_is_live(directory_state(&r)));
	assert_int_equal(directory_start_count(directory_state(&r)), 9);
	directory_set_state(&w, KVSHM_SB_DEAD, 9);
	assert_false(directory_is_live(directory_state(&r)));
	directory_detach(&w);
	directory_detach(&r);
	close(fd);
}

static void create_refuses_bad_geometry_and_size(void **state)
{
	static const struct directory_geometry bad[] = {
		{ .max_blocks = 0, .max_ns = 1, .max_extents = 1 },
		{ .max_blocks = (1u << 31) + 1, .max_ns = 1, .max_extents = 1 },
		{ .max_blocks = 1, .max_ns = 0, .max_extents = 1 },
		{ .max_blocks = 1, .max_ns = 65537, .max_extents = 1 },
		{ .max_blocks = 1, .max_ns = 1, .max_extents = 0 },
		{ .max_blocks = 1, .max_ns = 1, .max_extents = 65537 },
	};
	int fd = memfd_create("directory", MFD_CLOEXEC);
	struct directory dir;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(directory_size(&bad[i]), 0);
		assert_int_equal(directory_create(fd, &bad[i], &dir), -EINVAL);
	}
	assert_int_equal(directory_create(fd, &geometry, &dir), -EINVAL);	/* empty file */
	close(fd);
}

static void size_of_many_blocks_does_not_overflow(void **state)
{
	const struct directory_geometry g = { .max_blocks = 1u << 31, .max_ns = 65536, .max_extents = 65536 };

	assert_true(directory_size(&g) > (1ull << 31) * (64 + 16));
	assert_int_equal(directory_size(&g) % HUGE_LEN, 0);
}

static void chosen_seed_and_instance_are_kept(void **state)
{
	struct directory_geometry g = geometry;
	int fd = memfd_create("directory", MFD_CLOEXEC);
	struct directory dir;

	g.hash_seed = 11;
	g.instance = 12;
	assert_int_equal(ftruncate(fd, (off_t)directory_size(&g)), 0);
	assert_int_equal(directory_create(fd, &g, &dir), 0);
	assert_true(dir.hash_seed == 11 && dir.instance == 12 && dir.sb->state == 0);
	directory_detach(&dir);
	directory_detach(&dir);
	close(fd);
}

/* Whatever attaches after damage must lie inside the file: the last word of each table is read. */
static uint64_t read_ends(const struct directory *dir)
{
	return READ_ONCE(dir->ns[dir->max_ns - 1].resv[1]) | READ_ONCE(dir->extent[dir->max_extents - 1].resv[3]) |
	       READ_ONCE(dir->desc[dir->max_blocks].state) | READ_ONCE(dir->bucket[dir->bucket_mask].slot[7]);
}

static void random_damage_never_reads_outside(void **state)
{
	struct kvshm_superblock good, sb;
	unsigned round, i, n, nr_attached = 0;
	uint8_t *bytes = (uint8_t *)&sb;
	struct directory dir;
	uint64_t seen = 0;
	struct rand r;
	int fd = make();

	rand_init(&r, 1);
	read_sb(fd, &good);
	for (round = 0; round < 20000; round++) {
		sb = good;
		n = 1 + (unsigned)rand_below(&r, 4);
		for (i = 0; i < n; i++)
			bytes[rand_below(&r, 192)] = (uint8_t)(rand_below(&r, 2) ? rand_u64(&r) : 0xff);
		if (rand_below(&r, 16) == 0)
			for (i = 64; i < 192; i++)
				bytes[i] = (uint8_t)rand_u64(&r);
		if (rand_below(&r, 8))
			sb.geometry_hash = directory_geometry_hash(&sb);
		write_sb(fd, &sb);
		if (directory_attach(fd, false, &dir) < 0)
			continue;
		nr_attached++;
		seen |= read_ends(&dir);
		directory_detach(&dir);
	}
	assert_in_range(nr_attached, 1, 19999);
	assert_true(seen == 0);	/* only the superblock was damaged */
	close(fd);
}

static void open_finds_the_directory_in_the_folder_of_a_daemon(void **state)
{
	char dir[] = "/tmp/test_directory.XXXXXX", path[64], too_long[8192];
	struct directory d, made;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(directory_open(dir, &d), -ENOENT);
	snprintf(path, sizeof(path), "%s/directory", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(directory_open(dir, &d), -EBADMSG);
	assert_int_equal(ftruncate(fd, (off_t)directory_size(&geometry)), 0);
	assert_int_equal(directory_create(fd, &geometry, &made), 0);
	assert_int_equal(directory_open(dir, &d), 0);
	assert_int_equal(d.max_blocks, geometry.max_blocks);
	directory_detach(&d);
	directory_detach(&made);
	close(fd);
	unlink(path);
	/* Whoever may write there does not lead us elsewhere. */
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_int_equal(directory_open(dir, &d), -ELOOP);
	unlink(path);
	rmdir(dir);
	memset(too_long, 'a', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = 0;
	assert_int_equal(directory_open(too_long, &d), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attach_takes_what_create_left),
		cmocka_unit_test(open_finds_the_directory_in_the_folder_of_a_daemon),
		cmocka_unit_test(attach_takes_a_state_not_yet_live),
		cmocka_unit_test(attach_refuses_a_wrong_magic),
		cmocka_unit_test(attach_refuses_another_abi),
		cmocka_unit_test(attach_refuses_another_frozen_length),
		cmocka_unit_test(attach_refuses_a_dead_directory),
		cmocka_unit_test(attach_says_dead_also_of_another_abi),
		cmocka_unit_test(attach_refuses_an_unknown_state),
		cmocka_unit_test(attach_refuses_a_wrong_hash),
		cmocka_unit_test(attach_refuses_changed_geometry),
		cmocka_unit_test(attach_refuses_a_length_past_the_file),
		cmocka_unit_test(attach_refuses_a_length_that_is_not_2_mib),
		cmocka_unit_test(attach_refuses_a_length_of_0),
		cmocka_unit_test(attach_refuses_no_blocks),
		cmocka_unit_test(attach_refuses_too_many_blocks),
		cmocka_unit_test(attach_refuses_blocks_past_the_buckets),
		cmocka_unit_test(attach_refuses_no_namespaces),
		cmocka_unit_test(attach_refuses_too_many_namespaces),
		cmocka_unit_test(attach_refuses_namespaces_past_the_extents),
		cmocka_unit_test(attach_refuses_no_extents),
		cmocka_unit_test(attach_refuses_too_many_extents),
		cmocka_unit_test(attach_refuses_extents_past_the_descriptors),
		cmocka_unit_test(attach_refuses_no_buckets),
		cmocka_unit_test(attach_refuses_buckets_not_a_power_of_two),
		cmocka_unit_test(attach_refuses_buckets_past_the_end),
		cmocka_unit_test(attach_refuses_namespaces_inside_the_superblock),
		cmocka_unit_test(attach_refuses_misaligned_namespaces),
		cmocka_unit_test(attach_refuses_namespaces_past_the_end),
		cmocka_unit_test(attach_refuses_namespaces_that_wrap),
		cmocka_unit_test(attach_refuses_misaligned_extents),
		cmocka_unit_test(attach_refuses_extents_over_namespaces),
		cmocka_unit_test(attach_refuses_extents_that_wrap),
		cmocka_unit_test(attach_refuses_misaligned_descriptors),
		cmocka_unit_test(attach_refuses_descriptors_over_extents),
		cmocka_unit_test(attach_refuses_descriptors_that_wrap),
		cmocka_unit_test(attach_refuses_misaligned_buckets),
		cmocka_unit_test(attach_refuses_buckets_over_descriptors),
		cmocka_unit_test(attach_refuses_bucket_table_past_the_end),
		cmocka_unit_test(attach_refuses_buckets_that_wrap),
		cmocka_unit_test(only_a_writer_minds_another_boot),
		cmocka_unit_test(attach_refuses_a_short_file),
		cmocka_unit_test(attach_passes_on_a_bad_descriptor),
		cmocka_unit_test(a_half_made_directory_is_none),
		cmocka_unit_test(tables_are_where_they_were_laid),
		cmocka_unit_test(state_word_is_seen_by_a_reader),
		cmocka_unit_test(create_refuses_bad_geometry_and_size),
		cmocka_unit_test(size_of_many_blocks_does_not_overflow),
		cmocka_unit_test(chosen_seed_and_instance_are_kept),
		cmocka_unit_test(random_damage_never_reads_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
