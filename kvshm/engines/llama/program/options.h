/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - command line of kvshm-llama */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_OPTIONS_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_OPTIONS_H

#include <stdbool.h>

/**
 * struct options - what the user asked for; strings live as long as argv and the environment
 * @model: never NULL after options_parse(): it may point to static memory
 * @serve: PORT, HOST:PORT or unix:PATH to answer requests at; NULL: one question, then the end
 * @question: "-": read from standard input once all is loaded and attached
 */
struct options {
	const char *model, *prompt_file, *question, *socket, *instance, *serve;
	unsigned nr_predict, block_tokens, threads;
	bool no_cache, json;
};

/**
 * options_parse() - read the command line; prints help, version or what is wrong itself
 * Return: -1: go on; else the exit status.
 */
int options_parse(int argc, char **argv, struct options *ret_o);

#endif
