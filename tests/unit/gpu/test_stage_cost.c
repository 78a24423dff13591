/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/stage_cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "tests/lib/tmp_dir.h"

#define CARD "NVIDIA H200 [PCIe]"

static const struct stage_cost some = {
	.call_ns = 1234.5, .copy_ns = 0, .row_ns = 7.0625, .batch_ns = 9000, .entry_ns = 1e9, .entry_copy_ns = 150,
	.launch_ns = 3.25, .link_bytes_per_ns = 55.125, .device_bytes_per_ns = 1e6, .direct_bytes_per_ns = 0.001,
};

static struct tmp_dir dir;
static char path[160], why[STAGE_COST_WHY];

static int begin(void **state)
{
	(void)state;
	unsetenv("KVSHM_STAGE_COSTS");
	tmp_dir_create(&dir);
	snprintf(path, sizeof(path), "%s/gpu.costs", dir.path);
	return 0;
}

static int end(void **state)
{
	(void)state;
	tmp_dir_destroy(&dir);
	return 0;
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* A good section of @card, with @line in the place of the one that begins like it up to '=', NULL: as it is. */
static void write_section(const char *card, bool is_simulated, const char *line)
{
	char text[STAGE_COST_TEXT], changed[STAGE_COST_TEXT + 128], *at, *end;

	assert_true(stage_cost_print(&some, card, is_simulated, text, sizeof(text)) > 0);
	if (!line) {
		write_file(text);
		return;
	}
	snprintf(changed, sizeof(changed), "\n%.*s", (int)(strchr(line, '=') - line + 1), line);
	at = strstr(text, changed);
	assert_non_null(at);
	end = strchr(at + 1, '\n');
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at + 1 - text), text, line, end);
	write_file(changed);
}

static bool is_default(const struct stage_cost *c)
{
	return !memcmp(c, &stage_cost_default, sizeof(*c));
}

static void what_is_printed_is_read_back(void **state)
{
	struct stage_cost c;
	const char *name;
	double a, b;

	(void)state;
	write_section(CARD, false, NULL);
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), 1);
	assert_string_equal(why, path);
	for (unsigned i = 0; (name = stage_cost_field(&c, i, &a)); i++) {
		assert_non_null(stage_cost_field(&some, i, &b));
		if (fabs(a - b) > 0.0005)
			fail_msg("%s: %g, not %g", name, a, b);
	}
	assert_true(stage_cost_is_sane(&c));
}

static void a_section_is_for_cards_of_its_name(void **state)
{
	char text[2 * STAGE_COST_TEXT];
	struct stage_cost c, other = some;
	int n;

	(void)state;
	other.call_ns = 77;
	n = stage_cost_print(&other, "NVIDIA H100", false, text, sizeof(text));
	assert_true(n > 0);
	write_file(text);
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), -ENODATA);
	assert_non_null(strstr(why, "[" CARD "]"));
	assert_true(is_default(&c));
	/* files are joined by joining their text */
	assert_true(stage_cost_print(&some, CARD, false, text + n, sizeof(text) - (size_t)n) > 0);
	write_file(text);
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), 1);
	assert_true(c.call_ns == some.call_ns);
	assert_int_equal(stage_cost_find(path, "NVIDIA H100", false, &c, why), 1);
	assert_true(c.call_ns == 77);
}

static void figures_of_a_model_are_never_those_of_a_device(void **state)
{
	struct stage_cost c;

	(void)state;
	write_section(CARD, true, NULL);
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), -ENODATA);
	assert_non_null(strstr(why, "was simulated"));
	assert_true(is_default(&c));
	assert_int_equal(stage_cost_find(path, CARD, true, &c, why), 1);
	write_section(CARD, false, NULL);
	assert_int_equal(stage_cost_find(path, CARD, true, &c, why), -ENODATA);
	assert_non_null(strstr(why, "was measured"));
	assert_true(is_default(&c));
}

