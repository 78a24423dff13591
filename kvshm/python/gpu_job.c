/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_job.c - the Job: blocks on their way between the cache and the device
 *
 * What a job stands on is the library's from its beginning, pins as well as granted blocks, and ends when the device
 * touches it no more.  So nothing is lost or let go too early by an object that is dropped or an exception.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/python/ext.h"

#define GROUPS KVSHM_GPU_GROUPS_MAX

struct job {
	PyObject_HEAD
	struct gpu *gpu;
	struct job *next, **prev;	/* in the side's list while .stage is there */
	struct kvshm_stage *stage;	/* NULL: ended with its side, or not begun */
};

static PyTypeObject *job_type;

/* ---- a life ---------------------------------------------------------------------------------------------- */

static struct job *job_create(struct gpu *g)
{
	struct job *j = (void *)PyType_GenericAlloc(job_type, 0);

	if (!j)
		return NULL;
	Py_INCREF(g);
	j->gpu = g;
	return j;
}

/* With the client's lock. */
static void job_begin(struct job *j)
{
	j->next = j->gpu->jobs;
	j->prev = &j->gpu->jobs;
	if (j->next)
		j->next->prev = &j->next;
	j->gpu->jobs = j;
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

/* ---- arguments -------------------------------------------------------------------------------------------- */

struct how {				/* keywords of both directions */
	struct kvshm_stage_desc desc;
	unsigned long long stream;
	int after;
	unsigned long long tag;
};

static void how_fill(struct how *h)
{
	h->desc.sz = sizeof(h->desc);
	h->desc.flags = h->after ? KVSHM_STAGE_AFTER : 0;
	h->desc.engine_stream = (void *)(uintptr_t)h->stream;
}

/* Engine blocks.  Return: an array of *ret_nr, or NULL with an exception. */
static uint32_t *engine_blocks_take(PyObject *obj, unsigned *ret_nr)
{
	PyObject *list = PySequence_Tuple(obj);
	Py_ssize_t i, nr = list ? PyTuple_Size(list) : 0;
	uint32_t *numbers = list ? PyMem_Calloc((size_t)nr + 1, sizeof(*numbers)) : NULL;

	if (list && !numbers)
		PyErr_NoMemory();
	for (i = 0; numbers && i < nr; i++) {
		unsigned long value = PyLong_AsUnsignedLong(PyTuple_GetItem(list, i));

		if (!PyErr_Occurred() && value > UINT32_MAX)
			PyErr_Format(PyExc_OverflowError, "engine block %lu", value);
		if (PyErr_Occurred()) {
			PyMem_Free(numbers);
			numbers = NULL;
			break;
		}
		numbers[i] = (uint32_t)value;
	}
	Py_XDECREF(list);
	*ret_nr = (unsigned)nr;
	return numbers;
}

/* One entry for each group of the layout.  Return: a tuple; NULL. */
static PyObject *entries_take(const struct gpu *g, const char *what, PyObject *obj)
{
	PyObject *list = PySequence_Tuple(obj);

	if (!list || PyTuple_Size(list) == g->opts.nr_groups)
		return list;
	PyErr_Format(PyExc_ValueError, "%s: %zd entries for %u groups", what, PyTuple_Size(list), g->opts.nr_groups);
	Py_DECREF(list);
	return NULL;
}

static int refuse_closed(const char *what)
{
	PyErr_Format(PyExc_ValueError, "%s: the Gpu is closed", what);
	return -1;
}

static int gpu_check(struct gpu *g, const char *what)
{
	if (client_check(g->client, what) < 0)
		return -1;
	return g->is_closed ? refuse_closed(what) : 0;
}

/* As its client.  Return: 0; -1. */
static int of_client(const struct gpu *g, const char *what, const struct namespace *ns)
{
	if (ns->client == g->client)
		return 0;
	PyErr_Format(PyExc_ValueError, "%s: pins, namespaces and the Gpu must be of one client", what);
	return -1;
}

/* ---- loads -------------------------------------------------------------------------------------------------- */

struct load {
	struct kvshm_stage_load part[GROUPS];
	struct kvshm_pin pins[GROUPS];
	struct pin *taken[GROUPS];
	uint32_t *numbers[GROUPS];
};

static int load_part(const struct gpu *g, struct load *l, Py_ssize_t i, PyObject *entry)
{
	PyObject *pin, *numbers;
	struct pin *p;
	unsigned nr;

	if (entry == Py_None)
		return 0;
	if (!PyTuple_Check(entry) || !PyArg_ParseTuple(entry, "O!O", pin_type, &pin, &numbers)) {
		PyErr_SetString(PyExc_TypeError, "load: (Pin, engine blocks) or None for each group");
		return -1;
	}
	p = (void *)pin;
	if (of_client(g, "load", p->ns) < 0 || pin_resolve_once(p) < 0)
		return -1;
	l->numbers[i] = engine_blocks_take(numbers, &nr);
	if (!l->numbers[i])
		return -1;
	if (nr > p->nr) {
		PyErr_Format(PyExc_ValueError, "load: %u engine blocks for the %u of the pin", nr, p->nr);
		return -1;
	}
	l->taken[i] = p;
	l->part[i] = (struct kvshm_stage_load){ .blocks = p->blocks, .engine_blocks = l->numbers[i], .nr = nr };
	return 0;
}

/* After all foreign code has run.  Return: 0 with the pins in .pins; -1 with all of them as they were. */
static int load_take_pins(struct load *l)
{
	unsigned i;

	for (i = 0; i < GROUPS; i++) {
		if (!l->taken[i])
			continue;
		if (pin_take(l->taken[i]) < 0)
			break;
		l->pins[i] = l->taken[i]->pin;
		l->part[i].pins = &l->pins[i];
		l->part[i].nr_pins = 1;
	}
	if (i == GROUPS)
		return 0;
	while (i-- > 0)
		if (l->taken[i])
			pin_give_back(l->taken[i]);
	return -1;
}

static int load_begin(struct job *j, struct load *l, const struct how *how)
{
	struct gpu *g = j->gpu;
	unsigned i;
	int ret;

	client_lock(g->client);
	ret = gpu_ready(g);
	if (ret == 0) {
		Py_BEGIN_ALLOW_THREADS
		ret = kvshm_stage_in(g->side, l->part, &how->desc, &j->stage);
		Py_END_ALLOW_THREADS
	} else if (ret > 0) {
		ret = -ESTALE;
	}
	if (ret == 0)
		job_begin(j);
	for (i = 0; ret == 0 && i < GROUPS; i++)
		if (l->taken[i])
			pin_given(l->taken[i]);
	client_unlock(g->client);
	for (i = 0; ret < 0 && i < GROUPS; i++)
		if (l->taken[i])
			pin_give_back(l->taken[i]);
	client_settle(g->client);
	return ret;
}

static PyObject *load_parsed(struct gpu *g, struct load *l, const struct how *how)
{
	struct job *j = job_create(g);
	int ret;

	if (!j)
		return NULL;
	if (load_take_pins(l) < 0) {
		Py_DECREF(j);
		return NULL;
	}
	ret = load_begin(j, l, how);
	if (ret == 0)
		return (PyObject *)j;
	Py_DECREF(j);
	return error_raise_device("load", ret);
}

PyObject *gpu_load(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "loads", "layers_per_step", "stream", "after", NULL };
	struct gpu *g = (void *)self;
	PyObject *loads, *list, *ret = NULL;
	struct how how = { .after = 0 };
	struct load l = { .numbers = { 0 } };
	Py_ssize_t i;
	int err = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "O|$IKp:load", names, &loads, &how.desc.layers_per_step, &how.stream,
					 &how.after) ||
	    gpu_check(g, "load") < 0)
		return NULL;
	how_fill(&how);
	list = entries_take(g, "load", loads);
	for (i = 0; list && !err && i < PyTuple_Size(list); i++)
		err = load_part(g, &l, i, PyTuple_GetItem(list, i));
	if (list && !err)
		ret = load_parsed(g, &l, &how);
	for (i = 0; i < GROUPS; i++)
		PyMem_Free(l.numbers[i]);
	Py_XDECREF(list);
	return ret;
}

