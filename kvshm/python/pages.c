/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.c - the Pages: an engine's paged KV memory, copied from and to blocks of the cache
 *
 * An engine keeps the KV of a block in pieces: one for each layer, or more.  A piece lies at
 * address + page number * stride, for one {address, stride, length} a layer; the block of the cache is
 * the pieces one after the other.
 *
 *   engine   layer 0  [page 0][page 1][page 2] ...     cache   block of page 2: [layer 0][layer 1] ...
 *            layer 1  [page 0][page 1][page 2] ...
 *
 * A step of an engine moves hundreds of pieces; from Python that is one call for all of them, without the
 * GIL: taking it anew for each piece made loads slower than computing.
 */
#include <string.h>

#include "kvshm/python/ext.h"

#define PIECES_MAX 65536

struct piece {
	char *base;
	Py_ssize_t stride, len;		/* bytes */
};

struct pages {
	PyObject_HEAD
	PyObject *owner;		/* keeps the memory alive */
	struct piece *pieces;
	Py_ssize_t nr_pieces, nr_pages, page_len;
};

/* ---- making one ----------------------------------------------------------------------------------- */

static int piece_parse(PyObject *item, struct piece *p)
{
	unsigned long long address;

	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "Pages: pieces: (address, stride, length) is wanted");
		return -1;
	}
	if (!PyArg_ParseTuple(item, "Knn", &address, &p->stride, &p->len))
		return -1;
	p->base = (char *)(uintptr_t)address;
	if (p->base && p->len > 0 && (p->stride >= p->len || p->stride <= -p->len))
		return 0;
	PyErr_Format(PyExc_ValueError, "Pages: a piece of %zd bytes every %zd bytes", p->len, p->stride);
	return -1;
}

static int pieces_parse(struct pages *p, PyObject *list)
{
	Py_ssize_t i;

	p->nr_pieces = PyTuple_Size(list);
	if (p->nr_pieces < 1 || p->nr_pieces > PIECES_MAX) {
		PyErr_Format(PyExc_ValueError, "Pages: %zd pieces: 1 to %d are wanted", p->nr_pieces, PIECES_MAX);
		return -1;
	}
	p->pieces = PyMem_Calloc((size_t)p->nr_pieces, sizeof(*p->pieces));
	if (!p->pieces) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; i < p->nr_pieces; i++) {
		if (piece_parse(PyTuple_GetItem(list, i), &p->pieces[i]) < 0)
			return -1;
		if (__builtin_add_overflow(p->page_len, p->pieces[i].len, &p->page_len) ||
		    p->page_len > (Py_ssize_t)UINT32_MAX) {
			PyErr_SetString(PyExc_ValueError, "Pages: a page of more than 4 GiB");
			return -1;
		}
	}
	return 0;
}

static PyObject *pages_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	static char *names[] = { "pieces", "nr_pages", "owner", NULL };
	struct pages *p = (void *)PyType_GenericAlloc(type, 0);
	PyObject *pieces, *owner = Py_None, *list = NULL;
	int ret = -1;

	if (p && PyArg_ParseTupleAndKeywords(args, kw, "On|O:Pages", names, &pieces, &p->nr_pages, &owner))
		list = PySequence_Tuple(pieces);
	if (list) {
		Py_INCREF(owner);
		p->owner = owner;
		ret = pieces_parse(p, list);
		Py_DECREF(list);
	}
	if (ret == 0)
		return (PyObject *)p;
	Py_XDECREF((PyObject *)p);
	return NULL;
}

static void pages_dealloc(PyObject *self)
{
	struct pages *p = (void *)self;

	PyMem_Free(p->pieces);
	Py_XDECREF(p->owner);
	object_free(self);
}

/* ---- copying --------------------------------------------------------------------------------------- */

struct copy {
	const struct pages *pages;
	struct memory blocks;
	Py_ssize_t *numbers;		/* of pages, one for each block */
};

