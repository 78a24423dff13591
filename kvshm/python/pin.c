/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.c - the Pin: a prefix that stays where it is while it is used
 *
 * release() ends it unless somebody may still look at its bytes; then the end of the last view does.
 * A Block that was ever viewed counts as viewed for as long as it lives: torch keeps the object and gives
 * the buffer back at once.
 */
#include <errno.h>

#include "kvshm/python/ext.h"

PyTypeObject *pin_type;

struct pin *pin_create(struct namespace *ns, PyObject *keys)
{
	struct pin *p = (void *)PyType_GenericAlloc(pin_type, 0);

	if (!p)
		return NULL;
	Py_INCREF(ns);
	Py_INCREF(keys);
	p->ns = ns;
	p->keys = keys;
	return p;
}

void pin_hold(struct pin *p)
{
	struct client *c = p->ns->client;

	p->is_held = true;
	p->matched = p->pin.nr;
	p->next = c->pins;
	p->prev = &c->pins;
	if (p->next)
		p->next->prev = &p->next;
	c->pins = p;
}

static void pin_unlist(struct pin *p)
{
	*p->prev = p->next;
	if (p->next)
		p->next->prev = p->prev;
}

static void pin_end(struct pin *p)
{
	struct client *c = p->ns->client;

	if (!p->is_held || client_is_forked(c))
		return;
	p->is_held = false;
	pin_unlist(p);
	client_lock(c);
	kvshm_release(c->k, &p->pin);
	client_unlock(c);
	client_settle(c);
}

void pin_let_go(struct pin *p)
{
	p->is_released = true;
	if (!p->nr_viewed)
		pin_end(p);
}

void pin_unview(struct pin *p)
{
	if (!--p->nr_viewed && p->is_released)
		pin_end(p);
}

int pin_take(struct pin *p)
{
	if (!p->is_held || p->is_released) {
		PyErr_SetString(PyExc_ValueError, "load: the pin is released");
		return -1;
	}
	if (p->nr_viewed) {
		PyErr_SetString(PyExc_BufferError, "load: the pin's blocks are viewed: it cannot be handed over");
		return -1;
	}
	p->is_held = false;
	return 0;
}

void pin_give_back(struct pin *p)
{
	p->is_held = true;
	if (p->is_released)		/* meanwhile */
		pin_end(p);
}

void pin_given(struct pin *p)
{
	p->is_released = true;
	pin_unlist(p);
}

static void pin_dealloc(PyObject *self)
{
	struct pin *p = (void *)self;

	if (p->ns)
		pin_end(p);
	PyMem_Free(p->blocks);
	Py_XDECREF(p->keys);
	Py_XDECREF(p->ns);
	object_free(self);
}

/* ---- resolve ----------------------------------------------------------------------------------------- */

static int pin_check(struct pin *p, const char *what)
{
	if (client_is_forked(p->ns->client)) {
		error_raise(what, -EOWNERDEAD);
		return -1;
	}
	if (!p->is_released)
		return 0;
	PyErr_Format(PyExc_ValueError, "%s: the pin is released", what);
	return -1;
}

/* The keys as they were given, of which the first are those of the pin. */
static int resolve_keys(struct pin *p, const struct keys *keys)
{
	struct client *c = p->ns->client;
	int n;

	p->blocks = PyMem_Calloc(p->matched, sizeof(*p->blocks));
	if (!p->blocks) {
		PyErr_NoMemory();
		return -1;
	}
	client_lock(c);
	n = kvshm_resolve(c->k, &p->pin, keys->flat, p->blocks);
	client_unlock(c);
	if (n < 0) {
		PyMem_Free(p->blocks);
		p->blocks = NULL;
		error_raise("resolve", n);
		return -1;
	}
	p->nr = (unsigned)n;
	return 0;
}

int pin_resolve_once(struct pin *p)
{
	struct keys keys;
	int ret;

	if (pin_check(p, "resolve") < 0)
		return -1;
	if (p->blocks || !p->is_held)
		return 0;
	if (keys_open(&keys, p->keys, KEYS_MAX) < 0)
		return -1;
	if (keys.nr < (Py_ssize_t)p->matched) {
		PyErr_SetString(PyExc_ValueError, "resolve: the keys were changed since acquire()");
		ret = -1;
	} else {
		ret = keys_pack(&keys, p->matched) < 0 ? -1 : resolve_keys(p, &keys);
	}
	keys_close(&keys);
	return ret;
}

static PyObject *pin_resolve(PyObject *self, PyObject *unused)
{
	struct pin *p = (void *)self;

	return pin_resolve_once(p) < 0 ? NULL : PyLong_FromUnsignedLong(p->nr);
}

static Py_ssize_t pin_len(PyObject *self)
{
	struct pin *p = (void *)self;

	return pin_resolve_once(p) < 0 ? -1 : (Py_ssize_t)p->nr;
}

static PyObject *pin_item(PyObject *self, Py_ssize_t i)
{
	struct pin *p = (void *)self;

	if (pin_resolve_once(p) < 0)
		return NULL;
	if (i >= 0 && i < (Py_ssize_t)p->nr)
		return block_create(p, (unsigned)i);
	PyErr_SetString(PyExc_IndexError, "no such block in the pin");
	return NULL;
}

static int pin_bool(PyObject *self)
{
	struct pin *p = (void *)self;

	return p->matched > 0 && !p->is_released;
}

