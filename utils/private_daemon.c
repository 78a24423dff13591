/* SPDX-License-Identifier: Apache-2.0 */
/* private_daemon.c - a kvshmd of one's own in a temporary directory */
#include "utils/private_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kvshm/kvshm.h>

#include "kvshm/base/clock.h"
#include "kvshm/stats/statpage.h"

#define START_TIMEOUT_NS 120000000000ull

struct private_daemon {
	char root[64], socket[80], dir[80], log[80], program[512];
	char size[40], max_blocks[48], sessions[40];
	pid_t pid;
	pid_t owner;			/* only this process cleans up */
	int root_fd;			/* lock on .root */
};

static struct private_daemon *current;
static char setting[PRIVATE_SETTINGS][64];
static unsigned nr_settings;

void private_daemon_set(const char *text)
{
	if (nr_settings < PRIVATE_SETTINGS)
		snprintf(setting[nr_settings++], sizeof(setting[0]), "%s", text);
}

static void clean_up(void)
{
	if (current && current->owner == getpid()) {
		private_daemon_kill(current, SIGKILL);
		if (current->root[0])
			private_daemon_remove(current->root);
		current = NULL;
	}
}

static void on_signal(int sig)
{
	/* The process ends here: nothing that a lock could protect is used again. */
	clean_up();
	signal(sig, SIG_DFL);
	raise(sig);
}

static int find_program(char *buf, size_t len)
{
	const char *env = getenv("KVSHM_DAEMON");
	char *slash;
	ssize_t n;

	if (env)
		return (size_t)snprintf(buf, len, "%s", env) < len ? 0 : -ENAMETOOLONG;
	n = readlink("/proc/self/exe", buf, len - 16);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	slash = strrchr(buf, '/');
	memcpy(slash + 1, "kvshmd", sizeof("kvshmd"));
	if (!access(buf, X_OK))
		return 0;
	/* Installed: bin/kvshm beside sbin/kvshmd. */
	slash[0] = 0;
	slash = strrchr(buf, '/');
	if (slash)
		memcpy(slash + 1, "sbin/kvshmd", sizeof("sbin/kvshmd"));
	return access(buf, X_OK) ? -ENOENT : 0;
}

