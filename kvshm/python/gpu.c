/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu.c - the Gpu: where an engine keeps its KV on a device, and the library's side for it
 *
 * The layout is numbers: strides and addresses as tensors have them (kvshm.gpu_layout makes them of tensors).  A client
 * that has found no daemon yet has no handle to open a side on; that is done by the first call that finds one.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/python/ext.h"

static PyTypeObject *gpu_type;

/* ---- the layout ---------------------------------------------------------------------------------------- */

static int number_take(PyObject *item, uint64_t max, uint64_t *ret)
{
	unsigned long long value = PyLong_AsUnsignedLongLong(item);

	if (PyErr_Occurred())
		return -1;
	if (value > max) {
		PyErr_Format(PyExc_ValueError, "Gpu: %llu in a layout: at most %llu", value, (unsigned long long)max);
		return -1;
	}
	*ret = value;
	return 0;
}

/* @item: a tuple of @nr numbers, of which the first @nr_short are 32 bits long. */
static int numbers_take(PyObject *item, const char *what, Py_ssize_t nr, Py_ssize_t nr_short, uint64_t *ret)
{
	Py_ssize_t i;

	if (!PyTuple_Check(item) || PyTuple_Size(item) != nr) {
		PyErr_Format(PyExc_TypeError, "Gpu: a %s is a tuple of %zd numbers", what, nr);
		return -1;
	}
	for (i = 0; i < nr; i++)
		if (number_take(PyTuple_GetItem(item, i), i < nr_short ? UINT32_MAX : UINT64_MAX, &ret[i]) < 0)
			return -1;
	return 0;
}

static int group_take(struct gpu *g, Py_ssize_t i, PyObject *item)
{
	uint64_t n[8];

	if (numbers_take(item, "group", 8, 4, n) < 0)
		return -1;
	g->groups[i] = (struct kvshm_gpu_group){
		.nr_blocks = (uint32_t)n[0], .nr_tokens = (uint32_t)n[1], .nr_heads = (uint32_t)n[2],
		.nr_parts = (uint32_t)n[3], .run_len = n[4], .block_stride = n[5], .head_stride = n[6],
		.token_stride = n[7],
	};
	return 0;
}

static int layer_take(struct gpu *g, Py_ssize_t i, PyObject *item)
{
	uint64_t n[3];

	if (numbers_take(item, "layer", 3, 1, n) < 0)
		return -1;
	g->layers[i] = (struct kvshm_gpu_layer){ .group = (uint32_t)n[0], .dev = { n[1], n[2] } };
	return 0;
}

static int items_take(struct gpu *g, PyObject *obj, const char *what, Py_ssize_t max,
		      int (*take)(struct gpu *, Py_ssize_t, PyObject *), uint32_t *ret_nr)
{
	PyObject *list = PySequence_Tuple(obj);
	Py_ssize_t i, nr = list ? PyTuple_Size(list) : 0;
	int ret = list ? 0 : -1;

	if (list && (nr < 1 || nr > max)) {
		PyErr_Format(PyExc_ValueError, "Gpu: %zd %s: 1 to %zd", nr, what, max);
		ret = -1;
	}
	for (i = 0; !ret && i < nr; i++)
		ret = take(g, i, PyTuple_GetItem(list, i));
	Py_XDECREF(list);
	*ret_nr = (uint32_t)nr;
	return ret;
}

/* ---- the side -------------------------------------------------------------------------------------------- */

int gpu_ready(struct gpu *g)
{
	struct kvshm *k = client_handle(g->client);
	int ret;

	if (g->is_closed || !k)
		return 1;
	if (g->side)
		return 0;
	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_gpu_open(k, &g->opts, &g->side);
	Py_END_ALLOW_THREADS
	return ret;
}

int gpu_shut(struct gpu *g)
{
	struct kvshm_gpu *side;
	int ret = 0;

	g->is_closed = true;
	*g->prev = g->next;
	if (g->next)
		g->next->prev = g->prev;
	client_lock(g->client);
	jobs_forget(g);
	side = g->side;
	g->side = NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_gpu_close(side);
	Py_END_ALLOW_THREADS
	client_unlock(g->client);
	return ret;
}

