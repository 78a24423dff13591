/* SPDX-License-Identifier: Apache-2.0 */
/* drop.c - remove the blocks of a namespace, after a bad model push */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <kvshm/kvshm.h>

#include "kvshm/arena/namespace.h"
#include "kvshm/base/options.h"
#include "utils/commands.h"
#include "utils/target.h"

static void usage(FILE *out)
{
	fputs("usage: kvshm drop --namespace NUMBER [OPTION...]\n"
	      "       kvshm drop --list [OPTION...]\n\n"
	      "Removes all blocks of a namespace.  What somebody has pinned stays readable until released.\n\n"
	      "      --namespace N    number of the namespace, as --list prints it\n"
	      "      --list           print the namespaces, drop nothing\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "  -h, --help           print this\n\n"
	      "Needs the daemon's user, for the number is looked up in its directory.\n\n"
	      "Exit status: 0 dropped (also when there was nothing), 1 no daemon, 2 usage or no such namespace,\n"
	      "3 no permission, 4 other version.\n", out);
}

static int report(const char *what, int err)
{
	fprintf(stderr, "kvshm drop: %s: %s\n", what,
		err == -ENOENT || err == -ECONNREFUSED ? "no daemon here; start kvshmd, or name its socket with --socket" :
		err == -ECONNRESET ? "the daemon is dead" : strerror(-err));
	return err == -EACCES || err == -EPERM ? EXIT_PERMISSION : err == -EPROTONOSUPPORT ? EXIT_ABI : EXIT_DEAD;
}

static int describe(const struct directory *dir, uint32_t number, struct kvshm_ns_desc *ret_d)
{
	const struct kvshm_ns_entry *e = ns_entry(dir, number);
	struct kvshm_ns_desc d = { 0 };

	if (!e) {
		fprintf(stderr, "kvshm drop: there is no namespace %u; `kvshm drop --list` lists them\n", number);
		return EXIT_USAGE;
	}
	memcpy(d.fingerprint, e->fingerprint, sizeof(d.fingerprint));
	memcpy(d.layout, e->layout, sizeof(d.layout));
	d.block_len = e->block_len;
	d.block_tokens = e->block_tokens;
	*ret_d = d;
	return EXIT_FINE;
}

static void list(const struct directory *dir)
{
	const struct kvshm_ns_entry *e;

	printf("%9s %11s %6s %6s  %s\n", "NAMESPACE", "BLOCK-BYTES", "TOKENS", "UID", "LABEL");
	for (uint32_t number = 1; (e = ns_entry(dir, number)); number++) {
		printf("%9u %11u %6u %6u  ", number, e->block_len, e->block_tokens, e->uid);
		/* A label comes from a client. */
		for (unsigned i = 0; i < sizeof(e->label) && e->label[i]; i++)
			putchar(isprint(e->label[i]) ? e->label[i] : '?');
		putchar('\n');
	}
}

/*
 * A handle knows namespaces by what they are called, people by their number in the directory.
 * So the number is looked up there, which takes the daemon's user.
 */
static int open_directory(const struct target *t, struct directory *ret_dir)
{
	char dir[KVSHM_STATS_TEXT_LEN];
	int ret = target_memory_dir(t, dir);

	if (ret)
		return ret;
	ret = directory_open(dir, ret_dir);
	return ret < 0 ? report(dir, ret) : EXIT_FINE;
}

static int list_ns(const struct target *t)
{
	struct directory dir;
	int ret = open_directory(t, &dir);

	if (ret)
		return ret;
	list(&dir);
	directory_detach(&dir);
	return EXIT_FINE;
}

static int find_ns(const struct target *t, uint32_t number, struct kvshm_ns_desc *ret_d)
{
	struct directory dir;
	int ret = open_directory(t, &dir);

	if (ret)
		return ret;
	ret = describe(&dir, number, ret_d);
	directory_detach(&dir);
	return ret;
}

static int drop_ns(const struct target *t, uint32_t number)
{
	struct kvshm_options o = { .sz = sizeof(o), .label = "kvshm drop", .socket = t->socket,
				   .instance = t->instance };
	struct kvshm_ns_desc desc;
	struct kvshm *k;
	uint32_t ns;
	int ret = find_ns(t, number, &desc);

	if (ret)
		return ret;
	ret = kvshm_open(&o, &k);
	if (ret < 0)
		return report("attach", ret);
	ret = kvshm_attach_ns(k, &desc, &ns);
	if (!ret)
		ret = kvshm_drop(k, ns, NULL);
	kvshm_close(k);
	if (ret < 0)
		return report("drop", ret);
	printf("%d blocks dropped\n", ret);
	return EXIT_FINE;
}

int cmd_drop(int argc, char **argv)
{
	struct target t = { 0 };
	uint64_t ns = 0;
	bool is_list = false;
	const struct option_row rows[] = {
		TARGET_ROWS(&t), WHOLE_ROW("namespace", 0, &ns, 1, 65535), FLAG_ROW("list", 0, &is_list), { 0 },
	};
	const struct option_table table = { "kvshm drop", usage, rows, 0 };
	int ret = options_parse(&table, argc, argv);

	if (ret != OPTIONS_GO_ON)
		return ret;
	if (!ns != is_list) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return is_list ? list_ns(&t) : drop_ns(&t, (uint32_t)ns);
}
