/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cufile.h - the fake GPUDirect Storage library, loaded for a test */
#ifndef TESTS_LIB_FAKE_CUFILE_H
#define TESTS_LIB_FAKE_CUFILE_H

#include "tests/fake/cufile/cufile_fake.h"
#include "tests/lib/fake_cuda.h"

/* Where this build's fake lies. */
const char *fake_cufile_path(char *buf, size_t len);

/* Its own functions; fails the test if it cannot be loaded. */
const struct cufile_fake *fake_cufile_open(void);

#endif
