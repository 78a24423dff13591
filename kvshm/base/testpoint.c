/* SPDX-License-Identifier: Apache-2.0 */
/* testpoint.c - the hook; linked only into what was built with test points */
#define KVSHM_TESTPOINTS
#include "kvshm/base/testpoint.h"

void (*testpoint_hook)(const char *name);
