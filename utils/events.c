/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c - kvshm events: which blocks the node holds, for routers
 *
 * A process of its own that reads the ring of events and the directory (feed.h), so the daemon does not know of it,
 * and nothing that a subscriber does or leaves undone reaches the daemon.  What has changed since the last look goes
 * out as one message with one number, to all: ZeroMQ, a socket of lines, stdout.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/commands.h"
#include "utils/feed.h"
#include "utils/kv_batch.h"
#include "utils/kv_lines.h"
#include "utils/kv_zmq.h"

#define STEP_NS 5000000
#define MESSAGE_KEYS 4096u		/* more go into the next message */
#define KEEP_DEFAULT 10000u		/* as vLLM's publisher */
#define NAMESPACE_DIGITS_MIN 8u
#define GREET_NS 10000000000ull

struct publisher {
	struct target target;
	struct kv_zmq_config zmq_cfg;
	const char *lines_at, *namespace;
	uint64_t keep, rank;
	bool is_whole, is_array, is_once, is_greeting, is_quiet;
	/* as it goes */
	struct feed *feed;
	struct kv_zmq *zmq;
	struct kv_lines *lines;
	bool to_stdout, is_done;
	struct kv_batch batch;
	uint64_t next;			/* number of the next message */
	uint64_t greeted_ns;
	bool has_complained;
	int failed;			/* -errno */
};

static uint32_t is_ended, is_asked;	/* by signals */

