/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exporter.c - kvshm exporter: the statistics page over HTTP
 *
 * A process of its own that reads nothing but the page, so it answers while the daemon hangs or is dead,
 * and cannot do it harm.  One thread: it looks at the page each few seconds for the sparklines, and once
 * a request for everything else.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/commands.h"
#include "utils/http.h"
#include "utils/prom.h"
#include "utils/status_page.h"

#define SAMPLE_S 5u
#define HEAR_MS 250			/* a ring of 65,536 events is not lapped meanwhile */
#define DEFAULT_SOCKET "/run/kvshm-exporter/metrics.sock"

struct exporter {
	struct target target;
	const char *listen, *print;
	const char *name;		/* of the instance */
	struct snapshot now;
	struct history history;
	struct mrc_watch *mrc;
};

static sig_atomic_t is_ending;

static void usage(FILE *out)
{
	fputs("usage: kvshm exporter [OPTION...]\n\n"
	      "Serves the statistics page of a daemon over HTTP, also when it hangs or is dead: /metrics\n"
	      "(Prometheus, OpenMetrics), /healthz, /livez, /readyz, and a status page at /.\n\n"
	      "  -l, --listen WHERE   path of a Unix socket (default: " DEFAULT_SOCKET "),\n"
	      "                       or PORT on 127.0.0.1, ADDRESS:PORT, [ADDRESS]:PORT\n"
	      "      --print PATH     print what a GET of PATH answers, and end\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "  -h, --help           print this\n\n"
	      "Exit status: 0 ended by a signal, or printed; 1 cannot listen; 2 usage.\n", out);
}

/* No daemon is an answer.  Return: the snapshot, NULL. */
static const struct snapshot *look(struct exporter *e)
{
	return snapshot_look(&e->target, &e->now) < 0 ? NULL : &e->now;
}

