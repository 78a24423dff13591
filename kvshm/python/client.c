/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - the Client: a handle that opens late if there is no daemon yet
 *
 * An engine must serve as if the cache were absent when there is no daemon, and find it when it comes.
 * So a client that is not `required` has no handle at first; calls that need one try to open it, at
 * most once a second and for at most a tenth of the time.
 *
 * close() ends the handle and with it the maps.  Blocks that somebody views hold it back until the last
 * view has ended; no call works in between.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "kvshm/python/ext.h"

#define RETRY_NS 1000000000ull
#define RETRY_SHARE 10			/* of the time may go into attempts */

PyTypeObject *client_type;

static unsigned life = 1;		/* of this process; another in a forked child */

static void forked(void)
{
	life++;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool client_is_forked(const struct client *c)
{
	return c->life != life;
}

int client_check(struct client *c, const char *what)
{
	if (client_is_forked(c)) {
		error_raise(what, -EOWNERDEAD);
		return -1;
	}
	if (!c->is_closed)
		return 0;
	PyErr_Format(PyExc_ValueError, "%s: the client is closed", what);
	return -1;
}

void client_lock(struct client *c)
{
	if (PyThread_acquire_lock(c->lock, NOWAIT_LOCK))
		return;
	Py_BEGIN_ALLOW_THREADS
	PyThread_acquire_lock(c->lock, WAIT_LOCK);
	Py_END_ALLOW_THREADS
}

void client_unlock(struct client *c)
{
	PyThread_release_lock(c->lock);
}

void client_put_off(struct client *c, uint64_t began_ns)
{
	uint64_t now = now_ns(), pause = (now - began_ns) * RETRY_SHARE;

	c->next_ns = now + (pause > RETRY_NS ? pause : RETRY_NS);
}

static int open_handle(struct client *c)
{
	struct kvshm *k = NULL;
	int ret;

	Py_BEGIN_ALLOW_THREADS
	ret = kvshm_open(&c->opts, &k);
	Py_END_ALLOW_THREADS
	if (ret < 0)
		return ret;
	c->k = k;
	c->nr_opens++;
	c->next_ns = 0;
	return 0;
}

struct kvshm *client_handle(struct client *c)
{
	uint64_t now;

	if (c->k || c->is_closed)
		return c->k;
	now = now_ns();
	if (now >= c->next_ns && open_handle(c) < 0)
		client_put_off(c, now);
	return c->k;
}

static void close_handle(struct client *c)
{
	struct kvshm *k = c->k;

	c->k = NULL;
	if (!k)
		return;
	Py_BEGIN_ALLOW_THREADS
	kvshm_close(k);
	Py_END_ALLOW_THREADS
}

void client_settle(struct client *c)
{
	if (!c->is_closed || c->pins || c->nr_granted || client_is_forked(c))
		return;
	client_lock(c);
	close_handle(c);
	client_unlock(c);
}

/* ---- making and closing -------------------------------------------------------------------------- */

static int string_keep(struct client *c, unsigned i, const char *s, const char **ret)
{
	size_t len = s ? strlen(s) + 1 : 0;

	*ret = NULL;
	if (!s)
		return 0;
	c->strings[i] = PyMem_Malloc(len);
	if (!c->strings[i]) {
		PyErr_NoMemory();
		return -1;
	}
	*ret = memcpy(c->strings[i], s, len);
	return 0;
}

static int options_parse(struct client *c, PyObject *args, PyObject *kw, int *ret_required)
{
	static char *names[] = { "socket", "instance", "label", "timeout", "untrusted", "required", NULL };
	const char *socket = NULL, *instance = NULL, *label = NULL;
	double timeout = 2.0;
	int untrusted = 0;

	*ret_required = 1;
	if (!PyArg_ParseTupleAndKeywords(args, kw, "|z$zzdpp:Client", names, &socket, &instance, &label,
					 &timeout, &untrusted, ret_required))
		return -1;
	c->opts = (struct kvshm_options){
		.sz = sizeof(c->opts),
		.flags = untrusted ? KVSHM_OPEN_UNTRUSTED : 0,
		.timeout_ms = timeout_us(timeout) / 1000,
	};
	if (string_keep(c, 0, socket, &c->opts.socket) < 0 ||
	    string_keep(c, 1, instance, &c->opts.instance) < 0 ||
	    string_keep(c, 2, label, &c->opts.label) < 0)
		return -1;
	return 0;
}

/* What a missing daemon says; anything else is the user's mistake at once. */
static bool may_come_later(int ret)
{
	return ret == -ENOENT || ret == -ECONNREFUSED || ret == -ETIMEDOUT || ret == -EAGAIN;
}

static PyObject *client_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct client *c = (void *)PyType_GenericAlloc(type, 0);
	uint64_t began = now_ns();
	int ret, required;

	if (!c)
		return NULL;
	c->life = life;
	c->lock = PyThread_allocate_lock();
	if (!c->lock) {
		Py_DECREF(c);
		return PyErr_NoMemory();
	}
	if (options_parse(c, args, kw, &required) < 0) {
		Py_DECREF(c);
		return NULL;
	}
	ret = open_handle(c);
	if (ret < 0 && (required || !may_come_later(ret))) {
		Py_DECREF(c);
		return error_raise("open", ret);
	}
	if (ret < 0)
		client_put_off(c, began);
	return (PyObject *)c;
}

