/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_event.c - the fake driver's events: made, recorded, asked, waited for */
#include "tests/fake/fake.h"

#include <stdlib.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"

static struct CUevent_st *events;	/* dead ones too: see fake.h */

struct CUevent_st *fake_event_new(unsigned flags, struct fake_event_word *word)
{
	struct CUevent_st *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->flags = flags;
	e->dev = fake_current();
	e->word = word ? word : &e->own;
	e->next = events;
	events = e;
	fake_count->events++;
	return e;
}

FAKE_CALL(EventCreate, (CUevent *event, unsigned flags), (event, flags))
{
	struct fake_event_word *word = NULL;
	struct CUevent_st *e;
	unsigned seq = 0;
	int fd;

	if (flags & CU_EVENT_INTERPROCESS) {
		if (!(flags & CU_EVENT_DISABLE_TIMING))
			return CUDA_ERROR_INVALID_VALUE;
		word = fake_file_new(4096, &seq, &fd);
		if (!word)
			return CUDA_ERROR_OUT_OF_MEMORY;
		close(fd);
	}
	e = fake_event_new(flags, word);
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e->seq = seq;
	*event = e;
	return CUDA_SUCCESS;
}

FAKE_CALL(EventDestroy, (CUevent event), (event))
{
	if (!event || event->is_dead)
		return 400;
	if (event->seq)
		fake_file_remove(event->seq);
	event->is_dead = true;
	fake_count->events--;
	return CUDA_SUCCESS;
}

FAKE_CALL(EventRecord, (CUevent event, CUstream stream), (event, stream))
{
	struct CUstream_st *s = fake_stream(stream, fake_current());
	struct fake_op *op;

	/* a stream waits for an event of another context, but does not record it */
	if (!s || !event || event->is_dead || event->dev != s->dev)
		return 400;
	op = fake_op_new(OP_RECORD, s);
	op->event = event;
	op->value = ++event->word->recorded;
	op->refs++;
	if (event->last) {
		event->last->refs--;
		fake_op_put(event->last);
	}
	event->last = op;
	fake_submit(op);
	return CUDA_SUCCESS;
}

FAKE_CALL(EventQuery, (CUevent event), (event))
{
	if (!event || event->is_dead)
		return 400;
	fake_run();
	return fake_look(event->dev, READ_ONCE(event->word->done) >= READ_ONCE(event->word->recorded));
}

FAKE_CALL(EventElapsedTime, (float *ms, CUevent start, CUevent end), (ms, start, end))
{
	if (!start || !end || start->is_dead || end->is_dead || start->flags & CU_EVENT_DISABLE_TIMING ||
	    end->flags & CU_EVENT_DISABLE_TIMING)
		return 400;
	if (start->word->done < start->word->recorded || end->word->done < end->word->recorded)
		return CUDA_ERROR_NOT_READY;
	*ms = (float)((double)(end->end_ns - start->end_ns) / 1e6);
	return CUDA_SUCCESS;
}

FAKE_CALL(StreamWaitEvent, (CUstream stream, CUevent event, unsigned flags), (stream, event, flags))
{
	struct CUstream_st *s = fake_stream(stream, fake_current());
	struct fake_op *op;

	(void)flags;
	if (!s || !event || event->is_dead)
		return 400;
	/* what was never recorded is no wait: the trap is the driver's */
	if (READ_ONCE(event->word->recorded) == 0)
		return CUDA_SUCCESS;
	op = fake_op_new(event->last ? OP_WAIT_EVENT : OP_WAIT_WORD, s);
	if (event->last) {
		op->dep = event->last;
		op->dep->refs++;
	} else {
		op->word = &event->word->done;
		op->value = READ_ONCE(event->word->recorded);
	}
	fake_submit(op);
	return CUDA_SUCCESS;
}
