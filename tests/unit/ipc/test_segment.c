/* SPDX-License-Identifier: Apache-2.0 */
/* test_segment.c - session segment: geometry, seals, and each refusal of a client */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/segment.h"

static struct segment daemon_seg, client_seg;
static int fd;

static int set_up(void **state)
{
	memset(&client_seg, 0, sizeof(client_seg));
	return segment_create(&daemon_seg, &fd);
}

static int tear_down(void **state)
{
	segment_unmap(&daemon_seg);
	segment_unmap(&client_seg);
	close(fd);
	return 0;
}

static void the_defaults_are_in_force(void **state)
{
	assert_int_equal(daemon_seg.sq_entries, KVSHM_SQ_ENTRIES);
	assert_int_equal(daemon_seg.cq_entries, KVSHM_CQ_ENTRIES);
	assert_int_equal(daemon_seg.touch_entries, KVSHM_TOUCH_ENTRIES);
	assert_int_equal(daemon_seg.args_len, KVSHM_ARGS_LEN);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void both_sides_see_the_same_bytes(void **state)
{
	assert_int_equal(segment_map(fd, &client_seg), 0);
	assert_int_equal(client_seg.len, daemon_seg.len);
	client_seg.sq[KVSHM_SQ_ENTRIES - 1].user_data = 11;
	client_seg.touch[KVSHM_TOUCH_ENTRIES - 1].id = 12;
	client_seg.args[KVSHM_ARGS_LEN - 1] = 13;
	daemon_seg.cq[KVSHM_CQ_ENTRIES - 1].user_data = 14;
	assert_int_equal(daemon_seg.sq[KVSHM_SQ_ENTRIES - 1].user_data, 11);
	assert_int_equal(daemon_seg.touch[KVSHM_TOUCH_ENTRIES - 1].id, 12);
	assert_int_equal(daemon_seg.args[KVSHM_ARGS_LEN - 1], 13);
	assert_int_equal(client_seg.cq[KVSHM_CQ_ENTRIES - 1].user_data, 14);
}

static void all_pages_are_there_before_it_is_shared(void **state)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= daemon_seg.len);
}

static void the_daemon_keeps_its_own_geometry(void **state)
{
	assert_int_equal(segment_map(fd, &client_seg), 0);
	memset(client_seg.hdr, 0xff, sizeof(*client_seg.hdr));
	assert_int_equal(daemon_seg.sq_entries, KVSHM_SQ_ENTRIES);
	assert_ptr_equal(daemon_seg.args, (char *)daemon_seg.hdr + daemon_seg.len - KVSHM_ARGS_LEN);
}

static void the_size_is_sealed_before_anybody_gets_it(void **state)
{
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, (off_t)daemon_seg.len + 4096), -1);
	assert_int_equal(errno, EPERM);
}