static PyObject *client_close(PyObject *self, PyObject *unused)
{
	struct client *c = (void *)self;
	struct pin *p, *next;

	if (c->is_closed)
		Py_RETURN_NONE;
	c->is_closed = true;
	for (p = c->pins; p; p = next) {
		next = p->next;
		pin_let_go(p);
	}
	while (c->gpus)
		gpu_shut(c->gpus);
	client_settle(c);
	Py_RETURN_NONE;
}

static PyObject *client_enter(PyObject *self, PyObject *unused)
{
	Py_INCREF(self);
	return self;
}

static PyObject *client_exit(PyObject *self, PyObject *args)
{
	return client_close(self, NULL);
}

/* In a forked child somebody may have had the lock: then the copy of the handle is left alone. */
static void client_dealloc(PyObject *self)
{
	struct client *c = (void *)self;
	unsigned i;

	if (c->k && (!client_is_forked(c) || PyThread_acquire_lock(c->lock, NOWAIT_LOCK))) {
		if (client_is_forked(c))
			PyThread_release_lock(c->lock);
		close_handle(c);
	}
	if (c->lock)
		PyThread_free_lock(c->lock);
	for (i = 0; i < sizeof(c->strings) / sizeof(c->strings[0]); i++)
		PyMem_Free(c->strings[i]);
	object_free(self);
}

/* ---- namespaces ------------------------------------------------------------------------------------ */

/* 32 bytes; shorter ones are padded with zero. */
static int digest_take(const char *name, const char *bytes, Py_ssize_t len, uint8_t *ret)
{
	if (len < 1 || len > 32) {
		PyErr_Format(PyExc_ValueError, "attach_ns: %s: 1 to 32 bytes are wanted, not %zd; "
			     "a SHA-256 of all that makes KV bytes differ is usual", name, len);
		return -1;
	}
	memcpy(ret, bytes, (size_t)len);
	return 0;
}

static int label_take(const char *label, Py_ssize_t len, char *ret)
{
	if (len > 31) {
		PyErr_SetString(PyExc_ValueError, "attach_ns: label: at most 31 bytes");
		return -1;
	}
	memcpy(ret, label, (size_t)len);
	return 0;
}

static PyObject *client_attach_ns(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "fingerprint", "layout", "block_len", "block_tokens", "label", NULL };
	struct kvshm_ns_desc desc = { .block_tokens = 0 };
	const char *fingerprint, *layout, *label = "";
	Py_ssize_t fingerprint_len, layout_len, label_len = 0;
	struct client *c = (void *)self;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "y#y#II|s#:attach_ns", names, &fingerprint,
					 &fingerprint_len, &layout, &layout_len, &desc.block_len,
					 &desc.block_tokens, &label, &label_len))
		return NULL;
	if (digest_take("fingerprint", fingerprint, fingerprint_len, desc.fingerprint) < 0 ||
	    digest_take("layout", layout, layout_len, desc.layout) < 0 ||
	    label_take(label, label_len, desc.label) < 0 || client_check(c, "attach_ns") < 0)
		return NULL;
	return namespace_create(c, &desc);
}

/* ---- the put side ------------------------------------------------------------------------------------ */

static PyTypeObject *completion_type;

static PyStructSequence_Field completion_fields[] = {
	{ "tag", "what put() or commit() was given" },
	{ "published", "blocks that were added" },
	{ "duplicate", "blocks that were there already" },
	{ "dropped", "blocks that were not added: full, all pinned, parent gone" },
	{ "error", "errno, or 0" },
	{ NULL, NULL },
};

static PyStructSequence_Desc completion_desc = { "kvshm.Completion", "The outcome of one put or commit.",
						 completion_fields, 5 };

static PyObject *completion(const struct kvshm_completion *done)
{
	const unsigned long long value[] = { done->user_data, done->res > 0 ? (unsigned)done->res : 0,
					     done->nr_duplicate, done->nr_dropped,
					     done->res < 0 ? (unsigned)-done->res : 0 };
	PyObject *item = PyStructSequence_New(completion_type), *number;
	Py_ssize_t i;

	for (i = 0; item && i < completion_desc.n_in_sequence; i++) {
		number = PyLong_FromUnsignedLongLong(value[i]);
		if (!number) {
			Py_DECREF(item);
			return NULL;
		}
		PyStructSequence_SetItem(item, i, number);
	}
	return item;
}