/* Of what was heard until now. */
static unsigned curves(struct exporter *e, const struct snapshot *s, const struct mrc_watch_curve **ret_c)
{
	mrc_watch_look(e->mrc);
	return mrc_watch_curves(e->mrc, s ? s->metric[METRIC_CAPACITY_BYTES] : 0, ret_c);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static void answer_metrics(struct exporter *e, const char *accept, FILE *out, struct http_reply *r)
{
	enum prom_form form = prom_form_of(accept);
	const struct snapshot *s = look(e);
	struct prom_scrape scrape = { .s = s, .instance = e->name };

	r->type = form == PROM_OPENMETRICS ? PROM_TYPE_OPENMETRICS : PROM_TYPE_TEXT;
	scrape.nr_curves = curves(e, s, &scrape.curve);
	prom_write(&scrape, form, out);
}

static void answer_health(struct exporter *e, const char *accept, FILE *out, struct http_reply *r)
{
	(void)e, (void)accept, (void)r;
	fputs("the exporter runs\n", out);
}

static void answer_live(struct exporter *e, const char *accept, FILE *out, struct http_reply *r)
{
	const struct snapshot *s = look(e);

	(void)accept;
	if (!s || s->state != TARGET_RUNNING)
		r->status = 503;
	fprintf(out, "the daemon is %s\n", s ? target_state_name(s->state) : "not here");
}

static void answer_ready(struct exporter *e, const char *accept, FILE *out, struct http_reply *r)
{
	const struct snapshot *s = look(e);

	(void)accept;
	if (s && prom_is_ready(s)) {
		fputs("ready\n", out);
		return;
	}
	r->status = 503;
	fprintf(out, "not ready: %s\n", !s ? "no daemon" : s->state != TARGET_RUNNING ? target_state_name(s->state) :
		s->metric[METRIC_EXTENTS] ? "all is pinned or full, no put of the last minute was taken" : "no memory yet");
}

static void answer_page(struct exporter *e, const char *accept, FILE *out, struct http_reply *r)
{
	const struct snapshot *s = look(e);
	struct status_page p = { .s = s, .h = &e->history, .instance = s ? s->text[KVSHM_TEXT_INSTANCE] : e->name,
				 .sample_s = SAMPLE_S };

	(void)accept;
	r->type = STATUS_PAGE_TYPE;
	p.nr_curves = curves(e, s, &p.curve);
	status_page(&p, out);
}

static const struct {
	const char *path;
	void (*fn)(struct exporter *e, const char *accept, FILE *out, struct http_reply *r);
} answers[] = {
	{ "/", answer_page }, { "/metrics", answer_metrics }, { "/healthz", answer_health }, { "/livez", answer_live },
	{ "/readyz", answer_ready },
};

static void handle(void *arg, const char *path, const char *accept, struct http_reply *r)
{
	struct exporter *e = arg;
	unsigned i;
	FILE *out;

	*r = (struct http_reply){ .status = 404, .type = "text/plain; charset=utf-8" };
	out = open_memstream(&r->body, &r->len);
	if (!out)
		return;
	for (i = 0; i < ARRAY_SIZE(answers) && strcmp(path, answers[i].path); i++)
		;
	if (i < ARRAY_SIZE(answers)) {
		r->status = 200;
		answers[i].fn(e, accept, out, r);
	} else {
		fputs("not here: /metrics /healthz /livez /readyz and the page /\n", out);
	}
	if (fclose(out)) {
		free(r->body);
		r->body = NULL;
	}
}

/* ---- life --------------------------------------------------------------------------------------------- */

static int print_once(struct exporter *e)
{
	struct http_reply r;

	handle(e, e->print, "", &r);
	if (!r.body) {
		fputs("kvshm exporter: out of memory\n", stderr);
		return EXIT_DEAD;
	}
	fwrite(r.body, 1, r.len, stdout);
	free(r.body);
	return r.status == 404 ? EXIT_USAGE : EXIT_FINE;
}

static void on_end(int sig)
{
	(void)sig;
	is_ending = 1;
}

static int cannot_listen(const struct exporter *e, int err)
{
	if (err == -EINVAL) {
		fprintf(stderr, "kvshm exporter: --listen takes /PATH, PORT, ADDRESS:PORT or [ADDRESS]:PORT, not \"%s\"\n", e->listen);
		return EXIT_USAGE;
	}
	fprintf(stderr, "kvshm exporter: cannot listen on %s: %s\n", e->listen, strerror(-err));
	return err == -EACCES ? EXIT_PERMISSION : EXIT_DEAD;
}

/* The signals are blocked but for http_run()'s wait: none is lost between a look at is_ending and it. */
static void serve(struct exporter *e, struct http_server *s)
{
	uint64_t next_ns = 0;

	while (!is_ending) {
		uint64_t now_ns = clock_ns();

		if (now_ns >= next_ns) {
			history_add(&e->history, look(e));
			next_ns = now_ns + SAMPLE_S * 1000000000ull;
		}
		mrc_watch_look(e->mrc);
		if (http_run(s, min_of((int)((next_ns - now_ns) / 1000000 + 1), HEAR_MS)) == -EIO)
			break;
	}
}

static int run(struct exporter *e)
{
	struct sigaction sa = { .sa_handler = on_end };
	struct http_server *s;
	char name[128];
	sigset_t both;
	int fd = http_listen(e->listen);

	if (fd < 0)
		return cannot_listen(e, fd);
	http_name(fd, name, sizeof(name));
	sigemptyset(&both);
	sigaddset(&both, SIGTERM);
	sigaddset(&both, SIGINT);
	sigprocmask(SIG_BLOCK, &both, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (http_start(fd, handle, e, &s) < 0) {
		fputs("kvshm exporter: the HTTP server does not start\n", stderr);
		close(fd);
		return EXIT_DEAD;
	}
	fprintf(stderr, "kvshm exporter: listening on %s\n", name);
	serve(e, s);
	http_stop(s);
	if (*e->listen == '/')
		unlink(e->listen);
	return EXIT_FINE;
}

int cmd_exporter(int argc, char **argv)
{
	static struct exporter e;
	const struct option_row rows[] = {
		TARGET_ROWS(&e.target), TEXT_ROW("listen", 'l', &e.listen), TEXT_ROW("print", 0, &e.print), { 0 },
	};
	int ret;

	e.listen = DEFAULT_SOCKET;
	ret = options_parse(&(struct option_table){ "kvshm exporter", usage, rows, 0 }, argc, argv);
	if (ret != OPTIONS_GO_ON)
		return ret;
	e.name = e.target.instance ? e.target.instance : "main";
	e.mrc = mrc_watch_create(&e.target);
	if (!e.mrc) {
		fputs("kvshm exporter: out of memory\n", stderr);
		return EXIT_DEAD;
	}
	ret = e.print ? print_once(&e) : run(&e);
	mrc_watch_destroy(e.mrc);
	return ret;
}
