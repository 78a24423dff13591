/* SPDX-License-Identifier: Apache-2.0 */
/* put.c - blocks out of the caller's memory into the cache, without the GIL */
#include <errno.h>

#include "kvshm/python/ext.h"

struct put {
	struct keys keys;
	struct memory src;
	struct kvshm_key parent;
	bool has_parent;
	int loose;
	unsigned long long tag;
	double timeout;
};

PyObject *put_result(const char *what, int ret)
{
	if (ret == -ENOBUFS || ret == -ETIMEDOUT || ret == -ECONNRESET)
		Py_RETURN_FALSE;
	if (ret < 0)
		return error_raise(what, ret);
	Py_RETURN_TRUE;
}

static int put_locked(struct namespace *ns, const struct put *p)
{
	struct kvshm *k;
	int ret = namespace_ready(ns, &k);

	if (ret)
		return ret < 0 ? ret : -ECONNRESET;
	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_put(k, ns->number, p->has_parent ? &p->parent : NULL, p->keys.flat,
			(const void *const *)p->src.ptr, p->src.len, (unsigned)p->src.nr,
			p->loose ? KVSHM_COMMIT_LOOSE : 0, p->tag, timeout_us(p->timeout));
	Py_END_ALLOW_THREADS
	return ret;
}

static PyObject *put_opened(struct namespace *ns, struct put *p)
{
	int ret;

	if (p->src.nr != p->keys.nr) {
		PyErr_Format(PyExc_ValueError, "put: %zd keys for %zd blocks", p->keys.nr, p->src.nr);
		return NULL;
	}
	if (!p->keys.nr)
		Py_RETURN_TRUE;
	if (keys_pack(&p->keys, p->keys.nr) < 0 || client_check(ns->client, "put") < 0)
		return NULL;
	client_lock(ns->client);
	ret = put_locked(ns, p);
	client_unlock(ns->client);
	return put_result("put", ret);
}

PyObject *namespace_put(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "keys", "src", "parent", "loose", "tag", "timeout", NULL };
	struct namespace *ns = (void *)self;
	PyObject *keys, *src, *parent = NULL, *ret = NULL;
	struct put p = { .tag = 0 };

	if (!PyArg_ParseTupleAndKeywords(args, kw, "OO|OpKd:put", names, &keys, &src, &parent, &p.loose,
					 &p.tag, &p.timeout) ||
	    key_parse(parent, &p.parent, &p.has_parent) < 0 || keys_open(&p.keys, keys, COMMIT_MAX) < 0)
		return NULL;
	if (memory_open(&p.src, src, ns->desc.block_len, false, COMMIT_MAX) == 0) {
		ret = put_opened(ns, &p);
		memory_close(&p.src);
	}
	keys_close(&p.keys);
	return ret;
}
