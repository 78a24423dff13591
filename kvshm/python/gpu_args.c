/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_args.c - arguments that Gpu.load() and Gpu.save() have in common */
#include "kvshm/python/gpu_job.h"

void how_fill(struct how *h)
{
	h->desc.sz = sizeof(h->desc);
	h->desc.flags = h->after ? KVSHM_STAGE_AFTER : 0;
	h->desc.engine_stream = (void *)(uintptr_t)h->stream;
}

uint32_t *engine_blocks_take(PyObject *obj, unsigned *ret_nr)
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

PyObject *entries_take(const struct gpu *g, const char *what, PyObject *obj)
{
	PyObject *list = PySequence_Tuple(obj);

	if (!list || PyTuple_Size(list) == g->opts.nr_groups)
		return list;
	PyErr_Format(PyExc_ValueError, "%s: %zd entries for %u groups", what, PyTuple_Size(list), g->opts.nr_groups);
	Py_DECREF(list);
	return NULL;
}

int gpu_refuse_closed(const char *what)
{
	PyErr_Format(PyExc_ValueError, "%s: the Gpu is closed", what);
	return -1;
}

int gpu_check(struct gpu *g, const char *what)
{
	if (client_check(g->client, what) < 0)
		return -1;
	return g->is_closed ? gpu_refuse_closed(what) : 0;
}

int gpu_check_client(const struct gpu *g, const char *what, const struct namespace *ns)
{
	if (ns->client == g->client)
		return 0;
	PyErr_Format(PyExc_ValueError, "%s: pins, namespaces and the Gpu must be of one client", what);
	return -1;
}
