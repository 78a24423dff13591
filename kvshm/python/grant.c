/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grant.c - the Grant: an empty block of the arena, a writable buffer until it is committed
 *
 * A committed block may be read by anybody, so commit() refuses while a buffer of it is open.
 */
#include <errno.h>

#include "kvshm/python/ext.h"

struct grant {
	PyObject_HEAD
	struct namespace *ns;
	struct kvshm_block block;
	unsigned nr_views;
	bool is_ours;			/* neither committed nor given back */
};

static PyTypeObject *grant_type;

static struct grant *grant_create(struct namespace *ns)
{
	struct grant *g = (void *)PyType_GenericAlloc(grant_type, 0);

	if (!g)
		return NULL;
	Py_INCREF(ns);
	g->ns = ns;
	return g;
}

static void grant_dealloc(PyObject *self)
{
	struct grant *g = (void *)self;
	struct client *c = g->ns ? g->ns->client : NULL;

	if (g->is_ours && !client_is_forked(c)) {
		client_lock(c);
		kvshm_return(c->k, &g->block, 1);
		client_unlock(c);
		c->nr_granted--;
		client_settle(c);
	}
	Py_XDECREF(g->ns);
	object_free(self);
}

static int grant_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	struct grant *g = (void *)self;

	view->obj = NULL;
	if (client_is_forked(g->ns->client)) {
		error_raise("Grant", -EOWNERDEAD);
		return -1;
	}
	if (!g->is_ours) {
		PyErr_SetString(PyExc_ValueError, "Grant: the block is committed");
		return -1;
	}
	if (PyBuffer_FillInfo(view, self, g->block.ptr, g->block.length, 0, flags) < 0)
		return -1;
	g->nr_views++;
	return 0;
}

static void grant_releasebuffer(PyObject *self, Py_buffer *view)
{
	((struct grant *)self)->nr_views--;
}

static Py_ssize_t grant_len(PyObject *self)
{
	return ((struct grant *)self)->block.length;
}

static PyType_Slot slots[] = {
	{ Py_tp_new, type_refuse_new },
	{ Py_tp_dealloc, grant_dealloc },
	{ Py_mp_length, grant_len },
	{ Py_bf_getbuffer, grant_getbuffer },
	{ Py_bf_releasebuffer, grant_releasebuffer },
	{ 0, NULL },
};

int grant_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Grant", sizeof(struct grant), 0, Py_TPFLAGS_DEFAULT, slots };

	grant_type = type_add(module, &spec);
	return grant_type ? 0 : -1;
}

/* ---- grant ------------------------------------------------------------------------------------------- */

#define GRANT_MAX 256u			/* of one call */

static int grant_locked(struct namespace *ns, unsigned nr, double timeout, struct kvshm_block *blocks)
{
	struct kvshm *k;
	int ret = namespace_ready(ns, &k);

	if (ret)
		return ret < 0 ? ret : 0;
	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_grant(k, ns->number, 0, nr, blocks, timeout_us(timeout));
	Py_END_ALLOW_THREADS
	return ret == -ECONNRESET ? 0 : ret;
}

/* @list: of @nr empty Grants; those that got no block are cut off. */
static PyObject *grant_fill(struct namespace *ns, PyObject *list, unsigned nr, double timeout)
{
	struct kvshm_block blocks[GRANT_MAX];
	int got, i;

	client_lock(ns->client);
	got = grant_locked(ns, nr, timeout, blocks);
	for (i = 0; i < got; i++) {
		struct grant *g = (void *)PyList_GetItem(list, i);

		g->block = blocks[i];
		g->is_ours = true;
		ns->client->nr_granted++;
	}
	client_unlock(ns->client);
	if (got >= 0 && PyList_SetSlice(list, got, nr, NULL) == 0)
		return list;
	Py_DECREF(list);
	return got < 0 ? error_raise("grant", got) : NULL;
}

PyObject *namespace_grant(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "nr", "timeout", NULL };
	struct namespace *ns = (void *)self;
	double timeout = 0;
	PyObject *list;
	unsigned nr, i;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "I|d:grant", names, &nr, &timeout) ||
	    client_check(ns->client, "grant") < 0)
		return NULL;
	nr = nr < GRANT_MAX ? nr : GRANT_MAX;
	list = PyList_New(nr);
	for (i = 0; list && i < nr; i++) {
		struct grant *g = grant_create(ns);

		if (!g || PyList_SetItem(list, i, (PyObject *)g) < 0) {
			Py_DECREF(list);
			list = NULL;
		}
	}
	return list ? grant_fill(ns, list, nr, timeout) : NULL;
}

