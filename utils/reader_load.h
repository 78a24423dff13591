/* SPDX-License-Identifier: Apache-2.0 */
/* reader_load.h - a whole trace file into memory, with words on stderr when that fails */
#ifndef UTILS_READER_LOAD_H
#define UTILS_READER_LOAD_H

#include "utils/reader.h"

struct loaded_trace {
	struct sim_trace t;
	struct reader *r;		/* at its end: names and info */
};

/**
 * reader_load() - read a trace to its end
 * @command: what stands before a message, as "kvshm replay"
 * @is_quiet: no progress, which else is shown when stderr is a terminal
 * Says what is wrong, or how many lines were passed over.  @ret is left empty on failure.
 * Return: 0; an exit status of commands.h: EXIT_DATA for a bad trace, EXIT_USAGE if it cannot be opened.
 */
int reader_load(const char *command, const char *path, const struct reader_options *o, bool is_quiet,
		struct loaded_trace *ret);
void reader_unload(struct loaded_trace *l);

#endif
