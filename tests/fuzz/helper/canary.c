/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_canary.c - must crash within seconds, or the fuzzing finds nothing at all */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	char *p = malloc(4);

	MUST(p);
	if (take8(&in) == 'k' && take8(&in) == 'v' && take8(&in) == 's')
		p[take8(&in)] = 1;	/* past its end for most values */
	free(p);
	return 0;
}
