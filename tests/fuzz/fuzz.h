/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h - what the fuzz targets share
 *
 * A target is one function, LLVMFuzzerTestOneInput().  libFuzzer drives it in `make fuzz`; as a test
 * program it is driven by replay.h, over its corpus and changes of it.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What must hold whatever the input is. */
#define MUST(what)							\
	do {								\
		if (!(what)) {						\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			abort();					\
		}							\
	} while (0)

struct input {
	const uint8_t *p;
	size_t left;
};

/* The next @len bytes, zeros where the input has ended. */
static inline void take(struct input *in, void *ret, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(ret, 0, len);
	if (n)
		memcpy(ret, in->p, n);
	in->p += n;
	in->left -= n;
}

static inline uint8_t take8(struct input *in)
{
	uint8_t v;

	take(in, &v, sizeof(v));
	return v;
}

static inline uint16_t take16(struct input *in)
{
	uint16_t v;

	take(in, &v, sizeof(v));
	return v;
}

static inline uint32_t take32(struct input *in)
{
	uint32_t v;

	take(in, &v, sizeof(v));
	return v;
}

static inline uint64_t take64(struct input *in)
{
	uint64_t v;

	take(in, &v, sizeof(v));
	return v;
}

#ifndef KVSHM_LIBFUZZER
#include "tests/fuzz/replay.h"
#endif

#endif