static int gpu_begin(struct gpu *g)
{
	int ret;

	g->next = g->client->gpus;
	g->prev = &g->client->gpus;
	if (g->next)
		g->next->prev = &g->next;
	g->client->gpus = g;
	client_lock(g->client);
	ret = gpu_ready(g);
	client_unlock(g->client);
	return ret;
}

/* ---- making and closing --------------------------------------------------------------------------------- */

static int libcuda_keep(struct gpu *g, const char *path)
{
	size_t len = path ? strlen(path) + 1 : 0;

	if (!path)
		return 0;
	g->libcuda = PyMem_Malloc(len);
	if (!g->libcuda) {
		PyErr_NoMemory();
		return -1;
	}
	g->opts.libcuda = memcpy(g->libcuda, path, len);
	return 0;
}

static int device_take(struct gpu *g, PyObject *device)
{
	uint64_t ordinal;

	if (device == Py_None) {
		g->opts.flags = KVSHM_GPU_CURRENT;
		return 0;
	}
	if (number_take(device, INT32_MAX, &ordinal) < 0)
		return -1;
	g->opts.device = (int32_t)ordinal;
	return 0;
}

static int options_parse(struct gpu *g, PyObject *args, PyObject *kw)
{
	static char *names[] = { "client", "groups", "layers", "device", "owner", "libcuda", "max_jobs", "max_blocks",
				 "timeout", "landing_len", "bounce_len", NULL };
	PyObject *client, *groups, *layers, *device = Py_None, *owner = Py_None;
	struct kvshm_gpu_options *o = &g->opts;
	unsigned long long landing = 0, bounce = 0;
	const char *libcuda = NULL;
	double timeout = 5.0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "O!OO|OO$zIIdKK:Gpu", names, client_type, &client, &groups, &layers,
					 &device, &owner, &libcuda, &o->max_jobs, &o->max_blocks, &timeout, &landing,
					 &bounce))
		return -1;
	Py_INCREF(client);
	g->client = (void *)client;
	Py_INCREF(owner);
	g->owner = owner;
	o->sz = sizeof(*o);
	o->groups = g->groups;
	o->layers = g->layers;
	o->timeout_ms = timeout_us(timeout) / 1000;
	o->landing_len = landing;
	o->bounce_len = bounce;
	if (device_take(g, device) < 0 || libcuda_keep(g, libcuda) < 0 ||
	    items_take(g, groups, "groups", KVSHM_GPU_GROUPS_MAX, group_take, &o->nr_groups) < 0)
		return -1;
	return items_take(g, layers, "layers", KVSHM_GPU_LAYERS_MAX, layer_take, &o->nr_layers);
}

static PyObject *gpu_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct gpu *g = (void *)PyType_GenericAlloc(type, 0);
	uint32_t len;
	int ret;

	if (!g)
		return NULL;
	if (options_parse(g, args, kw) < 0 || client_check(g->client, "Gpu") < 0) {
		Py_DECREF(g);
		return NULL;
	}
	ret = kvshm_gpu_block_len(&g->opts, 0, &len);	/* a layout that cannot be is told before there is a daemon */
	if (ret == 0)
		ret = gpu_begin(g);
	if (ret >= 0)
		return (PyObject *)g;
	Py_DECREF(g);
	return error_raise_device("Gpu", ret);
}

static PyObject *gpu_close(PyObject *self, PyObject *unused)
{
	struct gpu *g = (void *)self;
	int ret = g->is_closed ? 0 : gpu_shut(g);

	if (ret < 0)
		return error_raise_device("close", ret);
	Py_RETURN_NONE;
}

static void gpu_dealloc(PyObject *self)
{
	struct gpu *g = (void *)self;

	if (g->prev && !g->is_closed && !client_is_forked(g->client))
		gpu_shut(g);
	PyMem_Free(g->libcuda);
	Py_XDECREF(g->owner);
	Py_XDECREF(g->client);
	object_free(self);
}

