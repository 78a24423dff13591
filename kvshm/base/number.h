/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.h - numbers, sizes and times as people write them after an option
 *
 * One grammar for all commands: digits, then K M G T (powers of 1024, also k, KiB, KB) where a whole
 * number is meant; ms, s or m where a time is.  No sign, no space, no hexadecimal.  What is refused is
 * told on stderr in one sentence: "kvshm load: --procs takes a number from 1 to 64, not "x"".
 */
#ifndef KVSHM_BASE_NUMBER_H
#define KVSHM_BASE_NUMBER_H

#include <stdint.h>

struct number_arg {
	const char *command;		/* "kvshm load" */
	const char *option;		/* "procs" */
	const char *text;
};

/* A whole number from @min to @max.  Return: 0; -1 refused and told, @ret_v as it was. */
int number_whole(const struct number_arg *a, uint64_t min, uint64_t max, uint64_t *ret_v);
int number_whole32(const struct number_arg *a, uint32_t min, uint32_t max, uint32_t *ret_v);

/* Digits from 0 to 7, as permissions are written.  Return: as above. */
int number_octal(const struct number_arg *a, unsigned max, unsigned *ret_v);

/* A number from @min to @max with a fraction.  Return: as above. */
int number_real(const struct number_arg *a, double min, double max, double *ret_v);

/* "200ms", "5s", "1m"; without a unit seconds; 1 ms to 11 days.  Return: as above. */
int number_time(const struct number_arg *a, uint64_t *ret_ns);

/* What the suffix of a size stands for: 1024 for "K".  Return: 0, it is none. */
uint64_t number_unit(const char *suffix);

/* Say that the text is refused, and what is wanted instead.  Return: -1. */
int number_refuse(const struct number_arg *a, const char *wanted);

#endif
