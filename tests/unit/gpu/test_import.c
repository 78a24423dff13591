/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/import.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "gpu/event.h"
#include "kvshm/base/clock.h"
#include "tests/lib/fake_cuda.h"

#define LEN (2u << 20)
#define NR 4				/* pieces of the virtual memory range */

/* What the owner, a process of its own, tells. */
struct told {
	uint64_t ipc, vmm, plain;	/* addresses there */
	struct gpu_piece ipc_piece, vmm_piece[NR];
	int plain_error;
	CUipcEventHandle event;
};

/* ---- the owner ---------------------------------------------------------------------------------- */

#define MUST(x) do { if (!(x)) _exit(100 + __LINE__ % 100); } while (0)

static uint64_t make_vmm(const struct cuda *cu, bool can_export, unsigned nr)
{
	CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE } };
	CUmemGenericAllocationHandle h;
	CUdeviceptr va;

	prop.requestedHandleTypes = can_export ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : 0;
	MUST(!cu->MemAddressReserve(&va, nr * (size_t)LEN, 0, 0, 0));
	for (unsigned i = 0; i < nr; i++) {
		MUST(!cu->MemCreate(&h, LEN, &prop, 0));
		MUST(!cu->MemMap(va + i * LEN, LEN, 0, h, 0));
		MUST(!cu->MemRelease(h));
	}
	return va;
}

static void send_told(int sock, const struct told *t, const int fd[NR])
{
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(NR * sizeof(int))];
	} u;
	struct iovec iov = { (void *)t, sizeof(*t) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	u.h.cmsg_level = SOL_SOCKET;
	u.h.cmsg_type = SCM_RIGHTS;
	u.h.cmsg_len = CMSG_LEN(NR * sizeof(int));
	memcpy(CMSG_DATA(&u.h), fd, NR * sizeof(int));
	MUST(sendmsg(sock, &m, 0) == sizeof(*t));
}

static void owner(int sock)
{
	struct told t = { 0 };
	struct gpu_device d;
	struct gpu_stream s;
	struct gpu_event e;
	struct gpu_ctx ctx;
	struct cuda cu;
	char path[512], c;
	int fd[NR], none;
	CUdeviceptr p;

	MUST(!cuda_load(fake_cuda_path(path, sizeof(path)), &cu));
	MUST(gpu_device_list(&cu, "/sys", &d, 1) == 1);
	MUST(!gpu_ctx_open(&cu, &d, &ctx));
	MUST(!gpu_ctx_enter(&ctx));
	MUST(!cu.MemAlloc(&p, LEN));
	t.ipc = p;
	t.vmm = make_vmm(&cu, true, NR) + 4096;
	t.plain = make_vmm(&cu, false, 1);
	gpu_ctx_leave(&ctx);
	memset((void *)(uintptr_t)t.ipc, 0x11, LEN);
	for (unsigned i = 0; i < NR; i++)
		memset((char *)(uintptr_t)t.vmm - 4096 + i * LEN, 0x20 + (int)i, LEN);
	MUST(!gpu_export_piece(&ctx, t.ipc + 8192, 65536, &t.ipc_piece, &none) && none == -1);
	for (uint64_t at = t.vmm, i = 0; i < NR; at += t.vmm_piece[i++].len)
		MUST(!gpu_export_piece(&ctx, at, t.vmm - 4096 + NR * LEN - at - (i == NR - 1 ? 4096 : 0), &t.vmm_piece[i], &fd[i]));
	t.vmm_piece[NR - 1].len -= t.vmm_piece[NR - 1].len == LEN ? 4096 : 0;
	t.plain_error = gpu_export_piece(&ctx, t.plain, LEN, &(struct gpu_piece){ 0 }, &none);
	MUST(!gpu_stream_open(&ctx, false, &s));
	MUST(!gpu_event_open(&ctx, GPU_EVENT_SHARED, &e));
	MUST(!gpu_event_export(&e, &t.event));
	*(uint64_t *)(uintptr_t)t.ipc = 0;
	MUST(!gpu_stream_wait_word(&s, t.ipc, 5));
	MUST(!gpu_event_record(&e, &s));
	send_told(sock, &t, fd);
	/* until the test has looked; then die with all of it imported elsewhere */
	MUST(read(sock, &c, 1) == 1);
	_exit(*((unsigned char *)(uintptr_t)t.ipc + 8192) == 0x77 ? 0 : 1);
}