static void copy_load(const struct copy *c)
{
	const struct pages *p = c->pages;
	Py_ssize_t i, k;

	for (i = 0; i < c->blocks.nr; i++) {
		const char *from = c->blocks.ptr[i];

		for (k = 0; k < p->nr_pieces; from += p->pieces[k++].len)
			memcpy(p->pieces[k].base + c->numbers[i] * p->pieces[k].stride, from,
			       (size_t)p->pieces[k].len);
	}
}

static void copy_save(const struct copy *c)
{
	const struct pages *p = c->pages;
	Py_ssize_t i, k;

	for (i = 0; i < c->blocks.nr; i++) {
		char *to = c->blocks.ptr[i];

		for (k = 0; k < p->nr_pieces; to += p->pieces[k++].len)
			memcpy(to, p->pieces[k].base + c->numbers[i] * p->pieces[k].stride,
			       (size_t)p->pieces[k].len);
	}
}

/* Each is checked before a byte is copied: a page that is none would be somebody else's memory. */
static int numbers_parse(struct copy *c, PyObject *list)
{
	Py_ssize_t i, nr = PyTuple_Size(list);

	if (nr != c->blocks.nr) {
		PyErr_Format(PyExc_ValueError, "Pages: %zd pages for %zd blocks", nr, c->blocks.nr);
		return -1;
	}
	c->numbers = PyMem_Calloc((size_t)nr + 1, sizeof(*c->numbers));
	if (!c->numbers) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; i < nr; i++) {
		c->numbers[i] = PyLong_AsSsize_t(PyTuple_GetItem(list, i));
		if (PyErr_Occurred())
			return -1;
		if (c->numbers[i] < 0 || c->numbers[i] >= c->pages->nr_pages) {
			PyErr_Format(PyExc_IndexError, "Pages: page %zd of %zd", c->numbers[i],
				     c->pages->nr_pages);
			return -1;
		}
		if (c->blocks.len[i] != (size_t)c->pages->page_len) {
			PyErr_Format(PyExc_ValueError, "Pages: a block of %u bytes for a page of %zd",
				     c->blocks.len[i], c->pages->page_len);
			return -1;
		}
	}
	return 0;
}

static PyObject *pages_copy(PyObject *self, PyObject *args, bool is_save)
{
	struct copy c = { .pages = (void *)self };
	PyObject *numbers, *blocks, *list;
	int ret = -1;

	if (!PyArg_ParseTuple(args, "OO", &numbers, &blocks))
		return NULL;
	list = PySequence_Tuple(numbers);
	if (list && memory_open(&c.blocks, blocks, (uint32_t)c.pages->page_len, is_save, KEYS_MAX) == 0) {
		ret = numbers_parse(&c, list);
		if (ret == 0) {
			Py_BEGIN_ALLOW_THREADS
			(is_save ? copy_save : copy_load)(&c);
			Py_END_ALLOW_THREADS
		}
		PyMem_Free(c.numbers);
		memory_close(&c.blocks);
	}
	Py_XDECREF(list);
	if (ret < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *pages_load(PyObject *self, PyObject *args)
{
	return pages_copy(self, args, false);
}

static PyObject *pages_save(PyObject *self, PyObject *args)
{
	return pages_copy(self, args, true);
}

/* ---- the type ---------------------------------------------------------------------------------------- */

static PyObject *get_nr_pages(PyObject *self, void *unused)
{
	return PyLong_FromSsize_t(((struct pages *)self)->nr_pages);
}

static PyObject *get_page_len(PyObject *self, void *unused)
{
	return PyLong_FromSsize_t(((struct pages *)self)->page_len);
}

static PyMethodDef methods[] = {
	{ "load", pages_load, METH_VARARGS, NULL },
	{ "save", pages_save, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef getset[] = {
	{ "nr_pages", get_nr_pages, NULL, NULL, NULL },
	{ "page_len", get_page_len, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, pages_new },
	{ Py_tp_dealloc, pages_dealloc },
	{ Py_tp_methods, methods },
	{ Py_tp_getset, getset },
	{ 0, NULL },
};

int pages_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Pages", sizeof(struct pages), 0, Py_TPFLAGS_DEFAULT, slots };

	return type_add(module, &spec) ? 0 : -1;
}
