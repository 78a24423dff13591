/* SPDX-License-Identifier: Apache-2.0 */
/* test_stat.c - kvshm stat on a page of known values; on daemons that live, hang and are dead */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <signal.h>
#include <getopt.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/clock.h"
#include "kvshm/stats/statpage.h"
#include "tests/lib/tmp_dir.h"
#include "utils/commands.h"

static struct tmp_dir dir;
static char sock[96];
static char output[16384];

static int setup(void **state)
{
	tmp_dir_create(&dir);
	snprintf(sock, sizeof(sock), "%s/kvshm.sock", dir.path);
	return 0;
}

static int teardown(void **state)
{
	tmp_dir_destroy(&dir);
	return 0;
}

/* Run a command as main() would; its stdout lands in output[]. */
static int run_with(int (*cmd)(int argc, char **argv), char *name, char *option, char *more)
{
	char *argv[] = { name, (char *)"--socket", sock, option, more, NULL };
	FILE *f = tmpfile();
	int keep = dup(STDOUT_FILENO), ret;

	assert_non_null(f);
	fflush(stdout);
	dup2(fileno(f), STDOUT_FILENO);
	optind = 0;
	ret = cmd(option ? more ? 5 : 4 : 3, argv);
	fflush(stdout);
	dup2(keep, STDOUT_FILENO);
	close(keep);
	rewind(f);
	output[fread(output, 1, sizeof(output) - 1, f)] = 0;
	fclose(f);
	return ret;
}

static int run(int (*cmd)(int argc, char **argv), char *name, char *option)
{
	return run_with(cmd, name, option, NULL);
}

static int stat_with(const char *option, const char *more)
{
	return run_with(cmd_stat, (char *)"stat", (char *)(uintptr_t)option, (char *)(uintptr_t)more);
}

static void beat(struct statpage *p)
{
	stat_heartbeat(p, 0, clock_ns());
	stat_heartbeat(p, 1, clock_ns());
}

static struct statpage *page_of_known_values(void)
{
	struct statpage *p;

	assert_int_equal(statpage_create(dir.fd, "stats", "0.1.0", &p), 0);
	stat_text(p, KVSHM_TEXT_INSTANCE, "main");
	stat_text(p, KVSHM_TEXT_START, "cold: no content");
	stat_text(p, KVSHM_TEXT_PAGES, "tmpfs, 2 MiB pages");
	stat_text(p, KVSHM_TEXT_POLICY, "leaf-lru");
	stat_text(p, KVSHM_TEXT_PROTECTION, "file mode 0600 only");
	stat_set(p, METRIC_STARTS, 1);
	stat_set(p, METRIC_CAPACITY_BYTES, 4ull << 30);
	stat_set(p, METRIC_FREE_BYTES, 1ull << 30);
	stat_set(p, METRIC_PUBLISHED_BYTES, 3ull << 30);
	stat_set(p, METRIC_PUBLISHED, 49152);
	stat_set(p, METRIC_EXTENTS, 8);
	stat_set(p, METRIC_EXTENTS_WANTED, 8);
	stat_set(p, METRIC_STAGING_BYTES, 8ull << 20);
	stat_set(p, METRIC_PINS, 12);
	stat_set(p, METRIC_PINNED_BYTES, 96ull << 20);
	stat_set(p, METRIC_LOOKUPS, 4127);
	stat_set(p, METRIC_LOOKUP_BLOCKS, 1000000);
	stat_set(p, METRIC_HIT_BLOCKS, 873400);
	stat_set(p, METRIC_HIT_TOKENS, 13974400);
	stat_set(p, METRIC_PUBLISHES, 126600);
	stat_set(p, METRIC_EVICTIONS, 77448);
	stat_set(p, METRIC_EVICTED_BYTES, 4ull << 30);
	stat_set(p, METRIC_SCANS, 613);
	stat_set(p, METRIC_SESSIONS, 8);
	stat_set(p, METRIC_DEATHS, 3);
	stat_set(p, METRIC_REAP_P99_NS, 4200000);
	stat_set(p, METRIC_REAP_MAX_NS, 5100000);
	stat_set(p, METRIC_CLIENT_DROPPED, 17);
	stat_set(p, METRIC_LOOKUP_BLOCKS_5S, 20);
	stat_set(p, METRIC_HIT_BLOCKS_5S, 19);
	stat_set(p, METRIC_WRITER_BUSY_NS, 100);
	stat_set(p, METRIC_WRITER_IDLE_NS, 200);
	stat_set(p, METRIC_WRITER_ASLEEP_NS, 700);
	stat_hist_record(p, HIST_OP_COMMIT, 12000);
	beat(p);
	return p;
}

