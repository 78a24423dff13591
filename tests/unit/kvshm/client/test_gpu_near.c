/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gpu_near.c - a GPU side says on which NUMA node its GPU sits, and puts follow it
 *
 * sysfs knows the node; here it is another one, in a mount namespace of this process.
 */
#include "gpu_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define DEVICES "/sys/bus/pci/devices"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return ret;
}

static int own_namespace(void)
{
	char map[32];
	uid_t uid = getuid();

	if (unshare(CLONE_NEWNS) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	return write_text("/proc/self/uid_map", map);
}

/* The fake driver's first device, on @node. */
static int set_node(const char *node)
{
	mkdir(DEVICES "/0000:3b:00.0", 0755);
	return write_text(DEVICES "/0000:3b:00.0/numa_node", node);
}

static int make_sysfs(void)
{
	if (own_namespace() < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", DEVICES, "tmpfs", 0, NULL) < 0)
		return -1;
	return set_node("1\n");
}

static unsigned nr_hints(const struct fake *f, struct kvshm_hint_rec *ret_last)
{
	unsigned nr = 0;

	for (uint32_t i = 0; i != READ_ONCE(f->seg.hdr->sq.tail); i++) {
		if (f->seg.sq[i].op != KVSHM_OP_HINT)
			continue;
		memcpy(ret_last, f->seg.args + f->seg.sq[i].off, sizeof(*ret_last));
		nr++;
	}
	return nr;
}

/* Asks for a block, and gets none. */
static void ask(struct gx *x)
{
	struct kvshm_block b;

	WRITE_ONCE(x->f->is_deaf, 1);
	assert_int_equal(kvshm_grant(x->k, x->ns[0], 0, 1, &b, 0), 0);
}

static void puts_are_wanted_on_the_gpus_node(void **state)
{
	struct kvshm_hint_rec rec;
	struct fake *f = *state;
	struct gx x;

	assert_int_equal(set_node("1\n"), 0);
	gx_begin(&x, f, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	assert_int_equal(gx_info(&x).node, 1);
	assert_int_equal(nr_hints(f, &rec), 0);
	ask(&x);
	ask(&x);
	assert_int_equal(nr_hints(f, &rec), 1);
	assert_int_equal(rec.kind, KVSHM_HINT_NODE);
	assert_int_equal(rec.nr, 1);
	gx_end(&x);
}

static void a_machine_of_one_node_is_told_nothing(void **state)
{
	struct kvshm_hint_rec rec;
	struct fake *f = *state;
	struct gx x;

	assert_int_equal(set_node("-1\n"), 0);
	gx_begin(&x, f, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	assert_int_equal(gx_info(&x).node, -1);
	ask(&x);
	assert_int_equal(nr_hints(f, &rec), 0);
	gx_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(puts_are_wanted_on_the_gpus_node, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_machine_of_one_node_is_told_nothing, fake_setup, fake_teardown),
	};

	if (make_sysfs() < 0) {
		printf("no mount namespace with another " DEVICES " here: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