/* ---- the receiver -------------------------------------------------------------------------------- */

struct fixture {
	struct fake_cuda f;
	struct gpu_imports *t;
	struct told told;
	int fd[NR], sock;
	pid_t pid;
};

static void receive(struct fixture *x)
{
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(NR * sizeof(int))];
	} u;
	struct iovec iov = { &x->told, sizeof(x->told) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	assert_int_equal(recvmsg(x->sock, &m, MSG_CMSG_CLOEXEC), sizeof(x->told));
	memcpy(x->fd, CMSG_DATA(&u.h), sizeof(x->fd));
}

static void start(struct fixture *x)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	x->pid = fork();
	if (!x->pid) {
		close(sv[0]);
		owner(sv[1]);
	}
	close(sv[1]);
	x->sock = sv[0];
	fake_cuda_start(&x->f, NULL);
	assert_int_equal(gpu_imports_create(&x->f.ctx, 4, 8, &x->t), 0);
	receive(x);
}

static int end_owner(struct fixture *x)
{
	int status;

	if (write(x->sock, "", 1) != 1)
		return -1;
	assert_int_equal(waitpid(x->pid, &status, 0), x->pid);
	x->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void stop(struct fixture *x)
{
	if (x->pid)
		end_owner(x);
	gpu_imports_destroy(x->t);
	for (unsigned i = 0; i < NR; i++)
		close(x->fd[i]);
	close(x->sock);
	fake_cuda_stop(&x->f);
}

static const int no_fd[1] = { -1 };

static int open_ipc(struct fixture *x, const struct gpu_piece *p, struct gpu_import **ret)
{
	return gpu_import_open(x->t, 1, x->pid, p->alloc + p->off, p, no_fd, 1, ret);
}

static void handle_opens_the_same_memory(void **state)
{
	struct gpu_import *b;
	struct fixture x;

	start(&x);
	assert_int_equal(open_ipc(&x, &x.told.ipc_piece, &b), 0);
	assert_int_equal(gpu_import_len(b), 65536);
	assert_int_equal(*(unsigned char *)(uintptr_t)gpu_import_addr(b), 0x11);
	*(unsigned char *)(uintptr_t)gpu_import_addr(b) = 0x77;
	assert_int_equal(end_owner(&x), 0);
	/* the owner is gone, what we hold is not */
	assert_int_equal(*(unsigned char *)(uintptr_t)gpu_import_addr(b), 0x77);
	gpu_import_close(b);
	stop(&x);
}

static void allocation_is_opened_once_however_many_buffers(void **state)
{
	struct gpu_import *a, *b, *c = NULL;
	struct gpu_piece second;
	struct fixture x;

	start(&x);
	second = x.told.ipc_piece;
	second.off += 65536;
	assert_int_equal(open_ipc(&x, &x.told.ipc_piece, &a), 0);
	assert_int_equal(open_ipc(&x, &second, &b), 0);
	assert_int_equal(gpu_import_addr(b) - gpu_import_addr(a), 65536);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 1);
	assert_int_equal(open_ipc(&x, &second, &c), -EEXIST);
	assert_null(c);
	assert_ptr_equal(gpu_import_find(x.t, 1, second.alloc + second.off), b);
	assert_null(gpu_import_find(x.t, 2, second.alloc + second.off));
	gpu_import_close(a);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 1);
	gpu_import_close(b);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 0);
	stop(&x);
}

