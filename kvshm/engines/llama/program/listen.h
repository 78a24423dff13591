/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h - a socket at PORT, HOST:PORT or unix:PATH */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_LISTEN_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_LISTEN_H

#include <stdbool.h>

#define LISTEN_NAME_MAX 512

/**
 * struct listener - where requests arrive
 * @fd: listening
 * @name: as a client writes it: http://127.0.0.1:8080 or unix:/path
 * @path: of a Unix socket, else empty
 * @is_open: other machines can reach it
 */
struct listener {
	int fd;
	char name[LISTEN_NAME_MAX], path[108];
	bool is_open;
};

/**
 * listener_open() - bind and listen
 * @address: a bare port is one of 127.0.0.1, port 0 any that is free; of a Unix socket that nobody listens at
 *	the file is made anew, for its owner alone
 * Return: 0; -EINVAL not an address; -EADDRINUSE and other -errno of bind().
 */
int listener_open(const char *address, struct listener *ret_l);

/**
 * listener_close() - close, and remove a Unix socket's file
 */
void listener_close(struct listener *l);

#endif
