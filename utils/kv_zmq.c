/* SPDX-License-Identifier: Apache-2.0 */
/* kv_zmq.c - kv_zmq.h on libzmq; no other file knows the library */
#include "utils/kv_zmq.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define KEEP_BYTES (256u << 20)		/* of all payloads that are kept */
#define QUEUE_MAX 2000			/* messages that wait for one listener */
#define ASK_LEN 8			/* bytes of a number */
#define ASKS_MAX 16			/* answered at once */
#define PEER_MAX 256			/* bytes of a peer's identity: libzmq's own limit */

struct kept {
	uint64_t number;
	zmq_msg_t payload;		/* shared with what is on its way */
};

struct kv_zmq {
	void *ctx, *pub, *router;
	const char *topic;
	struct kept *kept;		/* ring of @max */
	size_t max, first, nr, bytes;
	uint64_t next;			/* number of the next message */
};

/* ---- sockets ------------------------------------------------------------------------------------------- */

static int zmq_err(void)
{
	/* Its own numbers, an unknown interface or transport mean that it cannot be an endpoint. */
	return errno >= ZMQ_HAUSNUMERO || errno == ENODEV || errno == EPROTONOSUPPORT ? -EINVAL : -errno;
}

static void *make_socket(struct kv_zmq *z, int type, int queue_max)
{
	const int no_linger = 0, yes = 1;
	void *s = zmq_socket(z->ctx, type);

	if (!s)
		return NULL;
	zmq_setsockopt(s, ZMQ_LINGER, &no_linger, sizeof(no_linger));
	zmq_setsockopt(s, ZMQ_SNDHWM, &queue_max, sizeof(queue_max));
	zmq_setsockopt(s, ZMQ_IPV6, &yes, sizeof(yes));
	if (type == ZMQ_XPUB)
		zmq_setsockopt(s, ZMQ_XPUB_VERBOSE, &yes, sizeof(yes));
	return s;
}

static int bind_to(void *s, const char *endpoint)
{
	const mode_t old = umask(0117);	/* of a socket in the file system */
	int ret = zmq_bind(s, endpoint) < 0 ? zmq_err() : 0;

	umask(old);
	return ret;
}

static int open_sockets(struct kv_zmq *z, const struct kv_zmq_config *cfg, const char **ret_where)
{
	int ret = 0;

	z->pub = make_socket(z, ZMQ_XPUB, QUEUE_MAX);
	/* Room for one whole replay: who does not read it gets no second one. */
	z->router = cfg->replay ? make_socket(z, ZMQ_ROUTER, (int)cfg->keep + 2) : NULL;
	if (!z->pub || (cfg->replay && !z->router))
		return -errno;
	if (cfg->bind) {
		*ret_where = cfg->bind;
		ret = bind_to(z->pub, cfg->bind);
	}
	if (ret == 0 && cfg->connect) {
		*ret_where = cfg->connect;
		ret = zmq_connect(z->pub, cfg->connect) < 0 ? zmq_err() : 0;
	}
	if (ret == 0 && cfg->replay) {
		*ret_where = cfg->replay;
		ret = bind_to(z->router, cfg->replay);
	}
	return ret;
}

int kv_zmq_open(const struct kv_zmq_config *cfg, struct kv_zmq **ret_z, const char **ret_where)
{
	struct kv_zmq *z = calloc(1, sizeof(*z));
	int ret;

	*ret_where = "";
	if (!z)
		return -ENOMEM;
	z->topic = cfg->topic;
	z->max = cfg->replay ? cfg->keep : 0;
	z->kept = calloc(z->max + 1, sizeof(*z->kept));
	z->ctx = zmq_ctx_new();
	ret = !z->kept || !z->ctx ? -ENOMEM : open_sockets(z, cfg, ret_where);
	if (ret < 0) {
		kv_zmq_close(z);
		return ret;
	}
	*ret_z = z;
	return 0;
}

static void forget_oldest(struct kv_zmq *z)
{
	struct kept *k = &z->kept[z->first];

	z->bytes -= zmq_msg_size(&k->payload);
	zmq_msg_close(&k->payload);
	z->first = (z->first + 1) % z->max;
	z->nr--;
}

struct kv_zmq *kv_zmq_close(struct kv_zmq *z)
{
	if (!z)
		return NULL;
	while (z->nr)
		forget_oldest(z);
	if (z->pub)
		zmq_close(z->pub);
	if (z->router)
		zmq_close(z->router);
	if (z->ctx)
		zmq_ctx_term(z->ctx);
	free(z->kept);
	free(z);
	return NULL;
}

/* ---- publishing ---------------------------------------------------------------------------------------- */

static void free_payload(void *payload, void *hint)
{
	(void)hint;
	free(payload);
}

/* One more reference to the same bytes.  Return: false, the queue is full or the peer has gone. */
static bool send_shared(void *s, zmq_msg_t *payload)
{
	zmq_msg_t copy;

	zmq_msg_init(&copy);
	if (zmq_msg_copy(&copy, payload) == 0 && zmq_msg_send(&copy, s, ZMQ_DONTWAIT) >= 0)
		return true;
	zmq_msg_close(&copy);
	return false;
}

