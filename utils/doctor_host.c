/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_host.c - kernel, clock, limits, devices */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/statpage.h"
#include "utils/doctor.h"

#define NOFILE_WANTED 4096u		/* 192 sessions of a few descriptors, extents, and room */
#define CGROUP_SLACK (256ull << 20)	/* directory, sessions, the daemon itself */

/* What an older kernel lacks, the newest first. */
static const struct {
	unsigned major, minor;
	const char *what;
} features[] = {
	{ 6, 5, "SO_PEERPIDFD: the death of a client in another PID namespace is seen by its lock and socket only" },
	{ 6, 1, "MADV_COLLAPSE: huge pages on a tmpfs only by huge=within_size" },
	{ 5, 14, "MADV_POPULATE_WRITE: faulting in the arena takes longer" },
	{ 5, 12, "mount_setattr: no read-only mount without the service manager's" },
};

void check_kernel(struct doctor *d)
{
	char release[64];
	unsigned major, minor, missing = 0;

	if (doctor_read(d, "/proc/sys/kernel/osrelease", release, sizeof(release)) < 0 ||
	    sscanf(release, "%u.%u", &major, &minor) != 2) {
		doctor_find(d, "kernel", VERDICT_NOTE, NULL, "its version cannot be read");
		return;
	}
	release[strcspn(release, "\n")] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		if (major > features[i].major || (major == features[i].major && minor >= features[i].minor))
			continue;
		/* Only the first of them is what the daemon needs to be as good as it can. */
		doctor_find(d, "kernel", i ? VERDICT_CHANGE : VERDICT_NOTE, NULL, "%s has no %s", release,
			    features[i].what);
		missing++;
	}
	if (!missing)
		doctor_find(d, "kernel", VERDICT_OK, NULL, "%s", release);
}

/* Each look-up reads the clock: with a slow source that is a system call. */
void check_clock(struct doctor *d)
{
	static const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
	static const char *const fast[] = { "tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter" };
	char name[64];

	if (doctor_read(d, path, name, sizeof(name)) < 0)
		return;
	name[strcspn(name, "\n")] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fast); i++)
		if (!strcmp(name, fast[i])) {
			doctor_find(d, "clock", VERDICT_OK, NULL, "%s, read without a system call", name);
			return;
		}
	doctor_find(d, "clock", VERDICT_CHANGE, "# on the kernel's command line, where the hardware has a stable one:\ntsc=reliable",
		    "%s: reading it is a system call, a look-up costs one more", name);
}

/* Soft limit of the daemon, of us without one.  Return: 0, -errno; UINT64_MAX is unlimited. */
static int limit_of(struct doctor *d, const char *name, uint64_t *ret_v)
{
	char path[64], text[4096], *at;
	int ret;

	if (d->page && d->state != TARGET_DEAD)
		snprintf(path, sizeof(path), "/proc/%" PRIu64 "/limits", stat_header(d->page)->pid);
	else
		snprintf(path, sizeof(path), "/proc/self/limits");
	ret = doctor_read(d, path, text, sizeof(text));
	if (ret < 0)
		return ret;
	at = strstr(text, name);
	if (!at)
		return -ENOENT;
	at += strlen(name);
	at += strspn(at, " ");
	if (!strncmp(at, "unlimited", 9))
		*ret_v = UINT64_MAX;
	else if (sscanf(at, "%" SCNu64, ret_v) != 1)
		return -EINVAL;
	return 0;
}

static bool has_gpu(const struct doctor *d)
{
	char text[256];

	return doctor_read(d, "/proc/driver/nvidia/version", text, sizeof(text)) > 0;
}

void check_memlock(struct doctor *d)
{
	uint64_t limit;
	char a[16], b[16];

	if (limit_of(d, "Max locked memory", &limit) < 0)
		doctor_find(d, "memlock", VERDICT_NOTE, NULL, "the limits of the daemon cannot be read");
	else if (limit == UINT64_MAX)
		doctor_find(d, "memlock", VERDICT_OK, NULL, "unlimited");
	else if (limit < d->arena_bytes && has_gpu(d))
		doctor_find(d, "memlock", VERDICT_CHANGE, "LimitMEMLOCK=infinity    # or in limits.conf: kvshm - memlock unlimited",
			    "%s, less than the arena of %s: it cannot be pinned for the GPU", human_bytes(limit, a),
			    human_bytes(d->arena_bytes, b));
	else
		doctor_find(d, "memlock", VERDICT_OK, NULL, "%s; nothing is pinned without a GPU", human_bytes(limit, a));
}

void check_nofile(struct doctor *d)
{
	uint64_t limit;

	if (limit_of(d, "Max open files", &limit) < 0)
		return;
	if (limit < NOFILE_WANTED)
		doctor_find(d, "nofile", VERDICT_CHANGE, "LimitNOFILE=65536    # or in limits.conf: kvshm - nofile 65536",
			    "%" PRIu64 " open files: too few for all sessions", limit);
	else
		doctor_find(d, "nofile", VERDICT_OK, NULL, "%s open files", limit == UINT64_MAX ? "unlimited" : "enough");
}

/* "0::/system.slice/kvshmd@main.service" of the daemon, of us without one; "" is the root. */
static int cgroup_of(struct doctor *d, char *buf, size_t len)
{
	char path[64], text[2048], *at;

	if (d->page && d->state != TARGET_DEAD)
		snprintf(path, sizeof(path), "/proc/%" PRIu64 "/cgroup", stat_header(d->page)->pid);
	else
		snprintf(path, sizeof(path), "/proc/self/cgroup");
	if (doctor_read(d, path, text, sizeof(text)) < 0)
		return -ENOENT;
	at = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
	if (!at)
		return -ENOENT;
	at = strchr(at, '/');
	snprintf(buf, len, "%.*s", (int)strcspn(at, "\n"), at);
	if (!strcmp(buf, "/"))
		*buf = 0;
	return 0;
}

void check_cgroup(struct doctor *d)
{
	char group[256], path[512], a[16], b[16];
	uint64_t limit = UINT64_MAX, v;

	if (cgroup_of(d, group, sizeof(group)) < 0) {
		doctor_find(d, "cgroup", VERDICT_NOTE, NULL, "no cgroup v2 here");
		return;
	}
	for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
		*end = 0;
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
		if (!doctor_number(d, path, &v))
			limit = min_of(limit, v);
	}
	if (limit < d->arena_bytes + CGROUP_SLACK)
		doctor_find(d, "cgroup", VERDICT_CHANGE, "MemoryMax=infinity    # or a smaller [arena] size=",
			    "memory.max %s: the arena of %s and the daemon do not fit", human_bytes(limit, a),
			    human_bytes(d->arena_bytes, b));
	else
		doctor_find(d, "cgroup", VERDICT_OK, NULL, "memory.max %s",
			    limit == UINT64_MAX ? "unlimited" : human_bytes(limit, a));
}

void check_io_uring(struct doctor *d)
{
	uint64_t v;

	if (doctor_number(d, "/proc/sys/kernel/io_uring_disabled", &v) < 0)
		return;
	doctor_find(d, "io_uring", v ? VERDICT_NOTE : VERDICT_OK, NULL,
		    v ? "disabled (%" PRIu64 "): nothing in this build needs it" : "allowed (%" PRIu64 ")", v);
}