static void allocation_of_two_connections_is_opened_once(void **state)
{
	struct gpu_import *a, *b, *c = NULL;
	struct gpu_piece p;
	struct fixture x;

	start(&x);
	p = x.told.ipc_piece;
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, p.alloc + p.off, &p, no_fd, 1, &a), 0);
	assert_int_equal(gpu_import_open(x.t, 2, x.pid, p.alloc + p.off, &p, no_fd, 1, &b), 0);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 1);
	gpu_import_close(a);
	assert_int_equal(*(unsigned char *)(uintptr_t)gpu_import_addr(b), 0x11);
	/* another allocation under the address of one that is still held */
	p.handle[8] ^= 1;
	p.off += 65536;
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, p.alloc + p.off, &p, no_fd, 1, &c), -EBUSY);
	assert_null(c);
	gpu_import_close(b);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 0);
	stop(&x);
}

static void descriptors_map_one_contiguous_range(void **state)
{
	struct gpu_import *b;
	struct fixture x;
	unsigned char *at;

	start(&x);
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, x.told.vmm_piece, x.fd, NR, &b), 0);
	assert_int_equal(gpu_import_len(b), NR * LEN - 8192);
	at = (unsigned char *)(uintptr_t)gpu_import_addr(b);
	assert_int_equal(at[0], 0x20);
	for (unsigned i = 1; i < NR; i++)
		assert_int_equal(at[i * LEN - 4096], 0x20 + i);
	gpu_import_close(b);
	stop(&x);
}

static void equal_pids_are_refused(void **state)
{
	struct gpu_import *b = NULL;
	struct fixture x;

	start(&x);
	assert_int_equal(gpu_import_open(x.t, 1, getpid(), x.told.ipc + 8192, &x.told.ipc_piece, no_fd, 1, &b), -EADDRINUSE);
	assert_null(b);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 0);
	stop(&x);
}

static void memory_without_a_handle_is_not_offered(void **state)
{
	struct fixture x;

	start(&x);
	assert_int_equal(x.told.plain_error, -EOPNOTSUPP);
	stop(&x);
}

/* Everything else in each is valid. */
static void forged_pieces_are_refused(void **state)
{
	struct gpu_piece p[NR], ipc;
	struct gpu_import *b = NULL;
	struct fixture x;

	start(&x);
	ipc = x.told.ipc_piece;
	ipc.len = LEN;
	assert_int_equal(open_ipc(&x, &ipc, &b), -EINVAL);
	ipc.len = UINT64_MAX;
	assert_int_equal(open_ipc(&x, &ipc, &b), -EINVAL);
	ipc = x.told.ipc_piece;
	ipc.len = 0;
	assert_int_equal(open_ipc(&x, &ipc, &b), -EINVAL);
	ipc = x.told.ipc_piece;
	ipc.pad = 1;
	assert_int_equal(open_ipc(&x, &ipc, &b), -EINVAL);
	ipc = x.told.ipc_piece;
	ipc.uuid[3] ^= 1;
	assert_int_equal(open_ipc(&x, &ipc, &b), -ENODEV);
	ipc = x.told.ipc_piece;
	ipc.handle[0] ^= 1;
	assert_int_equal(open_ipc(&x, &ipc, &b), -EINVAL);
	/* longer than what the handle opens: only the driver knows */
	ipc = x.told.ipc_piece;
	ipc.alloc_len = 16 * LEN;
	ipc.len = 2 * LEN;
	assert_int_equal(open_ipc(&x, &ipc, &b), -EINVAL);
	memcpy(p, x.told.vmm_piece, sizeof(p));
	p[2].alloc += 4096;
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, p, x.fd, NR, &b), -EINVAL);
	memcpy(p, x.told.vmm_piece, sizeof(p));
	p[1].len -= 4096;
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, p, x.fd, NR, &b), -EINVAL);
	memcpy(p, x.told.vmm_piece, sizeof(p));
	p[3].kind = GPU_MEM_IPC;
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, p, x.fd, NR, &b), -EINVAL);
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm + 1, x.told.vmm_piece, x.fd, NR, &b), -EINVAL);
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, x.told.vmm_piece, x.fd, 0, &b), -EINVAL);
	assert_null(b);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 0);
	stop(&x);
}