/* Topic, number, payload: what publishing and replay have in common. */
static bool send_parts(void *s, const char *topic, uint64_t number, zmq_msg_t *payload)
{
	const uint64_t be = htobe64(number);

	return zmq_send(s, topic, strlen(topic), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
	       zmq_send(s, &be, sizeof(be), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 && send_shared(s, payload);
}

static void keep(struct kv_zmq *z, uint64_t number, zmq_msg_t *payload)
{
	const size_t len = zmq_msg_size(payload);
	struct kept *k;

	if (!z->max)
		return;
	while (z->nr && (z->nr == z->max || z->bytes + len > KEEP_BYTES))
		forget_oldest(z);
	k = &z->kept[(z->first + z->nr) % z->max];
	k->number = number;
	zmq_msg_init(&k->payload);
	if (zmq_msg_copy(&k->payload, payload) < 0)
		return;
	z->bytes += len;
	z->nr++;
}

void kv_zmq_send(struct kv_zmq *z, uint64_t number, void *payload, size_t len)
{
	zmq_msg_t msg;

	z->next = number + 1;
	if (zmq_msg_init_data(&msg, payload, len, free_payload, NULL) < 0) {
		free(payload);
		return;
	}
	send_parts(z->pub, z->topic, number, &msg);
	keep(z, number, &msg);
	zmq_msg_close(&msg);
}

/* ---- replay -------------------------------------------------------------------------------------------- */

struct ask {
	uint8_t peer[PEER_MAX];
	size_t peer_len;
	uint64_t from;
};

/* The next frame of the message.  Return: its bytes, cut at @max; -1 it is over, or there is none. */
static int receive_frame(void *s, void *buf, size_t max, bool *ret_more)
{
	size_t len = sizeof(int);
	int more = 0, got = zmq_recv(s, buf, max, ZMQ_DONTWAIT);

	if (got >= 0)
		zmq_getsockopt(s, ZMQ_RCVMORE, &more, &len);
	*ret_more = more;
	return got;
}

/* Return: 1 an ask, 0 something else, passed over; -1 nothing waits. */
static int receive_ask(void *s, struct ask *a)
{
	uint8_t empty[1];
	uint64_t number = 0;
	bool more;
	int got = receive_frame(s, a->peer, sizeof(a->peer), &more);
	bool is_good = got > 0 && got <= PEER_MAX && more;

	if (got < 0)
		return -1;
	a->peer_len = (size_t)got;
	if (more)
		is_good &= receive_frame(s, empty, sizeof(empty), &more) == 0 && more;
	if (more)
		is_good &= receive_frame(s, &number, sizeof(number), &more) == ASK_LEN && !more;
	is_good &= !more;
	while (more)
		receive_frame(s, empty, sizeof(empty), &more);
	a->from = be64toh(number);
	return is_good;
}

static bool answer(struct kv_zmq *z, const struct ask *a, const char *topic, uint64_t number, zmq_msg_t *payload)
{
	return zmq_send(z->router, a->peer, a->peer_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
	       zmq_send(z->router, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 && send_parts(z->router, topic, number, payload);
}

static void answer_all(struct kv_zmq *z, const struct ask *a, kv_zmq_all_fn all, void *arg)
{
	size_t len;
	void *payload = all(arg, &len);
	zmq_msg_t msg;

	if (!payload)
		return;
	if (zmq_msg_init_data(&msg, payload, len, free_payload, NULL) < 0) {
		free(payload);
		return;
	}
	answer(z, a, z->topic, z->next - 1, &msg);
	zmq_msg_close(&msg);
}

static void answer_kept(struct kv_zmq *z, const struct ask *a)
{
	for (size_t i = 0; i < z->nr; i++) {
		struct kept *k = &z->kept[(z->first + i) % z->max];

		if (k->number >= a->from && !answer(z, a, z->topic, k->number, &k->payload))
			return;
	}
}

static void answer_ask(struct kv_zmq *z, const struct ask *a, kv_zmq_all_fn all, void *arg)
{
	const uint64_t oldest = z->nr ? z->kept[z->first].number : z->next;
	zmq_msg_t end;

	if (a->from < oldest)
		answer_all(z, a, all, arg);
	else
		answer_kept(z, a);
	zmq_msg_init(&end);
	answer(z, a, "", UINT64_MAX, &end);
	zmq_msg_close(&end);
}

/* A subscription begins with 1, its end with 0. */
static bool is_somebody_new(struct kv_zmq *z)
{
	bool is_new = false, more;
	uint8_t first;

	for (unsigned i = 0; i < ASKS_MAX && receive_frame(z->pub, &first, 1, &more) > 0; i++)
		is_new |= first == 1;
	return is_new;
}

bool kv_zmq_serve(struct kv_zmq *z, kv_zmq_all_fn all, void *arg)
{
	struct ask a;
	int got;

	for (unsigned i = 0; z->router && i < ASKS_MAX && (got = receive_ask(z->router, &a)) >= 0; i++)
		if (got)
			answer_ask(z, &a, all, arg);
	return is_somebody_new(z);
}
