/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_record.c - what is asked of a daemon, in our own form (<kvshm/trace.h>)
 *
 * The daemon's hashes are hashed once more, under a key that is drawn for this file and forgotten.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <kvshm/trace.h>

#include "kvshm/base/options.h"
#include "kvshm/base/siphash.h"
#include "policy/hints.h"
#include "utils/commands.h"
#include "utils/listen.h"
#include "utils/packed.h"
#include "utils/trace_commands.h"

#define NS_ANY 0xffffu
#define ROUND_NS 10000000000ull		/* time counts from a round moment before the first request */

struct record {
	struct listen l;
	const char *path;
	uint64_t ns;			/* only of this namespace; NS_ANY: the first one seen */
	double seconds;
	/* as it goes */
	FILE *out;
	struct siphash_key key;
	uint64_t begin_ns, requests, passed_over;
	bool has_header;
};

static void usage(FILE *out)
{
	fputs("usage: kvshm trace record [OPTION...]\n\n"
	      "Writes what is asked of a running daemon from now on as a trace that kvshm replay reads: which blocks,\n"
	      "by hashes under a key of this file, when, and the hints that came along.  Asks nothing of the daemon.\n\n"
	      "  -o, --output FILE      default stdout; FILE.zst is packed by zstd\n"
	      "      --seconds N        how long; default until Ctrl-C or the daemon's end\n"
	      "      --held             begin with what the daemon's ring of events still holds\n"
	      "      --namespace N      only of this one (kvshm drop --list); default the first one that is used\n"
	      "  -i, --instance NAME    which daemon; default main\n"
	      "      --socket PATH      the same, by its socket\n"
	      "  -q, --quiet            say nothing but what goes wrong\n"
	      "  -h, --help             print this\n\n"
	      "Exit status: 0 done, 1 no daemon, or the file could not be written, 2 usage, 3 no permission, 4 the\n"
	      "daemon is of another version.\n", out);
}

static void write_header(struct record *r, const struct heard_request *q)
{
	fprintf(r->out, "{\"" KVSHM_TRACE_MARK "\":%d,\"block_tokens\":%u,\"is_synthetic\":false,"
		"\"note\":\"kvshm trace record\"}\n", KVSHM_TRACE_VERSION, q->block_tokens);
	r->begin_ns = q->time_ns / ROUND_NS * ROUND_NS;
	r->ns = q->ns;
	r->has_header = true;
}

/* The least number that has the same octave. */
static uint64_t of_octave(unsigned o)
{
	return o < 2 ? 0 : 1ull << (o - 2);
}

static void write_hints(FILE *out, uint32_t word)
{
	static const unsigned turns[] = { 0, 1, 2, 3, 5, 10 };
	const struct hints h = hints_unpack(word);

	if (h.type)
		fprintf(out, ",\"type\":\"t%u\"", h.type);
	if (h.stop)
		fprintf(out, ",\"stop\":\"s%u\"", h.stop);
	if (h.turn && h.turn < sizeof(turns) / sizeof(*turns))
		fprintf(out, ",\"turn\":%u", turns[h.turn]);
	if (h.output)
		fprintf(out, ",\"output_length\":%" PRIu64, of_octave(h.output));
}

static int write_request(void *arg, const struct heard_request *q)
{
	struct record *r = arg;
	uint64_t at;

	if (!r->has_header && (r->ns == NS_ANY || r->ns == q->ns))
		write_header(r, q);
	if (q->ns != r->ns) {
		r->passed_over++;
		return 0;
	}
	r->requests++;
	at = q->time_ns - r->begin_ns;
	fprintf(r->out, "{\"chat_id\":%" PRIu64 ",\"parent_chat_id\":%" PRId64 ",\"timestamp\":%" PRIu64 ".%09" PRIu64
		",\"input_length\":%" PRIu64, q->number, q->goes_on_from, at / 1000000000, at % 1000000000, q->tokens);
	write_hints(r->out, q->hint);
	fputs(",\"hash_ids\":[", r->out);
	for (uint32_t i = 0; i < q->nr; i++)
		fprintf(r->out, "%s%" PRIu64, i ? "," : "", siphash_words(&r->key, &q->hash[i], 1) >> 1);
	fputs("]}\n", r->out);
	return ferror(r->out) ? -EIO : 0;
}

static void say_done(const struct record *r)
{
	fprintf(stderr, "kvshm trace record: %" PRIu64 " requests, %" PRIu64 " events", r->requests, r->l.events);
	if (r->passed_over)
		fprintf(stderr, ", %" PRIu64 " requests of other namespaces passed over", r->passed_over);
	fputc('\n', stderr);
}

static int run(struct record *r)
{
	int ret;

	if (getrandom(&r->key, sizeof(r->key), 0) != (ssize_t)sizeof(r->key))
		return EXIT_DEAD;
	r->out = packed_create(r->path);
	if (!r->out) {
		fprintf(stderr, "kvshm trace record: %s: %s\n", r->path, strerror(errno));
		return errno == EACCES ? EXIT_PERMISSION : EXIT_DEAD;
	}
	r->l.seconds = r->seconds;
	ret = listen_run(&r->l, write_request, r);
	if (fclose(r->out) != 0 && ret == EXIT_FINE) {
		fprintf(stderr, "kvshm trace record: %s: %s\n", r->path, strerror(errno));
		return EXIT_DEAD;
	}
	if (ret == EXIT_FINE && !r->l.is_quiet)
		say_done(r);
	if (ret == EXIT_FINE && !r->requests)
		fputs("kvshm trace record: nothing was asked, the trace is empty\n", stderr);
	return ret;
}

int trace_record(int argc, char **argv)
{
	struct record r = { .l = { .command = "kvshm trace record" }, .path = "-", .ns = NS_ANY };
	const struct option_row rows[] = {
		TEXT_ROW("output", 'o', &r.path),
		SECONDS_ROW("seconds", 0, &r.seconds, 0.1, 1e7, 0),
		WHOLE_ROW("namespace", 0, &r.ns, 1, NS_ANY - 1),
		FLAG_ROW("held", 0, &r.l.with_held),
		FLAG_ROW("quiet", 'q', &r.l.is_quiet),
		TARGET_ROWS(&r.l.target),
		{ 0 },
	};
	const struct option_table t = { "kvshm trace record", usage, rows, 0 };
	int ret = options_parse(&t, argc, argv);

	return ret == OPTIONS_GO_ON ? run(&r) : ret;
}