/* ---- commit ------------------------------------------------------------------------------------------ */

static int grant_check(const struct namespace *ns, PyObject *obj)
{
	struct grant *g = (void *)obj;

	if (Py_TYPE(obj) != grant_type || g->ns != ns) {
		PyErr_SetString(PyExc_TypeError, "commit: grants of this namespace are wanted");
		return -1;
	}
	if (!g->is_ours) {
		PyErr_SetString(PyExc_ValueError, "commit: a grant was committed already");
		return -1;
	}
	if (g->nr_views) {
		PyErr_SetString(PyExc_BufferError, "commit: a grant is still viewed: end its memoryviews and "
				"arrays first, or others would read what is written later");
		return -1;
	}
	return 0;
}

int grants_take(struct namespace *ns, PyObject *grants, struct kvshm_block *blocks)
{
	Py_ssize_t i, nr = PyTuple_Size(grants);

	for (i = 0; i < nr; i++) {
		struct grant *g = (void *)PyTuple_GetItem(grants, i);

		if (grant_check(ns, (PyObject *)g) < 0)
			break;
		blocks[i] = g->block;
		g->is_ours = false;
	}
	if (i == nr) {
		ns->client->nr_granted -= (unsigned)nr;
		return 0;
	}
	while (i-- > 0)
		((struct grant *)PyTuple_GetItem(grants, i))->is_ours = true;
	return -1;
}

void grants_give_back(struct namespace *ns, PyObject *grants)
{
	Py_ssize_t i, nr = PyTuple_Size(grants);

	for (i = 0; i < nr; i++)
		((struct grant *)PyTuple_GetItem(grants, i))->is_ours = true;
	ns->client->nr_granted += (unsigned)nr;
}

struct commit_args {
	struct keys keys;
	struct kvshm_key parent;
	bool has_parent;
	int loose;
	unsigned long long tag;
};

static PyObject *commit_blocks(struct namespace *ns, const struct commit_args *a, PyObject *grants)
{
	struct client *c = ns->client;
	unsigned nr = (unsigned)a->keys.nr;
	struct kvshm_block *blocks = PyMem_Calloc(nr + 1, sizeof(*blocks));
	int ret;

	if (!blocks)
		return PyErr_NoMemory();
	if (grants_take(ns, grants, blocks) < 0) {
		PyMem_Free(blocks);
		return NULL;
	}
	client_lock(c);
	ret = kvshm_commit(c->k, ns->number, a->has_parent ? &a->parent : NULL, a->keys.flat, blocks, nr,
			   a->loose ? KVSHM_COMMIT_LOOSE : 0, a->tag);
	client_unlock(c);
	PyMem_Free(blocks);
	return put_result("commit", ret);
}

static PyObject *commit_opened(struct namespace *ns, struct commit_args *a, PyObject *grants)
{
	if (PyTuple_Size(grants) != a->keys.nr) {
		PyErr_Format(PyExc_ValueError, "commit: %zd keys for %zd grants", a->keys.nr,
			     PyTuple_Size(grants));
		return NULL;
	}
	if (!a->keys.nr)
		Py_RETURN_TRUE;
	if (keys_pack(&a->keys, a->keys.nr) < 0 || client_check(ns->client, "commit") < 0)
		return NULL;
	return commit_blocks(ns, a, grants);
}

PyObject *namespace_commit(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "keys", "grants", "parent", "loose", "tag", NULL };
	struct namespace *ns = (void *)self;
	PyObject *keys, *obj, *parent = NULL, *grants, *ret;
	struct commit_args a = { .tag = 0 };

	if (!PyArg_ParseTupleAndKeywords(args, kw, "OO|OpK:commit", names, &keys, &obj, &parent, &a.loose,
					 &a.tag) ||
	    key_parse(parent, &a.parent, &a.has_parent) < 0)
		return NULL;
	grants = PySequence_Tuple(obj);
	if (!grants)
		return NULL;
	ret = keys_open(&a.keys, keys, COMMIT_MAX) < 0 ? NULL : commit_opened(ns, &a, grants);
	keys_close(&a.keys);
	Py_DECREF(grants);
	return ret;
}
