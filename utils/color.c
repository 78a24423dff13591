/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/color.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_on;

static bool is_wanted(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

int color_choose(const char *command, const char *when)
{
	if (!when || !strcmp(when, "auto"))
		is_on = is_wanted();
	else if (!strcmp(when, "always") || !strcmp(when, "never"))
		is_on = *when == 'a';
	else {
		fprintf(stderr, "%s: --color takes auto, always or never, not \"%s\"\n", command, when);
		return -1;
	}
	return 0;
}

const char *color(enum tone t)
{
	static const char *const codes[] = {
		[TONE_PLAIN] = "\033[0m", [TONE_GOOD] = "\033[32m", [TONE_BAD] = "\033[1;31m", [TONE_TITLE] = "\033[1m",
	};

	return is_on ? codes[t] : "";
}
