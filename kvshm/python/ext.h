/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext.h - what the extension's objects are made of, and who keeps whom alive
 *
 *   Client <- Namespace <- Pin <- Block <- any view of it (memoryview, numpy, torch)
 *                       <- Grant <- ...
 *
 * An arrow is a reference.  A pin is released when its user says so and no block of it is viewed, so a
 * view can never read bytes that somebody else has by now.
 *
 *   Client <- Gpu <- Job
 *
 * A job's pins and granted blocks belong to the library from its beginning; the Pin and Grant objects are empty then.
 *
 * A handle of libkvshm is one thread's at a time.  The GIL gives that as long as it is held; calls that
 * copy or wait let it go, so each call takes the client's lock.  While that is held no Python code runs
 * in the same thread: nothing is allocated or freed there, or a collection could come back in here.
 */
#ifndef KVSHM_PYTHON_EXT_H
#define KVSHM_PYTHON_EXT_H

#include "kvshm/python/pybuffer.h"

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/gpu.h>
#include <kvshm/kvshm.h>

#define KEYS_MAX 65536			/* of one acquire */
#define COMMIT_MAX 4096			/* of one put or commit */

/* ---- errors (errors.c) ------------------------------------------------------------------------ */

int errors_init(PyObject *module);
/* Set kvshm.Error, or one of its kinds, for @what = a method's name; @ret is -errno.  Return: NULL. */
PyObject *error_raise(const char *what, int ret);
/* The same for what the library or the driver says of a device. */
PyObject *error_raise_device(const char *what, int ret);

/* ---- client (client.c) ------------------------------------------------------------------------ */

struct pin;
struct gpu;

struct client {
	PyObject_HEAD
	struct kvshm *k;		/* NULL: no daemon found yet, or closed */
	PyThread_type_lock lock;
	unsigned life;			/* of the process: another one after fork() */
	unsigned nr_opens;		/* changes when namespaces have to be attached anew */
	uint64_t next_ns;		/* no attempt to open or attach before */
	struct kvshm_options opts;
	char *strings[3];		/* what opts points to */
	struct pin *pins;		/* all that are held */
	struct gpu *gpus;		/* all that are not closed */
	unsigned nr_granted;		/* blocks in the user's hands */
	bool is_closed;
};

extern PyTypeObject *client_type;

int client_init(PyObject *module);

/* In a forked child, or closed: raise.  Return: 0, -1. */
int client_check(struct client *c, const char *what);
bool client_is_forked(const struct client *c);

/* Take the lock, letting the GIL go only if another thread has it; and end. */
void client_lock(struct client *c);
void client_unlock(struct client *c);

/* With the lock: open the handle if there is none and it is time to try again.  Return: NULL: none. */
struct kvshm *client_handle(struct client *c);
/* With the lock: let the next attempt wait in proportion to what this one took. */
void client_put_off(struct client *c, uint64_t began_ns);
/* After a pin or a grant has ended: finish a close() that waited for it. */
void client_settle(struct client *c);

uint64_t now_ns(void);

/* ---- namespace (namespace.c) -------------------------------------------------------------------- */

struct namespace {
	PyObject_HEAD
	struct client *client;
	struct kvshm_ns_desc desc;
	uint32_t number;
	unsigned nr_opens;		/* of the client when the number was got, 0: none yet */
};

extern PyTypeObject *namespace_type;

int namespace_init(PyObject *module);
PyObject *namespace_create(struct client *c, const struct kvshm_ns_desc *desc);

/* With the lock.  Return: 0 and the handle and number; 1 none to be had now; -errno. */
int namespace_ready(struct namespace *ns, struct kvshm **ret_k);

/* ---- keys (keys.c) ---------------------------------------------------------------------------------- */

/* A list or tuple of bytes objects, read in place; or a buffer of packed keys. */
struct keys {
	const struct kvshm_key *flat;	/* NULL: ask keys_at() */
	struct kvshm_key *copy;		/* what flat points to, if made by keys_pack() */
	PyObject *seq;			/* borrowed: lives as long as the call */
	bool is_list, is_bad;
	Py_ssize_t nr;
	Py_buffer buf;
	bool has_buf;
};

/* Return: 0; -1 with an exception. */
int keys_open(struct keys *keys, PyObject *obj, Py_ssize_t max);
/* Pack the first @nr of a list, so that all of them are read and checked.  Return: 0; -1. */
int keys_pack(struct keys *keys, Py_ssize_t nr);
void keys_close(struct keys *keys);
/* The callback of struct kvshm_chain; what is no key reads as zero and is remembered in .is_bad. */
const struct kvshm_key *keys_at(void *ctx, unsigned i);
/* Raise if a key that was read was none.  Return: 0, -1. */
int keys_check(const struct keys *keys);
/* One key; None: *ret_has is false. */
int key_parse(PyObject *obj, struct kvshm_key *ret, bool *ret_has);

/* ---- memory of the caller (memory.c) ------------------------------------------------------------------ */

/* One buffer cut in pieces, or a list of buffers. */
struct memory {
	Py_ssize_t nr;
	char **ptr;			/* [nr] */
	uint32_t *len;			/* [nr] */
	Py_buffer *buf;			/* [nr_bufs] */
	Py_ssize_t nr_bufs;
};

