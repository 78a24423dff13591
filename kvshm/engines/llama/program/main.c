/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvshm-llama - llama.cpp with the KV of long documents kept in kvshm
 *
 * load, attach -> tokenise, chain the keys -> restore the longest cached prefix straight out of the
 * arena -> prefill the rest, answer -> publish the blocks that were missing.  Blocks are taken out
 * after the answer, so that nobody waits for a save.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kvshm/llama.h>

#include "kvshm/engines/llama/program/completion.h"
#include "kvshm/engines/llama/program/options.h"
#include "kvshm/engines/llama/program/report.h"
#include "kvshm/engines/llama/program/server.h"
#include "kvshm/engines/llama/program/session.h"

#define DOCUMENT_MAX (16u << 20)

/* Return: 1, the exit status of a failed run. */
static int fail(const char *what, int ret)
{
	fprintf(stderr, "kvshm-llama: %s: %s\n", what, strerror(-ret));
	return 1;
}

static int read_document(const char *path, char **ret_text)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t len;
	int ret = 0;

	if (!f)
		return -errno;
	text = malloc(DOCUMENT_MAX + 1);
	if (!text) {
		fclose(f);
		return -ENOMEM;
	}
	len = fread(text, 1, DOCUMENT_MAX + 1, f);
	if (ferror(f))
		ret = errno ? -errno : -EIO;
	else if (len > DOCUMENT_MAX)
		ret = -EFBIG;
	fclose(f);
	if (ret < 0) {
		free(text);
		return ret;
	}
	text[len] = '\0';
	*ret_text = text;
	return 0;
}

/* The question of the command line, or one line of standard input.  Memory of the caller's. */
static char *read_question(const struct options *o)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (strcmp(o->question, "-"))
		return strdup(o->question);
	fputs("kvshm-llama: ready\n", stderr);
	len = getline(&line, &room, stdin);
	if (len > 0 && line[len - 1] == '\n')
		line[--len] = '\0';
	if (len <= 0) {
		free(line);
		return NULL;
	}
	return line;
}

static bool show_progress(void *unused, unsigned done, unsigned total)
{
	fprintf(stderr, "\rprefill %u of %u tokens%s", done, total,
		done == total ? "\r\x1b[K" : "");
	return true;
}

static void fill_report(struct report *r, const struct completion *c)
{
	r->text = c->text ? c->text : "";
	r->token_ids = c->tokens + c->p.nr;
	r->nr_token_ids = c->nr_answer;
	r->prompt_tokens = c->p.nr;
	r->document_tokens = c->p.nr_document;
	r->prefix_tokens = c->p.nr_prefix;
	r->cached_tokens = c->cached_tokens;
	r->acquire_us = (double)c->hit.acquire_ns * 1e-3;
	r->restore_ms = c->restore_ms;
	r->prefill_ms = c->prefill_ms;
	r->ttft_ms = c->ttft_ms;
	r->generate_ms = c->generate_ms;
	r->save_ms = c->save_ms;
	r->saved_blocks = c->saved.nr_published;
	r->duplicate_blocks = c->saved.nr_duplicate;
	r->dropped_blocks = c->saved.nr_dropped;
}

/* From a prompt to an answer, greedily, and the blocks into the cache.  Return: 0 or -errno. */
static int answer(struct session *s, struct prompt *p, const struct options *o, double start_ms,
		  struct completion **ret_c)
{
	struct completion_options co = { .max_tokens = o->nr_predict,
					 .go_on = isatty(STDERR_FILENO) ? show_progress : NULL };
	struct completion *c;
	int ret;

	ret = completion_begin(s, p, &co, start_ms, &c);
	if (ret < 0)
		return ret;
	do
		ret = completion_next(c);
	while (ret > 0);
	if (ret < 0) {
		completion_end(c);
		return ret;
	}
	completion_save(c);
	*ret_c = c;
	return 0;
}

