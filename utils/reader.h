/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.h - requests of a trace file, whatever its form and packing
 *
 * Forms: our own (<kvshm/trace.h>), Qwen-Bailian's (chat_id, stamps in seconds), Mooncake's as published
 * (no chat ids, stamps in ms) and csv (read_csv.c); plain, xz or zstd.  The form is known by the first
 * line, the unit of time by the first request.  One thread.
 */
#ifndef UTILS_READER_H
#define UTILS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "utils/sim.h"

#define READER_WHY_LEN 512u

struct reader;

struct reader_options {
	uint32_t block_tokens;		/* 0: as the header says, else worked out from the first requests */
	bool is_lenient;		/* pass over lines that are wrong, and count them */
};

struct reader_info {
	const char *form;		/* "kvshm", "qwen-bailian", "mooncake", "csv" */
	uint32_t block_tokens;
	bool is_synthetic;		/* as the header says */
	const char *note;		/* of the header, may be "" */
	uint64_t nr_skipped;
	const char *first_skipped;	/* FILE:LINE: why */
};

/**
 * reader_open() - open a trace and see what it is
 * @ret_why: READER_WHY_LEN bytes, set on failure: FILE[:LINE]: what is wrong
 * The file is read from its beginning twice, so a pipe will not do (-ESPIPE).
 * Return: 0; -EBADMSG malformed or no form that is known, -ENODATA cut short or without a request, -errno.
 */
int reader_open(const char *path, const struct reader_options *o, struct reader **ret_r, char *ret_why);

/* Takes NULL.  Return: NULL. */
struct reader *reader_close(struct reader *r);

/**
 * reader_next() - the next request
 * @ret_rec: its hashes are valid until the next call
 * Types and stop reasons are numbered by the order in which they first appear; past 255 types or 15
 * reasons: not known.  Without a session a request belongs to that of the chat it goes on from; without
 * chat ids, to that of the request of which it repeats all full blocks, two at least.
 * Return: 1; 0 at the end; -EBADMSG malformed line, -ERANGE time runs backwards, -ENODATA cut short,
 * -errno.  After an error there is no next one.
 */
int reader_next(struct reader *r, struct sim_record *ret_rec, char *ret_why);

/* Name of type or stop reason @n, as sim_record has it; NULL: not known. */
const char *reader_type_name(const struct reader *r, unsigned n);
const char *reader_stop_name(const struct reader *r, unsigned n);

void reader_info(const struct reader *r, struct reader_info *ret);
double reader_progress(const struct reader *r);

#endif
