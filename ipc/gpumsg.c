/* SPDX-License-Identifier: Apache-2.0 */
/* gpumsg.c - what kvshm-gpud says and hears: lengths and padding */
#include "ipc/gpumsg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/sock.h"
#include "kvshm/base/compiler.h"

_Static_assert(sizeof(struct gpumsg_piece) == 120, "piece");
_Static_assert(sizeof(union gpumsg) <= SOCK_MSG_MAX, "a message fits a frame");

static const struct {
	uint16_t len, rec_len;		/* without records; of one */
	uint16_t max_nr, nr_at;		/* records at most; where their number is */
} shapes[] = {
	[GPUMSG_HELLO - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_hello) },
	[GPUMSG_WELCOME - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_welcome) },
	[GPUMSG_REGISTER - GPUMSG_HELLO] = { offsetof(struct gpumsg_register, piece), sizeof(struct gpumsg_piece),
					     GPUMSG_PIECES_MAX, offsetof(struct gpumsg_register, nr) },
	[GPUMSG_BUFFER - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_buffer) },
	[GPUMSG_DETACH - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_buffer) },
	[GPUMSG_DETACHED - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_buffer) },
	[GPUMSG_LINK - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_link) },
	[GPUMSG_JOB - GPUMSG_HELLO] = { offsetof(struct gpumsg_job, rec), sizeof(struct kvshm_stage_rec), KVSHM_STAGE_MAX,
					offsetof(struct gpumsg_job, nr) },
	[GPUMSG_DONE - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_done) },
	[GPUMSG_POOL_OPEN - GPUMSG_HELLO] = { .len = sizeof(struct kvshm_msg_hdr) },
	[GPUMSG_POOL - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_pool) },
	[GPUMSG_HOLD - GPUMSG_HELLO] = { offsetof(struct gpumsg_refs, ref), sizeof(struct kvshm_block_ref), GPUMSG_HOLD_MAX,
					 offsetof(struct gpumsg_refs, nr) },
	[GPUMSG_HELD - GPUMSG_HELLO] = { offsetof(struct gpumsg_held, off), sizeof(uint64_t), GPUMSG_HOLD_MAX,
					 offsetof(struct gpumsg_held, nr) },
	[GPUMSG_RELEASE - GPUMSG_HELLO] = { offsetof(struct gpumsg_refs, ref), sizeof(struct kvshm_block_ref),
					    GPUMSG_HOLD_MAX, offsetof(struct gpumsg_refs, nr) },
	[GPUMSG_RELEASED - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_released) },
	[GPUMSG_POOL_CLOSE - GPUMSG_HELLO] = { .len = sizeof(struct kvshm_msg_hdr) },
	[GPUMSG_POOL_CLOSED - GPUMSG_HELLO] = { .len = sizeof(struct kvshm_msg_hdr) },
	[GPUMSG_POOL_STATS - GPUMSG_HELLO] = { .len = sizeof(struct gpumsg_pool_stats) },
};
_Static_assert(ARRAY_SIZE(shapes) == GPUMSG_LAST - GPUMSG_HELLO, "a message without a shape");

size_t gpumsg_len(enum gpumsg_type type, uint32_t nr)
{
	return shapes[type - GPUMSG_HELLO].len + (size_t)shapes[type - GPUMSG_HELLO].rec_len * nr;
}

size_t gpumsg_begin(union gpumsg *m, enum gpumsg_type type, uint32_t nr)
{
	size_t len = gpumsg_len(type, nr);

	m->hdr = (struct kvshm_msg_hdr){ .magic = KVSHM_MSG_MAGIC, .type = (uint16_t)type, .len = (uint16_t)len };
	return len;
}

static uint32_t nr_of(const union gpumsg *m)
{
	uint32_t nr;

	memcpy(&nr, (const char *)m + shapes[m->hdr.type - GPUMSG_HELLO].nr_at, sizeof(nr));
	return nr;
}

static int check_fields(const union gpumsg *m)
{
	switch (m->hdr.type) {
	case GPUMSG_HELLO:
		return m->hello.abi == KVSHM_ABI ? 0 : -EPROTONOSUPPORT;
	case GPUMSG_WELCOME:
		return m->welcome.abi == KVSHM_ABI ? 0 : -EPROTONOSUPPORT;
	case GPUMSG_LINK:
		return m->link.abi == KVSHM_ABI ? 0 : -EPROTONOSUPPORT;
	case GPUMSG_REGISTER:
		return m->reg.resv ? -EBADMSG : 0;
	case GPUMSG_DETACH:
		return m->buffer.token || m->buffer.len || m->buffer.error || m->buffer.resv ? -EBADMSG : 0;
	case GPUMSG_BUFFER:
	case GPUMSG_DETACHED:
		return m->buffer.resv || m->buffer.error > 0 ? -EBADMSG : 0;
	case GPUMSG_DONE:
		return m->done.flags & ~GPUMSG_DONE_F_KNOWN ? -EBADMSG : 0;
	case GPUMSG_POOL:
		return m->pool.resv || m->pool.error > 0 ? -EBADMSG : 0;
	case GPUMSG_HOLD:
		return m->refs.resv ? -EBADMSG : 0;
	case GPUMSG_RELEASE:
		return m->refs.resv || m->refs.request || m->refs.ns ? -EBADMSG : 0;
	case GPUMSG_HELD:
		return m->held.error > 0 ? -EBADMSG : 0;
	case GPUMSG_RELEASED:
		return m->released.error > 0 || m->released.nr > GPUMSG_HOLD_MAX ? -EBADMSG : 0;
	default:
		return 0;
	}
}

int gpumsg_check(const union gpumsg *m, size_t len)
{
	uint16_t type;
	uint32_t nr = 0;
	int ret;

	if (len < sizeof(m->hdr) || m->hdr.magic != KVSHM_MSG_MAGIC || m->hdr.len != len)
		return -EBADMSG;
	type = m->hdr.type;
	if (type < GPUMSG_HELLO || type >= GPUMSG_LAST || len < shapes[type - GPUMSG_HELLO].len)
		return -EBADMSG;
	if (shapes[type - GPUMSG_HELLO].rec_len) {
		nr = nr_of(m);
		if (!nr || nr > shapes[type - GPUMSG_HELLO].max_nr)
			return -EBADMSG;
	}
	if (len != gpumsg_len(type, nr))
		return -EBADMSG;
	ret = check_fields(m);
	return ret < 0 ? ret : type;
}

int gpumsg_path(const char *daemon_socket, const char *name, char *buf, size_t len)
{
	const char *slash = strrchr(daemon_socket, '/');
	int dir = slash ? (int)(slash - daemon_socket) + 1 : 0;
	int n = snprintf(buf, len, "%.*s%s", dir, daemon_socket, name);

	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}
