/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_job.c - the Job: blocks on their way between the cache and the device
 *
 * What a job stands on is the library's from its beginning, pins as well as granted blocks, and ends when the device
 * touches it no more.  So nothing is lost or let go too early by an object that is dropped or an exception.
 */
#include <errno.h>

#include "kvshm/python/gpu_job.h"

static PyTypeObject *job_type;

/* ---- a life ---------------------------------------------------------------------------------------------- */

struct job *job_create(struct gpu *g)
{
	struct job *j = (void *)PyType_GenericAlloc(job_type, 0);

	if (!j)
		return NULL;
	Py_INCREF(g);
	j->gpu = g;
	return j;
}

void job_begin(struct job *j)
{
	j->next = j->gpu->jobs;
	j->prev = &j->gpu->jobs;
	if (j->next)
		j->next->prev = &j->next;
	j->gpu->jobs = j;
}

PyObject *job_result(struct job *j, const char *what, int ret)
{
	if (ret == 0)
		return (PyObject *)j;
	Py_DECREF(j);
	return error_raise_device(what, ret);
}

/* With the client's lock. */
static void job_forget(struct job *j)
{
	j->stage = NULL;
	*j->prev = j->next;
	if (j->next)
		j->next->prev = j->prev;
}

void jobs_forget(struct gpu *g)
{
	while (g->jobs)
		job_forget(g->jobs);
}

/* Of a load that has not landed: it is cancelled.  A save goes on. */
static void job_dealloc(PyObject *self)
{
	struct job *j = (void *)self;
	struct client *c = j->gpu->client;

	if (j->stage && !client_is_forked(c)) {
		client_lock(c);
		if (j->stage) {
			kvshm_stage_end(j->stage);
			job_forget(j);
		}
		client_unlock(c);
	}
	Py_DECREF(j->gpu);
	object_free(self);
}

/* ---- questions ------------------------------------------------------------------------------------------------ */

struct question {
	uint32_t layer;
	unsigned timeout_us;
	void *stream;
};

static int ask_wait(struct kvshm_stage *s, const struct question *q)
{
	return kvshm_stage_wait(s, q->layer, q->timeout_us);
}

static int ask_block(struct kvshm_stage *s, const struct question *q)
{
	int ret = kvshm_stage_block(s, q->layer, q->stream);

	return ret == -EAGAIN ? 0 : ret ? ret : 1;
}

static int ask_cancel(struct kvshm_stage *s, const struct question *q)
{
	return kvshm_stage_cancel(s);
}

static int ask_over(struct kvshm_stage *s, const struct question *q)
{
	return kvshm_stage_is_over(s);
}

/* True or False, as the library says 1 or 0. */
static PyObject *ask(struct job *j, const char *what, int (*question)(struct kvshm_stage *, const struct question *),
		     const struct question *q)
{
	struct client *c = j->gpu->client;
	bool is_there;
	int ret = 0;

	if (client_check(c, what) < 0)
		return NULL;
	client_lock(c);
	is_there = j->stage;
	if (is_there) {
		Py_BEGIN_ALLOW_THREADS
		ret = question(j->stage, q);
		Py_END_ALLOW_THREADS
	}
	client_unlock(c);
	if (is_there)
		return ret < 0 ? error_raise_device(what, ret) : PyBool_FromLong(ret);
	gpu_refuse_closed(what);
	return NULL;
}

static int layer_parse(PyObject *layer, uint32_t *ret)
{
	unsigned long value = KVSHM_STAGE_ALL;

	if (layer != Py_None)
		value = PyLong_AsUnsignedLong(layer);
	if (PyErr_Occurred())
		return -1;
	if (layer == Py_None || value < KVSHM_GPU_LAYERS_MAX) {
		*ret = (uint32_t)value;
		return 0;
	}
	PyErr_Format(PyExc_ValueError, "layer %lu", value);
	return -1;
}

static PyObject *job_wait(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "layer", "timeout", NULL };
	PyObject *layer = Py_None;
	struct question q = { 0 };
	double timeout = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "|Od:wait", names, &layer, &timeout) ||
	    layer_parse(layer, &q.layer) < 0)
		return NULL;
	q.timeout_us = timeout_us(timeout);
	return ask((struct job *)self, "wait", ask_wait, &q);
}

static PyObject *job_block(PyObject *self, PyObject *args)
{
	unsigned long long stream;
	struct question q = { 0 };
	PyObject *layer;

	if (!PyArg_ParseTuple(args, "OK:block", &layer, &stream) || layer_parse(layer, &q.layer) < 0)
		return NULL;
	if (q.layer == KVSHM_STAGE_ALL)
		q.layer = ((struct job *)self)->gpu->opts.nr_layers - 1;
	q.stream = (void *)(uintptr_t)stream;
	return ask((struct job *)self, "block", ask_block, &q);
}

static PyObject *job_cancel(PyObject *self, PyObject *unused)
{
	return ask((struct job *)self, "cancel", ask_cancel, NULL);
}

static PyObject *job_is_over(PyObject *self, PyObject *unused)
{
	return ask((struct job *)self, "is_over", ask_over, NULL);
}

static PyObject *job_info(PyObject *self, PyObject *unused)
{
	struct kvshm_stage_facts f = { .sz = sizeof(f) };
	struct job *j = (void *)self;
	bool is_there;
	int ret = 0;

	if (client_check(j->gpu->client, "info") < 0)
		return NULL;
	client_lock(j->gpu->client);
	is_there = j->stage;
	if (is_there)
		ret = kvshm_stage_info(j->stage, &f);
	client_unlock(j->gpu->client);
	if (ret < 0)
		return error_raise_device("info", ret);
	if (!is_there) {
		gpu_refuse_closed("info");
		return NULL;
	}
	return Py_BuildValue("{sI sI sI sI sI sK}", "way", f.way, "is_bounced", f.is_bounced, "nr_steps", f.nr_steps,
			     "nr_copies", f.nr_copies, "nr_launches", f.nr_launches, "bytes",
			     (unsigned long long)f.bytes);
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
	{ "wait", METHOD(job_wait), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "block", job_block, METH_VARARGS, NULL },
	{ "cancel", job_cancel, METH_NOARGS, NULL },
	{ "is_over", job_is_over, METH_NOARGS, NULL },
	{ "info", job_info, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, type_refuse_new },
	{ Py_tp_dealloc, job_dealloc },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};

int job_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Job", sizeof(struct job), 0, Py_TPFLAGS_DEFAULT, slots };

	job_type = type_add(module, &spec);
	return job_type ? 0 : -1;
}
