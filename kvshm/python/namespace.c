/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace.c - the Namespace: look up, pin, import, drop
 *
 * No daemon, a daemon that died before it knew the namespace, all pins taken: misses.  What is wrong in
 * the call itself is raised.
 */
#include <errno.h>

#include "kvshm/python/ext.h"

PyTypeObject *namespace_type;

int namespace_ready(struct namespace *ns, struct kvshm **ret_k)
{
	struct client *c = ns->client;
	uint64_t began;
	int ret;

	*ret_k = client_handle(c);
	if (!*ret_k)
		return 1;
	if (ns->nr_opens == c->nr_opens)
		return 0;
	began = now_ns();
	if (began < c->next_ns)
		return 1;
	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_attach_ns(c->k, &ns->desc, &ns->number);
	Py_END_ALLOW_THREADS
	if (!ret)
		ns->nr_opens = c->nr_opens;
	if (ret != -ECONNRESET && ret != -ETIMEDOUT && ret != -ENOBUFS)
		return ret;
	client_put_off(c, began);
	return 1;
}

PyObject *namespace_create(struct client *c, const struct kvshm_ns_desc *desc)
{
	struct namespace *ns = (void *)PyType_GenericAlloc(namespace_type, 0);
	struct kvshm *k;
	int ret;

	if (!ns)
		return NULL;
	Py_INCREF(c);
	ns->client = c;
	ns->desc = *desc;
	client_lock(c);
	ret = namespace_ready(ns, &k);
	client_unlock(c);
	if (ret >= 0)
		return (PyObject *)ns;
	Py_DECREF(ns);
	return error_raise("attach_ns", ret);
}

static void namespace_dealloc(PyObject *self)
{
	Py_XDECREF(((struct namespace *)self)->client);
	object_free(self);
}

/* ---- acquire ----------------------------------------------------------------------------------------- */

/* A lookup that could not be made is a miss; only what the caller did wrong is an error. */
static bool is_miss(int ret)
{
	return ret >= 0 || ret == -ENOBUFS;
}

/* With the lock.  Return: tokens; 0: a miss; -errno. */
static int acquire_locked(struct namespace *ns, struct keys *keys, struct kvshm_pin *ret_pin)
{
	struct kvshm_chain chain = { .nr_keys = (unsigned)keys->nr, .keys = keys->flat, .key_at = keys_at,
				     .ctx = keys };
	struct kvshm *k;
	int ret = namespace_ready(ns, &k);

	if (ret)
		return ret < 0 ? ret : 0;
	chain.ns = ns->number;
	return kvshm_acquire_group(k, &chain, 1, ret_pin);
}

static PyObject *namespace_acquire(PyObject *self, PyObject *obj)
{
	struct namespace *ns = (void *)self;
	struct pin *p = NULL;
	struct keys keys;
	int ret;

	if (client_check(ns->client, "acquire") < 0 || keys_open(&keys, obj, KEYS_MAX) < 0)
		return NULL;
	p = pin_create(ns, obj);
	if (p) {
		client_lock(ns->client);
		ret = acquire_locked(ns, &keys, &p->pin);
		if (ret > 0)
			pin_hold(p);
		client_unlock(ns->client);
	}
	if (p && (keys_check(&keys) < 0 || (!is_miss(ret) && !error_raise("acquire", ret)))) {
		Py_DECREF(p);
		p = NULL;
	}
	keys_close(&keys);
	return (PyObject *)p;
}