/* @piece: length of a piece of a single buffer.  Return: 0; -1 with an exception. */
int memory_open(struct memory *m, PyObject *obj, uint32_t piece, bool writable, Py_ssize_t max);
void memory_close(struct memory *m);

/* ---- pins and blocks (pin.c, block.c) ------------------------------------------------------------------ */

struct pin {
	PyObject_HEAD
	struct namespace *ns;
	struct pin *next, **prev;	/* in the client's list while held */
	struct kvshm_pin pin;
	PyObject *keys;			/* what was acquired, for resolve */
	struct kvshm_block *blocks;	/* NULL: not resolved yet */
	unsigned matched, nr;		/* of acquire; of resolve */
	unsigned nr_viewed;		/* blocks that somebody may still look at */
	bool is_held;			/* the pin word is ours */
	bool is_released;		/* the user has let go */
};

extern PyTypeObject *pin_type;

int pin_init(PyObject *module);
/* Not held yet. */
struct pin *pin_create(struct namespace *ns, PyObject *keys);
/* The library has pinned .pin. */
void pin_hold(struct pin *p);
/* The user lets go; the pin word is cleared now, or with the last view. */
void pin_let_go(struct pin *p);
/* A view has ended. */
void pin_unview(struct pin *p);
/* Where its blocks lie, looked up once.  Return: 0; -1 released, or another process. */
int pin_resolve_once(struct pin *p);
/* For somebody else to release: from now on nobody here does.  Return: 0; -1 not held, or viewed. */
int pin_take(struct pin *p);
/* He did not want it, or he has it. */
void pin_give_back(struct pin *p);
void pin_given(struct pin *p);

/* copy.c */
int copy_init(PyObject *module);

int block_init(PyObject *module);
PyObject *block_create(struct pin *p, unsigned i);

/* ---- grants (grant.c) ------------------------------------------------------------------------------------ */

int grant_init(PyObject *module);
/*
 * Take the blocks out of @grants, a tuple, all of them or none; one that is named twice is refused.
 * Return: 0; -1 with an exception.
 */
int grants_take(struct namespace *ns, PyObject *grants, struct kvshm_block *blocks);
/* They were not wanted. */
void grants_give_back(struct namespace *ns, PyObject *grants);
PyObject *namespace_grant(PyObject *self, PyObject *args, PyObject *kw);
PyObject *namespace_commit(PyObject *self, PyObject *args, PyObject *kw);

/* put.c */
PyObject *namespace_put(PyObject *self, PyObject *args, PyObject *kw);
/* True sent, False dropped: what a cache may do without; anything else raises. */
PyObject *put_result(const char *what, int ret);

/* hint.c */
PyObject *client_set_hint(PyObject *self, PyObject *hint);
PyObject *client_hold_end(PyObject *self, PyObject *ticket);
PyObject *namespace_hold(PyObject *self, PyObject *args, PyObject *kw);
PyObject *namespace_session_closed(PyObject *self, PyObject *args, PyObject *kw);

/* pages.c */
int pages_init(PyObject *module);

/* runs.c */
int runs_init(PyObject *module);

/* ---- a device (gpu.c, gpu_job.h) ------------------------------------------------------------------------------ */

struct job;

struct gpu {
	PyObject_HEAD
	struct client *client;
	struct gpu *next, **prev;	/* in the client's list until closed */
	struct kvshm_gpu *side;		/* NULL: no daemon found yet, or closed */
	struct kvshm_gpu_options opts;
	struct kvshm_gpu_group groups[KVSHM_GPU_GROUPS_MAX];
	struct kvshm_gpu_layer layers[KVSHM_GPU_LAYERS_MAX];
	char *libcuda;			/* what opts points to */
	PyObject *owner;		/* keeps the device's memory alive */
	struct job *jobs;		/* all that are not ended */
	bool is_closed;
};

int gpu_init(PyObject *module);
/* With the client's lock.  Return: 0 with .side; 1 no daemon yet; -errno. */
int gpu_ready(struct gpu *g);
/* End its jobs, wait for the device, bounded by the side's timeout.  Return: as kvshm_gpu_close(). */
int gpu_shut(struct gpu *g);

int job_init(PyObject *module);
/* The side is about to be closed: its jobs are over for Python. */
void jobs_forget(struct gpu *g);
PyObject *gpu_load(PyObject *self, PyObject *args, PyObject *kw);
PyObject *gpu_save(PyObject *self, PyObject *args, PyObject *kw);

/* ---- small helpers ----------------------------------------------------------------------------------------- */

/* Make a type and put it into the module.  Return: NULL with an exception. */
PyTypeObject *type_add(PyObject *module, PyType_Spec *spec);
void object_free(PyObject *self);
/* tp_new of types whose objects only this extension makes. */
PyObject *type_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kw);

/* Seconds as microseconds for the library; negative is 0, more than an hour is an hour. */
unsigned timeout_us(double seconds);

/* As struct PyMethodDef wants it. */
#define METHOD(f) ((PyCFunction)(void (*)(void))(f))

#endif
