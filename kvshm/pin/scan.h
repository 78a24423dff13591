/* SPDX-License-Identifier: Apache-2.0 */
/* scan.h - the writer's pin set, inside pin/ only */
#ifndef KVSHM_PIN_SCAN_H
#define KVSHM_PIN_SCAN_H

#include "kvshm/pin/mark.h"
#include "kvshm/pin/pin.h"

struct pin_file {			/* one pins.<number> */
	uint32_t number;
	int fd;				/* the caller's */
	uint32_t nr_words;
	uint32_t nr_seen;		/* words in use, as word 0 said last */
	uint32_t nr_last;		/* words taken at the last scan */
	uint64_t quota_bytes;
	uint64_t *last;			/* [nr_words] as of the last scan */
	uint64_t *cost;			/* [nr_words] bytes that it protects, 0: not a pin */
	uint64_t bytes;			/* sum of the costs */
	uint32_t nr_pins;
	bool is_hostile;		/* past twice its quota: not in the marks */
};

struct pin_set {			/* the writer thread */
	struct pin_file *file;
	uint32_t max_files, nr_files;
	uint64_t *word;			/* private copy of one file */
	uint32_t max_words;
	struct pin_marks marks;
	bool is_blind;			/* the last scan failed: everything counts as pinned */
};

/* Copy the file's words that may be in use.  Return: number of words, -errno. */
long pin_file_read(struct pin_set *s, struct pin_file *f);

#endif
