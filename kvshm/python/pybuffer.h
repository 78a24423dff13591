/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pybuffer.h - Python.h for the limited API of 3.9, and the buffer protocol with it
 *
 * One extension then serves every Python from 3.9 on.  The buffer protocol joined the stable ABI in
 * 3.11, as it had been since 3.3: same struct, same symbols, same slot numbers; older headers
 * only do not show it.  So it is declared here, once.
 */
#ifndef KVSHM_PYTHON_PYBUFFER_H
#define KVSHM_PYTHON_PYBUFFER_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03090000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifndef Py_bf_getbuffer
#define Py_bf_getbuffer 1
#define Py_bf_releasebuffer 2
#endif

#ifndef PyBUF_SIMPLE
#define PyBUF_SIMPLE 0
#define PyBUF_WRITABLE 0x0001

typedef struct bufferinfo {
	void *buf;
	PyObject *obj;
	Py_ssize_t len, itemsize;
	int readonly, ndim;
	char *format;
	Py_ssize_t *shape, *strides, *suboffsets;
	void *internal;
} Py_buffer;

PyAPI_FUNC(int) PyObject_GetBuffer(PyObject *obj, Py_buffer *view, int flags);
PyAPI_FUNC(void) PyBuffer_Release(Py_buffer *view);
PyAPI_FUNC(int) PyBuffer_FillInfo(Py_buffer *view, PyObject *obj, void *buf, Py_ssize_t len,
				  int readonly, int flags);
#endif

#endif
