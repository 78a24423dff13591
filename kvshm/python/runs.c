/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.c - blocks of the cache from and to runs of memory that an engine names by their addresses
 *
 * Where a pool moves its pages, or lays them out in its own way, only the engine can say where they lie
 * now: it gives an address and a length for each run.  The runs, one after the other, are the blocks,
 * one after the other.
 *
 *   runs     [K of page 0][V of page 0][K of page 7][V of page 7]
 *   blocks   [         block         ][         block         ]
 *
 * All of a call is copied without the GIL, each byte once.
 */
#include <string.h>

#include "kvshm/python/ext.h"

#define RUNS_MAX (1 << 20)

struct runs {
	Py_ssize_t nr;
	char **at;			/* [nr] */
	size_t *len;			/* [nr] */
	struct memory blocks;
};

static int run_parse(PyObject *address, PyObject *length, char **ret_at, size_t *ret_len)
{
	unsigned long long at = PyLong_AsUnsignedLongLong(address);
	Py_ssize_t len;

	if (PyErr_Occurred())
		return -1;
	len = PyLong_AsSsize_t(length);
	if (PyErr_Occurred())
		return -1;
	if (!at || len < 1) {
		PyErr_Format(PyExc_ValueError, "runs: %zd bytes at address %llu", len, at);
		return -1;
	}
	*ret_at = (char *)(uintptr_t)at;
	*ret_len = (size_t)len;
	return 0;
}

static int runs_parse(struct runs *r, PyObject *addresses, PyObject *lengths)
{
	Py_ssize_t i;

	r->nr = PyTuple_Size(addresses);
	if (r->nr != PyTuple_Size(lengths) || r->nr > RUNS_MAX) {
		PyErr_Format(PyExc_ValueError, "runs: %zd addresses and %zd lengths, at most %d", r->nr,
			     PyTuple_Size(lengths), RUNS_MAX);
		return -1;
	}
	r->at = PyMem_Calloc((size_t)r->nr + 1, sizeof(*r->at));
	r->len = PyMem_Calloc((size_t)r->nr + 1, sizeof(*r->len));
	if (!r->at || !r->len) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; i < r->nr; i++)
		if (run_parse(PyTuple_GetItem(addresses, i), PyTuple_GetItem(lengths, i), &r->at[i], &r->len[i]) < 0)
			return -1;
	return 0;
}

/* Before a byte moves: each block is a whole number of runs, and none is left. */
static int runs_check(const struct runs *r)
{
	Py_ssize_t i, run = 0;

	for (i = 0; i < r->blocks.nr; i++) {
		size_t left = r->blocks.len[i];

		while (left && run < r->nr && r->len[run] <= left)
			left -= r->len[run++];
		if (left) {
			PyErr_Format(PyExc_ValueError, "runs: block %zd of %u bytes does not end with a run", i,
				     r->blocks.len[i]);
			return -1;
		}
	}
	if (run == r->nr)
		return 0;
	PyErr_Format(PyExc_ValueError, "runs: %zd of %zd fill %zd blocks", run, r->nr, r->blocks.nr);
	return -1;
}

static void runs_copy(const struct runs *r, bool is_save)
{
	Py_ssize_t i, run = 0;

	for (i = 0; i < r->blocks.nr; i++) {
		char *block = r->blocks.ptr[i], *end = block + r->blocks.len[i];

		for (; block < end; block += r->len[run++]) {
			if (is_save)
				memcpy(block, r->at[run], r->len[run]);
			else
				memcpy(r->at[run], block, r->len[run]);
		}
	}
}

static int runs_copy_checked(struct runs *r, PyObject *addresses, PyObject *lengths, bool is_save)
{
	if (runs_parse(r, addresses, lengths) < 0 || runs_check(r) < 0)
		return -1;
	Py_BEGIN_ALLOW_THREADS
	runs_copy(r, is_save);
	Py_END_ALLOW_THREADS
	return 0;
}

static PyObject *runs_call(PyObject *args, bool is_save)
{
	PyObject *addresses, *lengths, *blocks, *at, *len, *list;
	struct runs r = { .nr = 0 };
	int ret = -1;

	if (!PyArg_ParseTuple(args, "OOO", &addresses, &lengths, &blocks))
		return NULL;
	at = PySequence_Tuple(addresses);
	len = at ? PySequence_Tuple(lengths) : NULL;
	list = len ? PySequence_List(blocks) : NULL;	/* one buffer a block, never one that is cut up */
	if (list && memory_open(&r.blocks, list, 1, is_save, KEYS_MAX) == 0) {
		ret = runs_copy_checked(&r, at, len, is_save);
		memory_close(&r.blocks);
	}
	PyMem_Free(r.at);
	PyMem_Free(r.len);
	Py_XDECREF(list);
	Py_XDECREF(len);
	Py_XDECREF(at);
	if (ret < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *load_runs(PyObject *module, PyObject *args)
{
	return runs_call(args, false);
}

static PyObject *save_runs(PyObject *module, PyObject *args)
{
	return runs_call(args, true);
}

static PyMethodDef functions[] = {
	{ "load_runs", load_runs, METH_VARARGS, NULL },
	{ "save_runs", save_runs, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

int runs_init(PyObject *module)
{
	return PyModule_AddFunctions(module, functions);
}
