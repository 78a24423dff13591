/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_save.c - Gpu.save(): blocks off the device, into grants or through the library's buffer */
#include <errno.h>
#include <string.h>

#include "kvshm/python/gpu_job.h"

struct save {
	struct kvshm_stage_save part[GROUPS];
	struct namespace *ns[GROUPS];
	struct keys keys[GROUPS];
	bool has_keys[GROUPS];
	struct kvshm_key parent[GROUPS];
	PyObject *grants[GROUPS];	/* a tuple; NULL: through the library's buffer */
	struct kvshm_block *blocks[GROUPS];
	uint32_t *numbers[GROUPS];
};

static int save_keys(struct save *s, Py_ssize_t i, PyObject *keys, PyObject *parent)
{
	bool has_parent;

	if (keys_open(&s->keys[i], keys, COMMIT_MAX) < 0)
		return -1;
	s->has_keys[i] = true;
	if (keys_pack(&s->keys[i], s->keys[i].nr) < 0 || key_parse(parent, &s->parent[i], &has_parent) < 0)
		return -1;
	s->part[i].keys = s->keys[i].flat;
	s->part[i].parent = has_parent ? &s->parent[i] : NULL;
	return 0;
}

static int save_blocks(struct save *s, Py_ssize_t i, PyObject *grants)
{
	if (grants == Py_None)
		return 0;
	s->grants[i] = PySequence_Tuple(grants);
	if (!s->grants[i])
		return -1;
	if ((unsigned)PyTuple_Size(s->grants[i]) != s->part[i].nr) {
		PyErr_Format(PyExc_ValueError, "save: %zd grants for %u engine blocks", PyTuple_Size(s->grants[i]),
			     s->part[i].nr);
		return -1;
	}
	s->blocks[i] = PyMem_Calloc(s->part[i].nr + 1, sizeof(*s->blocks[i]));
	if (s->blocks[i])
		return 0;
	PyErr_NoMemory();
	return -1;
}

static int save_part(const struct gpu *g, struct save *s, Py_ssize_t i, PyObject *entry)
{
	PyObject *ns, *keys, *grants, *numbers, *parent;

	if (entry == Py_None)
		return 0;
	if (!PyTuple_Check(entry) ||
	    !PyArg_ParseTuple(entry, "O!OOOO", namespace_type, &ns, &keys, &grants, &numbers, &parent)) {
		PyErr_SetString(PyExc_TypeError,
				"save: (Namespace, keys, grants or None, engine blocks, parent or None) or None, for each "
				"group");
		return -1;
	}
	s->ns[i] = (void *)ns;
	if (gpu_check_client(g, "save", s->ns[i]) < 0)
		return -1;
	s->numbers[i] = engine_blocks_take(numbers, &s->part[i].nr);
	s->part[i].engine_blocks = s->numbers[i];
	if (!s->numbers[i] || save_keys(s, i, keys, parent) < 0)
		return -1;
	if (s->keys[i].nr == s->part[i].nr)
		return save_blocks(s, i, grants);
	PyErr_Format(PyExc_ValueError, "save: %zd keys for %u engine blocks", s->keys[i].nr, s->part[i].nr);
	return -1;
}

/* Of the first @nr groups. */
static void save_give_back(const struct save *s, unsigned nr)
{
	while (nr-- > 0)
		if (s->grants[nr])
			grants_give_back(s->ns[nr], s->grants[nr]);
}

/* After all foreign code has run.  Return: 0; -1 with all of them as they were. */
static int save_take_grants(struct save *s)
{
	unsigned i;

	for (i = 0; i < GROUPS; i++) {
		if (!s->grants[i])
			continue;
		if (grants_take(s->ns[i], s->grants[i], s->blocks[i]) < 0)
			break;
		s->part[i].blocks = s->blocks[i];
	}
	if (i == GROUPS)
		return 0;
	save_give_back(s, i);
	return -1;
}

/* With the lock.  Return: 0; 1 no daemon; -errno. */
static int save_ready(struct gpu *g, struct save *s, const struct how *how)
{
	int ret = gpu_ready(g);
	struct kvshm *k;
	unsigned i;

	for (i = 0; !ret && i < GROUPS; i++) {
		if (!s->ns[i])
			continue;
		ret = namespace_ready(s->ns[i], &k);
		s->part[i].ns = s->ns[i]->number;
		s->part[i].user_data = how->tag;
	}
	return ret;
}

static int save_begin(struct job *j, struct save *s, const struct how *how)
{
	struct gpu *g = j->gpu;
	int ret;

	client_lock(g->client);
	ret = save_ready(g, s, how);
	if (ret == 0) {
		Py_BEGIN_ALLOW_THREADS
		ret = kvshm_stage_out(g->side, s->part, &how->desc, &j->stage);
		Py_END_ALLOW_THREADS
	} else if (ret > 0) {
		ret = -ECONNRESET;
	}
	if (ret == 0)
		job_begin(j);
	client_unlock(g->client);
	if (ret < 0)
		save_give_back(s, GROUPS);
	client_settle(g->client);
	return ret;
}

static PyObject *save_parsed(struct gpu *g, struct save *s, const struct how *how)
{
	struct job *j = job_create(g);

	if (j && save_take_grants(s) == 0)
		return job_result(j, "save", save_begin(j, s, how));
	Py_XDECREF(j);
	return NULL;
}

static void save_close(struct save *s)
{
	unsigned i;

	for (i = 0; i < GROUPS; i++) {
		if (s->has_keys[i])
			keys_close(&s->keys[i]);
		PyMem_Free(s->numbers[i]);
		PyMem_Free(s->blocks[i]);
		Py_XDECREF(s->grants[i]);
	}
}

PyObject *gpu_save(PyObject *self, PyObject *args, PyObject *kw)
{
	static char *names[] = { "saves", "tag", "layers_per_step", "stream", "after", NULL };
	struct gpu *g = (void *)self;
	PyObject *saves, *list, *ret = NULL;
	struct how how = { .after = 0 };
	struct save s = { .numbers = { 0 } };
	Py_ssize_t i;
	int err = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kw, "O|$KIKp:save", names, &saves, &how.tag, &how.desc.layers_per_step,
					 &how.stream, &how.after) ||
	    gpu_check(g, "save") < 0)
		return NULL;
	how_fill(&how);
	list = entries_take(g, "save", saves);
	for (i = 0; list && !err && i < PyTuple_Size(list); i++)
		err = save_part(g, &s, i, PyTuple_GetItem(list, i));
	if (list && !err)
		ret = save_parsed(g, &s, &how);
	save_close(&s);
	Py_XDECREF(list);
	return ret;
}