/* ---- saves -------------------------------------------------------------------------------------------------- */

struct save {
	struct kvshm_stage_save part[GROUPS];
	struct namespace *ns[GROUPS];
	struct keys keys[GROUPS];
	bool has_keys[GROUPS];
	struct kvshm_key parent[GROUPS];
	PyObject *grants[GROUPS];	/* a tuple; NULL: through the library's buffer */
	struct kvshm_block *blocks[GROUPS];
	uint32_t *numbers[GROUPS];
};

static int save_keys(struct save *s, Py_ssize_t i, PyObject *keys, PyObject *parent)
{
	bool has_parent;

	if (keys_open(&s->keys[i], keys, COMMIT_MAX) < 0)
		return -1;
	s->has_keys[i] = true;
	if (keys_pack(&s->keys[i], s->keys[i].nr) < 0 || key_parse(parent, &s->parent[i], &has_parent) < 0)
		return -1;
	s->part[i].keys = s->keys[i].flat;
	s->part[i].parent = has_parent ? &s->parent[i] : NULL;
	return 0;
}

static int save_blocks(struct save *s, Py_ssize_t i, PyObject *grants)
{
	if (grants == Py_None)
		return 0;
	s->grants[i] = PySequence_Tuple(grants);
	if (!s->grants[i])
		return -1;
	if ((unsigned)PyTuple_Size(s->grants[i]) != s->part[i].nr) {
		PyErr_Format(PyExc_ValueError, "save: %zd grants for %u engine blocks", PyTuple_Size(s->grants[i]),
			     s->part[i].nr);
		return -1;
	}
	s->blocks[i] = PyMem_Calloc(s->part[i].nr + 1, sizeof(*s->blocks[i]));
	if (s->blocks[i])
		return 0;
	PyErr_NoMemory();
	return -1;
}

