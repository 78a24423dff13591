/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/conf_table.h"

#include "kvshm/daemon/conf.h"

#define FIELD(f) .offset = offsetof(struct conf, f), .len = sizeof(((struct conf *)0)->f)
#define TEXT(f, d) .type = CONF_TEXT, FIELD(f), .def = d, .expect = "a text of that length"
#define SIZE(f, d) .type = CONF_SIZE, FIELD(f), .def = d, .expect = "a size (512M, 64G, 80%, auto)"
#define TIME(f, d) .type = CONF_TIME, FIELD(f), .def = d, .expect = "a time (500ms, 10s, 1d)"
#define COUNT(f, d, lo, hi)                                                                        \
	.type = CONF_COUNT, FIELD(f), .def = d, .min = lo, .max = hi,                              \
	.expect = "a number from " #lo " to " #hi
#define NAME(f, d, n) .type = CONF_NAME, FIELD(f), .def = d, .names = n

static const char *const page_names[] = { "auto", "hugetlb", "tmpfs", NULL };
static const char *const log_names[] = { "error", "warning", "info", "debug", NULL };
static const char *const sandbox_names[] = { "on", "kill", "log", "off", NULL };
static const char *const yes_names[] = { "no", "yes", NULL };
static const char *const wipe_names[] = { "never", "on-namespace-change", "always", NULL };
static const char *const numa_names[] = { "preferred", "strict", NULL };

const struct conf_key conf_keys[] = {
	{ "daemon", "instance", TEXT(instance, "main"), .option = "instance", .letter = 'i',
	  .metavar = "NAME", .help = "name of this instance (main)" },
	{ "daemon", "run_dir", TEXT(run_dir, ""), .option = "run-dir", .metavar = "PATH",
	  .help = "directory of socket and stats page" },
	{ "daemon", "socket", TEXT(socket, ""), .option = "socket", .metavar = "PATH",
	  .help = "socket that clients connect to" },
	{ "daemon", "stats_group", TEXT(stats_group, ""), .metavar = "GROUP",
	  .help = "group that may read the statistics page" },
	{ "daemon", "copy_lcores", COUNT(copy_lcores, "1", 1, 8), .metavar = "N",
	  .help = "threads that copy staged puts" },
	{ "daemon", "scrub", TIME(scrub_ns, "1d"), .is_live = true, .metavar = "TIME",
	  .help = "published bytes are checked against their checksums once in this time, 0s: never" },
	{ "daemon", "log_level", NAME(log_level, "info", log_names), .metavar = "LEVEL",
	  .expect = "one of error, warning, info, debug", .is_live = true,
	  .help = "error, warning, info or debug; -v and -q go on from there" },
	{ "daemon", "sandbox", NAME(sandbox, "on", sandbox_names), .metavar = "HOW",
	  .expect = "one of on, kill, log, off",
	  .help = "system calls it does not need: on refuses, kill ends it, log tells, off" },

	{ "arena", "dir", TEXT(dir, ""), .option = "dir", .metavar = "PATH",
	  .help = "directory of arena, directory and lock" },
	{ "arena", "readonly_dir", TEXT(readonly_dir, ""), .metavar = "PATH",
	  .help = "read-only view of dir that untrusted clients' files are opened in" },
	{ "arena", "size", SIZE(size, "auto"), .option = "size", .metavar = "SIZE",
	  .help = "bytes of the arena, or a percentage of the file system" },
	{ "arena", "extent", SIZE(extent, "auto"), .metavar = "SIZE",
	  .help = "bytes of one arena file" },
	{ "arena", "pages", NAME(pages, "auto", page_names), .option = "pages", .metavar = "KIND",
	  .expect = "one of auto, hugetlb, tmpfs", .help = "auto, hugetlb or tmpfs" },
	{ "arena", "numa", NAME(numa, "preferred", numa_names), .metavar = "HOW",
	  .expect = "one of preferred, strict", .help = "preferred or strict" },
	{ "arena", "scrub", NAME(wipe, "never", wipe_names), .metavar = "WHEN",
	  .expect = "one of never, on-namespace-change, always",
	  .help = "freed bytes are overwritten: never, on-namespace-change or always" },
	{ "arena", "max_blocks", COUNT(max_blocks, "0", 0, 2147483647), .option = "max-blocks",
	  .metavar = "N", .help = "descriptors, 0: size / 64 KiB" },
	{ "arena", "capacity_blocks", COUNT(capacity_blocks, "0", 0, 2147483647), .metavar = "N",
	  .help = "limit of published blocks, 0: none" },

	{ "clients", "pins_dir", TEXT(pins_dir, ""), .metavar = "PATH",
	  .help = "directory of the pin files, a small tmpfs of its own" },
	{ "clients", "trusted_uids", .type = CONF_UID_LIST, FIELD(trusted), .def = "",
	  .expect = "a list of user ids by commas", .metavar = "UID,...",
	  .help = "users that fill blocks in place, beside the daemon's own" },
	{ "clients", "max", COUNT(max, "64", 1, 192), .is_live = true, .metavar = "N",
	  .help = "sessions at once" },
	{ "clients", "max_per_uid", COUNT(max_per_uid, "0", 0, 192), .is_live = true,
	  .metavar = "N", .help = "sessions of one user, 0: half of them, all if trusted" },
	{ "clients", "pin_quota", SIZE(pin_quota, "25%"), .is_live = true, .metavar = "SIZE",
	  .help = "bytes that one session may pin" },
	{ "clients", "credit_blocks", COUNT(credit_blocks, "4096", 1, 65536), .is_live = true,
	  .metavar = "N", .help = "blocks granted to a session at once" },
	{ "clients", "credit_bytes", SIZE(credit_bytes, "64M"), .is_live = true, .metavar = "SIZE",
	  .help = "bytes granted to a session at once" },
	{ "clients", "handshake_timeout", TIME(handshake_ns, "2s"), .is_live = true,
	  .metavar = "TIME", .help = "a half-open session is closed after this" },
	{ "clients", "socket_mode", .type = CONF_MODE, FIELD(socket_mode), .def = "0660",
	  .expect = "an octal mode", .metavar = "MODE", .help = "permissions of the socket" },

	{ "policy", "name", TEXT(policy, "gix"), .metavar = "NAME",
	  .help = "eviction policy (gix, leaf-lru, ...)" },
	{ "policy", "lockstep", NAME(lockstep, "no", yes_names), .metavar = "HOW",
	  .expect = "one of no, yes",
	  .help = "for kvshm load --lockstep: time and turns are the clients'" },
};

const unsigned conf_nr_keys = ARRAY_SIZE(conf_keys);

_Static_assert(ARRAY_SIZE(conf_keys) <= CONF_NR_KEYS, "struct conf holds an origin a key");
