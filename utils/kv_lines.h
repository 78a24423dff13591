/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_lines.h - lines of text to all who connect to a socket
 *
 * Nobody is waited for: what a listener does not take at once waits here, up to a limit, and past that he is
 * disconnected; he connects again and begins anew.  What listeners say is passed over.  One thread.
 */
#ifndef UTILS_KV_LINES_H
#define UTILS_KV_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define KV_LINES_MAX 16u		/* listeners */

struct kv_lines;

/* @where: as http_listen().  Return: as that. */
int kv_lines_open(const char *where, struct kv_lines **ret_l);
struct kv_lines *kv_lines_close(struct kv_lines *l);

/* A greeting for who comes, in memory from malloc(); NULL: none. */
typedef char *(*kv_lines_greet_fn)(void *arg, size_t *ret_len);

/* Let in who waits, go on with what is due, part with who has gone. */
void kv_lines_serve(struct kv_lines *l, kv_lines_greet_fn greet, void *arg);

bool kv_lines_has_listeners(const struct kv_lines *l);
void kv_lines_send(struct kv_lines *l, const char *text, size_t len);

#endif