static PyObject *completions(const struct kvshm_completion *done, int nr)
{
	PyObject *list = PyList_New(nr > 0 ? nr : 0), *item;
	int i;

	for (i = 0; list && i < nr; i++) {
		item = completion(&done[i]);
		if (!item || PyList_SetItem(list, i, item) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

static PyObject *client_poll(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "timeout", "max", NULL };
	struct client *c = (void *)self;
	struct kvshm_completion done[256];
	unsigned max = 256;
	double timeout = 0;
	struct kvshm *k;
	int n = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "|dI:poll", names, &timeout, &max))
		return NULL;
	if (client_check(c, "poll") < 0)
		return NULL;
	max = max < 256 ? max : 256;
	client_lock(c);
	k = client_handle(c);
	if (k) {
		Py_BEGIN_ALLOW_THREADS
		n = kvshm_poll(k, done, max, timeout_us(timeout));
		Py_END_ALLOW_THREADS
	}
	client_unlock(c);
	if (n < 0 && n != -ECONNRESET)	/* lost and counted: a cache may forget */
		return error_raise("poll", n);
	return completions(done, n);
}

static PyObject *client_sync(PyObject *self, PyObject *unused)
{
	struct client *c = (void *)self;
	int ret = -ECONNRESET;
	struct kvshm *k;

	if (client_check(c, "sync") < 0)
		return NULL;
	client_lock(c);
	k = client_handle(c);
	if (k) {
		Py_BEGIN_ALLOW_THREADS
		ret = kvshm_sync(k);
		Py_END_ALLOW_THREADS
	}
	client_unlock(c);
	if (ret < 0)
		return error_raise("sync", ret);
	Py_RETURN_NONE;
}

/* ---- what it knows of itself --------------------------------------------------------------------------- */

#define COUNTER(name) { #name, offsetof(struct kvshm_client_stats, name) }

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	COUNTER(lookups), COUNTER(lookup_blocks), COUNTER(hit_blocks), COUNTER(hit_tokens),
	COUNTER(miss_blocks), COUNTER(resolve_short), COUNTER(pin_retries), COUNTER(quota_refusals),
	COUNTER(commits), COUNTER(commit_blocks), COUNTER(dropped_dead), COUNTER(dropped_credit),
	COUNTER(dropped_full), COUNTER(copy_out_bytes), COUNTER(copy_in_bytes), COUNTER(touches_dropped),
	COUNTER(reattaches), COUNTER(messages),
};

static int dict_set(PyObject *dict, const char *name, PyObject *value)
{
	int ret = value ? PyDict_SetItemString(dict, name, value) : -1;

	Py_XDECREF(value);
	return ret;
}

static PyObject *stats_dict(const struct kvshm_client_stats *s)
{
	PyObject *dict = PyDict_New();
	const char *from = (const char *)s;
	int ret = dict ? 0 : -1;
	uint64_t value;
	size_t i;

	for (i = 0; !ret && i < sizeof(counters) / sizeof(counters[0]); i++) {
		memcpy(&value, from + counters[i].offset, sizeof(value));
		ret = dict_set(dict, counters[i].name, PyLong_FromUnsignedLongLong(value));
	}
	if (!ret)
		ret = dict_set(dict, "is_trusted", PyBool_FromLong(s->is_trusted));
	if (!ret)
		ret = dict_set(dict, "is_attached", PyBool_FromLong(s->is_attached));
	if (!ret)
		ret = dict_set(dict, "slot", PyLong_FromUnsignedLong(s->slot));
	if (!ret)
		return dict;
	Py_XDECREF(dict);
	return NULL;
}

static PyObject *client_stats(PyObject *self, PyObject *unused)
{
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	struct client *c = (void *)self;
	struct kvshm *k;
	int ret = 0;

	if (client_check(c, "stats") < 0)
		return NULL;
	client_lock(c);
	k = client_handle(c);
	if (k)
		ret = kvshm_stats(k, &s);
	client_unlock(c);
	return ret < 0 ? error_raise("stats", ret) : stats_dict(&s);
}

static PyObject *get_closed(PyObject *self, void *unused)
{
	return PyBool_FromLong(((struct client *)self)->is_closed);
}

static PyMethodDef methods[] = {
	{ "attach_ns", METHOD(client_attach_ns), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "close", client_close, METH_NOARGS, NULL },
	{ "poll", METHOD(client_poll), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "sync", client_sync, METH_NOARGS, NULL },
	{ "set_hint", client_set_hint, METH_O, NULL },
	{ "hold_end", client_hold_end, METH_O, NULL },
	{ "stats", client_stats, METH_NOARGS, NULL },
	{ "__enter__", client_enter, METH_NOARGS, NULL },
	{ "__exit__", client_exit, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef getset[] = {
	{ "closed", get_closed, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_new, client_new },
	{ Py_tp_dealloc, client_dealloc },
	{ Py_tp_methods, methods },
	{ Py_tp_getset, getset },
	{ 0, NULL },
};

int client_init(PyObject *module)
{
	static PyType_Spec spec = { "kvshm.Client", sizeof(struct client), 0, Py_TPFLAGS_DEFAULT, slots };

	if (pthread_atfork(NULL, NULL, forked)) {
		PyErr_NoMemory();
		return -1;
	}
	completion_type = PyStructSequence_NewType(&completion_desc);
	if (!completion_type)
		return -1;
	Py_INCREF(completion_type);
	if (PyModule_AddObject(module, "Completion", (PyObject *)completion_type) < 0)
		return -1;
	client_type = type_add(module, &spec);
	return client_type ? 0 : -1;
}
