/* SPDX-License-Identifier: Apache-2.0 */
/* kern_text.h - the kernels as the driver takes them */
#ifndef GPU_KERN_TEXT_H
#define GPU_KERN_TEXT_H

#include "gpu/kern_args.h"

extern const char kern_text[];		/* PTX, ends with NUL */
extern const char *const kern_names[GPU_NR_KERNELS];	/* entries in it */

#endif
