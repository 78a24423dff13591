/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_daemon.c - the daemon: does it live, who reaches it, who may write */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <kvshm/version.h>

#include "kvshm/stats/statpage.h"
#include "utils/doctor.h"

const char doctor_no_daemon[] = "no daemon was here yet, so this was not looked at";

static const char *name_of(const struct doctor *d)
{
	return d->target.instance ? d->target.instance : "main";
}

void check_daemon(struct doctor *d)
{
	char how[128];

	if (d->page && d->state == TARGET_STOPPED)
		snprintf(how, sizeof(how), "kill -CONT %" PRIu64, stat_header(d->page)->pid);
	else if (d->page && d->state != TARGET_DEAD)
		snprintf(how, sizeof(how), "systemctl restart kvshmd@%s    # warm: content and pins stay", name_of(d));
	else
		snprintf(how, sizeof(how), "systemctl start kvshmd@%s    # or, as yourself: kvshmd -i %s &", name_of(d),
			 name_of(d));
	if (!d->page)
		doctor_find(d, "daemon", VERDICT_CHANGE, how, "no daemon was here yet: no statistics page of instance \"%s\"",
			    name_of(d));
	else if (d->state == TARGET_RUNNING)
		doctor_find(d, "daemon", VERDICT_OK, NULL, "running, pid %" PRIu64, stat_header(d->page)->pid);
	else
		doctor_find(d, "daemon", VERDICT_CHANGE, how, "%s; clients go on hitting, puts are dropped", target_state_name(d->state));
}

void check_abi(struct doctor *d)
{
	uint64_t abi = d->page ? stat_get(d->page, METRIC_ABI) : 0;
	char how[128];

	if (!d->page)
		return;
	snprintf(how, sizeof(how), "systemctl restart kvshmd@%s    # once daemon and library are of one release", name_of(d));
	if (abi == KVSHM_ABI)
		doctor_find(d, "abi", VERDICT_OK, NULL, "daemon and library lay memory out alike: %u", KVSHM_ABI);
	else
		doctor_find(d, "abi", VERDICT_CHANGE, how,
			    "the daemon's is %" PRIu64 ", that of clients of this release %u: they cannot attach", abi, KVSHM_ABI);
}

void check_protection(struct doctor *d)
{
	char text[KVSHM_STATS_TEXT_LEN], how[256];

	if (!d->page) {
		doctor_find(d, "protection", VERDICT_NOTE, NULL, "%s", doctor_no_daemon);
		return;
	}
	stat_get_text(d->page, KVSHM_TEXT_PROTECTION, text);
	if (strncmp(text, "file mode", 9)) {
		doctor_find(d, "protection", VERDICT_OK, NULL, "%s", text);
		return;
	}
	snprintf(how, sizeof(how),
		 "# in the unit of the daemon:\n"
		 "BindReadOnlyPaths=/run/kvshm-huge/%%i:/run/kvshm-huge-ro/%%i\n"
		 "# in its configuration:\n"
		 "[arena]\n"
		 "readonly_dir=/run/kvshm-huge-ro/%s", name_of(d));
	doctor_find(d, "protection", VERDICT_CHANGE, how, "%s", text);
}

/* Each untrusted user once. */
static bool is_new_uid(const uint32_t *uid, unsigned nr, uint32_t who)
{
	for (unsigned i = 0; i < nr; i++)
		if (uid[i] == who)
			return false;
	return true;
}

void check_trust(struct doctor *d)
{
	uint32_t uid[KVSHM_STATS_SESSIONS];
	struct kvshm_stats_session s;
	unsigned nr = 0, attached = 0;
	char lines[256] = "[clients]\ntrusted_uids=";

	for (unsigned i = 0; d->page && i < KVSHM_STATS_SESSIONS; i++) {
		if (stat_get_session(d->page, i, &s) < 0 || !s.state)
			continue;
		attached++;
		if (!s.is_trusted && is_new_uid(uid, nr, s.uid))
			uid[nr++] = s.uid;
	}
	for (unsigned i = 0; i < nr; i++) {
		size_t used = strlen(lines);

		snprintf(lines + used, sizeof(lines) - used, "%s%" PRIu32, i ? "," : "", uid[i]);
	}
	if (!d->page)
		doctor_find(d, "trust", VERDICT_NOTE, NULL, "%s", doctor_no_daemon);
	else if (!nr)
		doctor_find(d, "trust", VERDICT_OK, NULL, "%u clients, all of them trusted", attached);
	else
		doctor_find(d, "trust", VERDICT_CHANGE, lines,
			    "clients of %u users are untrusted: staged, no direct GPU path; list those that may write into the arena",
			    nr);
}