static const char golden[] =
	"kvshmd 0.1.0  instance main  pid %d  running\n"
	"started     0h00m00s ago, start 1 on this content, cold: no content\n"
	"pages       tmpfs, 2 MiB pages; policy leaf-lru\n"
	"protection  file mode 0600 only\n"
	"degraded    no read-only mount\n"
	"memory      4.0 GiB, staging besides 8.0 MiB\n"
	"  free           1.0 GiB  25.0 %%\n"
	"  published      3.0 GiB  75.0 %%  49152 blocks\n"
	"  granted            0 B   0.0 %%  0 blocks\n"
	"  quarantined        0 B   0.0 %%  0 blocks\n"
	"  retired            0 B   0.0 %%\n"
	"  pinned        96.0 MiB   2.3 %%  12 pins at the last scan\n"
	"look-ups    4127, blocks asked 1000000, found 873400 (87.3 %%)\n"
	"            13974400 tokens found; lately 95.0 %%, last minute -\n"
	"puts        126600 blocks published, 0 were there already\n"
	"evictions   77448 blocks, 4.0 GiB, 0 never read, in 613 scans\n"
	"clients     8 attached, 0 paused, 0 detached, 0 orphans, 3 died\n"
	"            their things were returned in p99 4.2 ms, max 5.1 ms\n"
	"times       commit     p50 12.0 us, p99 12.0 us, p99.9 12.0 us\n"
	"writer      busy 10.0 %%, spinning 20.0 %%, asleep 70.0 %%\n"
	"dropped     0 full or pinned, 0 parent gone, 0 index full\n"
	"            0 refused, 17 by clients\n"
	"anomalies   0 short resolves, 0 malformed entries, 0 wrong checksums\n"
	"            0 offences, 0 bad counters, 0 full completion queues\n";

static void summary_is_the_golden_text_in_80_columns(void **state)
{
	struct statpage *p = page_of_known_values();
	char want[sizeof(golden) + 16];

	snprintf(want, sizeof(want), golden, (int)getpid());
	assert_int_equal(run(cmd_stat, (char *)"stat", NULL), EXIT_FINE);
	assert_string_equal(output, want);
	for (char *line = output; *line; line = strchr(line, '\n') + 1)
		assert_in_range(strchr(line, '\n') - line, 1, 80);
	statpage_destroy(p);
}

static void json_is_one_line_with_schema_and_every_metric(void **state)
{
	struct statpage *p = page_of_known_values();

	assert_int_equal(run(cmd_stat, (char *)"stat", (char *)"--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"schema\":\"kvshm.stat/1\""));
	assert_non_null(strstr(output, "\"state\":\"running\""));
	for (unsigned i = 0; i < METRIC_LAST; i++) {
		char want[80];

		snprintf(want, sizeof(want), "\"%s\":%llu", stat_metric_name((enum metric)i),
			 (unsigned long long)stat_get(p, (enum metric)i));
		assert_non_null(strstr(output, want));
	}
	assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
	statpage_destroy(p);
}

static void labels_of_clients_cannot_write_to_the_terminal(void **state)
{
	struct kvshm_stats_session s = { .state = 1, .slot = 4, .pid = 99, .label = "a\033[2Jb" };
	struct statpage *p = page_of_known_values();

	stat_session(p, 0, &s);
	assert_int_equal(run(cmd_clients, (char *)"clients", NULL), EXIT_FINE);
	assert_null(strchr(output, '\033'));
	assert_non_null(strstr(output, "a?[2Jb"));
	assert_non_null(strstr(output, "untrusted: staged, no direct GPU path"));
	statpage_destroy(p);
}

