/* SPDX-License-Identifier: Apache-2.0 */
/* Each test tries its calls in a child, which the filter binds for good. */
#include "kvshm/daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"

/* Run @fn in a child behind the filter.  Return: what waitpid() says of it. */
static int behind(enum sandbox_mode mode, int (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		sandbox_prepare();
		_exit(sandbox_enter(mode) < 0 ? 100 : fn());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void passes(enum sandbox_mode mode, int (*fn)(void))
{
	int status = behind(mode, fn);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Number of the first call that was not refused with EPERM, 0: all were. */
#define REFUSED(nr, call)                                                                          \
	do {                                                                                       \
		errno = 0;                                                                         \
		if ((long)(call) != -1 || errno != EPERM)                                          \
			return nr;                                                                 \
	} while (0)

static int try_programs_and_processes(void)
{
	char *const argv[] = { "/bin/true", NULL };

	REFUSED(1, execve(argv[0], argv, argv));
	REFUSED(2, syscall(SYS_execveat, AT_FDCWD, argv[0], argv, argv, 0));
	REFUSED(3, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	REFUSED(4, syscall(SYS_clone3, NULL, 0));
	REFUSED(5, kill(getppid(), 0));
	REFUSED(6, syscall(SYS_tgkill, getppid(), getppid(), 0));
	REFUSED(7, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
	REFUSED(8, syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0));
	REFUSED(9, syscall(SYS_pidfd_getfd, 0, 0, 0));
	return 0;
}

static int try_network(void)
{
	REFUSED(1, socket(AF_INET, SOCK_STREAM, 0));
	REFUSED(2, socket(AF_INET6, SOCK_DGRAM, 0));
	REFUSED(3, socket(AF_NETLINK, SOCK_RAW, 0));
	return 0;
}

static int try_system(void)
{
	REFUSED(1, mount("none", "/tmp", "tmpfs", 0, NULL));
	REFUSED(2, syscall(SYS_open_tree, AT_FDCWD, "/", 0));
	REFUSED(3, syscall(SYS_unshare, 0));
	REFUSED(4, syscall(SYS_setns, 0, 0));
	REFUSED(5, syscall(SYS_bpf, 0, NULL, 0));
	REFUSED(6, syscall(SYS_io_uring_setup, 1, NULL));
	REFUSED(7, syscall(SYS_userfaultfd, 0));
	REFUSED(8, setuid(1));
	REFUSED(9, chmod("/nonexistent", 0777));
	REFUSED(10, prctl(PR_SET_DUMPABLE, 1));
	REFUSED(11, syscall(SYS_open_by_handle_at, 0, NULL, 0));
	return 0;
}

static int try_new_code(void)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	REFUSED(1, mmap(NULL, len, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 2;
	REFUSED(3, mprotect(p, len, PROT_READ | PROT_EXEC));
	return mprotect(p, len, PROT_READ) == 0 ? 0 : 4;
}

static int try_what_the_service_needs(void)
{
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, 4096) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		return 1;
	if (eventfd(0, EFD_CLOEXEC) < 0 || socket(AF_UNIX, SOCK_DGRAM, 0) < 0)
		return 2;
	if (open("/proc/self/stat", O_RDONLY) < 0 || access("/", F_OK) < 0)
		return 3;
	if (syscall(SYS_pidfd_open, getpid(), 0) < 0 || prctl(PR_SET_NAME, "x") < 0)
		return 4;
	return 0;
}

static int try_execve(void)
{
	char *const argv[] = { "/bin/true", NULL };

	execve(argv[0], argv, argv);
	return 1;
}

static int try_bare_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0;
}

#if defined(__x86_64__)
/* getpid by the numbers of 32-bit programs: 20 there, writev here. */
static int try_other_numbers(void)
{
	int ret = 20;

	__asm__ __volatile__("int $0x80" : "+a"(ret) : : "memory", "r8", "r9", "r10", "r11");
	if (ret != -EPERM && ret != -ENOSYS)
		return 1;
	REFUSED(2, syscall(0x40000000 + SYS_getpid));
	return 0;
}
#endif

static pthread_barrier_t barrier;

static void *other_thread(void *ret)
{
	pthread_barrier_wait(&barrier); /* started */
	pthread_barrier_wait(&barrier); /* the filter is there */
	*(int *)ret = try_network();
	return NULL;
}

static void a_thread_that_ran_before_is_bound_too(void **state)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_t t;
		int ret = -1;

		pthread_barrier_init(&barrier, NULL, 2);
		sandbox_prepare();
		if (pthread_create(&t, NULL, other_thread, &ret))
			_exit(100);
		pthread_barrier_wait(&barrier);
		if (sandbox_enter(SANDBOX_ON) < 0)
			_exit(101);
		pthread_barrier_wait(&barrier);
		pthread_join(t, NULL);
		_exit(ret);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_program_process_or_signal_goes_out(void **state)
{
	passes(SANDBOX_ON, try_programs_and_processes);
}

static void no_network_is_there(void **state)
{
	passes(SANDBOX_ON, try_network);
}

static void mounts_namespaces_and_privileges_are_out_of_reach(void **state)
{
	passes(SANDBOX_ON, try_system);
}

static void no_new_code_comes_into_memory(void **state)
{
	passes(SANDBOX_ON, try_new_code);
}

static void the_service_has_what_it_needs(void **state)
{
	passes(SANDBOX_KILL, try_what_the_service_needs);
}

#if defined(__x86_64__)
static void numbers_of_other_architectures_are_refused(void **state)
{
	passes(SANDBOX_ON, try_other_numbers);
}
#endif

static void kill_ends_the_process_at_the_first_call(void **state)
{
	int status = behind(SANDBOX_KILL, try_execve);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void log_lets_all_pass(void **state)
{
	passes(SANDBOX_LOG, try_bare_socket);
}

static void off_installs_nothing(void **state)
{
	passes(SANDBOX_OFF, try_bare_socket);
}

static int look_at_what_was_prepared(void)
{
	struct rlimit core = { 1, 1 };

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (prctl(PR_GET_DUMPABLE) != 0)
		return 2;
	return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? 0 : 3;
}

static void no_core_no_ptrace_no_new_privileges(void **state)
{
	passes(SANDBOX_OFF, look_at_what_was_prepared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_program_process_or_signal_goes_out),
		cmocka_unit_test(no_network_is_there),
		cmocka_unit_test(mounts_namespaces_and_privileges_are_out_of_reach),
		cmocka_unit_test(no_new_code_comes_into_memory),
		cmocka_unit_test(the_service_has_what_it_needs),
#if defined(__x86_64__)
		cmocka_unit_test(numbers_of_other_architectures_are_refused),
#endif
		cmocka_unit_test(a_thread_that_ran_before_is_bound_too),
		cmocka_unit_test(kill_ends_the_process_at_the_first_call),
		cmocka_unit_test(log_lets_all_pass),
		cmocka_unit_test(off_installs_nothing),
		cmocka_unit_test(no_core_no_ptrace_no_new_privileges),
	};

#if defined(KVSHM_SAN)
	printf("a sanitizer's build has no sandbox\n");
	return 77;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