static void what_is_wrong_is_told_by_its_line(void **state)
{
	static const struct {
		const char *line, *word;
	} wrong[] = {
		{ "call_ns=-1", "gpu.costs:3: call_ns: not a plain decimal number" },
		{ "call_ns=nan", "call_ns: not a plain" },
		{ "call_ns=inf", "call_ns: not a plain" },
		{ "call_ns=1e3", "call_ns: not a plain" },
		{ "call_ns=0x10", "call_ns: not a plain" },
		{ "call_ns=", "call_ns: not a plain" },
		{ "call_ns=12 ns", "call_ns: not a plain" },
		{ "call_ns=1000000000.001", "call_ns: out of range" },
		{ "call_ns=99999999999999999999999999", "call_ns: not a plain" },
		{ "link_bytes_per_ns=0", "gpu.costs:10: link_bytes_per_ns: out of range" },
		{ "device_bytes_per_ns=1000001", "device_bytes_per_ns: out of range" },
		{ "direct_bytes_per_ns=0.0009", "direct_bytes_per_ns: out of range" },
		{ "source=guessed", "gpu.costs:2: source: measured or simulated" },
		{ "row_ns=1\nrow_ns=1", "gpu.costs:6: row_ns: a second time" },
		{ "source=measured\nsource=measured", "source: a second time" },
		{ "batch_ns=1\nspeed=3", "speed: no such cost" },
		{ "batch_ns=\001", "batch_ns: not a plain" },
		{ "launch_ns=1\nnonsense", "neither [section] nor key=value" },
		{ "entry_ns=1\n[NVIDIA H100]\ncall_ns=-5\n[" CARD "]", "gpu.costs:9: call_ns: not a plain" },
		{ "row_ns=# 3", "row_ns: not a plain" },
		{ "copy_ns=1\n[other]\nrow_ns=1", "lacks row_ns" },
	};
	struct stage_cost c;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		write_section(CARD, false, wrong[i].line);
		memset(why, 0, sizeof(why));
		if (stage_cost_find(path, CARD, false, &c, why) != -EINVAL || !strstr(why, wrong[i].word))
			fail_msg("%s: \"%s\"", wrong[i].line, why);
		assert_true(is_default(&c));
	}
	/* and a little else is not wrong */
	write_section(CARD, false, "call_ns=12.5 # on a Sunday");
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), 1);
	assert_true(c.call_ns == 12.5);
}

static void a_section_without_its_source_is_no_use(void **state)
{
	char text[STAGE_COST_TEXT], *at;
	struct stage_cost c;

	(void)state;
	assert_true(stage_cost_print(&some, CARD, false, text, sizeof(text)) > 0);
	at = strstr(text, "source");
	memcpy(at, "#ource", 6);
	write_file(text);
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), -EINVAL);
	assert_non_null(strstr(why, "lacks source"));
}

static void a_file_is_found_by_its_name_then_by_the_environment(void **state)
{
	struct stage_cost c;

	(void)state;
	write_section(CARD, false, NULL);
	setenv("KVSHM_STAGE_COSTS", path, 1);
	assert_int_equal(stage_cost_find(NULL, CARD, false, &c, why), 1);
	assert_int_equal(stage_cost_find("/nowhere/gpu.costs", CARD, false, &c, why), -ENOENT);
	assert_non_null(strstr(why, "/nowhere/gpu.costs"));
	assert_true(is_default(&c));
	setenv("KVSHM_STAGE_COSTS", "/nowhere/else", 1);
	assert_int_equal(stage_cost_find(NULL, CARD, false, &c, why), -ENOENT);
	assert_non_null(strstr(why, "/nowhere/else"));
	assert_int_equal(stage_cost_find(path, CARD, false, &c, why), 1);
	/* empty is as if it were not there; this machine may have a file, but not of such a card */
	setenv("KVSHM_STAGE_COSTS", "", 1);
	assert_int_not_equal(stage_cost_find(NULL, "no card at all", false, &c, why), 1);
	assert_null(strstr(why, "/nowhere"));
	unsetenv("KVSHM_STAGE_COSTS");
}

static void what_no_machine_has_is_not_written(void **state)
{
	char text[STAGE_COST_TEXT];
	struct stage_cost c;

	(void)state;
	assert_true(stage_cost_is_sane(&stage_cost_default));
	c = some;
	c.launch_ns = NAN;
	assert_int_equal(stage_cost_print(&c, CARD, false, text, sizeof(text)), -EINVAL);
	c.launch_ns = -0.5;
	assert_int_equal(stage_cost_print(&c, CARD, false, text, sizeof(text)), -EINVAL);
	c = some;
	c.direct_bytes_per_ns = INFINITY;
	assert_int_equal(stage_cost_print(&c, CARD, false, text, sizeof(text)), -EINVAL);
	assert_int_equal(stage_cost_print(&some, "a\nb", false, text, sizeof(text)), -EINVAL);
	assert_int_equal(stage_cost_print(&some, "card #1", false, text, sizeof(text)), -EINVAL);
	assert_int_equal(stage_cost_print(&some, "", false, text, sizeof(text)), -EINVAL);
	assert_int_equal(stage_cost_print(&some, " a", false, text, sizeof(text)), -EINVAL);
	for (size_t n = 1; n < 200; n += 9)
		assert_int_equal(stage_cost_print(&some, CARD, false, text, n), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_printed_is_read_back, begin, end),
		cmocka_unit_test_setup_teardown(a_section_is_for_cards_of_its_name, begin, end),
		cmocka_unit_test_setup_teardown(figures_of_a_model_are_never_those_of_a_device, begin, end),
		cmocka_unit_test_setup_teardown(what_is_wrong_is_told_by_its_line, begin, end),
		cmocka_unit_test_setup_teardown(a_section_without_its_source_is_no_use, begin, end),
		cmocka_unit_test_setup_teardown(a_file_is_found_by_its_name_then_by_the_environment, begin, end),
		cmocka_unit_test_setup_teardown(what_no_machine_has_is_not_written, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
