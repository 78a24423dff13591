/* SPDX-License-Identifier: Apache-2.0 */
/* version.h - API version of libkvshm, ABI number of the shared memory */
#ifndef KVSHM_VERSION_H
#define KVSHM_VERSION_H

#define KVSHM_VERSION_MAJOR 0
#define KVSHM_VERSION_MINOR 1
#define KVSHM_VERSION_PATCH 0
#define KVSHM_VERSION_STRING "0.1.0"

/* Layout of everything that processes share; a client of one ABI number serves any minor. */
#define KVSHM_ABI 1u

#endif