/* One pin, empty where the key is not cached, for each key. */
static PyObject *loose_list(struct namespace *ns, PyObject *keys, const struct keys *k)
{
	PyObject *list = PyList_New(k->nr);
	Py_ssize_t i;

	for (i = 0; list && i < k->nr; i++) {
		PyObject *key = PyBytes_FromStringAndSize((const char *)&k->flat[i], KVSHM_KEY_LEN);
		struct pin *p = key ? pin_create(ns, key) : NULL;

		Py_XDECREF(key);
		if (!p || PyList_SetItem(list, i, (PyObject *)p) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

static int acquire_loose_locked(struct namespace *ns, const struct keys *keys, struct kvshm_pin *pins)
{
	struct kvshm *k;
	int ret = namespace_ready(ns, &k);

	if (ret)
		return ret < 0 ? ret : 0;
	return kvshm_acquire_loose(k, ns->number, keys->flat, (unsigned)keys->nr, pins);
}

/* Fill @list of empty pins.  Return: as kvshm_acquire_loose(); -ENOMEM. */
static int loose_fill(struct namespace *ns, const struct keys *keys, PyObject *list)
{
	struct kvshm_pin *pins = PyMem_Calloc((size_t)keys->nr + 1, sizeof(*pins));
	Py_ssize_t i;
	int ret;

	if (!pins)
		return -ENOMEM;
	client_lock(ns->client);
	ret = acquire_loose_locked(ns, keys, pins);
	for (i = 0; ret > 0 && i < keys->nr; i++) {
		struct pin *p = (void *)PyList_GetItem(list, i);

		p->pin = pins[i];
		if (pins[i].slot)
			pin_hold(p);
	}
	client_unlock(ns->client);
	PyMem_Free(pins);
	return ret;
}

static PyObject *namespace_acquire_loose(PyObject *self, PyObject *obj)
{
	struct namespace *ns = (void *)self;
	PyObject *list = NULL;
	struct keys keys;
	int ret = 0;

	if (client_check(ns->client, "acquire_loose") < 0 || keys_open(&keys, obj, KEYS_MAX) < 0)
		return NULL;
	if (keys_pack(&keys, keys.nr) == 0)
		list = loose_list(ns, obj, &keys);
	if (list)
		ret = loose_fill(ns, &keys, list);
	keys_close(&keys);
	if (list && !is_miss(ret)) {
		Py_DECREF(list);
		return error_raise("acquire_loose", ret);
	}
	return list;
}

/* ---- several namespaces ---------------------------------------------------------------------------------- */

#define GROUP_MAX 64

struct group {
	Py_ssize_t nr, nr_open;
	struct namespace *ns[GROUP_MAX];
	struct keys keys[GROUP_MAX];
	struct kvshm_chain chain[GROUP_MAX];
};

/* One (namespace, keys); the references are those of the tuple, which the caller keeps. */
static int group_add(struct group *g, PyObject *item)
{
	PyObject *ns, *keys;

	if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "O!O", namespace_type, &ns, &keys)) {
		PyErr_SetString(PyExc_TypeError, "acquire_group: a list of (Namespace, keys) is wanted");
		return -1;
	}
	g->ns[g->nr_open] = (void *)ns;
	if (g->ns[g->nr_open]->client != g->ns[0]->client) {
		PyErr_SetString(PyExc_ValueError, "acquire_group: all namespaces must be of one client");
		return -1;
	}
	if (client_check(g->ns[0]->client, "acquire_group") < 0 ||
	    keys_open(&g->keys[g->nr_open], keys, KEYS_MAX) < 0)
		return -1;
	g->nr_open++;
	return 0;
}

static PyObject *group_pins(struct group *g, PyObject *chains)
{
	PyObject *list = PyList_New(g->nr);
	Py_ssize_t i;

	for (i = 0; list && i < g->nr; i++) {
		struct pin *p = pin_create(g->ns[i], PyTuple_GetItem(PyTuple_GetItem(chains, i), 1));

		if (!p || PyList_SetItem(list, i, (PyObject *)p) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

/* With the lock. */
static int group_acquire_locked(struct group *g, struct kvshm_pin *pins)
{
	struct kvshm *k = NULL;
	Py_ssize_t i;
	int ret;

	for (i = 0; i < g->nr; i++) {
		ret = namespace_ready(g->ns[i], &k);
		if (ret)
			return ret < 0 ? ret : 0;
		g->chain[i] = (struct kvshm_chain){ .ns = g->ns[i]->number, .nr_keys = (unsigned)g->keys[i].nr,
						    .keys = g->keys[i].flat, .key_at = keys_at,
						    .ctx = &g->keys[i] };
	}
	return kvshm_acquire_group(k, g->chain, (unsigned)g->nr, pins);
}

static int group_acquire(struct group *g, PyObject *list)
{
	struct client *c = g->ns[0]->client;
	struct kvshm_pin pins[GROUP_MAX];
	Py_ssize_t i;
	int ret;

	client_lock(c);
	ret = group_acquire_locked(g, pins);
	for (i = 0; ret > 0 && i < g->nr; i++) {
		struct pin *p = (void *)PyList_GetItem(list, i);

		p->pin = pins[i];
		pin_hold(p);
	}
	client_unlock(c);
	for (i = 0; i < g->nr; i++)
		if (keys_check(&g->keys[i]) < 0)
			return -1;
	if (!is_miss(ret)) {
		error_raise("acquire_group", ret);
		return -1;
	}
	return 0;
}

/* @chains: a tuple, so that it stays as it is. */
static PyObject *acquire_chains(PyObject *chains)
{
	struct group g = { .nr = PyTuple_Size(chains) };
	PyObject *list = NULL;
	int ret = 0;

	if (g.nr < 1 || g.nr > GROUP_MAX) {
		PyErr_SetString(PyExc_ValueError, "acquire_group: 1 to 64 namespaces");
		return NULL;
	}
	while (!ret && g.nr_open < g.nr)
		ret = group_add(&g, PyTuple_GetItem(chains, g.nr_open));
	if (!ret)
		list = group_pins(&g, chains);
	if (list && group_acquire(&g, list) < 0) {
		Py_DECREF(list);
		list = NULL;
	}
	while (g.nr_open > 0)
		keys_close(&g.keys[--g.nr_open]);
	return list;
}

static PyObject *acquire_group(PyObject *module, PyObject *arg)
{
	PyObject *chains = PySequence_Tuple(arg), *list;

	if (!chains)
		return NULL;
	list = acquire_chains(chains);
	Py_DECREF(chains);
	return list;
}

/* ---- import, drop --------------------------------------------------------------------------------------------- */

static int import_locked(struct namespace *ns, const Py_buffer *data, struct pin *p)
{
	struct kvshm *k;
	int ret = namespace_ready(ns, &k);

	if (ret)
		return ret < 0 ? ret : -ESTALE;
	ret = kvshm_import(k, ns->number, data->buf, (size_t)data->len, &p->pin, p->blocks);
	if (ret > 0)
		pin_hold(p);
	return ret;
}

static PyObject *import_buffer(struct namespace *ns, const Py_buffer *data)
{
	struct pin *p = pin_create(ns, Py_None);
	int ret;

	if (!p)
		return NULL;
	p->blocks = PyMem_Calloc(KVSHM_EXPORT_NR((size_t)data->len) + 1, sizeof(*p->blocks));
	if (!p->blocks) {
		Py_DECREF(p);
		return PyErr_NoMemory();
	}
	client_lock(ns->client);
	ret = import_locked(ns, data, p);
	client_unlock(ns->client);
	if (ret > 0) {
		p->matched = p->nr = (unsigned)ret;
		return (PyObject *)p;
	}
	Py_DECREF(p);
	return error_raise("import_pin", ret);
}

static PyObject *namespace_import(PyObject *self, PyObject *data)
{
	struct namespace *ns = (void *)self;
	PyObject *pin;
	Py_buffer buf;

	if (client_check(ns->client, "import_pin") < 0 || PyObject_GetBuffer(data, &buf, PyBUF_SIMPLE) < 0)
		return NULL;
	pin = import_buffer(ns, &buf);
	PyBuffer_Release(&buf);
	return pin;
}

static PyObject *namespace_drop(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "key", NULL };
	struct namespace *ns = (void *)self;
	PyObject *obj = NULL;
	struct kvshm_key key;
	struct kvshm *k;
	bool has_key;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "|O:drop", names, &obj) ||
	    key_parse(obj, &key, &has_key) < 0 || client_check(ns->client, "drop") < 0)
		return NULL;
	client_lock(ns->client);
	ret = namespace_ready(ns, &k);
	if (ret > 0)
		ret = -ECONNRESET;
	if (!ret) {
		Py_BEGIN_ALLOW_THREADS
		ret = kvshm_drop(k, ns->number, has_key ? &key : NULL);
		Py_END_ALLOW_THREADS
	}
	client_unlock(ns->client);
	return ret < 0 ? error_raise("drop", ret) : PyLong_FromLong(ret);
}

/* ---- the type ------------------------------------------------------------------------------------------------------ */

static PyObject *get_client(PyObject *self, void *unused)
{
	PyObject *c = (PyObject *)((struct namespace *)self)->client;

	Py_INCREF(c);
	return c;
}

static PyObject *get_block_len(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(((struct namespace *)self)->desc.block_len);
}

static PyObject *get_block_tokens(PyObject *self, void *unused)
{
	return PyLong_FromUnsignedLong(((struct namespace *)self)->desc.block_tokens);
}

static PyMethodDef methods[] = {
	{ "acquire", namespace_acquire, METH_O, NULL },
	{ "acquire_loose", namespace_acquire_loose, METH_O, NULL },
	{ "import_pin", namespace_import, METH_O, NULL },
	{ "put", METHOD(namespace_put), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "grant", METHOD(namespace_grant), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "commit", METHOD(namespace_commit), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "hold", METHOD(namespace_hold), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "session_closed", METHOD(namespace_session_closed), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "drop", METHOD(namespace_drop), METH_VARARGS | METH_KEYWORDS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef getset[] = {
	{ "client", get_client, NULL, NULL, NULL },
	{ "block_len", get_block_len, NULL, NULL, NULL },
	{ "block_tokens", get_block_tokens, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, type_refuse_new },
	{ Py_tp_dealloc, namespace_dealloc },
	{ Py_tp_methods, methods },
	{ Py_tp_getset, getset },
	{ 0, NULL },
};

static PyMethodDef functions[] = {
	{ "acquire_group", acquire_group, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

int namespace_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Namespace", sizeof(struct namespace), 0, Py_TPFLAGS_DEFAULT, slots };

	namespace_type = type_add(module, &spec);
	return namespace_type ? PyModule_AddFunctions(module, functions) : -1;
}
