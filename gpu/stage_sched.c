/* SPDX-License-Identifier: Apache-2.0 */
/* stage_sched.c - which job's next step goes onto a stream, and how many bytes may be in flight */
#include "gpu/stage_sched.h"

#include <stddef.h>
#include <string.h>

#include "kvshm/base/compiler.h"

void sched_init(struct stage_sched *s, uint64_t put_max, uint64_t put_max_loading)
{
	memset(s, 0, sizeof(*s));
	s->put_max = put_max;
	s->put_max_loading = put_max_loading;
}

void sched_add(struct stage_sched *s, struct sched_job *j)
{
	struct sched_queue *q = &s->queue[j->dir];

	j->next = NULL;
	j->is_issued = false;
	if (q->last)
		q->last->next = j;
	else
		q->first = j;
	q->last = j;
}

void sched_remove(struct stage_sched *s, struct sched_job *j)
{
	struct sched_queue *q = &s->queue[j->dir];
	struct sched_job *before = NULL, *i;

	for (i = q->first; i && i != j; i = i->next)
		before = i;
	if (!i)
		return;
	if (before)
		before->next = j->next;
	else
		q->first = j->next;
	if (q->last == j)
		q->last = before;
	j->next = NULL;
}

struct sched_job *sched_next(const struct stage_sched *s, enum stage_dir dir)
{
	struct sched_job *j = s->queue[dir].first;

	while (j && j->is_issued)
		j = j->next;
	return j;
}

bool sched_may(const struct stage_sched *s, enum stage_dir dir, uint64_t bytes)
{
	uint64_t flying = s->queue[dir].flying;
	uint64_t max = s->queue[STAGE_H2D].first ? s->put_max_loading : s->put_max;

	if (dir == STAGE_H2D || !flying)
		return true;
	return flying <= max && bytes <= max - flying;
}

void sched_issued(struct stage_sched *s, enum stage_dir dir, uint64_t bytes)
{
	s->queue[dir].flying += bytes;
}

void sched_landed(struct stage_sched *s, enum stage_dir dir, uint64_t bytes)
{
	s->queue[dir].flying -= min_of(bytes, s->queue[dir].flying);
}
