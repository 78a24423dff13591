/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hint.c - what an engine knows of requests: of the one at work, and of those to come
 *
 * All of them are wishes.  One that cannot be sent is worth no exception: False.
 */
#include "kvshm/python/ext.h"

#include <errno.h>
#include <string.h>

PyObject *client_set_hint(PyObject *self, PyObject *hint)
{
	struct client *c = (void *)self;
	unsigned long bits = PyLong_AsUnsignedLong(hint);
	struct kvshm *k;

	if (PyErr_Occurred() || client_check(c, "set_hint") < 0)
		return NULL;
	client_lock(c);
	k = client_handle(c);
	if (k)
		kvshm_set_hint(k, (uint32_t)bits);
	client_unlock(c);
	Py_RETURN_NONE;
}

/* True sent; False nothing of it is cached, no daemon or no room; anything else raises. */
static PyObject *hint_result(const char *what, int ret)
{
	if (ret < 0 && ret != -ENOBUFS && ret != -ECONNRESET)
		return error_raise(what, ret);
	return PyBool_FromLong(ret > 0);
}

static int why_of(const char *name)
{
	return !strcmp(name, "queued") ? KVSHM_HOLD_QUEUED :
	       !strcmp(name, "tool")   ? KVSHM_HOLD_TOOL :
	       !strcmp(name, "retain") ? KVSHM_HOLD_RETAIN : -1;
}

/* Keys that the library reads at once. */
static int keys_flat(struct keys *keys, PyObject *obj)
{
	if (keys_open(keys, obj, KEYS_MAX) < 0)
		return -1;
	if (keys->flat || !keys_pack(keys, keys->nr))
		return 0;
	keys_close(keys);
	return -1;
}

/* The client is locked after it, whatever it returns: 0, or what hint_end() makes an answer of. */
static int hint_begin(struct namespace *ns, struct kvshm **ret_k)
{
	int ret;

	client_lock(ns->client);
	ret = namespace_ready(ns, ret_k);
	return ret > 0 ? -ECONNRESET : ret;
}

static PyObject *hint_end(struct namespace *ns, struct keys *keys, const char *what, int ret)
{
	client_unlock(ns->client);
	keys_close(keys);
	return hint_result(what, ret);
}

PyObject *namespace_hold(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "keys", "why", "ticket", "priority", "ttl", NULL };
	struct namespace *ns = (void *)self;
	struct kvshm_hold_desc desc = { .sz = sizeof(desc) };
	unsigned long long ticket = 0;
	const char *why = "queued";
	unsigned priority = 0;
	struct keys keys;
	struct kvshm *k;
	PyObject *obj;
	double ttl = 0;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "O|sKId:hold", names, &obj, &why, &ticket, &priority, &ttl))
		return NULL;
	if (why_of(why) < 0)
		return PyErr_Format(PyExc_ValueError, "hold: why is \"queued\", \"tool\" or \"retain\", not \"%s\"", why);
	if (client_check(ns->client, "hold") < 0 || keys_flat(&keys, obj) < 0)
		return NULL;
	desc.why = (uint32_t)why_of(why);
	desc.priority = priority;
	desc.ticket = ticket;
	desc.ttl_ns = ttl > 0 ? (uint64_t)((ttl < 86400 ? ttl : 86400) * 1e9) : 0;
	ret = hint_begin(ns, &k);
	if (!ret)
		ret = kvshm_hold(k, ns->number, keys.flat, (unsigned)keys.nr, &desc);
	return hint_end(ns, &keys, "hold", ret);
}

PyObject *namespace_session_closed(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "keys", "own", NULL };
	struct namespace *ns = (void *)self;
	struct keys keys;
	struct kvshm *k;
	unsigned own;
	PyObject *obj;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "OI:session_closed", names, &obj, &own) ||
	    client_check(ns->client, "session_closed") < 0 || keys_flat(&keys, obj) < 0)
		return NULL;
	ret = hint_begin(ns, &k);
	if (!ret)
		ret = kvshm_session_closed(k, ns->number, keys.flat, (unsigned)keys.nr, own);
	return hint_end(ns, &keys, "session_closed", ret);
}

PyObject *client_hold_end(PyObject *self, PyObject *ticket)
{
	struct client *c = (void *)self;
	unsigned long long number = PyLong_AsUnsignedLongLong(ticket);
	struct kvshm *k;
	int ret = -ECONNRESET;

	if (PyErr_Occurred() || client_check(c, "hold_end") < 0)
		return NULL;
	client_lock(c);
	k = client_handle(c);
	if (k)
		ret = kvshm_hold_end(k, number);
	client_unlock(c);
	return hint_result("hold_end", ret);
}