static void piece_that_fails_undoes_those_before_it(void **state)
{
	struct gpu_import *b = NULL;
	struct fixture x;

	start(&x);
	for (unsigned i = 1; i <= NR; i++) {
		char script[64];

		snprintf(script, sizeof(script), "fail=%s:%u:2", i % 2 ? "cuMemMap" : "cuMemSetAccess", i);
		assert_int_equal(x.f.fake->script(script), 0);
		assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, x.told.vmm_piece, x.fd, NR, &b), -ENOMEM);
		assert_null(b);
		assert_int_equal(x.f.fake->script("reset"), 0);
	}
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, x.told.vmm_piece, x.fd, NR, &b), 0);
	gpu_import_close(b);
	stop(&x);
}

static void limits_hold(void **state)
{
	struct gpu_import *b[4], *more = NULL;
	struct gpu_piece p;
	struct fixture x;

	start(&x);
	p = x.told.ipc_piece;
	for (unsigned i = 0; i < 4; i++, p.off += 65536)
		assert_int_equal(open_ipc(&x, &p, &b[i]), 0);
	assert_int_equal(open_ipc(&x, &p, &more), -ENOSPC);
	gpu_import_close(b[3]);
	gpu_import_close(b[2]);
	gpu_import_close(b[1]);
	assert_int_equal(gpu_import_open(x.t, 1, x.pid, x.told.vmm, x.told.vmm_piece, x.fd, NR, &b[1]), 0);
	p.off = 0;
	assert_int_equal(gpu_import_open(x.t, 2, x.pid, x.told.vmm, x.told.vmm_piece, x.fd, NR, &more), -ENOSPC);
	assert_null(more);
	stop(&x);
}

static void event_of_the_owner_is_waited_for(void **state)
{
	struct gpu_import *b;
	struct gpu_stream s;
	struct gpu_event e;
	struct fixture x;

	start(&x);
	assert_int_equal(gpu_event_import(&x.f.ctx, &x.told.event, &e), 0);
	assert_int_equal(gpu_stream_open(&x.f.ctx, true, &s), 0);
	assert_int_equal(gpu_stream_wait_event(&s, &e), 0);
	assert_int_equal(gpu_stream_wait(&s, clock_ns() + 20000000u), -ETIMEDOUT);
	assert_int_equal(gpu_event_poll(&e), 0);
	x.told.ipc_piece.off = 0;
	x.told.ipc_piece.len = 4096;
	assert_int_equal(open_ipc(&x, &x.told.ipc_piece, &b), 0);
	__atomic_store_n((uint64_t *)(uintptr_t)gpu_import_addr(b), 5, __ATOMIC_RELEASE);
	assert_int_equal(gpu_stream_wait(&s, clock_ns() + 2000000000u), 1);
	assert_int_equal(gpu_event_poll(&e), 1);
	gpu_event_close(&e);
	gpu_stream_close(&s);
	gpu_import_close(b);
	stop(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handle_opens_the_same_memory),
		cmocka_unit_test(allocation_is_opened_once_however_many_buffers),
		cmocka_unit_test(allocation_of_two_connections_is_opened_once),
		cmocka_unit_test(descriptors_map_one_contiguous_range),
		cmocka_unit_test(equal_pids_are_refused),
		cmocka_unit_test(memory_without_a_handle_is_not_offered),
		cmocka_unit_test(forged_pieces_are_refused),
		cmocka_unit_test(piece_that_fails_undoes_those_before_it),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(event_of_the_owner_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
