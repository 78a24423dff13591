/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c - the Block: a read-only buffer in the arena
 *
 * Views hold the Block and the Block holds the pin.  A Block that nobody ever viewed does not keep the
 * pin from being released; it raises from then on.
 */
#include <errno.h>

#include "kvshm/python/ext.h"

struct block {
	PyObject_HEAD
	struct pin *pin;
	unsigned i;
	bool is_viewed;
};

static PyTypeObject *block_type;

PyObject *block_create(struct pin *p, unsigned i)
{
	struct block *b = (void *)PyType_GenericAlloc(block_type, 0);

	if (!b)
		return NULL;
	Py_INCREF(p);
	b->pin = p;
	b->i = i;
	return (PyObject *)b;
}

static void block_dealloc(PyObject *self)
{
	struct block *b = (void *)self;

	if (b->is_viewed)
		pin_unview(b->pin);
	Py_XDECREF(b->pin);
	object_free(self);
}

static const struct kvshm_block *record(PyObject *self)
{
	struct block *b = (void *)self;

	return &b->pin->blocks[b->i];
}

/* May its bytes be looked at (still)?  Return: 0; -1. */
static int block_check(struct block *b)
{
	if (client_is_forked(b->pin->ns->client)) {
		error_raise("Block", -EOWNERDEAD);
		return -1;
	}
	if (b->pin->is_held && (!b->pin->is_released || b->is_viewed))
		return 0;
	PyErr_SetString(PyExc_ValueError, "Block: the pin is released");
	return -1;
}

static int block_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	struct block *b = (void *)self;
	const struct kvshm_block *r = record(self);

	view->obj = NULL;
	if (block_check(b) < 0)
		return -1;
	/* Refuses a writable view: the bytes are shared. */
	if (PyBuffer_FillInfo(view, self, r->ptr, r->length, 1, flags) < 0)
		return -1;
	b->pin->nr_viewed += !b->is_viewed;
	b->is_viewed = true;
	return 0;
}

static Py_ssize_t block_len(PyObject *self)
{
	return record(self)->length;
}

/* A number is no view: who uses an address keeps the pin himself. */
static PyObject *get_address(PyObject *self, void *unused)
{
	return block_check((struct block *)self) < 0 ? NULL : PyLong_FromVoidPtr(record(self)->ptr);
}

static PyObject *get_tokens(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(record(self)->tokens);
}

static PyObject *get_id(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(record(self)->id);
}

static PyObject *get_generation(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(record(self)->generation);
}

static PyObject *get_offset(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLongLong(record(self)->arena_offset);
}

static PyObject *get_checksum(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(record(self)->checksum);
}

static PyGetSetDef getset[] = {
	{ "address", get_address, NULL, NULL, NULL },
	{ "tokens", get_tokens, NULL, NULL, NULL },
	{ "id", get_id, NULL, NULL, NULL },
	{ "generation", get_generation, NULL, NULL, NULL },
	{ "arena_offset", get_offset, NULL, NULL, NULL },
	{ "checksum", get_checksum, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, type_refuse_new },
	{ Py_tp_dealloc, block_dealloc },
	{ Py_tp_getset, getset },
	{ Py_mp_length, block_len },
	{ Py_bf_getbuffer, block_getbuffer },
	{ 0, NULL },
};

int block_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Block", sizeof(struct block), 0, Py_TPFLAGS_DEFAULT, slots };

	block_type = type_add(module, &spec);
	return block_type ? 0 : -1;
}
