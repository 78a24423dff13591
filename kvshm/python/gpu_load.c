/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_load.c - Gpu.load(): pinned blocks onto the device, the pins handed over with them */
#include <errno.h>

#include "kvshm/python/gpu_job.h"

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
	if (gpu_check_client(g, "load", p->ns) < 0 || pin_resolve_once(p) < 0)
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

	if (j && load_take_pins(l) == 0)
		return job_result(j, "load", load_begin(j, l, how));
	Py_XDECREF(j);
	return NULL;
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
