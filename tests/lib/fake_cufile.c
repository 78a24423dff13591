/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cufile.c - the fake GPUDirect Storage library, loaded for a test */
#include "tests/lib/fake_cufile.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

const char *fake_cufile_path(char *buf, size_t len)
{
	const char *build = getenv("KVSHM_BUILD");

	snprintf(buf, len, "%s/fake/libcufile.so.0", build ? build : "build");
	return buf;
}

const struct cufile_fake *fake_cufile_open(void)
{
	const struct cufile_fake *(*get)(void) = NULL;
	char path[512];
	void *lib = dlopen(fake_cufile_path(path, sizeof(path)), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (lib)
		*(void **)&get = dlsym(lib, CUFILE_FAKE_SYMBOL);
	if (!get)
		fail_msg("%s: %s", path, dlerror());
	dlclose(lib);
	return get();
}
