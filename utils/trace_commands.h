/* SPDX-License-Identifier: Apache-2.0 */
/* trace_commands.h - what `kvshm trace` dispatches to; argv[0] is the command, returns an exit status */
#ifndef UTILS_TRACE_COMMANDS_H
#define UTILS_TRACE_COMMANDS_H

int trace_characterise(int argc, char **argv);
int trace_gen(int argc, char **argv);
int trace_record(int argc, char **argv);

#endif
