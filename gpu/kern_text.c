/* SPDX-License-Identifier: Apache-2.0 */
/* kern_text.c - the kernels' PTX, embedded (gpu/module.mk makes it), and their names in it */
#include "gpu/kern_text.h"

__asm__(".pushsection .rodata\n"
	".hidden kern_text\n"
	".globl kern_text\n"
	"kern_text:\n"
	".incbin \"" KERN_PTX "\"\n"
	".byte 0\n"
	".popsection\n");

const char *const kern_names[GPU_NR_KERNELS] = {
	[GPU_KERNEL_SCATTER] = "kvshm_scatter",
	[GPU_KERNEL_COLLECT] = "kvshm_collect",
	[GPU_KERNEL_GATHER] = "kvshm_gather",
};
