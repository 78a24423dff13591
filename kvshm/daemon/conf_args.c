/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, and which files are read before it. */
#include "kvshm/daemon/conf.h"

#include <getopt.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/daemon/conf_table.h"

enum { OPT_KEY = 1000, OPT_CONFIG = 2000, OPT_CHECK, OPT_PRINT, OPT_DISCARD, OPT_LENIENT, OPT_SET };

static const struct {
	struct option opt;
	const char *shown, *help;
} plain[] = {
	{ { "config", required_argument, NULL, OPT_CONFIG },
	  "--config FILE",
	  "read this file instead of the system's" },
	{ { "set", required_argument, NULL, OPT_SET },
	  "--set SECTION.KEY=VALUE",
	  "one value of the configuration" },
	{ { "lenient", no_argument, NULL, OPT_LENIENT },
	  "--lenient",
	  "unknown keys of a file are warnings" },
	{ { "check-config", no_argument, NULL, OPT_CHECK }, "--check-config", "check and stop" },
	{ { "print-config", no_argument, NULL, OPT_PRINT },
	  "--print-config",
	  "print what is in force, with its origin, and stop" },
	{ { "discard", no_argument, NULL, OPT_DISCARD },
	  "--discard",
	  "drop the content of an earlier daemon: start cold" },
	{ { "verbose", no_argument, NULL, 'v' }, "-v, --verbose", "say more" },
	{ { "quiet", no_argument, NULL, 'q' }, "-q, --quiet", "warnings and errors only" },
	{ { "help", no_argument, NULL, 'h' }, "-h, --help", "this text" },
	{ { "version", no_argument, NULL, 'V' }, "-V, --version", "version and ABI" },
};

#define NR_OPTIONS (CONF_NR_KEYS + ARRAY_SIZE(plain) + 1)

static void make_options(struct option *opts, char *letters)
{
	unsigned n = 0;

	memcpy(letters, ":vqhV", 5);
	letters += 5;
	for (unsigned i = 0; i < conf_nr_keys; i++) {
		if (!conf_keys[i].option)
			continue;
		opts[n++] = (struct option){ conf_keys[i].option, required_argument, NULL,
					     OPT_KEY + (int)i };
		if (conf_keys[i].letter) {
			*letters++ = conf_keys[i].letter;
			*letters++ = ':';
		}
	}
	*letters = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
		opts[n++] = plain[i].opt;
	opts[n] = (struct option){ 0 };
}

static int key_of_letter(int letter)
{
	for (unsigned i = 0; i < conf_nr_keys; i++)
		if (conf_keys[i].letter == letter)
			return (int)i;
	return -1;
}

/* "section.key=value" from --set. */
static int set_pair(struct conf *c, const char *pair, struct diag *d)
{
	char buf[CONF_TEXT_LEN * 2], *dot, *eq;

	strcpy_bounded(buf, pair, sizeof(buf));
	eq = strchr(buf, '=');
	if (eq)
		*eq = '\0';
	dot = strchr(buf, '.');
	if (!eq || !dot)
		return diag_set(d, EX_USAGE, "--set %s: write SECTION.KEY=VALUE", pair);
	*dot = '\0';
	if (conf_set(c, buf, dot + 1, eq + 1, "command line", d) < 0) {
		d->status = EX_USAGE;
		return -1;
	}
	return 0;
}

static int take_key(struct conf *c, int key, const char *value, struct diag *d)
{
	const struct conf_key *k = &conf_keys[key];

	if (conf_set(c, k->section, k->key, value, "command line", d) < 0) {
		d->status = EX_USAGE;
		return -1;
	}
	return 0;
}

static int take_option(struct conf *c, int opt, const char *value, struct diag *d)
{
	if (opt >= OPT_KEY && opt < OPT_KEY + (int)conf_nr_keys)
		return take_key(c, opt - OPT_KEY, value, d);
	switch (opt) {
	case OPT_CONFIG:
		if (strlen(value) >= sizeof(c->file))
			return diag_set(d, EX_USAGE, "--config: path too long");
		strcpy_bounded(c->file, value, sizeof(c->file));
		return 0;
	case OPT_SET:
		return set_pair(c, value, d);
	case OPT_LENIENT:
		c->is_lenient = true;
		return 0;
	case OPT_DISCARD:
		c->is_discard = true;
		return 0;
	case OPT_CHECK:
		c->action = CONF_CHECK;
		return 0;
	case OPT_PRINT:
		c->action = CONF_PRINT;
		return 0;
	case 'v':
		c->verbosity = 1;
		return 0;
	case 'q':
		c->verbosity = -1;
		return 0;
	case 'h':
		c->action = CONF_HELP;
		return 0;
	case 'V':
		c->action = CONF_VERSION;
		return 0;
	default:
		return take_key(c, key_of_letter(opt), value, d);
	}
}

static int parse_args(struct conf *c, int argc, char **argv, struct diag *d)
{
	struct option opts[NR_OPTIONS];
	char letters[64];
	int opt;

	make_options(opts, letters);
	opterr = 0;
	optind = 0;
	while ((opt = getopt_long(argc, argv, letters, opts, NULL)) != -1) {
		if (opt == '?')
			return diag_set(d, EX_USAGE, "unknown option %s (see --help)",
					argv[optind - 1]);
		if (opt == ':')
			return diag_set(d, EX_USAGE, "option %s needs a value", argv[optind - 1]);
		if (take_option(c, opt, optarg, d) < 0)
			return -1;
	}
	if (optind < argc)
		return diag_set(d, EX_USAGE, "unexpected argument '%s'", argv[optind]);
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
