/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/degraded.h"

#include <string.h>

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

void degraded_find(const struct snapshot *s, struct degraded ret[DEGRADED_COMPONENTS])
{
	const uint64_t *m = s->metric;
	const struct degraded all[DEGRADED_COMPONENTS] = {
		{ "pages", begins(s->text[KVSHM_TEXT_PAGES], "4 KiB"), "4 KiB pages" },
		{ "protection", begins(s->text[KVSHM_TEXT_PROTECTION], "file mode"), "no read-only mount" },
		{ "memory", m[METRIC_EXTENTS] < m[METRIC_EXTENTS_WANTED], "less memory than configured" },
		{ "bad_memory", m[METRIC_RETIRED_BYTES] > 0, "bad memory kept out of use" },
		{ "reload", m[METRIC_RELOADS_FAILED] > 0, "a configuration was refused, the old one is in force" },
	};

	memcpy(ret, all, sizeof(all));
}
