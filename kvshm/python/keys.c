/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.c - keys where Python has them
 *
 * Engines keep a list of 32-byte bytes objects.  A match of 2,048 keys looks at some 40 of them, so they
 * are read where they lie; joining them first would cost several times the match.
 */
#include <string.h>

#include "kvshm/python/ext.h"

static int refuse_keys(void)
{
	PyErr_SetString(PyExc_TypeError, "keys: a list or tuple of 32-byte bytes objects, or a contiguous "
			"buffer of packed keys, is wanted");
	return -1;
}

int keys_open(struct keys *keys, PyObject *obj, Py_ssize_t max)
{
	*keys = (struct keys){ .seq = obj, .is_list = PyList_Check(obj) };
	if (keys->is_list || PyTuple_Check(obj)) {
		keys->nr = keys->is_list ? PyList_Size(obj) : PyTuple_Size(obj);
	} else {
		if (PyObject_GetBuffer(obj, &keys->buf, PyBUF_SIMPLE) < 0)
			return refuse_keys();
		keys->has_buf = true;
		keys->flat = keys->buf.buf;
		keys->nr = keys->buf.len / KVSHM_KEY_LEN;
		if (keys->buf.len % KVSHM_KEY_LEN) {
			keys_close(keys);
			return refuse_keys();
		}
	}
	if (keys->nr <= max)
		return 0;
	keys_close(keys);
	PyErr_Format(PyExc_ValueError, "%zd keys: %zd at most", keys->nr, max);
	return -1;
}

const struct kvshm_key *keys_at(void *ctx, unsigned i)
{
	static const struct kvshm_key none;
	struct keys *keys = ctx;
	PyObject *item;

	if (keys->flat)
		return &keys->flat[i];
	item = keys->is_list ? PyList_GetItem(keys->seq, i) : PyTuple_GetItem(keys->seq, i);
	if (item && PyBytes_Check(item) && PyBytes_Size(item) == KVSHM_KEY_LEN)
		return (const struct kvshm_key *)(const void *)PyBytes_AsString(item);
	keys->is_bad = true;
	return &none;
}

int keys_check(const struct keys *keys)
{
	return keys->is_bad ? refuse_keys() : 0;
}

int keys_pack(struct keys *keys, Py_ssize_t nr)
{
	Py_ssize_t i;

	if (keys->flat)
		return 0;
	keys->copy = PyMem_Malloc((size_t)(nr ? nr : 1) * sizeof(*keys->copy));
	if (!keys->copy) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; i < nr; i++)
		keys->copy[i] = *keys_at(keys, (unsigned)i);
	keys->flat = keys->copy;
	return keys_check(keys);
}

void keys_close(struct keys *keys)
{
	PyMem_Free(keys->copy);
	keys->copy = NULL;
	if (keys->has_buf)
		PyBuffer_Release(&keys->buf);
	keys->has_buf = false;
}

int key_parse(PyObject *obj, struct kvshm_key *ret, bool *ret_has)
{
	struct keys keys;
	Py_ssize_t nr;

	*ret_has = obj && obj != Py_None;
	if (!*ret_has)
		return 0;
	if (PyList_Check(obj) || PyTuple_Check(obj))
		return refuse_keys();
	if (keys_open(&keys, obj, 1) < 0)
		return -1;
	nr = keys.nr;
	if (nr == 1)
		memcpy(ret, keys.flat, sizeof(*ret));
	keys_close(&keys);
	return nr == 1 ? 0 : refuse_keys();
}
