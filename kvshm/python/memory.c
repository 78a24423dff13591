/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - the caller's memory as a vector of pieces: one buffer cut up, or a list of buffers */
#include "kvshm/python/ext.h"

static int no_memory(void)
{
	PyErr_NoMemory();
	return -1;
}

static int pieces_alloc(struct memory *m, Py_ssize_t nr, Py_ssize_t max)
{
	if (nr > max) {
		PyErr_Format(PyExc_ValueError, "%zd blocks of memory: at most %zd can be used", nr, max);
		return -1;
	}
	m->ptr = PyMem_Calloc((size_t)nr + 1, sizeof(*m->ptr));
	m->len = PyMem_Calloc((size_t)nr + 1, sizeof(*m->len));
	if (!m->ptr || !m->len)
		return no_memory();
	m->nr = nr;
	return 0;
}

static int take(struct memory *m, PyObject *obj, bool writable)
{
	if (PyObject_GetBuffer(obj, &m->buf[m->nr_bufs], writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
		return -1;
	m->nr_bufs++;
	return 0;
}

/* The last piece may be shorter. */
static int cut_up(struct memory *m, uint32_t piece, Py_ssize_t max)
{
	char *at = m->buf[0].buf;
	Py_ssize_t len = m->buf[0].len, i;

	if (pieces_alloc(m, len / piece + (len % piece != 0), max) < 0)
		return -1;
	for (i = 0; i < m->nr; i++, at += piece, len -= piece) {
		m->ptr[i] = at;
		m->len[i] = len < piece ? (uint32_t)len : piece;
	}
	return 0;
}

static int take_list(struct memory *m, PyObject *list, bool writable)
{
	Py_ssize_t i;

	for (i = 0; i < m->nr; i++) {
		PyObject *item = PySequence_GetItem(list, i);
		int ret = item ? take(m, item, writable) : -1;

		Py_XDECREF(item);	/* the buffer keeps it */
		if (ret < 0)
			return -1;
		if (m->buf[i].len > (Py_ssize_t)UINT32_MAX) {
			PyErr_SetString(PyExc_ValueError, "a block of more than 4 GiB");
			return -1;
		}
		m->ptr[i] = m->buf[i].buf;
		m->len[i] = (uint32_t)m->buf[i].len;
	}
	return 0;
}

int memory_open(struct memory *m, PyObject *obj, uint32_t piece, bool writable, Py_ssize_t max)
{
	bool is_list = PyList_Check(obj) || PyTuple_Check(obj);
	Py_ssize_t nr = is_list ? PySequence_Size(obj) : 1;
	int ret;

	*m = (struct memory){ .buf = PyMem_Calloc((size_t)nr + 1, sizeof(*m->buf)) };
	if (!m->buf)
		return no_memory();
	if (is_list)
		ret = pieces_alloc(m, nr, max) < 0 ? -1 : take_list(m, obj, writable);
	else
		ret = take(m, obj, writable) < 0 ? -1 : cut_up(m, piece, max);
	if (ret < 0)
		memory_close(m);
	return ret;
}

void memory_close(struct memory *m)
{
	while (m->nr_bufs > 0)
		PyBuffer_Release(&m->buf[--m->nr_bufs]);
	PyMem_Free(m->ptr);
	PyMem_Free(m->len);
	PyMem_Free(m->buf);
	*m = (struct memory){ 0 };
}
