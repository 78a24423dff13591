/* SPDX-License-Identifier: Apache-2.0 */
/* reader_load.c - reader to sim_trace */
#include "utils/reader_load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "utils/commands.h"

#define PROGRESS_EACH 256u

static int read_all(struct loaded_trace *l, bool shows, char *why)
{
	struct sim_record rec;
	int ret;

	while ((ret = reader_next(l->r, &rec, why)) == 1) {
		ret = sim_trace_add(&l->t, &rec);
		if (ret < 0) {
			snprintf(why, READER_WHY_LEN, "%s", strerror(-ret));
			return ret;
		}
		if (shows && l->t.nr_req % PROGRESS_EACH == 0)
			fprintf(stderr, "\rreading %3.0f %%", 100 * reader_progress(l->r));
	}
	if (shows)
		fputs("\r\033[K", stderr);
	return ret;
}

int reader_load(const char *command, const char *path, const struct reader_options *o, bool is_quiet,
		struct loaded_trace *ret)
{
	char why[READER_WHY_LEN];
	struct reader_info info;
	int err;

	memset(ret, 0, sizeof(*ret));
	err = reader_open(path, o, &ret->r, why);
	if (err < 0) {
		fprintf(stderr, "%s: %s\n", command, why);
		return err == -EBADMSG || err == -ENODATA || err == -E2BIG || err == -ERANGE ? EXIT_DATA :
		       err == -EACCES ? EXIT_PERMISSION : EXIT_USAGE;
	}
	reader_info(ret->r, &info);
	sim_trace_init(&ret->t, info.block_tokens);
	err = read_all(ret, !is_quiet && isatty(STDERR_FILENO), why);
	reader_info(ret->r, &info);
	if (err == 0 && !ret->t.nr_chain) {
		snprintf(why, sizeof(why), "%s: no request with a block in it", path);
		err = -ENODATA;
	}
	if (info.nr_skipped)
		fprintf(stderr, "%s: %s: %llu lines skipped, the first: %s\n", command, path,
			(unsigned long long)info.nr_skipped, info.first_skipped);
	if (err < 0) {
		fprintf(stderr, "%s: %s\n", command, why);
		reader_unload(ret);
		return EXIT_DATA;
	}
	return 0;
}

void reader_unload(struct loaded_trace *l)
{
	sim_trace_fini(&l->t);
	l->r = reader_close(l->r);
}
