/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvshm-gpud - copies between a node's KV cache and its clients' GPU buffers
 *
 * This is the keeper: it has the listening socket and no device.  Its worker has the device, and ends when
 * the device or its driver does; then the keeper starts another, later each time it fails again.  A worker that
 * no longer beats hangs in the driver and is killed; while the kernel does not let it die there is no other.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kvshm/version.h>

#include "gpu/gpud/gpud.h"
#include "ipc/instance.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/log.h"
#include "kvshm/base/options.h"

#define BACKLOG 64
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 10000u
#define HEALTHY_NS 60000000000ull	/* a worker that lived so long starts the back-off anew */
#define BEAT_SLACK_NS 5000000000ull	/* beyond the deadline of a copy */
#define START_NS 60000000000ull		/* cuInit() and the first attach */
#define SAY_DYING_MS 10000

struct keeper {
	const struct gpud_options *opts;
	int listen_fd, signal_fd;
	unsigned backoff_ms;
	bool is_stopping;
};

/* ---- one worker ------------------------------------------------------------------------------------ */

static void in_worker(struct keeper *k, int beat_fd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close(k->signal_fd);
	/* not exit(): what a driver does then may never come to its end */
	_exit(gpud_worker(k->opts, k->listen_fd, beat_fd));
}

/* Return: false: no signal of ours within @ms. */
static bool take_signal(struct keeper *k, int ms)
{
	struct pollfd p = { .fd = k->signal_fd, .events = POLLIN };
	struct signalfd_siginfo si;

	if (poll(&p, 1, ms) <= 0 || read(k->signal_fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return false;
	if (si.ssi_signo != SIGCHLD)
		k->is_stopping = true;
	return true;
}

/* It cannot be waited for while the kernel holds it; a second one beside it would find the device in use. */
static int bury(struct keeper *k, pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (!take_signal(k, SAY_DYING_MS))
			log_err("worker %d does not die, the kernel holds it in the driver", (int)pid);
		if (k->is_stopping)
			return -1;
	}
	return status;
}

/* Until it has ended.  Return: its status, -1: it was left behind. */
static int watch(struct keeper *k, pid_t pid, int beat_fd)
{
	uint64_t limit = START_NS, last = clock_ns(), now;
	struct pollfd p[2] = { { .fd = beat_fd, .events = POLLIN }, { .fd = k->signal_fd, .events = POLLIN } };
	char beats[64];
	int status;

	for (;;) {
		poll(p, 2, 1000);
		now = clock_ns();
		if (p[0].revents & POLLIN && read(beat_fd, beats, sizeof(beats)) > 0) {
			last = now;
			limit = k->opts->deadline_ns + BEAT_SLACK_NS;
		}
		if (p[1].revents & POLLIN)
			take_signal(k, 0);
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (k->is_stopping)
			return bury(k, pid);
		if (now - last > limit) {
			log_err("worker %d hangs in the driver, it is killed", (int)pid);
			return bury(k, pid);
		}
	}
}

static void say_end(int status, unsigned backoff_ms)
{
	if (WIFSIGNALED(status))
		log_warn("the worker was ended by signal %d, another starts in %u ms", WTERMSIG(status), backoff_ms);
	else
		log_warn("the worker ended with status %d, another starts in %u ms", WEXITSTATUS(status), backoff_ms);
}

/* Return: exit status, -1: another one. */
static int one_worker(struct keeper *k)
{
	uint64_t start = clock_ns();
	int beat[2], status;
	pid_t pid;

	if (pipe(beat) < 0)
		return 71;
	pid = fork();
	if (pid < 0) {
		close(beat[0]);
		close(beat[1]);
		return 71;
	}
	if (!pid) {
		close(beat[0]);
		in_worker(k, beat[1]);
	}
	close(beat[1]);
	status = watch(k, pid, beat[0]);
	close(beat[0]);
	if (k->is_stopping)
		return 0;
	if (clock_ns() - start > HEALTHY_NS)
		k->backoff_ms = BACKOFF_MIN_MS;
	say_end(status, k->backoff_ms);
	return -1;
}

static int keep(struct keeper *k)
{
	uint64_t until, now;
	int ret = -1;

	while (ret < 0) {
		ret = one_worker(k);
		until = clock_ns() + k->backoff_ms * 1000000ull;
		while (ret < 0 && !k->is_stopping && (now = clock_ns()) < until)
			take_signal(k, (int)((until - now) / 1000000) + 1);
		if (k->is_stopping)
			return 0;
		k->backoff_ms = min_of(k->backoff_ms * 2, BACKOFF_MAX_MS);
	}
	return ret;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int serve(const struct gpud_options *o)
{
	struct keeper k = { .opts = o, .backoff_ms = BACKOFF_MIN_MS };
	int ret;

	k.signal_fd = open_signals();
	k.listen_fd = sock_listen(o->own_socket, (mode_t)o->mode, BACKLOG);
	if (k.signal_fd < 0 || k.listen_fd < 0) {
		log_err("cannot listen at %s: %s", o->own_socket, strerror(k.listen_fd < 0 ? -k.listen_fd : errno));
		return 73;
	}
	ret = keep(&k);
	unlink(o->own_socket);
	return ret;
}

/* ---- options --------------------------------------------------------------------------------------- */

static void usage(FILE *out)
{
	fputs("usage: kvshm-gpud [OPTION...]\n\n"
	      "Copies blocks of a node's KV cache into GPU buffers of its clients and back, on their request.\n\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket; ours lies beside it\n"
	      "      --device N       GPU, as the driver counts them (default: 0)\n"
	      "      --deadline MS    a copy that takes longer hangs (default: 5000)\n"
	      "      --libcuda PATH   the driver's library (default: $KVSHM_LIBCUDA, libcuda.so.1)\n"
	      "      --mode OCTAL     permissions of our socket (default: 0660)\n"
	      "      --pool SIZE      device memory for a staging pool that clients share (default: none)\n"
	      "      --pool-quota SIZE  what one client may hold of it (default: half)\n"
	      "      --pool-uids LIST   users that may map it, besides our own and root\n"
	      "  -v, --verbose        say more\n"
	      "  -q, --quiet          say less\n"
	      "  -h, --help           print this\n"
	      "      --version        print the version\n\n"
	      "Exit status: 0 stopped by a signal, 64 usage, 71 no process or memory, 73 no socket.\n", out);
}

struct words {				/* as given */
	const char *instance, *socket;
	uint64_t device, deadline_ms;
	int louder, quieter;
	bool is_version;
};

/* "1000,1001" */
static int take_uids(void *to, const char *name, const char *text)
{
	struct gpud_options *o = to;
	unsigned long long n;
	const char *at = text;
	char *end = NULL;

	for (o->nr_pool_uids = 0; o->nr_pool_uids < GPUD_POOL_UIDS; at = end + 1) {
		errno = 0;
		n = *at >= '0' && *at <= '9' ? strtoull(at, &end, 10) : ULLONG_MAX;
		if (errno || n > UINT32_MAX || (*end && *end != ','))
			break;
		o->pool_uid[o->nr_pool_uids++] = (uid_t)n;
		if (!*end)
			return 0;
	}
	fprintf(stderr, "kvshm-gpud: --%s takes up to %u user numbers with commas between, not \"%s\"\n", name, GPUD_POOL_UIDS,
		text);
	return -1;
}

static int parse(int argc, char **argv, struct gpud_options *o, struct words *w)
{
	const struct option_row rows[] = {
		TEXT_ROW("instance", 'i', &w->instance),
		TEXT_ROW("socket", 0, &w->socket),
		WHOLE_ROW("device", 0, &w->device, 0, GPU_MAX_DEVICES - 1),
		WHOLE_ROW("deadline", 0, &w->deadline_ms, 1, 30000),
		TEXT_ROW("libcuda", 0, &o->libcuda),
		OCTAL_ROW("mode", 0, &o->mode, 0777),
		WHOLE_ROW("pool", 0, &o->pool_len, 1, 1ull << 50),
		WHOLE_ROW("pool-quota", 0, &o->pool_quota, 1, 1ull << 50),
		CALL_ROW("pool-uids", 0, o, take_uids),
		COUNT_ROW("verbose", 'v', &w->louder),
		COUNT_ROW("quiet", 'q', &w->quieter),
		FLAG_ROW("version", 0, &w->is_version),
		{ 0 },
	};
	const struct option_table table = { .command = "kvshm-gpud", .usage = usage, .rows = rows };
	int ret = options_parse(&table, argc, argv);

	log_adjust(w->louder - w->quieter);
	o->device = (unsigned)w->device;
	o->deadline_ns = w->deadline_ms * 1000000;
	return ret;
}

/* Where the daemon is, or would be. */
static int find_sockets(struct gpud_options *o, const struct words *w)
{
	const char *name = w->instance ? w->instance : "main";
	char dir[sizeof(o->socket)];
	int ret = instance_socket(w->socket, w->instance, o->socket, sizeof(o->socket));

	if (ret == -ENOENT) {
		ret = instance_run_dir(name, geteuid() == 0, dir, sizeof(dir));
		if (!ret && snprintf(o->socket, sizeof(o->socket), "%.90s/kvshm.sock", dir) >= (int)sizeof(o->socket))
			ret = -ENAMETOOLONG;
	}
	if (!ret)
		ret = gpumsg_path(o->socket, GPUMSG_SOCKET, o->own_socket, sizeof(o->own_socket));
	if (!ret)
		ret = gpumsg_path(o->socket, GPUMSG_LINK_SOCKET, o->link_socket, sizeof(o->link_socket));
	return ret;
}

int main(int argc, char **argv)
{
	struct gpud_options o = { .mode = 0660 };
	struct words w = { .deadline_ms = 5000 };
	int ret;

	log_init("kvshm-gpud");
	ret = parse(argc, argv, &o, &w);
	if (ret != OPTIONS_GO_ON)
		return ret == OPTIONS_HELPED ? 0 : 64;
	if (w.is_version) {
		printf("kvshm-gpud %s (ABI %u)\n", KVSHM_VERSION_STRING, KVSHM_ABI);
		return 0;
	}
	ret = find_sockets(&o, &w);
	if (ret < 0) {
		fprintf(stderr, "kvshm-gpud: no such daemon: %s\n", strerror(-ret));
		return 64;
	}
	umask(0077);
	return serve(&o);
}