static void the_check_is_one_line_with_the_statuses_of_plugins(void **state)
{
	struct statpage *p = page_of_known_values();

	assert_int_equal(stat_with("--check", NULL), 0);
	assert_string_equal(output, "KVSHM OK - main running, hit ratio 87.3 % | hit_ratio=0.8734;;;0;1 free_ratio=0.2500;;;0;1 "
			    "published=3221225472B;;;0;4294967296 pinned=100663296B;;;0;4294967296 clients=8 "
			    "lookups=4127c evictions=77448c\n");
	assert_int_equal(stat_with("--check", "--warn=hit_ratio<0.9"), 1);
	assert_non_null(strstr(output, "KVSHM WARNING - main: hit_ratio<0.9: 0.8734, hit ratio"));
	assert_int_equal(stat_with("--check", "--warn=kvshm_evictions_total>77448,free_ratio<0.25"), 0);
	assert_int_equal(stat_with("--check", "--crit=sessions>100,pins>11"), 2);
	assert_non_null(strstr(output, "KVSHM CRITICAL - main: pins>11: 12"));
	stat_set(p, METRIC_CHECKSUM_FAILURES, 1);
	assert_int_equal(stat_with("--check", NULL), 1);
	assert_int_equal(stat_with("--check", "--warn=no_such>1"), 3);
	assert_int_equal(stat_with("--check", "--crit=pins"), 3);
	assert_int_equal(stat_with("--check", "--crit=pins>"), 3);
	assert_non_null(strstr(output, "KVSHM UNKNOWN - main: \"pins>\" is no limit"));
	stat_heartbeat(p, 1, clock_ns() - 3000000000u);
	assert_int_equal(stat_with("--check", NULL), 2);
	assert_non_null(strstr(output, "CRITICAL - main: daemon not responding"));
	statpage_destroy(p);
	unlinkat(dir.fd, "stats", 0);
	assert_int_equal(stat_with("--check", NULL), 2);
	assert_string_equal(output, "KVSHM CRITICAL - no daemon\n");
}

static void views_come_as_json_csv_and_plain_numbers(void **state)
{
	struct kvshm_stats_session s = { .state = 1, .slot = 4, .pid = 99, .uid = 991, .pinned_bytes = 5000, .label = "a" };
	struct statpage *p = page_of_known_values();

	stat_session(p, 0, &s);
	assert_int_equal(stat_with("pins", "--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"schema\":\"kvshm.stat/1\""));
	assert_non_null(strstr(output, "\"view\":\"pins\",\"rows\":[{\"metric\":\"kvshm_pins\",\"value\":12,\"per_second\":null,"));
	assert_int_equal(stat_with("pins", "--csv"), EXIT_FINE);
	assert_non_null(strstr(output, "metric,value,per_second,type,unit,help\r\nkvshm_pins,12,,gauge,,"));
	assert_int_equal(stat_with("pins", "--raw"), EXIT_FINE);
	assert_non_null(strstr(output, "100663296"));
	assert_int_equal(stat_with("clients", "--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"view\":\"clients\",\"rows\":[{\"slot\":4,"));
	assert_int_equal(stat_with("gpu", "--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"view\":\"gpu\",\"rows\":[{\"metric\":\"kvshm_gpu_loaded_bytes_total\",\"value\":0,"));
	assert_int_equal(stat_with("mrc", "--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"rows\":[],\"notes\":[{\"text\":\"the page holds no miss-ratio curve"));
	assert_int_equal(run(cmd_clients, (char *)"clients", (char *)"--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"schema\":\"kvshm.clients/1\""));
	assert_non_null(strstr(output, "\"clients\":[{\"slot\":4,\"pid\":99,\"uid\":991,"));
	assert_non_null(strstr(output, "\"nr_clients\":1"));
	assert_int_equal(run(cmd_clients, (char *)"clients", (char *)"--output=label,uid"), EXIT_FINE);
	assert_string_equal(output, "LABEL          UID\na              991\n"
			    "untrusted: staged, no direct GPU path; list the uid under clients.trusted_uids\n");
	assert_int_equal(stat_with("--prefill-rate=10000", NULL), EXIT_FINE);
	assert_non_null(strstr(output, "saved       1397 s of prefill at 10000 tokens a second\n"));
	statpage_destroy(p);
}

static void rates_are_those_of_a_second_look(void **state)
{
	struct statpage *p = page_of_known_values();

	assert_int_equal(stat_with("--rate", "--json"), EXIT_FINE);
	assert_non_null(strstr(output, "\"recent_block_hit_ratio\":0.0"));
	assert_non_null(strstr(output, "\"kvshm_lookups_total\":0.0"));
	assert_int_equal(stat_with("--watch=0.05", "--count=3"), EXIT_FINE);
	assert_non_null(strstr(output, "now         hit ratio 0.0 %; a second: 0 look-ups, 0 blocks put, 0 evicted\n"));
	statpage_destroy(p);
}

/* A process that looks like a daemon to the tools: its pid is in the page and its heart beats. */
static pid_t start_beating(void)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct statpage *p = page_of_known_values();

		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;) {
			beat(p);
			usleep(100000);
		}
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void assert_answers(int status, const char *word)
{
	uint64_t begin = clock_ns();

	assert_int_equal(run(cmd_stat, (char *)"stat", NULL), status);
	assert_in_range(clock_ns() - begin, 0, 100000000);
	assert_non_null(strstr(output, word));
	assert_non_null(strstr(output, "found 873400"));
}