/* ---- release ----------------------------------------------------------------------------------------- */

static PyObject *pin_release(PyObject *self, PyObject *unused)
{
	pin_let_go((struct pin *)self);
	Py_RETURN_NONE;
}

static PyObject *pin_enter(PyObject *self, PyObject *unused)
{
	Py_INCREF(self);
	return self;
}

static PyObject *pin_exit(PyObject *self, PyObject *args)
{
	pin_let_go((struct pin *)self);
	Py_RETURN_NONE;
}

/* ---- copy, export -------------------------------------------------------------------------------------- */

/* Blocks from @first on that fit @m, each into its place.  Return: how many; -1. */
static Py_ssize_t fits(const struct pin *p, unsigned first, const struct memory *m)
{
	Py_ssize_t i, nr = (Py_ssize_t)(p->nr - first);

	for (i = 0; i < nr && i < m->nr; i++)
		if (m->len[i] < p->blocks[first + (unsigned)i].length) {
			PyErr_Format(PyExc_ValueError, "copy_to: block %zd has %u bytes, its destination %u", i,
				     p->blocks[first + (unsigned)i].length, m->len[i]);
			return -1;
		}
	return i;
}

static PyObject *copy_out(struct pin *p, unsigned first, const struct memory *m, int verify)
{
	struct client *c = p->ns->client;
	Py_ssize_t nr = fits(p, first, m);
	int ret;

	if (nr < 0)
		return NULL;
	p->nr_viewed++;			/* nobody ends it meanwhile */
	client_lock(c);
	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_get(c->k, p->blocks + first, (unsigned)nr, (void *const *)m->ptr,
			verify ? KVSHM_GET_VERIFY : 0);
	Py_END_ALLOW_THREADS
	client_unlock(c);
	pin_unview(p);
	return ret < 0 ? error_raise("copy_to", ret) : PyLong_FromSsize_t(nr);
}

static PyObject *pin_copy_to(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "dst", "first", "verify", NULL };
	struct pin *p = (void *)self;
	unsigned first = 0;
	int verify = 0;
	PyObject *dst, *ret;
	struct memory m;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "O|Ip:copy_to", names, &dst, &first, &verify))
		return NULL;
	if (pin_resolve_once(p) < 0 ||
	    memory_open(&m, dst, p->ns->desc.block_len, true, KEYS_MAX) < 0)
		return NULL;
	/* The destination's exporter may have run code that released the pin. */
	ret = pin_check(p, "copy_to") < 0 ? NULL : copy_out(p, first < p->nr ? first : p->nr, &m, verify);
	memory_close(&m);
	return ret;
}

static PyObject *pin_export(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "first", NULL };
	struct pin *p = (void *)self;
	struct client *c = p->ns->client;
	unsigned first = 0;
	PyObject *data;
	size_t len;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "|I:export", names, &first) || pin_resolve_once(p) < 0)
		return NULL;
	if (first >= p->nr) {
		PyErr_Format(PyExc_ValueError, "export: the pin has %u blocks, none from %u on", p->nr, first);
		return NULL;
	}
	len = KVSHM_EXPORT_LEN(p->nr - first);
	data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)len);
	if (!data)
		return NULL;
	client_lock(c);
	ret = kvshm_export(c->k, &p->pin, p->blocks + first, p->nr - first, PyBytes_AsString(data), len);
	client_unlock(c);
	if (ret >= 0)
		return data;
	Py_DECREF(data);
	return error_raise("export", ret);
}

/* ---- the type ------------------------------------------------------------------------------------------ */

static PyObject *get_matched(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(((struct pin *)self)->matched);
}

static PyObject *get_tokens(PyObject *self, void *unused)
{
	struct pin *p = (void *)self;

	return PyLong_FromUnsignedLongLong((unsigned long long)p->matched * p->ns->desc.block_tokens);
}

static PyObject *get_released(PyObject *self, void *unused)
{
	return PyBool_FromLong(((struct pin *)self)->is_released);
}

static PyObject *get_namespace(PyObject *self, void *unused)
{
	PyObject *ns = (PyObject *)((struct pin *)self)->ns;

	Py_INCREF(ns);
	return ns;
}

static PyMethodDef methods[] = {
	{ "resolve", pin_resolve, METH_NOARGS, NULL },
	{ "release", pin_release, METH_NOARGS, NULL },
	{ "copy_to", METHOD(pin_copy_to), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "export", METHOD(pin_export), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "__enter__", pin_enter, METH_NOARGS, NULL },
	{ "__exit__", pin_exit, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef getset[] = {
	{ "matched", get_matched, NULL, NULL, NULL },
	{ "tokens", get_tokens, NULL, NULL, NULL },
	{ "released", get_released, NULL, NULL, NULL },
	{ "namespace", get_namespace, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, type_refuse_new },
	{ Py_tp_dealloc, pin_dealloc },
	{ Py_tp_methods, methods },
	{ Py_tp_getset, getset },
	{ Py_sq_length, pin_len },
	{ Py_sq_item, pin_item },
	{ Py_nb_bool, pin_bool },
	{ 0, NULL },
};

int pin_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Pin", sizeof(struct pin), 0, Py_TPFLAGS_DEFAULT, slots };

	pin_type = type_add(module, &spec);
	return pin_type ? 0 : -1;
}
