/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stage_fail.c - is memory let go only when the device is done with it?
 *
 * Jobs end well, by a cancel and by each scripted failure; at the moment when the stage says that the job is over (there
 * the client library ends pins and commits or returns granted blocks) all copies that were issued must have landed.  The
 * fake driver counts both.  A real one cannot be asked, so there is no figure then.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench_stage.h"

#define REFUSE_THIRD "fail=cuMemcpyHtoDAsync:3:700;fail=cuMemcpyDtoHAsync:3:700;fail=cuMemcpy2DAsync:3:700"

struct failure {
	const char *name, *script;
	int result;			/* as documented; 1: landed */
	bool is_cancelled, is_bounced;
	bool is_never_over;
};

/* Those after which the device is no use come last. */
static const struct failure failures[] = {
	{ .name = "none", .result = 1 },
	{ .name = "none, bounced", .result = 1, .is_bounced = true },
	{ .name = "cancel", .result = -ECANCELED, .is_cancelled = true },
	{ .name = "cancel, bounced", .result = -ECANCELED, .is_cancelled = true, .is_bounced = true },
	{ .name = "third copy refused with 700", .result = -ENOTRECOVERABLE,
	  .script = REFUSE_THIRD },
	{ .name = "third copy refused with 700, bounced", .result = -ENOTRECOVERABLE, .is_bounced = true,
	  .script = REFUSE_THIRD },
	{ .name = "third event refused", .result = -ENOMEM, .script = "fail=cuEventRecord:3:2" },
	{ .name = "third copy hangs", .result = -ETIMEDOUT, .script = "hang=3", .is_never_over = true },
	{ .name = "third copy does not land, 700", .result = -ENOTRECOVERABLE, .script = "land=3:700", .is_never_over = true },
	{ .name = "device lost", .result = -ENOTRECOVERABLE, .script = "lost=999", .is_never_over = true },
};

struct tally {
	unsigned releases, early, wrong;
};

static bool has_landed(const struct stage_world *w)
{
	struct fake_counters c;

	w->fake->counters(&c);
	return c.landed[GPU_H2D] == c.copies[GPU_H2D] && c.landed[GPU_D2H] == c.copies[GPU_D2H];
}

/* Look after every little while, so that the moment is seen. */
static void watch(struct stage_world *w, struct stage *s, struct stage_job *job, const struct failure *f, struct tally *t)
{
	uint64_t deadline = clock_ns() + (f->is_never_over ? 20000000u : STAGE_WAIT_NS);

	while (!stage_job_is_over(job) && !stage_job_is_lost(job) && clock_ns() < deadline) {
		stage_poll(s);
		w->fake->advance(100);
	}
	t->releases += stage_job_is_over(job);
	t->early += stage_job_is_over(job) && !has_landed(w);
	t->wrong += stage_job_is_over(job) == f->is_never_over;
}

static int result_of(struct stage_job *job)
{
	int state = stage_job_state(job);

	return state ? state : -ETIMEDOUT;
}

static int try_failure(struct stage_world *w, const struct failure *f, enum stage_dir dir, struct tally *t)
{
	struct hostreg *reg = w->host.reg;
	struct stage_job *job;
	struct stage *s;
	int ret = stage_world_stage(w, STAGE_MAY(STAGE_WAY_COPY), 1, &s);

	if (ret < 0)
		return ret;
	/* counts from zero, and nothing armed by the one before */
	stage_world_reset(w);
	if (f->is_bounced)
		w->host.reg = NULL;
	if (f->script && strncmp(f->script, "lost", 4))
		w->fake->script(f->script);
	ret = stage_world_submit(w, s, dir, min_of(w->nr, 8u), 1, &job);
	w->host.reg = reg;
	if (ret < 0)
		return ret;
	if (f->script && !strncmp(f->script, "lost", 4))
		w->fake->script(f->script);
	if (f->is_cancelled)
		stage_job_cancel(job);
	watch(w, s, job, f, t);
	t->wrong += result_of(job) != f->result;
	if (!f->is_never_over) {
		stage_job_put(job);
		return stage_destroy(s, clock_ns() + STAGE_WAIT_NS);
	}
	/* left behind, as a process would be that must end */
	stage_world_reset(w);
	return 0;
}

int stage_report_failures(struct stage_world *w, struct jdoc *j)
{
	struct tally all = { 0 };
	int ret = 0;

	if (!w->fake) {
		jdoc_null(j, "early_pin_release");
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(failures) && !ret; i++) {
		struct jdoc *row = jdoc_append(j, "failures");
		struct tally t = { 0 };

		for (enum stage_dir dir = STAGE_H2D; dir <= STAGE_D2H && !ret; dir++)
			ret = try_failure(w, &failures[i], dir, &t);
		jdoc_text(row, "failure", failures[i].name);
		jdoc_int(row, "early_pin_release", t.early);
		jdoc_int(row, "releases", t.releases);
		jdoc_bool(row, "as_documented", !t.wrong);
		all.early += t.early;
		all.releases += t.releases;
		all.wrong += t.wrong;
	}
	jdoc_int(j, "early_pin_release", all.early);
	jdoc_int(j, "releases", all.releases);
	jdoc_int(j, "undocumented_results", all.wrong);
	return ret;
}
