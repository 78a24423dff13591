/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/session.h"

#include <string.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

void session_init(struct session *s, unsigned index)
{
	memset(s, 0, sizeof(*s));
	s->index = index;
	s->sock = s->pin_fd = s->segment_fd = s->doorbell_fd = s->staging_fd = -1;
	s->peer.pidfd = -1;
	s->q.node = -1;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void session_release(struct session *s)
{
	if (s->q.seg.hdr)
		segment_unmap(&s->q.seg);
	if (s->q.staging)
		staging_unmap(s->q.staging);
	close_fd(&s->sock);
	close_fd(&s->pin_fd);
	close_fd(&s->segment_fd);
	close_fd(&s->doorbell_fd);
	close_fd(&s->staging_fd);
	close_fd(&s->peer.pidfd);
	session_init(s, s->index);
}

const char *offence_name(enum offence o)
{
	static const char *const names[] = {
		[OFFENCE_RING] = "impossible ring index",
		[OFFENCE_ENTRIES] = "too many malformed entries",
		[OFFENCE_STAGING] = "impossible staging index",
		[OFFENCE_PINS] = "pins past twice the quota",
		[OFFENCE_MESSAGE] = "malformed or unexpected message",
		[OFFENCE_SEAL] = "segment changed before it was sealed",
		[OFFENCE_TIMEOUT] = "handshake not finished in time",
	};

	return (unsigned)o < ARRAY_SIZE(names) ? names[o] : "unknown";
}