/* ---- questions ------------------------------------------------------------------------------------------- */

static PyObject *gpu_block_len(PyObject *self, PyObject *group)
{
	struct gpu *g = (void *)self;
	uint64_t index;
	uint32_t len;
	int ret;

	if (number_take(group, UINT32_MAX, &index) < 0)
		return NULL;
	ret = kvshm_gpu_block_len(&g->opts, (unsigned)index, &len);
	return ret < 0 ? error_raise_device("block_len", ret) : PyLong_FromUnsignedLong(len);
}

static PyObject *gpu_poll(PyObject *self, PyObject *unused)
{
	struct gpu *g = (void *)self;
	int ret = 0;

	if (client_check(g->client, "poll") < 0)
		return NULL;
	client_lock(g->client);
	if (g->side) {
		Py_BEGIN_ALLOW_THREADS
		ret = kvshm_gpu_poll(g->side);
		Py_END_ALLOW_THREADS
	}
	client_unlock(g->client);
	return ret < 0 ? error_raise_device("poll", ret) : PyLong_FromLong(ret);
}

#define FACT(name) { #name, offsetof(struct kvshm_gpu_facts, name), sizeof(((struct kvshm_gpu_facts *)0)->name) }

static const struct {
	const char *name;
	size_t offset, len;
} facts[] = {
	FACT(sm), FACT(driver_version), FACT(ways), FACT(nr_extents), FACT(nr_pinned), FACT(nr_refused),
	FACT(is_simulated), FACT(in_bytes), FACT(out_bytes), FACT(bounced_bytes), FACT(in_blocks), FACT(out_blocks),
	FACT(copies), FACT(launches), FACT(failed), FACT(cancelled), FACT(held_jobs),
};

static int fact_set(PyObject *dict, const char *name, PyObject *value)
{
	int ret = value ? PyDict_SetItemString(dict, name, value) : -1;

	Py_XDECREF(value);
	return ret;
}

static int facts_set(PyObject *dict, const struct kvshm_gpu_facts *f)
{
	size_t i;

	for (i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		uint64_t value = 0;	/* of a little-endian machine: the short ones are its first bytes */

		memcpy(&value, (const char *)f + facts[i].offset, facts[i].len);
		if (fact_set(dict, facts[i].name, PyLong_FromUnsignedLongLong(value)) < 0)
			return -1;
	}
	if (fact_set(dict, "name", PyUnicode_FromString(f->name)) < 0 ||
	    fact_set(dict, "pci", PyUnicode_FromString(f->pci)) < 0 ||
	    fact_set(dict, "node", PyLong_FromLong(f->node)) < 0)
		return -1;
	return fact_set(dict, "why", PyUnicode_FromString(f->why));
}

static PyObject *gpu_info(PyObject *self, PyObject *unused)
{
	struct kvshm_gpu_facts f = { .sz = sizeof(f) };
	struct gpu *g = (void *)self;
	bool is_open;
	int ret = 0;
	PyObject *dict;

	if (client_check(g->client, "info") < 0)
		return NULL;
	client_lock(g->client);
	is_open = g->side;
	if (is_open)
		ret = kvshm_gpu_info(g->side, &f);
	client_unlock(g->client);
	if (ret < 0)
		return error_raise_device("info", ret);
	dict = PyDict_New();
	if (!dict || !is_open || facts_set(dict, &f) == 0)
		return dict;
	Py_DECREF(dict);
	return NULL;
}

/* ---- the type ---------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
	{ "load", METHOD(gpu_load), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "save", METHOD(gpu_save), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "block_len", gpu_block_len, METH_O, NULL },
	{ "poll", gpu_poll, METH_NOARGS, NULL },
	{ "info", gpu_info, METH_NOARGS, NULL },
	{ "close", gpu_close, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, gpu_new },
	{ Py_tp_dealloc, gpu_dealloc },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};

int gpu_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Gpu", sizeof(struct gpu), 0, Py_TPFLAGS_DEFAULT, slots };

	gpu_type = type_add(module, &spec);
	return gpu_type ? 0 : -1;
}
