/* SPDX-License-Identifier: Apache-2.0 */
/* view_config.c - what the daemon runs with: every key with its origin, from the file beside the page; and what it found */
#include <stdio.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "utils/views.h"

static void add(struct table *t, const char *key, const char *value, const char *origin)
{
	struct cell *row = table_row(t);

	cell_text(&row[0], key);
	cell_text(&row[1], origin);
	cell_text(&row[2], value);
}

/* "key=value      # origin" of [section]; a line that is none is passed over, as the file may just be written. */
static void add_line(struct table *t, const char *section, char *line)
{
	char *value = strchr(line, '='), *origin = value ? strstr(value, " # ") : NULL, *end = origin, key[128];

	if (!origin)
		return;
	*value++ = 0;
	while (end > value && end[-1] == ' ')
		end--;
	*end = 0;
	snprintf(key, sizeof(key), "%.60s.%.60s", section, line);
	add(t, key, value, origin + strlen(" # "));
}

static void add_file(struct table *t, const char *path)
{
	char line[4096], section[64] = "";
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] == '[')
			snprintf(section, sizeof(section), "%.*s", (int)strcspn(line + 1, "]"), line + 1);
		else
			add_line(t, section, line);
	}
	if (f)
		fclose(f);
	else
		table_note(t, "%s: %m", path);
}

void view_config(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "key", "KEY", CELL_TEXT, 25, false }, { "origin", "ORIGIN", CELL_TEXT, 22, false },
		{ "value", "VALUE", CELL_TEXT, 31, false },
	};
	static const struct {
		const char *name;
		enum kvshm_stats_text which;
	} texts[] = {
		{ "instance", KVSHM_TEXT_INSTANCE }, { "version", KVSHM_TEXT_VERSION }, { "socket", KVSHM_TEXT_SOCKET },
		{ "memory_dir", KVSHM_TEXT_MEMORY_DIR }, { "pages", KVSHM_TEXT_PAGES }, { "policy", KVSHM_TEXT_POLICY },
		{ "protection", KVSHM_TEXT_PROTECTION }, { "start", KVSHM_TEXT_START },
	};
	char path[sizeof(now->dir) + 16];

	(void)before;
	table_begin(t, "config", columns, ARRAY_SIZE(columns));
	snprintf(path, sizeof(path), "%s/config", now->dir);
	add_file(t, path);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		add(t, texts[i].name, now->text[texts[i].which], "found");
	table_note(t, "in force now, also after a reload; kvshmd.conf(5) explains the keys");
}
