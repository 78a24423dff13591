/* SPDX-License-Identifier: Apache-2.0 */
/* target.c - find a daemon's statistics page; see whether the daemon lives */
#include "utils/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/instance.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/proc.h"
#include "utils/commands.h"

#define SILENT_NS 2000000000ull

static int report_no_page(const struct target *t, const char *path, int err)
{
	if (!path)
		fprintf(stderr, err == -ENOENT ?
			"kvshm: no daemon here: no instance \"%s\" was found; start kvshmd, or name its socket with --socket or KVSHM_SOCKET\n" :
			"kvshm: no instance can be called \"%s\"\n", t->instance ? t->instance : "main");
	else if (err == -ENOENT)
		fprintf(stderr, "kvshm: no daemon here: %s does not exist; start kvshmd\n", path);
	else
		fprintf(stderr, "kvshm: %s: %s\n", path,
			err == -EPROTONOSUPPORT ? "written by another version; use the tool of that release" :
			err == -EBADMSG ? "not a statistics page, or damaged" : strerror(-err));
	return !path && err != -ENOENT ? EXIT_USAGE : err == -EACCES ? EXIT_PERMISSION :
	       err == -EPROTONOSUPPORT ? EXIT_ABI : EXIT_DEAD;
}

int target_open(const struct target *t, struct statpage **ret_p)
{
	char path[512];
	int ret = instance_stats(t->socket, t->instance, path, sizeof(path));

	if (ret < 0)
		return report_no_page(t, NULL, ret);
	ret = statpage_open(path, ret_p);
	return ret < 0 ? report_no_page(t, path, ret) : EXIT_FINE;
}

int target_memory_dir(const struct target *t, char ret_dir[KVSHM_STATS_TEXT_LEN])
{
	struct statpage *p;
	int ret = target_open(t, &p);

	if (ret)
		return ret;
	stat_get_text(p, KVSHM_TEXT_MEMORY_DIR, ret_dir);
	statpage_destroy(p);
	return EXIT_FINE;
}

int target_text(const struct target *t, enum kvshm_stats_text which, char ret_text[KVSHM_STATS_TEXT_LEN])
{
	struct statpage *p;
	char path[512];
	int ret = instance_stats(t->socket, t->instance, path, sizeof(path));

	if (ret == 0)
		ret = statpage_open(path, &p);
	if (ret < 0)
		return ret;
	stat_get_text(p, which, ret_text);
	statpage_destroy(p);
	return 0;
}

int target_events(const struct target *t, struct event_ring **ret_r)
{
	char stats[512], path[544];
	int ret = instance_stats(t->socket, t->instance, stats, sizeof(stats));
	const char *slash = strrchr(stats, '/');

	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), "%.*sevents", slash ? (int)(slash + 1 - stats) : 0, stats);
	return events_open(path, ret_r);
}

static uint64_t slowest_heartbeat(const struct statpage *p)
{
	/* Threads 0 and 1 are main and writer: the service stands when either does. */
	return min_of(stat_get_heartbeat(p, 0), stat_get_heartbeat(p, 1));
}

static bool heart_beats(const struct statpage *p)
{
	return clock_ns() - slowest_heartbeat(p) < SILENT_NS;
}

/* No /proc to ask: wait for a beat, as long as a live daemon may take. */
static enum target_state watch_heartbeat(const struct statpage *p)
{
	uint64_t first = slowest_heartbeat(p), end = clock_ns() + SILENT_NS;

	while (clock_ns() < end) {
		if (slowest_heartbeat(p) != first)
			return TARGET_RUNNING;
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	}
	return TARGET_SILENT;
}

bool target_has_pids(const struct statpage *p)
{
	struct stat st;

	return !stat("/proc/self/ns/pid", &st) && st.st_ino == stat_header(p)->pid_ns;
}

enum target_state target_state(const struct statpage *p)
{
	const struct kvshm_stats_page *h = stat_header(p);
	struct proc_stat now;

	if (!target_has_pids(p))
		return watch_heartbeat(p);
	if (proc_stat_read((pid_t)h->pid, &now) < 0 || now.start_ticks != h->start_ticks || now.state == 'Z' ||
	    now.state == 'X')
		return TARGET_DEAD;
	if (now.state == 'T' || now.state == 't')
		return TARGET_STOPPED;
	return heart_beats(p) ? TARGET_RUNNING : TARGET_SILENT;
}

const char *target_state_name(enum target_state s)
{
	static const char *const names[] = {
		[TARGET_RUNNING] = "running", [TARGET_DEAD] = "dead",
		[TARGET_STOPPED] = "stopped", [TARGET_SILENT] = "not responding",
	};

	return names[s];
}

int target_exit(enum target_state s)
{
	return s == TARGET_RUNNING ? EXIT_FINE : s == TARGET_DEAD ? EXIT_DEAD : EXIT_HUNG;
}

const char *human_bytes(unsigned long long bytes, char *buf)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1024 && u + 1 < ARRAY_SIZE(unit)) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 16, u && v < 100 ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return buf;
}
