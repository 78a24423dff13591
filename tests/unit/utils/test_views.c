/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_views.c - every view of a known daemon, as it looks in 80 and in 200 columns
 *
 * KVSHM_GOLDEN_WRITE=1 writes what is found instead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/base/compiler.h"
#include "kvshm/stats/events.h"
#include "tests/lib/tmp_dir.h"
#include "utils/views.h"

#define START 5000000000000ull

static struct tmp_dir dir;
static struct snapshot now, before;

static void set_text(unsigned which, const char *text)
{
	snprintf(now.text[which], sizeof(now.text[which]), "%s", text);
}

/* A figure of its own for every metric, by its name: a new one changes no other. */
static uint64_t figure_of(const char *name)
{
	uint64_t v = 5381;

	while (*name)
		v = v * 33 + (unsigned char)*name++;
	return v % 9000 + 1000;
}

static void known_metrics(void)
{
	for (unsigned i = 0; i < METRIC_LAST; i++) {
		now.metric[i] = figure_of(stat_metric_name((enum metric)i));
		before.metric[i] = now.metric[i] - now.metric[i] % 7 * 10;
	}
	now.metric[METRIC_CAPACITY_BYTES] = 4ull << 30;
	now.metric[METRIC_FREE_BYTES] = 1ull << 30;
	now.metric[METRIC_PUBLISHED_BYTES] = 3ull << 30;
	now.metric[METRIC_GRANTED_BYTES] = now.metric[METRIC_QUARANTINED_BYTES] = now.metric[METRIC_RETIRED_BYTES] = 0;
	now.metric[METRIC_LOOKUP_BLOCKS] = 1000000;
	now.metric[METRIC_HIT_BLOCKS] = 873400;
	before.metric[METRIC_LOOKUP_BLOCKS] = 990000;
	before.metric[METRIC_HIT_BLOCKS] = 864000;
	for (unsigned i = 1; i <= 1000; i++) {
		hist_record(&now.hist[HIST_OP_COMMIT], i * 1000);
		hist_record(&now.hist[HIST_REAP], 3000000 + i);
		hist_record(&now.hist[HIST_RESIDENCE], i * 60);
	}
	now.metric[METRIC_PINNED_BYTES] = 96ull << 20;
}

static void known_sessions(void)
{
	static const struct kvshm_stats_session s[] = {
		{ .state = 1, .slot = 3, .pid = 4127, .uid = 991, .is_trusted = 1, .pins = 12, .pinned_bytes = 96ull << 20,
		  .quota_bytes = 1ull << 30, .since_ns = START + 1000000000, .grants = 16, .grant_bytes = 32ull << 20,
		  .lookups = 4127, .lookup_blocks = 1000000, .hit_blocks = 873400, .hit_tokens = 13974400, .sq_entries = 2,
		  .cq_entries = 1, .commits = 812, .dropped = 3,
		  .label = "vllm EngineCore 0" },
		{ .state = 2, .slot = 4, .pid = 4200, .uid = 1003, .since_ns = START + 61000000000, .label = "sglang" },
		{ .state = 3, .slot = 17, .pid = 4000, .uid = 991, .is_trusted = 1, .pins = 1, .pinned_bytes = 1ull << 30,
		  .quota_bytes = 1ull << 30, .since_ns = START, .label = "from before" },
	};

	memcpy(now.session, s, sizeof(s));
	now.nr_sessions = ARRAY_SIZE(s);
}

static void known_uses(void)
{
	static const struct kvshm_stats_use use = { .hit_blocks = 873400, .hit_tokens = 13974400, .put_blocks = 126600,
						    .put_tokens = 2025600, .evicted_blocks = 41000, .dropped_blocks = 7 };

	now.use[stat_use_ns(1)] = now.use[stat_use_class(2)] = use;
	now.use[stat_use_class(0)].put_blocks = 12;
	now.use[stat_use_class(200)].hit_blocks = 3;
	now.prefill_rate = 5000;
}