/* Whoever may reach a socket needs x on each directory above it; the daemon makes 0751 and 0700. */
static void look_at_socket(struct doctor *d, const struct stat *st)
{
	unsigned mode = st->st_mode & 0777;

	if (!S_ISSOCK(st->st_mode))
		doctor_find(d, "socket", VERDICT_CHANGE, NULL, "%s is no socket", d->socket);
	else if (mode & S_IWOTH)
		doctor_find(d, "socket", VERDICT_CHANGE, "[clients]\nsocket_mode=0660",
			    "mode %04o: every user of this host may read all blocks and drop any namespace", mode);
	else if (d->is_system && !(mode & S_IWGRP))
		doctor_find(d, "socket", VERDICT_CHANGE, "[clients]\nsocket_mode=0660",
			    "mode %04o: nobody but uid %u can connect", mode, (unsigned)st->st_uid);
	else
		doctor_find(d, "socket", VERDICT_OK, NULL, "mode %04o, uid %u, gid %u", mode, (unsigned)st->st_uid,
			    (unsigned)st->st_gid);
}

void check_socket(struct doctor *d)
{
	char path[DOCTOR_PATH];
	struct stat st;

	if (!d->page)
		doctor_find(d, "socket", VERDICT_NOTE, NULL, "%s", doctor_no_daemon);
	else if (lstat(doctor_path(d, d->socket, path), &st) == 0)
		look_at_socket(d, &st);
	else if (errno == ENOENT && d->state == TARGET_DEAD)
		doctor_find(d, "socket", VERDICT_NOTE, NULL, "%s is not there, as the daemon is dead", d->socket);
	else
		doctor_find(d, "socket", VERDICT_CHANGE, NULL, "%s: %s", d->socket, strerror(errno));
}

/* Number of the group that a service gives its page to.  Return: 0; -1 this host has none. */
static int stat_group(struct doctor *d, uint32_t *ret_gid)
{
	static const char name[] = "\nkvshm-stat:";
	char text[65536] = "\n", *at;

	if (doctor_read(d, "/etc/group", text + 1, sizeof(text) - 1) < 0)
		return -1;
	at = strstr(text, name);
	at = at ? strchr(at + sizeof(name) - 1, ':') : NULL;
	if (!at)
		return -1;
	*ret_gid = (uint32_t)strtoul(at + 1, NULL, 10);
	return 0;
}

static void look_at_group(struct doctor *d, const struct stat *st)
{
	uint32_t gid;

	if (!d->is_system || stat_group(d, &gid) < 0 || st->st_gid == gid)
		doctor_find(d, "stats", VERDICT_OK, NULL, "mode %04o, gid %u", st->st_mode & 0777, (unsigned)st->st_gid);
	else
		doctor_find(d, "stats", VERDICT_CHANGE,
			    "# a drop-in of the unit: systemctl edit kvshmd@NAME\n[Service]\nSupplementaryGroups=kvshm-stat",
			    "gid %u, not %u: who is in kvshm-stat cannot look, as the daemon's user is not in it",
			    (unsigned)st->st_gid, (unsigned)gid);
}

void check_stats(struct doctor *d)
{
	char path[DOCTOR_PATH], dir[KVSHM_STATS_TEXT_LEN + 8];
	struct stat st;
	char *slash;

	if (!d->page)
		return;
	snprintf(dir, sizeof(dir), "%s", d->socket);
	slash = strrchr(dir, '/');
	snprintf(slash ? slash : dir, 8, slash ? "/stats" : "stats");
	if (stat(doctor_path(d, dir, path), &st) < 0)
		doctor_find(d, "stats", VERDICT_NOTE, NULL, "%s: %s", dir, strerror(errno));
	else if (st.st_mode & (S_IRWXO | S_IWGRP))
		doctor_find(d, "stats", VERDICT_CHANGE, NULL, "%s has mode %04o, not 0640: it tells pids and uids", dir,
			    st.st_mode & 0777);
	else
		look_at_group(d, &st);
}

/* systemd-logind removes a user's shared memory when the last session ends. */
void check_remove_ipc(struct doctor *d)
{
	char conf[8192], path[DOCTOR_PATH], *at;
	struct stat st;

	if (!d->page || strncmp(d->memory_dir, "/dev/shm/", 9) ||
	    stat(doctor_path(d, d->memory_dir, path), &st) < 0 || st.st_uid < 1000)
		return;
	if (doctor_read(d, "/etc/systemd/logind.conf", conf, sizeof(conf)) < 0)
		return;			/* no logind here */
	at = strstr(conf, "\nRemoveIPC=no");
	if (at)
		doctor_find(d, "logout", VERDICT_OK, NULL, "RemoveIPC=no: content outlives the user's sessions");
	else
		doctor_find(d, "logout", VERDICT_CHANGE,
			    "# /etc/systemd/logind.conf.d/kvshm.conf\n[Login]\nRemoveIPC=no\n"
			    "# or: loginctl enable-linger USER, or the system service",
			    "logind deletes the arena of uid %u in /dev/shm when that user logs out", (unsigned)st.st_uid);
}