static void exec_daemon(const struct private_daemon *d, const sigset_t *mask)
{
	const char *argv[16 + 2 * PRIVATE_SETTINGS] = { d->program, "--instance", "private", "--socket", d->socket, "--dir", d->dir,
				 "--size", d->size, "--set", d->sessions, "--quiet" };
	unsigned n = 12;
	int fd = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (d->max_blocks[0]) {
		argv[n++] = "--set";
		argv[n++] = d->max_blocks;
	}
	for (unsigned i = 0; i < nr_settings; i++) {
		argv[n++] = "--set";
		argv[n++] = setting[i];
	}
	/* Ctrl-C goes to the whole group; the daemon is ended by the cleaner alone. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != d->owner)
		_exit(127);		/* it died before we asked to be told */
	if (fd >= 0) {
		dup2(fd, STDERR_FILENO);
		dup2(fd, STDOUT_FILENO);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	execv(d->program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* A signal in between would find a child without a pid: it would go on making files. */
static int spawn(struct private_daemon *d)
{
	sigset_t all, before;
	int ret = 0;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	d->pid = fork();
	if (d->pid < 0)
		ret = -errno;
	if (d->pid)
		sigprocmask(SIG_SETMASK, &before, NULL);
	else
		exec_daemon(d, &before);
	return ret;
}

static void print_log(const struct private_daemon *d)
{
	FILE *f = fopen(d->log, "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "  kvshmd: %s", line);
	if (f)
		fclose(f);
}

/* A client can attach, and all extents are there: until then a fill would evict what it has just put. */
static bool is_served(const struct private_daemon *d)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = d->socket, .label = "probe" };
	char page[96];
	struct statpage *p;
	struct kvshm *k;
	bool is_whole;

	if (kvshm_open(&o, &k) < 0)
		return false;
	kvshm_close(k);
	snprintf(page, sizeof(page), "%.60s/stats", d->root);
	if (statpage_open(page, &p) < 0)
		return false;
	is_whole = stat_get(p, METRIC_EXTENTS_WANTED) &&
		   stat_get(p, METRIC_EXTENTS) >= stat_get(p, METRIC_EXTENTS_WANTED);
	statpage_destroy(p);
	return is_whole;
}

static int wait_until_served(struct private_daemon *d)
{
	uint64_t end = clock_ns() + START_TIMEOUT_NS;

	while (clock_ns() < end) {
		if (is_served(d))
			return 0;
		if (private_daemon_has_exited(d))
			return -ECHILD;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return -ETIMEDOUT;
}

static int prepare(struct private_daemon *d, size_t arena_bytes, unsigned long max_blocks, unsigned sessions)
{
	const char *base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	int ret = find_program(d->program, sizeof(d->program));

	if (ret < 0) {
		fprintf(stderr, "kvshm: no kvshmd beside this program; name it in KVSHM_DAEMON, or use --socket\n");
		return ret;
	}
	private_daemon_sweep(base);
	snprintf(d->root, sizeof(d->root), "%s/" PRIVATE_DAEMON_PREFIX "%d-XXXXXX", base, (int)getpid());
	if (!mkdtemp(d->root)) {
		ret = -errno;
		fprintf(stderr, "kvshm: %s: %m\n", d->root);
		return ret;
	}
	/* Held until we die, however that is: the directory is in use. */
	d->root_fd = open(d->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->root_fd >= 0)
		flock(d->root_fd, LOCK_SH | LOCK_NB);
	snprintf(d->socket, sizeof(d->socket), "%.60s/kvshm.sock", d->root);
	snprintf(d->dir, sizeof(d->dir), "%.60s/memory", d->root);
	snprintf(d->log, sizeof(d->log), "%.60s/log", d->root);
	snprintf(d->size, sizeof(d->size), "%zuM", (arena_bytes + (1u << 20) - 1) >> 20);
	snprintf(d->sessions, sizeof(d->sessions), "clients.max=%u", sessions ? sessions : 80);
	if (max_blocks)
		snprintf(d->max_blocks, sizeof(d->max_blocks), "arena.max_blocks=%lu", max_blocks);
	return 0;
}

/* Before anything is made that would have to be removed. */
static void set_cleaner(struct private_daemon *d)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };

	d->owner = getpid();
	d->root_fd = -1;
	current = d;
	atexit(clean_up);
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		signal(sigs[i], on_signal);
}

int private_daemon_start(size_t arena_bytes, unsigned long max_blocks, unsigned sessions,
			 struct private_daemon **ret_d)
{
	struct private_daemon *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	set_cleaner(d);
	ret = prepare(d, arena_bytes, max_blocks, sessions);
	if (ret < 0) {
		current = NULL;
		free(d);
		return ret;
	}
	ret = spawn(d);
	if (!ret)
		ret = wait_until_served(d);
	if (ret < 0) {
		fprintf(stderr, "kvshm: the private daemon did not start: %s\n",
			ret == -ECHILD ? "it exited" : strerror(-ret));
		print_log(d);
		private_daemon_stop(d);
		return ret;
	}
	*ret_d = d;
	return 0;
}

int private_daemon_kill(struct private_daemon *d, int sig)
{
	if (d->pid <= 0)
		return -ESRCH;
	if (kill(d->pid, sig) < 0)
		return -errno;
	if (sig == SIGKILL) {
		waitpid(d->pid, NULL, 0);
		d->pid = 0;
	}
	return 0;
}

bool private_daemon_has_exited(struct private_daemon *d)
{
	if (d->pid > 0 && waitpid(d->pid, NULL, WNOHANG) == d->pid)
		d->pid = 0;
	return d->pid <= 0;
}

int private_daemon_restart(struct private_daemon *d)
{
	if (d->pid > 0)
		private_daemon_kill(d, SIGKILL);
	return spawn(d);
}

const char *private_daemon_socket(const struct private_daemon *d)
{
	return d->socket;
}

const char *private_daemon_dir(const struct private_daemon *d)
{
	return d->dir;
}

pid_t private_daemon_pid(const struct private_daemon *d)
{
	return d->pid;
}

struct private_daemon *private_daemon_stop(struct private_daemon *d)
{
	if (d) {
		clean_up();
		if (d->root_fd >= 0)
			close(d->root_fd);
		free(d);
	}
	return NULL;
}
