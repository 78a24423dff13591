/* SPDX-License-Identifier: Apache-2.0 */
/* made_trace.h - a trace of the generator, written and read again as `kvshm trace gen` and a reader would */
#ifndef TESTS_UNIT_UTILS_MADE_TRACE_H
#define TESTS_UNIT_UTILS_MADE_TRACE_H

#include <stdio.h>

#include "tests/lib/tmp_dir.h"
#include "utils/reader_load.h"
#include "utils/trace.h"

/* Return: 0; else it could not be written or read. */
static int made_trace(const struct tracegen *g, struct loaded_trace *ret)
{
	const struct reader_options o = { 0 };
	struct tmp_dir dir;
	char path[96];
	FILE *f;
	int err;

	tmp_dir_create(&dir);
	snprintf(path, sizeof(path), "%s/t", dir.path);
	f = fopen(path, "w");
	err = f ? tracegen_write(g, f) : -1;
	if (f)
		fclose(f);
	if (err == 0)
		err = reader_load("test", path, &o, true, ret);
	tmp_dir_destroy(&dir);
	return err;
}

#endif
