/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - the k-th allocation of the calling thread fails
 *
 * Allocation is what takes memory or a descriptor: malloc() and its kin, mmap(), memfd_create(),
 * posix_fallocate(), ftruncate(), openat(), socket(), accept4(), eventfd(), epoll_create1().  A program that uses
 * this has them replaced, so a sanitizer's build has none of it (FAULT_MISSING).
 */
#ifndef TESTS_LIB_FAULT_H
#define TESTS_LIB_FAULT_H

#include <stdbool.h>

#if defined(KVSHM_SAN)
#define FAULT_MISSING 1
#else
#define FAULT_MISSING 0
#endif

/* From now on count; the @k-th fails, once.  0: none. */
void fault_arm(unsigned k);

/* What a call for a descriptor fails with: EMFILE, unless said otherwise. */
void fault_descriptors(int err);

/* Return: did it fail, or did fewer than @k come? */
bool fault_disarm(void);

/* What is held now: allocations of the calling thread since the program began, descriptors, mappings. */
struct fault_held {
	long nr_allocations;
	unsigned nr_fds, nr_maps;
};
void fault_look(struct fault_held *ret);

/**
 * fault_each() - @make under "allocation k fails" for every k, until none fires
 * @make: 0 or -errno; @unmake is called after success
 * Fails the test if an error is neither -ENOMEM nor what descriptors fail with, or if anything stays held.  Return: k tried.
 */
unsigned fault_each(int (*make)(void), void (*unmake)(void));

#endif
