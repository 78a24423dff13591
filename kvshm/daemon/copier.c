/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/copier.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/usdt.h"
#include "kvshm/base/wait.h"
#include "kvshm/daemon/lcore.h"
#include "kvshm/daemon/put.h"
#include "kvshm/daemon/session.h"
#include "kvshm/stats/statpage.h"

#define NR_MAIL 8192u /* > SESSION_MAX * KVSHM_STAGING_SLICES */
#define HEARTBEAT_MS 500

_Static_assert(NR_MAIL > SESSION_MAX * KVSHM_STAGING_SLICES, "every slice finds room");

int copier_init(struct copier *c, unsigned number, struct mailbox *out, struct statpage *stats)
{
	char name[32];

	*c = (struct copier){ .out = out, .stats = stats, .number = number };
	snprintf(name, sizeof(name), "copy-%u", number);
	return mailbox_init(&c->in, name, 1, NR_MAIL);
}

void copier_fini(struct copier *c)
{
	mailbox_fini(&c->in);
}

/* The client may go on writing into the slice: what was copied is what was summed. */
static void copy_slice(struct slice *sl)
{
	struct checksum_state *sum = &sl->put->sum;

	if (sl->is_first)
		checksum_init(sum);
	USDT(copy_start, (uintptr_t)sl, (uintptr_t)sl->src, (uintptr_t)sl->dst, sl->len);
	checksum_copy(sum, sl->dst, sl->src, sl->len);
	USDT(copy_done, (uintptr_t)sl, sl->len);
	if (sl->is_last)
		sl->put->rec[sl->rec].checksum = checksum_digest(sum);
}

static void copy_timed(struct copier *c, struct slice *sl)
{
	uint64_t start_ns = clock_ns();

	copy_slice(sl);
	WRITE_ONCE(c->busy_ns, c->busy_ns + clock_ns() - start_ns);
}

static void beat(struct copier *c)
{
	uint64_t now = clock_ns();

	if (now - c->heartbeat_ns < HEARTBEAT_MS * 1000000ull)
		return;
	c->heartbeat_ns = now;
	stat_heartbeat(c->stats, 2 + c->number, now);
}

static void sleep_for_mail(struct copier *c)
{
	struct pollfd p = { .fd = c->in.event_fd, .events = POLLIN };

	mailbox_arm(&c->in);
	if (!mailbox_has_mail(&c->in))
		poll(&p, 1, HEARTBEAT_MS);
	mailbox_disarm(&c->in);
}

int copier_main(void *copier)
{
	struct copier *c = copier;
	struct mail m;
	struct wait w;

	lcore_name("kvshmd-copy");
	beat(c);
	wait_init(&w);
	wait_begin(&w);
	for (;;) {
		if (mailbox_take(&c->in, &m)) {
			if (m.type == MAIL_QUIT)
				return 0;
			wait_end(&w, true);
			copy_timed(c, m.ptr);
			mailbox_send(c->out, LANE_COPIER + c->number, MAIL_COPIED, m.ptr, 0);
			wait_begin(&w);
		} else if (!wait_step(&w)) {
			beat(c);
			sleep_for_mail(c);
			wait_end(&w, false);
			wait_begin(&w);
		}
		beat(c);
	}
}