static void usage(FILE *out)
{
	fputs("usage: kvshm events [OPTION...]\n\n"
	      "Tells which blocks a daemon holds, from now on and all that it holds already, as BlockStored, BlockRemoved\n"
	      "and AllBlocksCleared in the engines' words: for routers that send a request to where its prefix is cached.\n"
	      "Reads shared memory only, as the daemon's user; goes on over restarts of the daemon.\n\n"
	      "      --publish ENDPOINT   publish over ZeroMQ there, in the form of vLLM's publisher: tcp://127.0.0.1:5557,\n"
	      "                           tcp://*:5557, ipc:///run/kvshm/main/events.sock\n"
	      "      --connect ENDPOINT   publish to a subscriber that listens there\n"
	      "      --replay ENDPOINT    answer who missed messages there\n"
	      "      --keep N             messages kept for that; default 10000\n"
	      "      --topic TEXT         before each message; default none\n"
	      "      --rank N             data_parallel_rank of the messages; default 0\n"
	      "      --whole-hashes       all 32 bytes of a key; default a number of its last 8, as vLLM does\n"
	      "      --arrays             events as arrays, for subscribers of SGLang's or an earlier vLLM's form; default maps\n"
	      "      --greet              tell all anew when a subscriber comes, once in 10 s at most\n"
	      "      --lines WHERE        lines of JSON to all who connect: /PATH of a Unix socket, PORT on 127.0.0.1\n"
	      "      --namespace HEX      only blocks of this one: its fingerprint, or at least 8 leading digits of it\n"
	      "      --once               what it holds now, and end\n"
	      "  -i, --instance NAME      which daemon; default main\n"
	      "      --socket PATH        the daemon of this socket\n"
	      "  -q, --quiet              say nothing but what goes wrong\n"
	      "  -h, --help               print this\n\n"
	      "Without --publish, --connect and --lines: lines of JSON on stdout.  SIGHUP: all anew.\n\n"
	      "Exit status: 0 ended by a signal, or --once is done; 1 cannot listen or write, or --once found no daemon;\n"
	      "2 usage; 3 no permission; 4 the daemon is of another version.\n", out);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static struct kv_form form_of(const struct publisher *p, uint64_t number)
{
	return (struct kv_form){ .ts = (double)clock_real_ns() / 1e9, .number = number, .rank = (unsigned)p->rank,
				 .is_whole = p->is_whole, .is_array = p->is_array };
}

static char *line_of(const struct kv_batch *b, const struct kv_form *f, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (!out)
		return NULL;
	kv_json(b, f, out);
	if (ferror(out) | fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static void send_lines(struct publisher *p, const struct kv_form *f)
{
	size_t len;
	char *text = line_of(&p->batch, f, &len);

	if (!text) {
		p->failed = -ENOMEM;
		return;
	}
	if (p->lines)
		kv_lines_send(p->lines, text, len);
	if (p->to_stdout && (fwrite(text, 1, len, stdout) != len || fflush(stdout)))
		p->failed = errno == EPIPE ? -EPIPE : -EIO;
	free(text);
}

/* What was gathered, under one number. */
static void send_batch(struct publisher *p)
{
	const struct kv_form f = form_of(p, p->next);
	size_t len;
	void *payload;

	if (!p->batch.nr_events)
		return;
	if (p->batch.is_broken)
		p->failed = -ENOMEM;
	if (p->zmq) {
		payload = kv_msgpack(&p->batch, &f, &len);
		if (payload)
			kv_zmq_send(p->zmq, p->next, payload, len);
		else
			p->failed = -ENOMEM;
	}
	if (p->to_stdout || (p->lines && kv_lines_has_listeners(p->lines)))
		send_lines(p, &f);
	p->next++;
	kv_batch_empty(&p->batch);
}

static bool is_wanted(const struct publisher *p, const uint8_t *fingerprint)
{
	const char *want = p->namespace;

	for (unsigned i = 0; want && want[i]; i++) {
		unsigned digit = i & 1 ? fingerprint[i / 2] & 15 : fingerprint[i / 2] >> 4;

		if ("0123456789abcdef"[digit] != want[i])
			return false;
	}
	return true;
}

struct gather {
	const struct publisher *p;
	struct kv_batch *to;
};

static void gather_block(void *arg, enum kvshm_event_type type, const struct mirror_block *b,
			 const struct mirror_block *parent)
{
	const struct gather *g = arg;
	const uint8_t *fingerprint = mirror_fingerprint(feed_mirror(g->p->feed), b->ns);
	struct kv_event e = { .type = type == KVSHM_EVENT_STORED ? KV_STORED : KV_REMOVED, .block_size = b->tokens,
			      .length = b->length, .has_parent = parent };

	if (!is_wanted(g->p, fingerprint))
		return;
	memcpy(e.ns, fingerprint, sizeof(e.ns));
	if (parent)
		e.parent = parent->key;
	kv_add(g->to, &e, &b->key);
}

static void on_change(void *arg, enum kvshm_event_type type, const struct mirror_block *b,
		      const struct mirror_block *parent)
{
	struct publisher *p = arg;

	gather_block(&(struct gather){ p, &p->batch }, type, b, parent);
	if (p->batch.nr_keys >= MESSAGE_KEYS)
		send_batch(p);
}

static void on_begin(void *arg, const char *reason)
{
	struct publisher *p = arg;

	send_batch(p);			/* of the daemon before */
	p->batch.incarnation = feed_incarnation(p->feed);
	kv_cleared(&p->batch, reason);
	if (mirror_each(feed_mirror(p->feed), on_change, p) < 0)
		p->failed = -ENOMEM;
	send_batch(p);
	p->is_done = p->is_once;
	if (!p->is_quiet)
		fprintf(stderr, "kvshm events: %s: %" PRIu64 " blocks, incarnation %" PRIu64 ", message %" PRIu64 "\n", reason,
			mirror_told(feed_mirror(p->feed)), p->batch.incarnation, p->next - 1);
}

/* ---- those who come later ------------------------------------------------------------------------------ */

/* All that was told so far, in one message.  Return: false, nothing was. */
static bool gather_all(struct publisher *p, struct kv_batch *b)
{
	if (!p->next)
		return false;
	b->incarnation = feed_incarnation(p->feed);
	kv_cleared(b, "asked");
	return mirror_each(feed_mirror(p->feed), gather_block, &(struct gather){ p, b }) == 0 && !b->is_broken;
}

static void *all_packed(void *arg, size_t *ret_len)
{
	struct publisher *p = arg;
	const struct kv_form f = form_of(p, p->next - 1);
	struct kv_batch b = { 0 };
	void *payload = gather_all(p, &b) ? kv_msgpack(&b, &f, ret_len) : NULL;

	kv_batch_free(&b);
	return payload;
}

static char *all_as_line(void *arg, size_t *ret_len)
{
	struct publisher *p = arg;
	const struct kv_form f = form_of(p, p->next - 1);
	struct kv_batch b = { 0 };
	char *text = gather_all(p, &b) ? line_of(&b, &f, ret_len) : NULL;

	kv_batch_free(&b);
	return text;
}

static void serve(struct publisher *p)
{
	const uint64_t now_ns = clock_ns();

	if (p->zmq && kv_zmq_serve(p->zmq, all_packed, p) && p->is_greeting && now_ns - p->greeted_ns >= GREET_NS) {
		p->greeted_ns = now_ns;
		feed_begin_again(p->feed, "greeting");
	}
	if (p->lines)
		kv_lines_serve(p->lines, all_as_line, p);
}

/* Once: a ring that is full of it would say it for ever. */
static void complain(struct publisher *p)
{
	if (!feed_malformed(p->feed) || p->has_complained)
		return;
	p->has_complained = true;
	fputs("kvshm events: the ring has events that no daemon writes, they are passed over\n", stderr);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void on_signal(int sig)
{
	WRITE_ONCE(*(sig == SIGHUP ? &is_asked : &is_ended), 1);
}

static void take_signals(void)
{
	const struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Nothing waits to be sent when somebody is served: what he gets is what was told, to the last message. */
static int follow(struct publisher *p)
{
	while (!READ_ONCE(is_ended) && !p->is_done && !p->failed) {
		int nr;

		if (READ_ONCE(is_asked)) {
			WRITE_ONCE(is_asked, 0);
			feed_begin_again(p->feed, "asked");
		}
		nr = feed_poll(p->feed);
		if (nr < 0)
			return nr;
		send_batch(p);
		complain(p);
		serve(p);
		if (p->is_once && !feed_mirror(p->feed))
			return -ENOENT;
		if (nr == 0 && !p->is_done)
			nanosleep(&(struct timespec){ .tv_nsec = STEP_NS }, NULL);
	}
	return p->failed == -EPIPE ? 0 : p->failed;
}

static int cannot_listen(const char *where, int err)
{
	fprintf(stderr, "kvshm events: cannot listen on %s: %s\n", where, err == -EINVAL ? "not a place to listen" : strerror(-err));
	return err == -EINVAL ? EXIT_USAGE : err == -EACCES ? EXIT_PERMISSION : EXIT_DEAD;
}

static int open_outputs(struct publisher *p)
{
	const bool has_zmq = p->zmq_cfg.bind || p->zmq_cfg.connect;
	const char *where = p->lines_at;
	int ret = p->lines_at ? kv_lines_open(p->lines_at, &p->lines) : 0;

	if (ret == 0 && has_zmq)
		ret = kv_zmq_open(&p->zmq_cfg, &p->zmq, &where);
	p->to_stdout = !has_zmq && !p->lines_at;
	return ret < 0 ? cannot_listen(where, ret) : EXIT_FINE;
}

static int say_why(int err)
{
	if (err == -EPROTONOSUPPORT) {
		fputs("kvshm events: the daemon is of another version\n", stderr);
		return EXIT_ABI;
	}
	fprintf(stderr, "kvshm events: %s\n", err == -ENOENT ? "no daemon here, or it is not at work" :
		err == -EACCES ? "the daemon's directory may be read by its own user only" : strerror(-err));
	return err == -EACCES ? EXIT_PERMISSION : EXIT_DEAD;
}

static int run(struct publisher *p)
{
	const struct feed_ops ops = { .begun = on_begin, .changed = on_change };
	int status, ret;

	take_signals();
	status = open_outputs(p);
	ret = status ? 0 : feed_create(&p->target, &ops, p, &p->feed);
	if (!status && ret == 0)
		ret = follow(p);
	feed_destroy(p->feed);
	kv_zmq_close(p->zmq);
	kv_lines_close(p->lines);
	kv_batch_free(&p->batch);
	return status ? status : ret < 0 ? say_why(ret) : EXIT_FINE;
}

static bool is_understood(const struct publisher *p)
{
	const size_t digits = p->namespace ? strspn(p->namespace, "0123456789abcdef") : 0;

	if (p->namespace && (p->namespace[digits] || digits < NAMESPACE_DIGITS_MIN || digits > 2 * KVSHM_KEY_LEN)) {
		fprintf(stderr, "kvshm events: --namespace takes 8 to 64 hexadecimal digits, not \"%s\"\n", p->namespace);
		return false;
	}
	if (p->zmq_cfg.replay && !p->zmq_cfg.bind && !p->zmq_cfg.connect) {
		fputs("kvshm events: --replay goes with --publish or --connect\n", stderr);
		return false;
	}
	return true;
}

int cmd_events(int argc, char **argv)
{
	static struct publisher p = { .zmq_cfg = { .topic = "" }, .keep = KEEP_DEFAULT };
	const struct option_row rows[] = {
		TEXT_ROW("publish", 0, &p.zmq_cfg.bind), TEXT_ROW("connect", 0, &p.zmq_cfg.connect),
		TEXT_ROW("replay", 0, &p.zmq_cfg.replay), WHOLE_ROW("keep", 0, &p.keep, 1, 1000000),
		TEXT_ROW("topic", 0, &p.zmq_cfg.topic), WHOLE_ROW("rank", 0, &p.rank, 0, 65535),
		FLAG_ROW("whole-hashes", 0, &p.is_whole), FLAG_ROW("arrays", 0, &p.is_array),
		FLAG_ROW("greet", 0, &p.is_greeting),
		TEXT_ROW("lines", 0, &p.lines_at), TEXT_ROW("namespace", 0, &p.namespace),
		FLAG_ROW("once", 0, &p.is_once), FLAG_ROW("quiet", 'q', &p.is_quiet), TARGET_ROWS(&p.target), { 0 },
	};
	const struct option_table t = { "kvshm events", usage, rows, 0 };
	int ret = options_parse(&t, argc, argv);

	if (ret != OPTIONS_GO_ON)
		return ret;
	p.zmq_cfg.keep = p.keep;
	return is_understood(&p) ? run(&p) : EXIT_USAGE;
}
