/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lzma.h>
#include <zstd.h>

#include "kvshm/base/rand.h"
#include "policy/hints.h"
#include "tests/lib/tmp_dir.h"
#include "utils/reader.h"
#include "utils/trace.h"

#define QWEN "{\"chat_id\":5,\"parent_chat_id\":-1,\"timestamp\":1.5,\"input_length\":40,\"output_length\":9,\"type\":\"text\",\"turn\":1,\"hash_ids\":[7,8,9]}\n" \
	     "{\"chat_id\":6,\"parent_chat_id\":5,\"timestamp\":2.5,\"input_length\":70,\"output_length\":9,\"type\":\"search\",\"turn\":2,\"hash_ids\":[7,8,10,11,12]}\n" \
	     "{\"chat_id\":7,\"parent_chat_id\":-1,\"timestamp\":2.5,\"input_length\":33,\"output_length\":1,\"type\":\"text\",\"turn\":1,\"hash_ids\":[7,3,4]}\n"
#define MOONCAKE "{\"timestamp\": 27482, \"input_length\": 1500, \"output_length\": 52, \"hash_ids\": [46, 47, 48]}\n" \
		 "{\"timestamp\": 30535, \"input_length\": 2100, \"output_length\": 26, \"hash_ids\": [46, 47, 2366, 2367, 9]}\n"
#define CSV "hash_ids,type,timestamp,session,extra\r\n1 2 3,text,0.25,a,x\r\n\"1;2;4\",\"te xt\",1,b,y\r\n"
#define OURS "{\"kvshm_trace\":1,\"block_tokens\":16,\"is_synthetic\":true,\"note\":\"by hand\"}\n" \
	     "{\"timestamp\":3,\"session\":\"x\",\"stop\":\"tool_use\",\"hash_ids\":[1,2]}\n"

static struct tmp_dir dir;
static char why[READER_WHY_LEN];
static const struct reader_options strict = { 0 }, lenient = { .is_lenient = true };

static int set_up(void **state)
{
	tmp_dir_create(&dir);
	return 0;
}

static int tear_down(void **state)
{
	tmp_dir_destroy(&dir);
	return 0;
}

static const char *put_file(const void *data, size_t len)
{
	static char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/t", dir.path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
	return path;
}

static struct reader *open_text(const char *text, const struct reader_options *o)
{
	struct reader *r = NULL;

	if (reader_open(put_file(text, strlen(text)), o, &r, why) < 0)
		fail_msg("%s", why);
	return r;
}

/* All requests.  Return: what ended it. */
static int read_to_end(struct reader *r, unsigned *ret_nr)
{
	struct sim_record rec;
	int ret;

	*ret_nr = 0;
	while ((ret = reader_next(r, &rec, why)) == 1)
		++*ret_nr;
	return ret;
}

static void qwen_bailian_has_chats_seconds_and_types(void **state)
{
	struct reader *r = open_text(QWEN, &strict);
	struct reader_info info;
	struct sim_record a, b, c;

	assert_int_equal(reader_next(r, &a, why), 1);
	assert_int_equal(a.nr, 3);
	assert_int_equal(a.hash[2], 9);
	assert_int_equal(a.time_ns, 1500000000);
	assert_int_equal(a.tokens, 40);
	assert_int_equal(a.output_tokens, 9);
	assert_int_equal(reader_next(r, &b, why), 1);
	assert_int_equal(b.session, a.session);
	assert_int_equal(b.turn, 2);
	assert_string_equal(reader_type_name(r, b.type), "search");
	assert_int_equal(reader_next(r, &c, why), 1);
	assert_int_not_equal(c.session, a.session);
	assert_int_equal(c.type, a.type);
	assert_int_equal(reader_next(r, &c, why), 0);
	reader_info(r, &info);
	assert_string_equal(info.form, "qwen-bailian");
	assert_int_equal(info.block_tokens, 16);
	reader_close(r);
}