static void known_directory(void)
{
	struct directory_geometry g = { .max_blocks = 64, .max_ns = 4, .max_extents = 4, .hash_seed = 1, .instance = 1 };
	struct block_info info = { .length = 65536, .ns = 1, .flags = KVSHM_FLAG_NOPARENT };
	int fd = openat(dir.fd, "directory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct directory d;

	assert_int_equal(ftruncate(fd, (off_t)directory_size(&g)), 0);
	assert_int_equal(directory_create(fd, &g, &d), 0);
	close(fd);
	for (uint32_t ns = 1; ns <= 2; ns++)
		d.ns[ns] = (struct kvshm_ns_entry){ .block_len = ns * 65536, .block_tokens = 16, .state = 1, .uid = 990 + ns };
	memcpy(d.ns[1].label, "llama-3.1-8b", 12);
	memcpy(d.ns[2].label, "a\033[2J", 5);
	for (blk_id_t id = 1; id <= 5; id++) {
		/* the last two in the second extent */
		block_grant(&d.desc[id], id * 16 + (id > 3 ? (2u << 30) / KVSHM_PAGE : 0), 65536, 1, 3);
		info.key.bytes[0] = (uint8_t)id;
		info.tokens = id == 5 ? 7 : 0;
		if (id != 3)
			block_publish(&d.desc[id], &info);
	}
	d.extent[0] = (struct kvshm_extent_entry){ .len = 2ull << 30, .page_kind = KVSHM_PAGES_HUGETLB };
	d.extent[1] = (struct kvshm_extent_entry){ .base = 2ull << 30, .len = 2ull << 30, .node = 1, .page_kind = KVSHM_PAGES_TMPFS_HUGE };
	d.sb->nr_extents = 2;
	directory_set_state(&d, KVSHM_SB_LIVE, 1);
	directory_detach(&d);
}

static void known_events(void)
{
	static const struct kvshm_event e[] = {
		{ .type = KVSHM_EVENT_STORED, .time_ns = START + 3723000000000 - 90000000, .key = 0xabcdef, .nr = 1,
		  .length = 65536, .tokens = 16, .ns = 1 },
		{ .type = KVSHM_EVENT_STORED, .time_ns = START + 3723000000000 - 80000000, .key = 0x123456, .parent = 0xabcdef,
		  .nr = 2, .length = 32768, .tokens = 8, .ns = 1 },
		{ .type = KVSHM_EVENT_TOUCHED, .time_ns = START + 3723000000000 - 2000000, .key = 0x123456, .nr = 2,
		  .length = 32768, .tokens = 8, .ns = 1 },
		{ .type = KVSHM_EVENT_REMOVED, .reason = KVSHM_EVENT_EVICTED, .time_ns = START + 3723000000000 - 1000,
		  .key = 0x123456, .nr = 2, .length = 32768, .tokens = 8, .ns = 1 },
	};
	struct event_ring *r;

	assert_int_equal(events_create(dir.fd, "events", &r), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(e); i++)
		events_push(r, &e[i]);
	events_close(r);
}

static void known_config(void)
{
	static const char text[] = "[daemon]\ninstance=main                           # default\n"
				   "[arena]\nsize=64G                                # /etc/kvshm/main.conf:4\n"
				   "pages=auto                              # default\nhalf of a li";
	int fd = openat(dir.fd, "config", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int setup(void **state)
{
	tmp_dir_create(&dir);
	known_metrics();
	known_sessions();
	known_uses();
	known_directory();
	now.start_ns = before.start_ns = START;
	now.at_ns = START + 3723000000000;
	before.at_ns = now.at_ns - 2000000000;
	now.pid = 812;
	set_text(KVSHM_TEXT_INSTANCE, "main");
	set_text(KVSHM_TEXT_VERSION, "0.1.0");
	set_text(KVSHM_TEXT_PAGES, "hugetlb pages");
	set_text(KVSHM_TEXT_POLICY, "gix");
	set_text(KVSHM_TEXT_START, "warm");
	set_text(KVSHM_TEXT_PROTECTION, "read-only mount in no namespace");
	set_text(KVSHM_TEXT_SOCKET, "/run/kvshm/main/kvshm.sock");
	set_text(KVSHM_TEXT_MEMORY_DIR, dir.path);
	snprintf(now.dir, sizeof(now.dir), "%s", dir.path);
	known_events();
	known_config();
	return 0;
}

static int teardown(void **state)
{
	tmp_dir_destroy(&dir);
	return 0;
}

static char *text_of(const struct view *v, unsigned width)
{
	struct table_style style = { .width = width };
	struct table t;
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	if (v == views) {
		summary_print(&now, &before, f);
	} else {
		v->fill(&t, &now, &before);
		if (!strcmp(v->name, "config"))
			cell_text(&t.cell[6 * t.nr_columns + 2], "/run/kvshm-huge/main");
		table_print(&t, &style, f);
		table_end(&t);
	}
	fclose(f);
	return text;
}

static void assert_golden(const char *name, const char *text)
{
	static char want[65536];
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "tests/golden/views/%s", name);
	if (getenv("KVSHM_GOLDEN_WRITE")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fputs(text, f);
		fclose(f);
		return;
	}
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s is not there; KVSHM_GOLDEN_WRITE=1 writes it", path);
	want[fread(want, 1, sizeof(want) - 1, f)] = 0;
	fclose(f);
	assert_string_equal(text, want);
}

static void each_view_looks_as_in_git_and_fits_its_width(void **state)
{
	static const unsigned widths[] = { 80, 200 };

	for (const struct view *v = views; v->name; v++)
		for (unsigned w = 0; w < ARRAY_SIZE(widths); w++) {
			char *text = text_of(v, widths[w]), name[64];

			snprintf(name, sizeof(name), "%s.%u.txt", v->name, widths[w]);
			if (strcmp(v->name, "metrics"))	/* a list that grows; the next test has it */
				assert_golden(name, text);
			for (char *at = text; *at; at = strchr(at, '\n') + 1)
				assert_in_range(strchr(at, '\n') - at, 1, widths[w]);
			free(text);
		}
}

/* Columns go from the right, but never a label, which says whose the row is; of a list of facts never the value. */
static void in_a_narrow_terminal_no_line_is_longer(void **state)
{
	for (const struct view *v = views + 1; v->name; v++)
		for (unsigned width = 40; width < 80; width += 13) {
			char *text = text_of(v, width);

			for (char *at = text; *at; at = strchr(at, '\n') + 1)
				assert_in_range(strchr(at, '\n') - at, 1, width);
			if (!strcmp(v->name, "clients"))
				assert_non_null(strstr(text, "sglang\n"));
			if (!strcmp(v->name, "pins"))
				assert_non_null(strstr(text, "96.0 MiB"));
			free(text);
		}
}

static void every_metric_is_in_the_view_of_all(void **state)
{
	char *text = text_of(view_find("metrics"), 80);

	for (unsigned i = 0; i < METRIC_LAST; i++)
		assert_non_null(strstr(text, stat_metric_name((enum metric)i)));
	free(text);
}

static void the_cells_of_a_histogram_sum_to_its_count(void **state)
{
	uint64_t sum = 0;
	struct table t;

	assert_int_equal(view_hist_cells(&t, &now, "op=commit"), 0);
	for (unsigned r = 0; r < t.nr_rows; r++) {
		assert_true(t.cell[r * t.nr_columns].u < t.cell[r * t.nr_columns + 1].u);
		sum += t.cell[r * t.nr_columns + 2].u;
	}
	assert_int_equal(sum, 1000);
	assert_true(t.cell[t.nr_rows * t.nr_columns - 1].d == 1);
	table_end(&t);
	assert_int_equal(view_hist_cells(&t, &now, "kvshm_reap_ns"), 0);
	assert_int_equal(t.nr_rows, 1);
	table_end(&t);
	assert_int_equal(view_hist_cells(&t, &now, "block_residence"), 0);	/* kept in ms, shown in ns */
	assert_true(t.cell[0].u <= 60000000 && t.cell[1].u > 60000000);
	table_end(&t);
	assert_int_equal(view_hist_cells(&t, &now, "op=none"), -1);
}

static char *csv_of(const struct table *t)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	table_csv(t, false, f);
	fclose(f);
	return text;
}

static void rows_are_sorted_filtered_and_cut_by_column(void **state)
{
	struct table t;
	char *text;

	view_clients(&t, &now, NULL);
	assert_int_equal(table_sort(&t, "pinned_bytes"), 0);
	assert_int_equal(t.cell[0].u, 17);
	assert_int_equal(table_sort(&t, "LABEL"), 0);
	assert_int_equal(t.cell[0].u, 17);
	assert_int_equal(table_filter(&t, "uid=991"), 0);
	assert_int_equal(t.nr_rows, 2);
	assert_int_equal(table_fields(&t, "label,slot,hit_ratio"), 0);
	text = csv_of(&t);
	assert_string_equal(text, "label,slot,hit_ratio\r\nfrom before,17,\r\nvllm EngineCore 0,3,0.8734\r\n");
	free(text);
	assert_int_equal(table_sort(&t, "none"), -1);
	assert_int_equal(table_filter(&t, "slot"), -1);
	assert_int_equal(table_filter(&t, "none=1"), -1);
	assert_int_equal(table_fields(&t, "slot,none"), -1);
	assert_int_equal(table_fields(&t, ""), -1);
	table_end(&t);
}

static void csv_quotes_what_must_be_quoted(void **state)
{
	static const struct column columns[] = {
		{ "key", "KEY", CELL_TEXT, 4, false }, { "value", "VALUE", CELL_TEXT, 4, false },
	};
	struct cell *row;
	struct table t;
	char *text;

	table_begin(&t, "any", columns, ARRAY_SIZE(columns));
	row = table_row(&t);
	cell_text(&row[0], "a,b");
	cell_text(&row[1], "say \"x\"");
	text = csv_of(&t);
	assert_string_equal(text, "key,value\r\n\"a,b\",\"say \"\"x\"\"\"\r\n");
	free(text);
	table_end(&t);
}

static void rates_are_of_the_time_between_two_looks(void **state)
{
	struct snapshot other = before;

	assert_true(snapshot_rate(&now, &before, METRIC_LOOKUP_BLOCKS) == 5000);
	assert_true(snapshot_hit_ratio(&now, &before) == 0.94);
	assert_true(snapshot_hit_ratio(&now, NULL) == 0.8734);
	/* Another daemon: its counters began at 0. */
	other.start_ns = 1;
	assert_true(snapshot_hit_ratio(&now, &other) == 0.8734);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_view_looks_as_in_git_and_fits_its_width),
		cmocka_unit_test(in_a_narrow_terminal_no_line_is_longer),
		cmocka_unit_test(every_metric_is_in_the_view_of_all),
		cmocka_unit_test(the_cells_of_a_histogram_sum_to_its_count),
		cmocka_unit_test(rows_are_sorted_filtered_and_cut_by_column),
		cmocka_unit_test(csv_quotes_what_must_be_quoted),
		cmocka_unit_test(rates_are_of_the_time_between_two_looks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
