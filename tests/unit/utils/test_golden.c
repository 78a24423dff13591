/* SPDX-License-Identifier: Apache-2.0 */
/* kvshm-test: timeout=600 */
/*
 * test_golden.c - results of every policy as kept in tests/golden: no number moved, or the change says why
 *
 * One file a trace and policy: a line a capacity, with blocks hit and blocks asked for.  Traces that are
 * not ours are looked for beside the repository (../shared/traces); without them their tests are skipped.
 * KVSHM_GOLDEN_WRITE=1 writes what is found instead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "tests/unit/utils/chat_trace.h"
#include "utils/reader.h"

#define TEXT_MAX 4096

static const unsigned permille[] = { 5, 10, 20, 50, 100, 200 };

static void result_text(const struct sim_trace *t, const struct policy_ops *ops, char *text)
{
	struct sim_config cfg = { .ops = ops };
	struct sim_result r;
	size_t len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(permille); i++) {
		cfg.capacity = (t->nr_blocks * (uint64_t)permille[i] + 500) / 1000;
		assert_int_equal(sim_run(t, &cfg, &r), 0);
		len += (size_t)snprintf(text + len, TEXT_MAX - len, "%.1f%% %" PRIu64 " hits of %" PRIu64 "\n",
					permille[i] / 10.0, r.block_hits, r.blocks);
	}
}

static void check(const char *trace, const char *policy, const char *text)
{
	char path[256], kept[TEXT_MAX] = "";
	FILE *f;

	snprintf(path, sizeof(path), "tests/golden/%s.%s.txt", trace, policy);
	f = fopen(path, getenv("KVSHM_GOLDEN_WRITE") ? "w" : "r");
	if (!f)
		fail_msg("%s is not there; KVSHM_GOLDEN_WRITE=1 writes it", path);
	if (getenv("KVSHM_GOLDEN_WRITE")) {
		fputs(text, f);
	} else {
		kept[fread(kept, 1, sizeof(kept) - 1, f)] = 0;
		if (strcmp(kept, text))
			print_error("%s:\n%snow:\n%s", path, kept, text);
		assert_string_equal(kept, text);
	}
	fclose(f);
}

static void check_all(const char *trace, const struct sim_trace *t)
{
	char text[TEXT_MAX];

	for (unsigned i = 0; policy_at(i); i++) {
		result_text(t, policy_at(i), text);
		check(trace, policy_at(i)->name, text);
	}
}

static void results_on_made_up_chats_are_those_that_were_kept(void **state)
{
	struct sim_trace t;

	chat_trace(&t, 1, 4000);
	check_all("chats", &t);
	sim_trace_fini(&t);
}

/* Return: false if the file is not there. */
static bool load(const char *name, struct sim_trace *t)
{
	const struct reader_options o = { 0 };
	char path[256], why[READER_WHY_LEN];
	struct reader_info info;
	struct sim_record rec;
	struct reader *r;
	int ret;

	snprintf(path, sizeof(path), "../shared/traces/%s.jsonl.xz", name);
	if (access(path, R_OK))
		return false;
	if (reader_open(path, &o, &r, why) < 0)
		fail_msg("%s", why);
	reader_info(r, &info);
	sim_trace_init(t, info.block_tokens);
	while ((ret = reader_next(r, &rec, why)) == 1)
		assert_int_equal(sim_trace_add(t, &rec), 0);
	if (ret < 0)
		fail_msg("%s", why);
	reader_close(r);
	return true;
}

/* The slow baselines are compared on the made-up trace alone. */
static void check_real(const char *name)
{
	static const char *const policies[] = { "gix", "leaf-lru", "arc", "s3fifo", "belady" };
	struct sim_trace t;
	char text[TEXT_MAX];

	if (!load(name, &t)) {
		print_message("../shared/traces/%s.jsonl.xz is not there\n", name);
		skip();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
		result_text(&t, policy_find(policies[i]), text);
		check(name, policies[i], text);
	}
	sim_trace_fini(&t);
}

static void results_on_mooncake_conversation_are_those_that_were_kept(void **state)
{
	check_real("mooncake_conversation");
}

static void results_on_mooncake_synthetic_are_those_that_were_kept(void **state)
{
	check_real("mooncake_synthetic");
}

static void results_on_claude_code_a_are_those_that_were_kept(void **state)
{
	check_real("claude_code_A");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_on_made_up_chats_are_those_that_were_kept),
		cmocka_unit_test(results_on_mooncake_conversation_are_those_that_were_kept),
		cmocka_unit_test(results_on_mooncake_synthetic_are_those_that_were_kept),
		cmocka_unit_test(results_on_claude_code_a_are_those_that_were_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
