/* SPDX-License-Identifier: Apache-2.0 */
/* errors.c - a negative errno as an exception that says what to do */
#include <errno.h>
#include <string.h>

#include "kvshm/python/ext.h"

enum kind { ERROR, NO_DAEMON, STALE, FORK, LAYOUT, CHECKSUM, DEVICE, NR_KINDS };

static const char *const kind_names[NR_KINDS] = {
	[ERROR] = "kvshm.Error",
	[NO_DAEMON] = "kvshm.NoDaemonError",
	[STALE] = "kvshm.StaleError",
	[FORK] = "kvshm.ForkError",
	[LAYOUT] = "kvshm.LayoutError",
	[CHECKSUM] = "kvshm.ChecksumError",
	[DEVICE] = "kvshm.DeviceError",
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
	{ 0, ERROR, NULL },		/* any other */
};

static const struct text device_texts[] = {
	{ ENOENT, DEVICE, "no driver: libcuda.so.1 was not found, `kvshm doctor` says where it was looked for" },
	{ ENODEV, DEVICE, "no such device, or the thread's context is not a primary one" },
	{ ENOSYS, DEVICE, "the driver is too old, or is none" },
	{ EINVAL, DEVICE, "a layout, block or layer that cannot be" },
	{ E2BIG, DEVICE, "more blocks than a job may have" },
	{ EBUSY, DEVICE, "as many jobs are under way as may be, or the buffer for saves is full: poll, and try again" },
	{ EOPNOTSUPP, DEVICE, "no way to copy this here" },
	{ ECANCELED, DEVICE, "cancelled" },
	{ ETIMEDOUT, DEVICE, "the device does not answer; what it may still touch is kept until this process ends" },
	{ ENOTRECOVERABLE, DEVICE, "refused as if the device were lost: if it is, end this process, which keeps the memory" },
	{ ESTALE, STALE, "these blocks are of another daemon's files than the rest: compute them, as after a miss" },
	{ EOWNERDEAD, FORK, "the client was opened before fork(): open one in this process" },
	{ 0, DEVICE, NULL },
};

static PyObject *raise_text(const char *what, int ret, const struct text *t)
{
	PyObject *message, *args;

	while (t->error && t->error != -ret)
		t++;
	message = PyUnicode_FromFormat("%s: %s", what, t->text ? t->text : strerror(-ret));
	args = message ? Py_BuildValue("(iN)", -ret, message) : NULL;
	if (args) {
		PyErr_SetObject(kinds[t->kind], args);
		Py_DECREF(args);
	}
	return NULL;
}

PyObject *error_raise(const char *what, int ret)
{
	return raise_text(what, ret, texts);
}

PyObject *error_raise_device(const char *what, int ret)
{
	return raise_text(what, ret, device_texts);
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