static void mooncake_has_milliseconds_and_sessions_by_prompt(void **state)
{
	struct reader *r = open_text(MOONCAKE, &strict);
	struct reader_info info;
	struct sim_record a, b;

	assert_int_equal(reader_next(r, &a, why), 1);
	assert_int_equal(a.time_ns, 27482000000);
	assert_int_equal(a.turn, 1);
	assert_int_equal(reader_next(r, &b, why), 1);
	assert_int_equal(b.session, a.session);
	assert_int_equal(b.turn, 2);
	reader_info(r, &info);
	assert_string_equal(info.form, "mooncake");
	assert_int_equal(info.block_tokens, 512);
	reader_close(r);
}

static void csv_columns_stand_in_any_order(void **state)
{
	const struct reader_options o = { .block_tokens = 8 };
	struct reader *r = open_text(CSV, &o);
	struct sim_record a;

	assert_int_equal(reader_next(r, &a, why), 1);
	assert_int_equal(a.nr, 3);
	assert_int_equal(a.time_ns, 250000000);
	assert_int_equal(a.tokens, 24);
	assert_int_equal(reader_next(r, &a, why), 1);
	assert_int_equal(a.hash[2], 4);
	assert_string_equal(reader_type_name(r, a.type), "te xt");
	assert_int_equal(reader_next(r, &a, why), 0);
	reader_close(r);
}

static void our_own_form_says_what_it_is(void **state)
{
	struct reader *r = open_text(OURS, &strict);
	struct reader_info info;
	struct sim_record a;

	assert_int_equal(reader_next(r, &a, why), 1);
	assert_int_equal(a.time_ns, 3000000000);
	assert_string_equal(reader_stop_name(r, a.stop), "tool_use");
	reader_info(r, &info);
	assert_string_equal(info.form, "kvshm");
	assert_true(info.is_synthetic);
	assert_string_equal(info.note, "by hand");
	assert_int_equal(info.block_tokens, 16);
	reader_close(r);
}

static void a_version_of_tomorrow_is_refused(void **state)
{
	static const char text[] = "{\"kvshm_trace\":2}\n";
	struct reader *r = NULL;

	assert_int_equal(reader_open(put_file(text, strlen(text)), &strict, &r, why), -EBADMSG);
	assert_non_null(strstr(why, "/t:1: a version"));
}

static void a_malformed_line_is_named_and_lenience_counts_it(void **state)
{
	static const char text[] = OURS "{\"timestamp\":4,\"hash_ids\":[1,\n\n{\"timestamp\":5,\"hash_ids\":[1.5]}\n"
				   "{\"timestamp\":-1,\"hash_ids\":[]}\n{\"timestamp\":6,\"hash_ids\":[1,2]}\n";
	struct reader *r = open_text(text, &strict);
	struct reader_info info;
	unsigned nr;

	assert_int_equal(read_to_end(r, &nr), -EBADMSG);
	assert_int_equal(nr, 1);
	assert_non_null(strstr(why, "/t:3: not one JSON object"));
	reader_close(r);
	r = open_text(text, &lenient);
	assert_int_equal(read_to_end(r, &nr), 0);
	assert_int_equal(nr, 2);
	reader_info(r, &info);
	assert_int_equal(info.nr_skipped, 3);
	assert_non_null(strstr(info.first_skipped, "/t:3: "));
	reader_close(r);
}

static void time_that_runs_backwards_is_an_error(void **state)
{
	struct reader *r = open_text(OURS "{\"timestamp\":2.9,\"hash_ids\":[1]}\n", &strict);
	unsigned nr;

	assert_int_equal(read_to_end(r, &nr), -ERANGE);
	assert_non_null(strstr(why, "/t:3: time runs backwards"));
	reader_close(r);
}

static void what_is_no_trace_is_refused(void **state)
{
	static const char *const bad[] = { "", "\n\n", "hello\n", "a,b,c\n1,2,3\n", "[1,2]\n" };
	struct reader *r = NULL;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(reader_open(put_file(bad[i], strlen(bad[i])), &lenient, &r, why) < 0);
	assert_int_equal(reader_open("/nonexistent/t", &strict, &r, why), -ENOENT);
	assert_int_equal(reader_open(dir.path, &strict, &r, why), -EISDIR);
	assert_int_equal(reader_open("/dev/null", &strict, &r, why), -ESPIPE);
}

