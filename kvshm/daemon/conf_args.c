/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, and which files are read before it. */
#include "kvshm/daemon/conf.h"

#include <getopt.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/options.h"
#include "kvshm/daemon/conf_table.h"

/* What is no key of the configuration, for conf_help(). */
static const struct {
	const char *shown, *help;
} plain[] = {
	{ "--config FILE", "read this file instead of the system's" },
	{ "--set SECTION.KEY=VALUE", "one value of the configuration" },
	{ "--lenient", "unknown keys of a file are warnings" },
	{ "--check-config", "check and stop" },
	{ "--print-config", "print what is in force, with its origin, and stop" },
	{ "--discard", "drop the content of an earlier daemon: start cold" },
	{ "-v, --verbose", "say more" },
	{ "-q, --quiet", "warnings and errors only" },
	{ "-h, --help", "this text" },
	{ "-V, --version", "version and ABI" },
};

struct taking {
	struct conf *c;
	struct diag *d;
};

static int take(const struct taking *t, const char *section, const char *key, const char *value)
{
	if (conf_set(t->c, section, key, value, "command line", t->d) < 0) {
		t->d->status = EX_USAGE;
		return -1;
	}
	return 0;
}

static int take_key(void *to, const char *option, const char *value)
{
	const struct conf_key *k = conf_keys;

	while (!k->option || strcmp(k->option, option))
		k++;
	return take(to, k->section, k->key, value);
}

/* "section.key=value" from --set. */
static int take_set(void *to, const char *option, const char *pair)
{
	const struct taking *t = to;
	char buf[CONF_TEXT_LEN * 2], *dot, *eq;

	strcpy_bounded(buf, pair, sizeof(buf));
	eq = strchr(buf, '=');
	if (eq)
		*eq = '\0';
	dot = strchr(buf, '.');
	if (!eq || !dot)
		return diag_set(t->d, EX_USAGE, "--set %s: write SECTION.KEY=VALUE", pair);
	*dot = '\0';
	return take(t, buf, dot + 1, eq + 1);
}

static int take_file(void *to, const char *option, const char *path)
{
	const struct taking *t = to;

	if (strlen(path) >= sizeof(t->c->file))
		return diag_set(t->d, EX_USAGE, "--config: path too long");
	strcpy_bounded(t->c->file, path, sizeof(t->c->file));
	return 0;
}

static int parse_args(struct conf *c, int argc, char **argv, struct diag *d)
{
	bool is_check = false, is_print = false, is_help = false, is_version = false, is_quiet = false, is_verbose = false;
	struct taking t = { c, d };
	const struct option_row others[] = {
		CALL_ROW("config", 0, &t, take_file),	   CALL_ROW("set", 0, &t, take_set),
		FLAG_ROW("lenient", 0, &c->is_lenient),	   FLAG_ROW("check-config", 0, &is_check),
		FLAG_ROW("print-config", 0, &is_print),	   FLAG_ROW("discard", 0, &c->is_discard),
		FLAG_ROW("verbose", 'v', &is_verbose),	   FLAG_ROW("quiet", 'q', &is_quiet),
		FLAG_ROW("help", 'h', &is_help),	   FLAG_ROW("version", 'V', &is_version),
	};
	struct option_row rows[CONF_NR_KEYS + ARRAY_SIZE(others) + 1] = { 0 };
	const struct option_table table = { .command = "kvshmd", .rows = rows };
	unsigned n = 0;

	for (unsigned i = 0; i < conf_nr_keys; i++)
		if (conf_keys[i].option)
			rows[n++] = (struct option_row)CALL_ROW(conf_keys[i].option, conf_keys[i].letter, &t, take_key);
	memcpy(rows + n, others, sizeof(others));
	/* what is told by the parser is told once */
	diag_set(d, EX_USAGE, "%s", "");
	optind = 0;
	if (options_parse(&table, argc, argv) != OPTIONS_GO_ON)
		return -1;
	c->verbosity = is_verbose - is_quiet;
	c->action = is_help ? CONF_HELP : is_version ? CONF_VERSION : is_print ? CONF_PRINT : is_check ? CONF_CHECK : CONF_RUN;
	return 0;
}

static int read_if_there(struct conf *c, const char *path, struct diag *d)
{
	return access(path, F_OK) == 0 ? conf_read(c, path, d) : 0;
}

static int read_drop_ins(struct conf *c, const char *pattern, struct diag *d)
{
	glob_t g;
	int ret = 0;

	if (glob(pattern, 0, NULL, &g) != 0)
		return 0;
	for (size_t i = 0; i < g.gl_pathc && ret == 0; i++)
		ret = conf_read(c, g.gl_pathv[i], d);
	globfree(&g);
	return ret;
}

static int read_files(struct conf *c, const char *instance, struct diag *d)
{
	char path[CONF_TEXT_LEN];
	int ret;

	if (c->file[0])
		return conf_read(c, c->file, d);
	snprintf(path, sizeof(path), "/usr/lib/kvshm/%s.conf", instance);
	ret = read_if_there(c, path, d);
	snprintf(path, sizeof(path), "/etc/kvshm/%s.conf", instance);
	if (ret == 0)
		ret = read_if_there(c, path, d);
	snprintf(path, sizeof(path), "/etc/kvshm/%s.conf.d/*.conf", instance);
	return ret == 0 ? read_drop_ins(c, path, d) : ret;
}

/*
 * The command line is read twice: first to learn which files there are, then over their values.
 */
int conf_load(struct conf *c, int argc, char **argv, struct diag *d)
{
	char instance[sizeof(c->instance)];

	conf_init(c);
	if (parse_args(c, argc, argv, d) < 0)
		return -1;
	if (c->action == CONF_HELP || c->action == CONF_VERSION)
		return 0;
	if (conf_check(c, d) < 0)
		return -1;
	strcpy_bounded(instance, c->instance, sizeof(instance));
	if (read_files(c, instance, d) < 0 || parse_args(c, argc, argv, d) < 0)
		return -1;
	return conf_check(c, d);
}

void conf_help(FILE *out)
{
	char shown[64];

	fprintf(out,
		"usage: kvshmd [options]\n\n"
		"Serves a cache of KV blocks to the engine processes of this machine, in shared memory.\n"
		"Without options it works as it is: an instance 'main' of a size that fits.\n\noptions:\n");
	for (unsigned i = 0; i < conf_nr_keys; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (!k->option)
			continue;
		if (k->letter)
			snprintf(shown, sizeof(shown), "-%c, --%s %s", k->letter, k->option,
				 k->metavar);
		else
			snprintf(shown, sizeof(shown), "--%s %s", k->option, k->metavar);
		fprintf(out, "  %-26s %s\n", shown, k->help);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
		fprintf(out, "  %-26s %s\n", plain[i].shown, plain[i].help);
	fprintf(out, "\nconfiguration (file or --set):\n");
	for (unsigned i = 0; i < conf_nr_keys; i++) {
		snprintf(shown, sizeof(shown), "%s.%s=%s", conf_keys[i].section, conf_keys[i].key,
			 conf_keys[i].metavar);
		fprintf(out, "  %-34s %s\n", shown, conf_keys[i].help);
	}
	fprintf(out,
		"\nFiles: /usr/lib/kvshm/NAME.conf, /etc/kvshm/NAME.conf, /etc/kvshm/NAME.conf.d/*.conf\n");
}