/* One question about one document.  Return: the exit status. */
static int answer_document(const struct options *o, struct session *s, struct report *r)
{
	char *document = NULL, *question = NULL;
	struct completion *c = NULL;
	struct prompt p = { 0 };
	double start_ms;
	int ret, status = 1;

	ret = read_document(o->prompt_file, &document);
	if (ret < 0)
		return fail(o->prompt_file, ret);
	question = read_question(o);
	if (!question) {
		fprintf(stderr, "kvshm-llama: no question on standard input\n");
		goto out;
	}
	start_ms = completion_now_ms();
	ret = prompt_of_document(s, document, question, o->nr_predict, &p);
	if (ret == -E2BIG)
		fprintf(stderr,
			"kvshm-llama: %s and the question do not fit into the model's %u tokens"
			" with %u to come\n",
			o->prompt_file, s->nr_ctx, o->nr_predict);
	if (!ret)
		ret = answer(s, &p, o, start_ms, &c);
	if (ret < 0) {
		if (ret != -E2BIG)
			fail("answer", ret);
		goto out;
	}
	fill_report(r, c);
	ret = o->json ? report_print_json(r) : report_print_text(r);
	status = ret < 0 ? fail("standard output", ret) : 0;
out:
	completion_end(c);
	free(question);
	free(document);
	return status;
}

/*
 * Several engines share the cores of a node.  By default OpenMP's threads spin for milliseconds at
 * each barrier, and one busy neighbour then makes a token ten times slower; some microseconds cost
 * nothing on idle cores.  The library reads that before main(): hence a second start.
 */
static void let_threads_sleep(char **argv)
{
	char exe[PATH_MAX];
	ssize_t len;

	if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
		return;
	len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (len < 0)
		return;
	exe[len] = '\0';
	setenv("GOMP_SPINCOUNT", "1000", 1);
	execv(exe, argv);
}

static const char *why_no_cache(int ret)
{
	switch (ret) {
	case -ENOENT:
	case -ECONNREFUSED:
		return "no daemon here; start kvshmd, or name its socket with --socket";
	case -EPROTONOSUPPORT:
		return "the daemon has another ABI";
	case -EMEDIUMTYPE:
		return "the namespace exists with another block layout";
	default:
		return strerror(-ret);
	}
}

static void tell_cache(const struct session *s, struct report *r)
{
	int ret = kvshm_llama_status(s->cache);

	r->block_tokens = s->block_tokens;
	r->block_bytes = kvshm_llama_block_bytes(s->cache);
	r->cache = !ret ? "attached" : ret == -ECANCELED ? "off" : "none";
	if (ret && ret != -ECANCELED)
		fprintf(stderr, "kvshm-llama: no cache, everything is computed: %s\n",
			why_no_cache(ret));
}

static int open_session(const struct options *o, struct session **ret_s)
{
	struct session_options so = {
		.model_path = o->model,
		.block_tokens = o->block_tokens,
		.threads = o->threads,
		.socket = o->socket,
		.instance = o->instance,
		.no_cache = o->no_cache,
	};
	int ret = session_open(&so, ret_s);

	if (ret == -ENOTSUP)
		fprintf(stderr,
			"kvshm-llama: %s: only models with plain attention can be cut into blocks\n",
			o->model);
	else if (ret == -ENOEXEC)
		fprintf(stderr, "kvshm-llama: %s: not a model that this libllama can load\n",
			o->model);
	else if (ret < 0)
		fail(o->model, ret);
	return ret;
}

int main(int argc, char **argv)
{
	struct session *s = NULL;
	struct report r = { 0 };
	struct options o;
	double start_ms;
	int ret;

	ret = options_parse(argc, argv, &o);
	if (ret >= 0)
		return ret;
	if (!__builtin_cpu_supports("avx2")) {
		fprintf(stderr, "kvshm-llama: the prebuilt libllama needs a CPU with AVX2\n");
		return 1;
	}
	let_threads_sleep(argv);
	if (o.serve)
		server_block_signals();
	start_ms = completion_now_ms();
	if (open_session(&o, &s) < 0)
		return 1;
	tell_cache(s, &r);
	r.load_ms = completion_now_ms() - start_ms;
	ret = o.serve ? server_run(s, &o) : answer_document(&o, s, &r);
	session_close(s);
	return ret;
}