static int save_part(const struct gpu *g, struct save *s, Py_ssize_t i, PyObject *entry)
{
	PyObject *ns, *keys, *grants, *numbers, *parent;

	if (entry == Py_None)
		return 0;
	if (!PyTuple_Check(entry) ||
	    !PyArg_ParseTuple(entry, "O!OOOO", namespace_type, &ns, &keys, &grants, &numbers, &parent)) {
		PyErr_SetString(PyExc_TypeError,
				"save: (Namespace, keys, grants or None, engine blocks, parent or None) or None, for each "
				"group");
		return -1;
	}
	s->ns[i] = (void *)ns;
	if (of_client(g, "save", s->ns[i]) < 0)
		return -1;
	s->numbers[i] = engine_blocks_take(numbers, &s->part[i].nr);
	s->part[i].engine_blocks = s->numbers[i];
	if (!s->numbers[i] || save_keys(s, i, keys, parent) < 0)
		return -1;
	if (s->keys[i].nr == s->part[i].nr)
		return save_blocks(s, i, grants);
	PyErr_Format(PyExc_ValueError, "save: %zd keys for %u engine blocks", s->keys[i].nr, s->part[i].nr);
	return -1;
}

/* Of the first @nr groups. */
static void save_give_back(const struct save *s, unsigned nr)
{
	while (nr-- > 0)
		if (s->grants[nr])
			grants_give_back(s->ns[nr], s->grants[nr]);
}

/* After all foreign code has run.  Return: 0; -1 with all of them as they were. */
static int save_take_grants(struct save *s)
{
	unsigned i;

	for (i = 0; i < GROUPS; i++) {
		if (!s->grants[i])
			continue;
		if (grants_take(s->ns[i], s->grants[i], s->blocks[i]) < 0)
			break;
		s->part[i].blocks = s->blocks[i];
	}
	if (i == GROUPS)
		return 0;
	save_give_back(s, i);
	return -1;
}

/* With the lock.  Return: 0; 1 no daemon; -errno. */
static int save_ready(struct gpu *g, struct save *s, const struct how *how)
{
	int ret = gpu_ready(g);
	struct kvshm *k;
	unsigned i;

	for (i = 0; !ret && i < GROUPS; i++) {
		if (!s->ns[i])
			continue;
		ret = namespace_ready(s->ns[i], &k);
		s->part[i].ns = s->ns[i]->number;
		s->part[i].user_data = how->tag;
	}
	return ret;
}

static int save_begin(struct job *j, struct save *s, const struct how *how)
{
	struct gpu *g = j->gpu;
	int ret;

	client_lock(g->client);
	ret = save_ready(g, s, how);
	if (ret == 0) {
		Py_BEGIN_ALLOW_THREADS
		ret = kvshm_stage_out(g->side, s->part, &how->desc, &j->stage);
		Py_END_ALLOW_THREADS
	} else if (ret > 0) {
		ret = -ECONNRESET;
	}
	if (ret == 0)
		job_begin(j);
	client_unlock(g->client);
	if (ret < 0)
		save_give_back(s, GROUPS);
	client_settle(g->client);
	return ret;
}

static PyObject *save_parsed(struct gpu *g, struct save *s, const struct how *how)
{
	struct job *j = job_create(g);
	int ret;

	if (!j)
		return NULL;
	if (save_take_grants(s) < 0) {
		Py_DECREF(j);
		return NULL;
	}
	ret = save_begin(j, s, how);
	if (ret == 0)
		return (PyObject *)j;
	Py_DECREF(j);
	return error_raise_device("save", ret);
}

static void save_close(struct save *s)
{
	unsigned i;

	for (i = 0; i < GROUPS; i++) {
		if (s->has_keys[i])
			keys_close(&s->keys[i]);
		PyMem_Free(s->numbers[i]);
		PyMem_Free(s->blocks[i]);
		Py_XDECREF(s->grants[i]);
	}
}

PyObject *gpu_save(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "saves", "tag", "layers_per_step", "stream", "after", NULL };
	struct gpu *g = (void *)self;
	PyObject *saves, *list, *ret = NULL;
	struct how how = { .after = 0 };
	struct save s = { .numbers = { 0 } };
	Py_ssize_t i;
	int err = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "O|$KIKp:save", names, &saves, &how.tag, &how.desc.layers_per_step,
					 &how.stream, &how.after) ||
	    gpu_check(g, "save") < 0)
		return NULL;
	how_fill(&how);
	list = entries_take(g, "save", saves);
	for (i = 0; list && !err && i < PyTuple_Size(list); i++)
		err = save_part(g, &s, i, PyTuple_GetItem(list, i));
	if (list && !err)
		ret = save_parsed(g, &s, &how);
	save_close(&s);
	Py_XDECREF(list);
	return ret;
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
	refuse_closed(what);
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
		refuse_closed("info");
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
