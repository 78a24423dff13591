/* SPDX-License-Identifier: Apache-2.0 */
/* doctor.c - what is wrong with a host, and the lines to add */
#include "utils/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ipc/instance.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/commands.h"
#include "utils/json.h"

#define ARENA_DEFAULT (4ull << 30)	/* a plain kvshmd takes no more */

static void (*const checks[])(struct doctor *d) = {
	check_daemon, check_abi, check_kernel, check_clock, check_pages, check_mount, check_shmem, check_hugepages,
	check_shm_size, check_pins, check_swap, check_numa, check_memlock, check_nofile, check_cgroup,
	check_io_uring, check_protection, check_trust, check_socket, check_stats, check_remove_ipc, check_gpu,
};

static const char *const verdicts[] = { [VERDICT_OK] = "ok", [VERDICT_NOTE] = "note", [VERDICT_CHANGE] = "change" };

static void usage(FILE *out)
{
	fputs("usage: kvshm doctor [OPTION...]\n\n"
	      "Looks at this host, the daemon and their limits, and says what keeps them from their best.\n"
	      "Reads files only and changes nothing; answers also when the daemon hangs or is dead.\n\n"
	      "      --suggest        print the lines to add or to run\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "      --root DIR       look at /proc, /sys, /etc, /run and /dev below DIR: a copy of a host's files\n"
	      "      --json           one object, schema kvshm.doctor/1\n"
	      "  -h, --help           print this\n\n"
	      "Exit status: 0 nothing to change, 2 usage, 3 no permission, 4 other version, 6 something to change.\n", out);
}

void doctor_find(struct doctor *d, const char *check, enum verdict v, const char *suggest, const char *fmt, ...)
{
	struct finding *f = &d->finding[min_of(d->nr, DOCTOR_FINDINGS - 1)];
	va_list ap;

	d->nr = min_of(d->nr + 1, DOCTOR_FINDINGS);
	f->check = check;
	f->verdict = v;
	snprintf(f->suggest, sizeof(f->suggest), "%s", suggest ? suggest : "");
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

/* Below a root no process can be asked: a daemon is one whose /proc is there. */
static enum target_state state_below(const struct doctor *d)
{
	char path[64], full[DOCTOR_PATH];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%" PRIu64, stat_header(d->page)->pid);
	return stat(doctor_path(d, path, full), &st) ? TARGET_DEAD : TARGET_RUNNING;
}

static int stats_path(const struct doctor *d, char *buf, size_t len)
{
	const char *name = d->target.instance ? d->target.instance : "main";
	int n;

	if (!d->root[0])
		return instance_stats(d->target.socket, d->target.instance, buf, len);
	n = snprintf(buf, len, "%s/run/kvshm/%s/stats", d->root, name);
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

/* Return: EXIT_FINE, also without a page; what the command ends with when there is one for others. */
static int find_page(struct doctor *d)
{
	char path[512];
	int ret = stats_path(d, path, sizeof(path));

	if (ret == -EINVAL || ret == -ENAMETOOLONG) {
		fprintf(stderr, "kvshm doctor: no instance can be called \"%s\"\n", d->target.instance);
		return EXIT_USAGE;
	}
	if (!ret)
		ret = statpage_open(path, &d->page);
	d->arena_bytes = ARENA_DEFAULT;
	if (ret == -EACCES || ret == -EPROTONOSUPPORT) {
		fprintf(stderr, "kvshm doctor: %s: %s\n", path, ret == -EACCES ?
			"no permission: be in its group" : "written by another version; use the tool of that release");
		return ret == -EACCES ? EXIT_PERMISSION : EXIT_ABI;
	}
	if (!d->page)
		return EXIT_FINE;
	d->state = d->root[0] ? state_below(d) : target_state(d->page);
	stat_get_text(d->page, KVSHM_TEXT_MEMORY_DIR, d->memory_dir);
	stat_get_text(d->page, KVSHM_TEXT_SOCKET, d->socket);
	d->is_system = !strncmp(d->socket, "/run/kvshm/", 11);
	d->arena_bytes = stat_get(d->page, METRIC_CAPACITY_BYTES);
	return EXIT_FINE;
}

static void print_lines(const char *lines)
{
	for (const char *at = lines; *at; at += strcspn(at, "\n"), at += *at == '\n')
		printf("%18s%.*s\n", "", (int)strcspn(at, "\n"), at);
}

static void print_text(const struct doctor *d, bool suggests, unsigned nr_changes)
{
	for (unsigned i = 0; i < d->nr; i++) {
		const struct finding *f = &d->finding[i];

		printf("%-6s %-10s %s\n", verdicts[f->verdict], f->check, f->text);
		if (suggests && f->verdict == VERDICT_CHANGE)
			print_lines(f->suggest);
	}
	if (!nr_changes)
		printf("nothing to change\n");
	else
		printf("%u to change%s\n", nr_changes, suggests ? "" : "; --suggest prints the lines to add");
}

static void print_json(const struct doctor *d, unsigned nr_changes)
{
	char pages[KVSHM_STATS_TEXT_LEN] = "unknown";
	struct jdoc *j;

	if (d->page)
		stat_get_text(d->page, KVSHM_TEXT_PAGES, pages);
	j = jdoc_begin("doctor", pages);
	jdoc_text(j, "state", d->page ? target_state_name(d->state) : "none");
	jdoc_int(j, "nr_changes", nr_changes);
	for (unsigned i = 0; i < d->nr; i++) {
		struct jdoc *o = jdoc_append(j, "findings");

		jdoc_text(o, "check", d->finding[i].check);
		jdoc_text(o, "verdict", verdicts[d->finding[i].verdict]);
		jdoc_text(o, "text", d->finding[i].text);
		jdoc_text(o, "suggest", d->finding[i].suggest);
	}
	jdoc_end(j, stdout);
}

int cmd_doctor(int argc, char **argv)
{
	static struct doctor d;
	bool suggests = false, is_json = false;
	const struct option_row rows[] = {
		TARGET_ROWS(&d.target), FLAG_ROW("suggest", 0, &suggests), TEXT_ROW("root", 0, &d.root),
		FLAG_ROW("json", 0, &is_json), { 0 },
	};
	const struct option_table table = { "kvshm doctor", usage, rows, 0 };
	unsigned nr_changes = 0;
	int ret;

	d = (struct doctor){ .root = "" };
	ret = options_parse(&table, argc, argv);
	if (ret != OPTIONS_GO_ON)
		return ret;
	ret = find_page(&d);
	if (ret)
		return ret;
	for (unsigned i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	for (unsigned i = 0; i < d.nr; i++)
		nr_changes += d.finding[i].verdict == VERDICT_CHANGE;
	if (is_json)
		print_json(&d, nr_changes);
	else
		print_text(&d, suggests, nr_changes);
	statpage_destroy(d.page);
	return nr_changes ? EXIT_ADVICE : EXIT_FINE;
}
