/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - main() of a fuzz target that is built as a test: its corpus, and seeded changes of it
 *
 * Needs no clang.  A finding of `make fuzz` goes into tests/fuzz/corpus/<target>/ with its fix.
 */
#ifndef TESTS_FUZZ_REPLAY_H
#define TESTS_FUZZ_REPLAY_H

#include <dirent.h>
#include <errno.h>
#include <time.h>

enum { REPLAY_LEN = 512, REPLAY_CHANGES = 400, REPLAY_SECONDS = 4 };

static uint64_t replay_state = 1;

static uint32_t replay_random(uint32_t n)
{
	replay_state = replay_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((replay_state >> 33) % n);
}

/* Its own allocation, so that a sanitizer sees what is read past the end. */
static void replay_one(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	MUST(copy);
	if (len)
		memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void replay_changes(const uint8_t *data, size_t len, time_t end)
{
	uint8_t b[REPLAY_LEN];
	unsigned i, n;

	for (i = 0; i < REPLAY_CHANGES && time(NULL) < end; i++) {
		size_t l = len;

		memcpy(b, data, len);
		for (n = replay_random(4); l && n > 0; n--)
			b[replay_random((uint32_t)l)] = (uint8_t)replay_random(256);
		if (replay_random(4) == 0)
			l = replay_random((uint32_t)l + 1);
		replay_one(b, l);
	}
}

static unsigned replay_folder(const char *path)
{
	time_t end = time(NULL) + REPLAY_SECONDS;
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned nr = 0;

	while (d && (e = readdir(d))) {
		char name[512];
		uint8_t b[REPLAY_LEN];
		size_t len;
		FILE *in;

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		in = fopen(name, "re");
		MUST(in);
		len = fread(b, 1, sizeof(b), in);
		fclose(in);
		replay_one(b, len);
		replay_changes(b, len, end);
		nr++;
	}
	if (d)
		closedir(d);
	return nr;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '_');
	char path[256];
	unsigned nr;

	MUST(name);
	snprintf(path, sizeof(path), "tests/fuzz/corpus/%s", name + 1);
	replay_one(NULL, 0);
	nr = replay_folder(path);
	printf("1..1\n%s 1 - %u inputs of %s and changes of them\n", nr ? "ok" : "not ok", nr, path);
	return !nr;
}

#endif
