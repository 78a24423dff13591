/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_stream.c - the fake driver's streams, and the words that they wait for and write */
#include "tests/fake/fake.h"

#include <stdlib.h>

FAKE_CALL(StreamCreateWithPriority, (CUstream *stream, unsigned flags, int priority), (stream, flags, priority))
{
	struct CUstream_st *s = calloc(1, sizeof(*s));

	(void)flags;
	(void)priority;
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->dev = fake_current();
	fake_stream_add(s);
	fake_count->streams++;
	*stream = s;
	return CUDA_SUCCESS;
}

FAKE_CALL(CtxGetStreamPriorityRange, (int *least, int *greatest), (least, greatest))
{
	*least = 0;
	*greatest = -5;
	return CUDA_SUCCESS;
}

FAKE_CALL(StreamDestroy, (CUstream stream), (stream))
{
	struct CUstream_st *s = stream ? fake_stream(stream, 0) : NULL;

	if (!s)
		return 400;
	s->is_dead = true;
	fake_count->streams--;
	return CUDA_SUCCESS;
}

FAKE_CALL(StreamQuery, (CUstream stream), (stream))
{
	struct CUstream_st *s = fake_stream(stream, fake_current());

	if (!s)
		return 400;
	fake_run();
	return fake_look(s->dev, !s->head);
}

FAKE_CALL(StreamWaitValue64, (CUstream stream, CUdeviceptr addr, uint64_t value, unsigned flags),
	  (stream, addr, value, flags))
{
	struct CUstream_st *s = fake_stream(stream, fake_current());
	struct fake_op *op;

	if (!s || flags != CU_STREAM_WAIT_VALUE_GEQ || addr % 8 ||
	    !(fake_mem_is_device(addr, 8) || fake_mem_is_pinned(addr, 8)))
		return CUDA_ERROR_INVALID_VALUE;
	op = fake_op_new(OP_WAIT_WORD, s);
	op->word = (uint64_t *)(uintptr_t)addr;
	op->value = value;
	fake_submit(op);
	return CUDA_SUCCESS;
}

FAKE_CALL(StreamWriteValue64, (CUstream stream, CUdeviceptr addr, uint64_t value, unsigned flags),
	  (stream, addr, value, flags))
{
	struct CUstream_st *s = fake_stream(stream, fake_current());
	struct fake_op *op;

	(void)flags;
	if (!s || addr % 8 || !(fake_mem_is_device(addr, 8) || fake_mem_is_pinned(addr, 8)))
		return CUDA_ERROR_INVALID_VALUE;
	op = fake_op_new(OP_WRITE_WORD, s);
	op->word = (uint64_t *)(uintptr_t)addr;
	op->value = value;
	fake_submit(op);
	return CUDA_SUCCESS;
}

FAKE_CALL(ThreadExchangeStreamCaptureMode, (int *mode), (mode))
{
	static __thread int now;
	const int was = now;

	now = *mode;
	*mode = was;
	return CUDA_SUCCESS;
}
