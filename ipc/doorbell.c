/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorbell.c - wake a sleeping writer; wake a sleeping client
 *
 *   producer                        sleeper
 *   store tail                      store asleep = 1
 *   fence (DB-1)                    fence (DB-1)
 *   load asleep: 1? ring            load tails: something? do not sleep
 *
 * With both fences at least one of the two loads sees the other side's store, so an entry is seen
 * by the second look or its doorbell is rung.  Without either fence both may read the old value:
 * the entry waits until something else wakes the sleeper.
 */
#include "ipc/doorbell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ipc/handshake.h"
#include "ipc/sock.h"
#include "kvshm/base/atomic.h"

int doorbell_create(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int doorbell_ring(int fd, const uint32_t *writer_asleep)
{
	static const uint64_t one = 1;

	/* DB-1: our tail before the look at the flag; pairs with doorbell_arm(). */
	smp_mb();
	if (!READ_ONCE(*writer_asleep))
		return 0;
	/* EAGAIN: the counter is at its end, so it is rung already. */
	if (write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return 1;
}

void doorbell_arm(uint32_t *writer_asleep)
{
	WRITE_ONCE(*writer_asleep, 1);
	/* DB-1: the flag before the second look at the rings; pairs with doorbell_ring(). */
	smp_mb();
}

void doorbell_disarm(uint32_t *writer_asleep)
{
	WRITE_ONCE(*writer_asleep, 0);
}

int doorbell_wake_client(int sock, struct kvshm_segment *hdr)
{
	struct kvshm_msg_plain wake;
	int ret;

	/* DB-1: our tail before the look at the flag; pairs with doorbell_client_arm(). */
	smp_mb();
	if (!READ_ONCE(hdr->client_asleep))
		return 0;
	handshake_plain(&wake, KVSHM_MSG_WAKE, 0, 0);
	ret = sock_send(sock, &wake, sizeof(wake), NULL, 0);
	/* Its socket is full: it is readable, so nobody sleeps on it. */
	return ret == 0 || ret == -EAGAIN ? 1 : ret;
}

void doorbell_client_arm(struct kvshm_segment *hdr)
{
	WRITE_ONCE(hdr->client_asleep, 1);
	/* DB-1: the flag before the second look at the CQ; pairs with doorbell_wake_client(). */
	smp_mb();
}

void doorbell_client_disarm(struct kvshm_segment *hdr)
{
	WRITE_ONCE(hdr->client_asleep, 0);
}
