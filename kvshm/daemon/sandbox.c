/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter program of the kernel's own kind, assembled from two tables.
 *
 *   another architecture's numbers           out
 *   each allowed call                        in
 *   each call allowed for some arguments     look at one of them
 *   all others                               out
 *
 * No execve, no thread or process, no ptrace, no signal to others, no network, no mount, no new code
 * in memory (W^X).  The kernel keeps a bitmap of calls that are allowed whatever their arguments, so
 * the length of the table costs nothing.
 */
#include "kvshm/daemon/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#if defined(KVSHM_SAN)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

static const uint16_t allowed[] = {
	/* clients: sockets, pin files, bells, deaths */
	SYS_pread64,
	SYS_epoll_pwait,
	SYS_ppoll,
	SYS_read,
	SYS_write,
	SYS_sendmsg,
	SYS_sendto,
	SYS_recvmsg,
	SYS_accept4,
	SYS_getsockopt,
	SYS_fcntl,
	SYS_epoll_ctl,
	SYS_eventfd2,
	SYS_memfd_create,
	SYS_pidfd_open,
	SYS_close,
	/* waiting and time */
	SYS_futex,
	SYS_sched_yield,
	SYS_nanosleep,
	SYS_clock_nanosleep,
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_restart_syscall,
	/* files: pin files, extents, /proc, the configuration */
	SYS_openat,
	SYS_fstat,
	SYS_newfstatat,
	SYS_lseek,
	SYS_pwrite64,
	SYS_writev,
	SYS_ftruncate,
	SYS_fallocate,
	SYS_fstatfs,
	SYS_statfs,
	SYS_unlinkat,
	SYS_getdents64,
	SYS_faccessat,
	/* memory */
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_mbind,
	SYS_brk,
	/* about ourselves */
	SYS_getpid,
	SYS_gettid,
	SYS_getuid,
	SYS_geteuid,
	SYS_sched_getaffinity,
	SYS_sysinfo,
	SYS_getrandom,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_sigaltstack,
	SYS_exit,
	SYS_exit_group,
	SYS_set_robust_list,
	SYS_rseq,
#ifdef __x86_64__ /* the older spellings that its libc still uses */
	SYS_epoll_wait,
	SYS_poll,
	SYS_unlink,
	SYS_access,
#endif
};

/* Allowed if the argument, after the mask, has the value. */
struct rule {
	uint16_t nr;
	uint8_t arg;
	uint32_t mask, value;
};

static const struct rule rules[] = {
	/* no code comes in, nothing written becomes code */
	{ SYS_mmap, 2, PROT_EXEC, 0 },
	{ SYS_mprotect, 2, PROT_EXEC, 0 },
	/* to the service manager */
	{ SYS_socket, 0, ~0u, AF_UNIX },
	/* a thread's name */
	{ SYS_prctl, 0, ~0u, PR_SET_NAME },
};

#define RULE_INSNS 6
#define INSNS_MAX (6 + 2 * ARRAY_SIZE(allowed) + RULE_INSNS * (ARRAY_SIZE(rules) + 1))

struct program {
	struct sock_filter insn[INSNS_MAX];
	unsigned short nr;
};

static void add(struct program *p, struct sock_filter insn)
{
	p->insn[p->nr++] = insn;
}

static void load(struct program *p, size_t offset)
{
	add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void end(struct program *p, uint32_t action)
{
	add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Go on with the next instruction if the loaded word is @value, else behind @skip of them. */
static void unless_skip(struct program *p, uint32_t value, uint8_t skip)
{
	add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip));
}

/* All arguments here are ints, of which the kernel looks at the low half only (little endian). */
static void add_rule(struct program *p, const struct rule *r, uint32_t refuse)
{
	unless_skip(p, r->nr, RULE_INSNS - 1);
	load(p, offsetof(struct seccomp_data, args[0]) + r->arg * sizeof(uint64_t));
	add(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask));
	unless_skip(p, r->value, 1);
	end(p, SECCOMP_RET_ALLOW);
	end(p, refuse);
}

static void assemble(struct program *p, uint32_t refuse)
{
	/* abort() sends itself a signal; nobody else gets one. */
	const struct rule own_signal = { SYS_tgkill, 0, ~0u, (uint32_t)getpid() };

	p->nr = 0;
	load(p, offsetof(struct seccomp_data, arch));
	add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	end(p, refuse);
	load(p, offsetof(struct seccomp_data, nr)); /* x32 has numbers of its own: none is listed */
	for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++) {
		unless_skip(p, allowed[i], 1);
		end(p, SECCOMP_RET_ALLOW);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
		add_rule(p, &rules[i], refuse);
	add_rule(p, &own_signal, refuse);
	end(p, refuse);
}

static uint32_t action_of(enum sandbox_mode mode)
{
	switch (mode) {
	case SANDBOX_KILL:
		return SECCOMP_RET_KILL_PROCESS;
	case SANDBOX_LOG:
		return SECCOMP_RET_LOG;
	default:
		return SECCOMP_RET_ERRNO | EPERM;
	}
}

void sandbox_prepare(void)
{
	const struct rlimit none = { 0, 0 };

	if (!is_sanitized) /* the leak checker reads its own process by ptrace */
		prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int sandbox_enter(enum sandbox_mode mode)
{
	/* Without SPEC_ALLOW older kernels slow all threads down, as if code of others ran here. */
	const unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	struct program p;
	struct sock_fprog prog = { .filter = p.insn };
	long ret;

	if (mode == SANDBOX_OFF)
		return 0;
	if (is_sanitized)
		return -EOPNOTSUPP;
	assemble(&p, action_of(mode));
	prog.len = p.nr;
	ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (ret < 0)
		return -errno;
	return ret == 0 ? 0 : -EBUSY; /* a thread that has another filter */
}
