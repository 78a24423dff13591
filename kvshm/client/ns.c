/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ns.c - namespaces: the handle's own numbers, stable over restarts, and those of the content
 *
 * A number on the wire belongs to one content.  After a cold restart it is looked up anew in the
 * read-only table; only a namespace that is not there costs a message.
 */
#include "kvshm/arena/namespace.h"

#include <stdlib.h>

#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

static bool desc_fits(const struct kvshm_ns_entry *e, const struct kvshm_ns_desc *d)
{
	return e->block_len == d->block_len && e->block_tokens == d->block_tokens &&
	       !memcmp(e->layout, d->layout, sizeof(e->layout));
}

/* Look it up in the table.  Return: 0; -ENODATA; -EMEDIUMTYPE. */
static int look_up(struct kvshm *k, struct client_ns *n)
{
	const struct content *c = k->cur->content;
	int wire = ns_find(&c->dir, n->desc.fingerprint);

	if (wire < 0)
		return -ENODATA;
	if (!desc_fits(&c->dir.ns[wire], &n->desc))
		return -EMEDIUMTYPE;
	n->wire = (uint16_t)wire;
	n->serial = c->serial;
	return 0;
}

int ns_wire(struct kvshm *k, uint32_t ns, uint16_t *ret_wire)
{
	struct client_ns *n;
	int ret;

	if (ns == 0 || ns > k->nr_ns)
		return -EINVAL;
	n = &k->ns[ns];
	if (n->serial != k->cur->content->serial) {
		ret = look_up(k, n);
		if (ret < 0)
			return ret;
	}
	*ret_wire = n->wire;
	return 0;
}

/* Send ATTACH_NS. */
static int ask(struct kvshm *k, uint32_t ns, struct op **ret_op)
{
	const struct kvshm_ns_desc *d = &k->ns[ns].desc;
	struct kvshm_sqe sqe = { .nr = 1 };
	struct kvshm_ns_args a = { .block_len = d->block_len, .block_tokens = d->block_tokens };
	struct op *op;
	void *args;
	int ret;

	ret = submit_reserve(k, OP_NS, KVSHM_OP_ATTACH_NS, sizeof(a), &op, &args);
	if (ret < 0)
		return ret;
	memcpy(a.fingerprint, d->fingerprint, sizeof(a.fingerprint));
	memcpy(a.layout, d->layout, sizeof(a.layout));
	memcpy(a.label, d->label, sizeof(a.label));
	memcpy(args, &a, sizeof(a));
	op->ns = ns;
	k->ns[ns].is_asked = true;
	k->ns[ns].error = 0;
	*ret_op = op;
	return submit_push(k, op, &sqe, sizeof(a));
}

void ns_complete(struct kvshm *k, struct op *op, int32_t res)
{
	struct client_ns *n = &k->ns[op->ns];

	n->is_asked = false;
	if (res < 0) {
		n->error = res;
		return;
	}
	if (res == 0 || (uint32_t)res >= k->cur->content->dir.max_ns) {
		n->error = -EPROTO;
		return;
	}
	n->wire = (uint16_t)res;
	n->serial = k->cur->content->serial;
}

int ns_wire_put(struct kvshm *k, uint32_t ns, uint16_t *ret_wire)
{
	int ret = ns_wire(k, ns, ret_wire);
	struct op *op;

	if (ret != -ENODATA)
		return ret;
	if (k->ns[ns].error < 0 && k->ns[ns].error != -ECONNRESET)
		return k->ns[ns].error;
	if (!k->ns[ns].is_asked)
		ask(k, ns, &op);
	return -ECONNRESET;		/* not served again yet */
}

/* Ask and wait.  Return: 0, -errno. */
static int attach_by_message(struct kvshm *k, uint32_t ns)
{
	uint64_t deadline = clock_ns() + (uint64_t)k->timeout_ms * 1000000u;
	struct client_ns *n = &k->ns[ns];
	struct op *op;
	int ret;

	ret = client_enter(k);
	if (ret < 0)
		return ret;
	ret = ask(k, ns, &op);
	while (ret >= 0 && n->is_asked) {
		ret = poll_wait(k, deadline);
		if (ret == 0)
			return -ETIMEDOUT;
		poll_drain(k);
	}
	if (ret < 0)
		return ret;
	return n->error;
}

/* Number of a namespace that the handle has already, or 0. */
static uint32_t known(const struct kvshm *k, const struct kvshm_ns_desc *desc)
{
	uint32_t i;

	for (i = 1; i <= k->nr_ns; i++)
		if (!memcmp(k->ns[i].desc.fingerprint, desc->fingerprint, sizeof(desc->fingerprint)))
			return i;
	return 0;
}

static bool is_same(const struct kvshm_ns_desc *a, const struct kvshm_ns_desc *b)
{
	return a->block_len == b->block_len && a->block_tokens == b->block_tokens &&
	       !memcmp(a->layout, b->layout, sizeof(a->layout));
}

static bool desc_is_valid(const struct kvshm_ns_desc *d)
{
	return d->block_len >= KVSHM_BLOCK_MIN && d->block_len <= KVSHM_BLOCK_MAX &&
	       d->block_tokens && d->block_tokens <= UINT16_MAX &&
	       memchr(d->label, '\0', sizeof(d->label));
}

static int append(struct kvshm *k, const struct kvshm_ns_desc *desc)
{
	struct client_ns *ns;

	if (k->nr_ns >= CLIENT_NS_MAX)
		return -ENOSPC;
	ns = realloc(k->ns, (k->nr_ns + 2) * sizeof(*ns));
	if (!ns)
		return -ENOMEM;
	k->ns = ns;
	ns[k->nr_ns + 1] = (struct client_ns){ .desc = *desc };
	return 0;
}

/* The label as the daemon wants it: zero behind its end. */
static void label_pad(struct kvshm_ns_desc *d)
{
	size_t len = strlen(d->label);

	memset(d->label + len, 0, sizeof(d->label) - len);
}

__public int kvshm_attach_ns(struct kvshm *k, const struct kvshm_ns_desc *desc, uint32_t *ret_ns)
{
	struct kvshm_ns_desc d = *desc;
	uint32_t ns;
	uint16_t wire;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!desc_is_valid(&d))
		return -EINVAL;
	label_pad(&d);
	ns = known(k, &d);
	if (ns && !is_same(&k->ns[ns].desc, &d))
		return -EMEDIUMTYPE;
	if (!ns) {
		ret = append(k, &d);
		if (ret < 0)
			return ret;
		ns = ++k->nr_ns;
	}
	ret = k->cur ? ns_wire(k, ns, &wire) : -ENODATA;
	if (ret == -ENODATA)
		ret = attach_by_message(k, ns);
	if (ret < 0) {
		/* Only the last can be forgotten: no op may name it any more, and no number is out. */
		if (ns == k->nr_ns && !k->ns[ns].is_asked && !k->ns[ns].is_out)
			k->nr_ns--;
		return ret;
	}
	k->ns[ns].is_out = true;
	*ret_ns = ns;
	return 0;
}
