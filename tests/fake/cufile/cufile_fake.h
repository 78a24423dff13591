/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cufile_fake.h - what the fake libcufile.so.0 offers besides the library's entries
 *
 * Transfers are pread() and pwrite() of the fake driver's memory, which is host memory.  As the real one it wants a
 * current context, memory of a device, and a file that is registered.
 */
#ifndef TESTS_FAKE_CUFILE_CUFILE_FAKE_H
#define TESTS_FAKE_CUFILE_CUFILE_FAKE_H

#include <stdint.h>

struct cufile_counters {
	uint64_t begun, reads, writes, bytes;
	uint64_t unregistered;		/* transfers of memory that was not registered */
	uint64_t handles, buffers;	/* now */
};

struct cufile_fake {
	/*
	 * Words by ';', added to those of $FAKE_CUFILE_SCRIPT:
	 *   nvfs=MAJOR            version of nvidia-fs, 0: it is not there; at first 2
	 *   p2p=0|1               the kernel's peer DMA
	 *   fail=ENTRY:N:CODE     the Nth call of it from now on fails: with the library's CODE, or an errno below 5000
	 *   short=BYTES           a transfer does no more than that
	 *   delay=MS              a transfer takes that long
	 *   reset                 as at first, and counts from zero
	 * 0, -EINVAL.
	 */
	int (*script)(const char *text);
	void (*counters)(struct cufile_counters *ret);
};

/* Exported by the fake: const struct cufile_fake *fake_cufile(void). */
#define CUFILE_FAKE_SYMBOL "fake_cufile"

#endif
