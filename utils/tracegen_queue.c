/* SPDX-License-Identifier: Apache-2.0 */
/* tracegen_queue.c - requests to come, a binary heap by their time */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "utils/tracegen.h"

static char *item_at(const struct gen_queue *q, size_t i)
{
	return q->item + i * q->size;
}

static double time_of(const char *item)
{
	double at_s;

	memcpy(&at_s, item, sizeof(at_s));
	return at_s;
}

static bool is_before(const struct gen_queue *q, size_t a, size_t b)
{
	return time_of(item_at(q, a)) < time_of(item_at(q, b));
}

/* The place behind the last one is free: push() keeps it so. */
static void swap(struct gen_queue *q, size_t a, size_t b)
{
	char *spare = item_at(q, q->room);

	memcpy(spare, item_at(q, a), q->size);
	memcpy(item_at(q, a), item_at(q, b), q->size);
	memcpy(item_at(q, b), spare, q->size);
}

static int make_room(struct gen_queue *q)
{
	const size_t room = q->room ? 2 * q->room : 256;
	char *item = realloc(q->item, (room + 1) * q->size);

	if (!item)
		return -ENOMEM;
	q->item = item;
	q->room = room;
	return 0;
}

int gen_queue_push(struct gen_queue *q, const void *item)
{
	size_t i = q->nr;

	if (q->nr == q->room && make_room(q) < 0)
		return -ENOMEM;
	memcpy(item_at(q, q->nr++), item, q->size);
	for (; i && is_before(q, i, (i - 1) / 2); i = (i - 1) / 2)
		swap(q, i, (i - 1) / 2);
	return 0;
}

void gen_queue_pop(struct gen_queue *q, void *ret_item)
{
	size_t i = 0, kid;

	memcpy(ret_item, item_at(q, 0), q->size);
	memcpy(item_at(q, 0), item_at(q, --q->nr), q->size);
	while ((kid = 2 * i + 1) < q->nr) {
		if (kid + 1 < q->nr && is_before(q, kid + 1, kid))
			kid++;
		if (!is_before(q, kid, i))
			break;
		swap(q, i, kid);
		i = kid;
	}
}

double gen_queue_next_s(const struct gen_queue *q)
{
	return q->nr ? time_of(q->item) : INFINITY;
}

void gen_queue_fini(struct gen_queue *q)
{
	free(q->item);
	*q = (struct gen_queue){ .size = q->size };
}
