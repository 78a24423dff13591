/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c - many pins of one block each copied out in one go
 *
 * Loose blocks have a pin each.  Copied one by one, each copy waits for the GIL again, which on a busy
 * machine takes longer than the copy.
 */
#include "kvshm/python/ext.h"

struct copy {
	PyObject *pins;			/* a tuple: stays as it is */
	Py_ssize_t nr;
	struct memory dst;
	struct kvshm_block *blocks;	/* [nr], .ptr NULL: not to be copied */
	bool *done;			/* [nr] */
};

static struct pin *pin_at(const struct copy *c, Py_ssize_t i)
{
	return (void *)PyTuple_GetItem(c->pins, i);
}

static int pins_check(const struct copy *c)
{
	Py_ssize_t i;

	for (i = 0; i < c->nr; i++)
		if (Py_TYPE(pin_at(c, i)) != pin_type || pin_at(c, i)->ns->client != pin_at(c, 0)->ns->client) {
			PyErr_SetString(PyExc_TypeError, "copy_pins: pins of one client are wanted");
			return -1;
		}
	for (i = 0; i < c->nr; i++)
		if (pin_resolve_once(pin_at(c, i)) < 0)
			return -1;
	return 0;
}

/* A pin of another number of blocks, or of another length than its destination, is left alone. */
static void blocks_take(struct copy *c)
{
	Py_ssize_t i;

	for (i = 0; i < c->nr; i++) {
		struct pin *p = pin_at(c, i);

		if (p->nr == 1 && p->blocks[0].length == c->dst.len[i])
			c->blocks[i] = p->blocks[0];
	}
}

static void copy_all(struct copy *c, int verify)
{
	struct client *client = pin_at(c, 0)->ns->client;
	Py_ssize_t i;

	for (i = 0; i < c->nr; i++)
		pin_at(c, i)->nr_viewed++;	/* nobody ends them meanwhile */
	client_lock(client);
	Py_BEGIN_ALLOW_THREADS
	for (i = 0; i < c->nr; i++)
		c->done[i] = c->blocks[i].ptr &&
			     kvshm_get(client->k, &c->blocks[i], 1, (void *const *)&c->dst.ptr[i],
				       verify ? KVSHM_GET_VERIFY : 0) == 0;
	Py_END_ALLOW_THREADS
	client_unlock(client);
	for (i = 0; i < c->nr; i++)
		pin_unview(pin_at(c, i));
}

static PyObject *done_list(const struct copy *c)
{
	PyObject *list = PyList_New(c->nr);
	Py_ssize_t i;

	for (i = 0; list && i < c->nr; i++)
		if (PyList_SetItem(list, i, PyBool_FromLong(c->done[i])) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	return list;
}

static PyObject *copy_opened(struct copy *c, int verify)
{
	if (c->dst.nr != c->nr) {
		PyErr_Format(PyExc_ValueError, "copy_pins: %zd pins for %zd destinations", c->nr, c->dst.nr);
		return NULL;
	}
	if (!c->nr)
		return PyList_New(0);
	if (pins_check(c) < 0)		/* after all foreign code has run */
		return NULL;
	c->blocks = PyMem_Calloc((size_t)c->nr, sizeof(*c->blocks));
	c->done = PyMem_Calloc((size_t)c->nr, sizeof(*c->done));
	if (!c->blocks || !c->done)
		return PyErr_NoMemory();
	blocks_take(c);
	copy_all(c, verify);
	return done_list(c);
}

static PyObject *copy_pins(PyObject *module, PyObject *args, PyObject *kw)
{
	static char *names[] = { "pins", "dst", "verify", NULL };
	PyObject *pins, *dst, *list, *ret = NULL;
	struct copy c = { .nr = 0 };
	int verify = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "OO|p:copy_pins", names, &pins, &dst, &verify))
		return NULL;
	c.pins = PySequence_Tuple(pins);
	list = PySequence_List(dst);	/* one destination a pin, never one that is cut up */
	if (c.pins && list && memory_open(&c.dst, list, 1, true, KEYS_MAX) == 0) {
		c.nr = PyTuple_Size(c.pins);
		ret = copy_opened(&c, verify);
		memory_close(&c.dst);
	}
	PyMem_Free(c.blocks);
	PyMem_Free(c.done);
	Py_XDECREF(list);
	Py_XDECREF(c.pins);
	return ret;
}

static PyMethodDef functions[] = {
	{ "copy_pins", METHOD(copy_pins), METH_VARARGS | METH_KEYWORDS, NULL },
	{ NULL, NULL, 0, NULL },
};

int copy_init(PyObject *module)
{
	return PyModule_AddFunctions(module, functions);
}