static char *generated(size_t *ret_len)
{
	const struct tracegen g = { .load = "chat", .seed = 3, .requests = 40, .block_tokens = 64 };
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	assert_non_null(f);
	assert_int_equal(tracegen_write(&g, f), 0);
	fclose(f);
	return text;
}

static void check_packed(const uint8_t *packed, size_t len)
{
	struct reader *r = NULL;
	unsigned nr;

	assert_int_equal(reader_open(put_file(packed, len), &strict, &r, why), 0);
	assert_int_equal(read_to_end(r, &nr), 0);
	assert_int_equal(nr, 40);
	reader_close(r);
	/* Cut anywhere behind the magic: never taken for a whole one. */
	for (size_t cut = 8; cut < len; cut += 1 + len / 37) {
		r = NULL;
		if (reader_open(put_file(packed, cut), &strict, &r, why) == 0)
			assert_int_equal(read_to_end(r, &nr), -ENODATA);
		reader_close(r);
	}
}

static void xz_and_zstd_are_unpacked_and_never_taken_for_whole_when_cut(void **state)
{
	size_t len, room, packed_len = 0;
	char *text = generated(&len);
	uint8_t *packed;

	room = lzma_stream_buffer_bound(len);
	packed = malloc(room);
	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, (uint8_t *)text, len, packed, &packed_len, room),
			 LZMA_OK);
	check_packed(packed, packed_len);
	free(packed);
	room = ZSTD_compressBound(len);
	packed = malloc(room);
	packed_len = ZSTD_compress(packed, room, text, len, 3);
	assert_false(ZSTD_isError(packed_len));
	check_packed(packed, packed_len);
	free(packed);
	free(text);
}

/* Requests that come out are in order and bounded, whatever goes in; run under ASan by the sanitizer build. */
static void check_survives(const void *data, size_t len, const struct reader_options *o)
{
	struct reader *r = NULL;
	struct sim_record rec;
	uint64_t last = 0;
	int ret = reader_open(put_file(data, len), o, &r, why);

	if (ret < 0) {
		assert_non_null(strchr(why, ':'));
		return;
	}
	while ((ret = reader_next(r, &rec, why)) == 1) {
		assert_true(rec.time_ns >= last);
		assert_true(rec.session > 0);
		assert_true(rec.type <= 255 && rec.stop <= 15);
		last = rec.time_ns;
	}
	assert_true(ret <= 0);
	reader_close(r);
}

static void mutated_traces_give_requests_or_errors(void **state)
{
	static const char *const seeds[] = { QWEN, MOONCAKE, CSV, OURS };
	static const char spice[] = "\"{}[],:-+.e0919999 \n\r\\tnu";
	struct rand rnd;

	rand_init(&rnd, 11);
	for (unsigned i = 0; i < 4000; i++) {
		const char *seed = seeds[i % 4];
		size_t len = strlen(seed);
		char text[2048];

		memcpy(text, seed, len);
		for (uint64_t n = 1 + rand_below(&rnd, 4); n; n--) {
			size_t at = rand_below(&rnd, len);

			switch (rand_below(&rnd, 4)) {
			case 0:
				text[at] = (char)rand_u64(&rnd);
				break;
			case 1:
				text[at] = spice[rand_below(&rnd, sizeof(spice) - 1)];
				break;
			case 2:
				memmove(text + at, text + at + 1, len - at - 1);
				len -= len > 1;
				break;
			default:
				len = len > 40 ? len - rand_below(&rnd, 20) : len;
				break;
			}
		}
		check_survives(text, len, i & 4 ? &strict : &lenient);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qwen_bailian_has_chats_seconds_and_types),
		cmocka_unit_test(mooncake_has_milliseconds_and_sessions_by_prompt),
		cmocka_unit_test(csv_columns_stand_in_any_order),
		cmocka_unit_test(our_own_form_says_what_it_is),
		cmocka_unit_test(a_version_of_tomorrow_is_refused),
		cmocka_unit_test(a_malformed_line_is_named_and_lenience_counts_it),
		cmocka_unit_test(time_that_runs_backwards_is_an_error),
		cmocka_unit_test(what_is_no_trace_is_refused),
		cmocka_unit_test(xz_and_zstd_are_unpacked_and_never_taken_for_whole_when_cut),
		cmocka_unit_test(mutated_traces_give_requests_or_errors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