static void a_sealed_segment_refuses_a_new_writable_map(void **state)
{
	void *p;

	assert_int_equal(segment_map(fd, &client_seg), 0);
	assert_int_equal(segment_seal(fd), 0);
	p = mmap(NULL, daemon_seg.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_int_equal(errno, EPERM);
	client_seg.args[0] = 77;		/* the old map goes on */
	assert_int_equal(daemon_seg.args[0], 77);
}

static void a_sealed_segment_refuses_holes(void **state)
{
	assert_int_equal(segment_seal(fd), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
	assert_int_equal(errno, EPERM);
}

static void a_client_that_seals_the_seals_ends_its_session(void **state)
{
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	assert_int_equal(segment_seal(fd), -EPERM);
}

static void a_client_cannot_take_the_daemons_right_to_write(void **state)
{
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(errno, EBUSY);
}

/* ---- what the client refuses: one field is wrong, all else is valid ---------------------------- */

static void refused(void)
{
	struct segment s = { .args_len = 42 };

	assert_int_equal(segment_map(fd, &s), -EBADMSG);
	assert_int_equal(s.args_len, 42);	/* left alone */
}

static void map_refuses_a_wrong_magic(void **state)
{
	daemon_seg.hdr->magic++;
	refused();
}

static void map_refuses_another_abi(void **state)
{
	daemon_seg.hdr->abi++;
	refused();
}

static void map_refuses_a_short_header(void **state)
{
	daemon_seg.hdr->header_len -= 64;
	refused();
}

static void map_refuses_a_length_other_than_the_files(void **state)
{
	daemon_seg.hdr->len -= 4096;
	daemon_seg.hdr->args_len -= 4096;
	refused();
}

static void map_refuses_reserved_bytes_in_use(void **state)
{
	daemon_seg.hdr->resv0 = 1;
	refused();
}

static void map_refuses_entries_that_are_no_power_of_two(void **state)
{
	daemon_seg.hdr->sq_entries--;
	refused();
	daemon_seg.hdr->sq_entries++;
	daemon_seg.hdr->cq_entries--;
	refused();
	daemon_seg.hdr->cq_entries++;
	daemon_seg.hdr->touch_entries--;
	refused();
}

static void map_refuses_a_ring_of_no_entries(void **state)
{
	daemon_seg.hdr->cq_entries = 0;
	refused();
}

static void map_refuses_a_ring_that_leaves_the_file(void **state)
{
	daemon_seg.hdr->touch_entries = 1u << 31;
	refused();
}

static void map_refuses_rings_that_overlap(void **state)
{
	daemon_seg.hdr->cq_off -= 64;
	refused();
}

static void map_refuses_a_ring_over_the_header(void **state)
{
	daemon_seg.hdr->sq_off = sizeof(struct kvshm_segment) - 64;
	refused();
}

static void map_refuses_an_unaligned_ring(void **state)
{
	daemon_seg.hdr->args_off += 8;
	daemon_seg.hdr->args_len -= 8;
	refused();
}

static void map_refuses_arguments_past_the_end(void **state)
{
	daemon_seg.hdr->args_len++;
	refused();
}

static void map_refuses_an_offset_past_the_end(void **state)
{
	daemon_seg.hdr->args_off = UINT32_MAX & ~63u;
	daemon_seg.hdr->args_len = 0;
	refused();
}

static void map_refuses_what_is_no_file(void **state)
{
	struct segment s;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(segment_map(p[0], &s), -EBADMSG);
	close(p[0]);
	close(p[1]);
}

static void map_refuses_a_file_smaller_than_the_header(void **state)
{
	struct segment s;
	int small = memfd_create("small", MFD_CLOEXEC);

	assert_int_equal(ftruncate(small, sizeof(struct kvshm_segment) - 1), 0);
	assert_int_equal(segment_map(small, &s), -EBADMSG);
	close(small);
}

/* ---- staging ------------------------------------------------------------------------------------ */

static void staging_is_shared_and_sealed(void **state)
{
	const size_t len = (size_t)KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES;
	char *d, *c;
	int sfd;

	assert_int_equal(staging_create(&d, &sfd), 0);
	assert_int_equal(staging_map(sfd, &c), 0);
	assert_int_equal(segment_seal(sfd), 0);
	c[len - 1] = 5;
	assert_int_equal(d[len - 1], 5);
	assert_ptr_equal(mmap(NULL, len, PROT_WRITE, MAP_SHARED, sfd, 0), MAP_FAILED);
	staging_unmap(c);
	staging_unmap(d);
	close(sfd);
}

static void staging_of_another_size_is_refused(void **state)
{
	int small = memfd_create("small", MFD_CLOEXEC);
	char *c;

	assert_int_equal(ftruncate(small, KVSHM_STAGING_SLICE), 0);
	assert_int_equal(staging_map(small, &c), -EBADMSG);
	close(small);
}

static void unmap_takes_what_is_not_mapped(void **state)
{
	struct segment s = { .hdr = NULL };

	segment_unmap(&s);
	staging_unmap(NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_defaults_are_in_force),
		T(both_sides_see_the_same_bytes),
		T(all_pages_are_there_before_it_is_shared),
		T(the_daemon_keeps_its_own_geometry),
		T(the_size_is_sealed_before_anybody_gets_it),
		T(a_sealed_segment_refuses_a_new_writable_map),
		T(a_sealed_segment_refuses_holes),
		T(a_client_that_seals_the_seals_ends_its_session),
		T(a_client_cannot_take_the_daemons_right_to_write),
		T(map_refuses_a_wrong_magic),
		T(map_refuses_another_abi),
		T(map_refuses_a_short_header),
		T(map_refuses_a_length_other_than_the_files),
		T(map_refuses_reserved_bytes_in_use),
		T(map_refuses_entries_that_are_no_power_of_two),
		T(map_refuses_a_ring_of_no_entries),
		T(map_refuses_a_ring_that_leaves_the_file),
		T(map_refuses_rings_that_overlap),
		T(map_refuses_a_ring_over_the_header),
		T(map_refuses_an_unaligned_ring),
		T(map_refuses_arguments_past_the_end),
		T(map_refuses_an_offset_past_the_end),
		T(map_refuses_what_is_no_file),
		T(map_refuses_a_file_smaller_than_the_header),
		cmocka_unit_test(staging_is_shared_and_sealed),
		cmocka_unit_test(staging_of_another_size_is_refused),
		cmocka_unit_test(unmap_takes_what_is_not_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
