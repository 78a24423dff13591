/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_zmq.h - messages of KV events over ZeroMQ, as vLLM's publisher sends them
 *
 * Publishing: topic, number (8 bytes, big-endian), payload.  Replay, on a socket of its own: a request {empty, number}
 * is answered by all messages from that number on, each {empty, topic, number, payload}, and {empty, empty, -1,
 * empty} after the last.  Nobody is waited for: who is too slow misses messages, and sees it by the numbers.
 * One thread.
 */
#ifndef UTILS_KV_ZMQ_H
#define UTILS_KV_ZMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_zmq;

struct kv_zmq_config {
	const char *bind, *connect;	/* where to publish, each may be NULL */
	const char *replay;		/* NULL: no replay */
	const char *topic;
	size_t keep;			/* messages for replay */
};

/**
 * kv_zmq_open() - @ret_where: the endpoint of @cfg that could not be used
 * A socket of the file system gets mode 0660.  Return: 0; -EINVAL not an endpoint, -errno.
 */
int kv_zmq_open(const struct kv_zmq_config *cfg, struct kv_zmq **ret_z, const char **ret_where);
struct kv_zmq *kv_zmq_close(struct kv_zmq *z);

/* @payload: from malloc(), ours from now on.  Numbers ascend by one. */
void kv_zmq_send(struct kv_zmq *z, uint64_t number, void *payload, size_t len);

/* All that is known now, as the payload of one message; NULL: nothing is, or no memory. */
typedef void *(*kv_zmq_all_fn)(void *arg, size_t *ret_len);

/**
 * kv_zmq_serve() - answer who asks for a replay
 * Who asks for messages that are no longer kept gets @all instead, numbered as the last one sent.
 * Return: true: somebody has begun to listen.
 */
bool kv_zmq_serve(struct kv_zmq *z, kv_zmq_all_fn all, void *arg);

#endif