static void stopped_and_dead_daemons_are_told_within_100_ms(void **state)
{
	pid_t pid = start_beating();
	int status;

	assert_answers(EXIT_FINE, "running");
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_answers(EXIT_HUNG, "stopped  STALE");
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_answers(EXIT_DEAD, "dead  STALE");
}

static void a_page_without_a_beat_for_2_s_does_not_respond(void **state)
{
	struct statpage *p = page_of_known_values();

	stat_heartbeat(p, 1, clock_ns() - 3000000000u);
	assert_answers(EXIT_HUNG, "not responding  STALE");
	statpage_destroy(p);
}

static void no_daemon_is_status_1_at_once(void **state)
{
	uint64_t begin = clock_ns();

	unlinkat(dir.fd, "stats", 0);
	assert_int_equal(run(cmd_stat, (char *)"stat", NULL), EXIT_DEAD);
	assert_int_equal(run(cmd_clients, (char *)"clients", NULL), EXIT_DEAD);
	assert_int_equal(run(cmd_verify, (char *)"verify", NULL), EXIT_DEAD);
	assert_in_range(clock_ns() - begin, 0, 100000000);
	assert_string_equal(output, "");
}

static void a_damaged_page_is_refused(void **state)
{
	int fd = openat(dir.fd, "stats", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, "garbage", 7), 7);
	close(fd);
	assert_int_equal(run(cmd_stat, (char *)"stat", NULL), EXIT_DEAD);
}

static void unknown_options_and_values_are_status_2(void **state)
{
	assert_int_equal(run(cmd_stat, (char *)"stat", (char *)"--no-such"), EXIT_USAGE);
	assert_int_equal(run(cmd_stat, (char *)"stat", (char *)"--watch=x"), EXIT_USAGE);
	assert_int_equal(run(cmd_stat, (char *)"stat", (char *)"surplus"), EXIT_USAGE);
	assert_int_equal(stat_with("pins", "surplus"), EXIT_USAGE);
	assert_int_equal(stat_with("--check", "--json"), EXIT_USAGE);
	assert_int_equal(run(cmd_clients, (char *)"clients", (char *)"--no-such"), EXIT_USAGE);
	assert_int_equal(run(cmd_verify, (char *)"verify", (char *)"--no-such"), EXIT_USAGE);
	assert_int_equal(run(cmd_drop, (char *)"drop", (char *)"--namespace=x"), EXIT_USAGE);
	assert_int_equal(run(cmd_bench, (char *)"bench", (char *)"no-such"), EXIT_USAGE);
	assert_int_equal(run(cmd_load, (char *)"load", (char *)"--seconds=x"), EXIT_USAGE);
	assert_int_equal(run(cmd_load, (char *)"load", (char *)"--kill-daemon=5s"), EXIT_USAGE);
}

static void a_column_that_is_not_there_is_status_2(void **state)
{
	struct statpage *p = page_of_known_values();

	assert_int_equal(stat_with("pins", "--sort=none"), EXIT_USAGE);
	assert_int_equal(stat_with("pins", "--filter=pins"), EXIT_USAGE);
	assert_int_equal(stat_with("pins", "--output=metric,none"), EXIT_USAGE);
	assert_int_equal(stat_with("hist", "no_such"), EXIT_USAGE);
	assert_string_equal(output, "");
	statpage_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(summary_is_the_golden_text_in_80_columns),
		cmocka_unit_test(json_is_one_line_with_schema_and_every_metric),
		cmocka_unit_test(labels_of_clients_cannot_write_to_the_terminal),
		cmocka_unit_test(the_check_is_one_line_with_the_statuses_of_plugins),
		cmocka_unit_test(views_come_as_json_csv_and_plain_numbers),
		cmocka_unit_test(rates_are_those_of_a_second_look),
		cmocka_unit_test(stopped_and_dead_daemons_are_told_within_100_ms),
		cmocka_unit_test(a_page_without_a_beat_for_2_s_does_not_respond),
		cmocka_unit_test(no_daemon_is_status_1_at_once),
		cmocka_unit_test(a_damaged_page_is_refused),
		cmocka_unit_test(unknown_options_and_values_are_status_2),
		cmocka_unit_test(a_column_that_is_not_there_is_status_2),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
