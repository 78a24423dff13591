/* SPDX-License-Identifier: Apache-2.0 */
/* module.c - kvshm._kvshm: the types, the errors, and what needs no client */
#include <string.h>

#include "kvshm/python/ext.h"

PyTypeObject *type_add(PyObject *module, PyType_Spec *spec)
{
	PyObject *type = PyType_FromSpec(spec);
	const char *dot = strchr(spec->name, '.');

	if (!type)
		return NULL;
	Py_INCREF(type);		/* ours; the other one is the module's */
	if (PyModule_AddObject(module, dot + 1, type) < 0)
		return NULL;
	return (PyTypeObject *)type;
}

void object_free(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_Free(self);
	Py_DECREF(type);
}

PyObject *type_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	PyErr_SetString(PyExc_TypeError, "objects of this type are made by a Client, a Namespace or a Pin");
	return NULL;
}

unsigned timeout_us(double seconds)
{
	if (!(seconds > 0))
		return 0;
	return seconds < 3600 ? (unsigned)(seconds * 1e6) : 3600000000u;
}

static PyObject *checksum(PyObject *module, PyObject *data)
{
	Py_buffer buf;
	uint32_t sum;

	if (PyObject_GetBuffer(data, &buf, PyBUF_SIMPLE) < 0)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	sum = kvshm_checksum(buf.buf, (size_t)buf.len);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&buf);
	return PyLong_FromUnsignedLong(sum);
}

static PyMethodDef functions[] = {
	{ "checksum", checksum, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "kvshm._kvshm",
	.m_size = -1,
	.m_methods = functions,
};

static int fill(PyObject *module)
{
	if (errors_init(module) < 0 || client_init(module) < 0 || namespace_init(module) < 0 ||
	    pin_init(module) < 0 || block_init(module) < 0 || grant_init(module) < 0 || copy_init(module) < 0 ||
	    pages_init(module) < 0 || runs_init(module) < 0 || gpu_init(module) < 0 || job_init(module) < 0)
		return -1;
	if (PyModule_AddStringConstant(module, "__version__", KVSHM_VERSION_STRING) < 0)
		return -1;
	return PyModule_AddIntConstant(module, "ABI", KVSHM_ABI);
}

PyMODINIT_FUNC PyInit__kvshm(void);

PyMODINIT_FUNC PyInit__kvshm(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (module && fill(module) < 0) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
