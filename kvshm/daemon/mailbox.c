/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "kvshm/base/atomic.h"

_Static_assert(sizeof(struct mail) == 16, "an element of the ring");

static int make_lane(struct mailbox *m, const char *name, unsigned lane, unsigned nr)
{
	char full[RTE_RING_NAMESIZE];

	snprintf(full, sizeof(full), "%s-%u", name, lane);
	m->lane[lane] = rte_ring_create_elem(full, sizeof(struct mail), nr, SOCKET_ID_ANY,
					     RING_F_SP_ENQ | RING_F_SC_DEQ);
	return m->lane[lane] ? 0 : -rte_errno;
}

int mailbox_init(struct mailbox *m, const char *name, unsigned nr_lanes, unsigned nr)
{
	int ret = 0;

	memset(m, 0, sizeof(*m));
	m->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (m->event_fd < 0)
		return -errno;
	m->nr_lanes = nr_lanes;
	for (unsigned i = 0; i < nr_lanes && ret == 0; i++)
		ret = make_lane(m, name, i, nr);
	if (ret < 0)
		mailbox_fini(m);
	return ret;
}

void mailbox_fini(struct mailbox *m)
{
	if (!m->nr_lanes)
		return;
	for (unsigned i = 0; i < m->nr_lanes; i++)
		rte_ring_free(m->lane[i]);
	close(m->event_fd);
	memset(m, 0, sizeof(*m));
}

void mailbox_send(struct mailbox *m, unsigned lane, enum mail_type type, void *ptr, uint32_t arg)
{
	struct mail mail = { .type = type, .arg = arg, .ptr = ptr };
	const uint64_t one = 1;
	int ret = rte_ring_enqueue_elem(m->lane[lane], &mail, sizeof(mail));

	assert(ret == 0);
	/* TH-1: the message before the look at the flag; pairs with mailbox_arm(). */
	smp_mb();
	if (READ_ONCE(m->asleep) && write(m->event_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* full: it is readable already */
}

int mailbox_take(struct mailbox *m, struct mail *ret)
{
	for (unsigned i = 0; i < m->nr_lanes; i++)
		if (rte_ring_dequeue_elem(m->lane[i], ret, sizeof(*ret)) == 0)
			return 1;
	return 0;
}

bool mailbox_has_mail(const struct mailbox *m)
{
	/* rte_ring_empty() with loads that may meet a store. */
	for (unsigned i = 0; i < m->nr_lanes; i++)
		if (READ_ONCE(m->lane[i]->prod.tail) != READ_ONCE(m->lane[i]->cons.tail))
			return true;
	return false;
}

void mailbox_arm(struct mailbox *m)
{
	WRITE_ONCE(m->asleep, 1);
	/* TH-1: the flag before the second look; pairs with mailbox_send(). */
	smp_mb();
}

void mailbox_disarm(struct mailbox *m)
{
	uint64_t n;

	WRITE_ONCE(m->asleep, 0);
	if (read(m->event_fd, &n, sizeof(n)) < 0)
		assert(errno == EAGAIN); /* nobody rang */
}
