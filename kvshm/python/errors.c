/* SPDX-License-Identifier: Apache-2.0 */
/* errors.c - a negative errno as an exception that says what to do */
#include <errno.h>
#include <string.h>

#include "kvshm/python/ext.h"

enum kind { ERROR, NO_DAEMON, STALE, FORK, LAYOUT, CHECKSUM, NR_KINDS };

static const char *const kind_names[NR_KINDS] = {
	[ERROR] = "kvshm.Error",
	[NO_DAEMON] = "kvshm.NoDaemonError",
	[STALE] = "kvshm.StaleError",
	[FORK] = "kvshm.ForkError",
	[LAYOUT] = "kvshm.LayoutError",
	[CHECKSUM] = "kvshm.ChecksumError",
};

static PyObject *kinds[NR_KINDS];

static const struct text {
	int error;
	enum kind kind;
	const char *text;
} texts[] = {
	{ ENOENT, NO_DAEMON, "no daemon's socket there: start kvshmd, or set KVSHM_SOCKET; `python -m kvshm doctor` looks for it" },
	{ ECONNREFUSED, NO_DAEMON, "a socket without a daemon behind it: start kvshmd again" },
	{ ECONNRESET, NO_DAEMON, "the daemon is gone; hits go on, the handle attaches again by itself once kvshmd runs" },
	{ EACCES, ERROR, "no permission for the daemon's socket: have this user added to its group, see socket.group in kvshmd.conf(5)" },
	{ EPERM, ERROR, "this client is not trusted, or the namespace is another user's: use put() instead of grant(), or list the uid in kvshmd.conf(5)" },
	{ EPROTONOSUPPORT, ERROR, "the daemon has another ABI: install the package and kvshmd of one release" },
	{ EAGAIN, ERROR, "the daemon has no free session: close clients that are not needed, or raise the limit in kvshmd.conf(5)" },
	{ ETIMEDOUT, ERROR, "the daemon did not answer in time: `kvshm stat` tells whether it hangs" },
	{ EMEDIUMTYPE, LAYOUT, "the namespace exists with another block length, tokens a block or layout: give this layout another fingerprint" },
	{ ENOSPC, ERROR, "no more namespaces for this user, or the daemon's tmpfs is full: `kvshm drop --namespace` old ones, or enlarge it" },
	{ ENOBUFS, ERROR, "no pin word is free, the pin quota is spent, or the queue is full: release pins, take completions by poll()" },
	{ E2BIG, ERROR, "more than 65,536 keys: look up a chain of at most that many" },
	{ ESTALE, STALE, "these blocks are gone or are not what was exported: compute them, as after a miss" },
	{ EBADMSG, CHECKSUM, "a block does not have the checksum it was put with: do not use it; `kvshm verify` looks for damage" },
	{ EOWNERDEAD, FORK, "the client was opened before fork(): open one in this process" },
	{ EINVAL, ERROR, "an argument that cannot be" },
	{ ENOMEM, ERROR, "no memory, or no address space (ulimit -v)" },
	{ EMFILE, ERROR, "too many open files: raise ulimit -n" },
};

static const struct text *text_of(int error)
{
	static const struct text other = { 0, ERROR, NULL };
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].error == error)
			return &texts[i];
	return &other;
}

PyObject *error_raise(const char *what, int ret)
{
	const struct text *t = text_of(-ret);
	PyObject *message = PyUnicode_FromFormat("%s: %s", what, t->text ? t->text : strerror(-ret));
	PyObject *args = message ? Py_BuildValue("(iN)", -ret, message) : NULL;

	if (args) {
		PyErr_SetObject(kinds[t->kind], args);
		Py_DECREF(args);
	}
	return NULL;
}

int errors_init(PyObject *module)
{
	int i;

	for (i = 0; i < NR_KINDS; i++) {
		kinds[i] = PyErr_NewException(kind_names[i], i ? kinds[ERROR] : PyExc_OSError, NULL);
		if (!kinds[i])
			return -1;
		Py_INCREF(kinds[i]);
		if (PyModule_AddObject(module, strchr(kind_names[i], '.') + 1, kinds[i]) < 0)
			return -1;
	}
	return 0;
}
