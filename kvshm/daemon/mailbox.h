/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox.h - messages between the daemon's threads: rte_rings and a way to wake their reader
 *
 * One receives, each sender has a lane of its own.  (rte_ring's multi-producer mode hands the tail on by a
 * relaxed load, so the last producer's release does not cover the elements of the others: TSan says so.)
 * The receiver announces its sleep and looks once more (TH-1), so a sender rings only for a sleeper.
 */
#ifndef KVSHM_DAEMON_MAILBOX_H
#define KVSHM_DAEMON_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

struct rte_ring;

enum mail_type {
	/* main -> writer */
	MAIL_PINS, /* .ptr session: take its pin file into the scan set */
	MAIL_SERVE, /* .ptr session: its segment is sealed, serve it */
	MAIL_STOP, /* .ptr session: touch its queue no more; pins go on counting */
	MAIL_REMOVE, /* .ptr session: its owner is gone, take everything back */
	MAIL_LINK, /* .arg descriptor: kvshm-gpud has come */
	MAIL_QUIT,
	/* grower -> writer */
	MAIL_EXTENT, /* .ptr struct arena with one more extent; the writer's to free */
	/* copy lcore -> writer */
	MAIL_COPIED, /* .ptr struct slice */
	/* writer -> main */
	MAIL_PINS_DONE, /* .ptr session, .arg 0 or errno */
	MAIL_STOPPED,
	MAIL_REMOVED, /* .ptr session */
	MAIL_OFFENCE, /* .ptr session, .arg enum offence */
	MAIL_DETACHED, /* .ptr session: it said goodbye */
	/* writer -> copy lcore */
	MAIL_COPY, /* .ptr struct slice */
};

struct mail {
	uint32_t type;
	uint32_t arg;
	void *ptr;
};

/* Lanes of the writer's mailbox; the others have one, the writer's. */
enum mail_lane { LANE_ONLY = 0, LANE_MAIN = 0, LANE_GROWER = 1, LANE_COPIER = 2 };
#define MAILBOX_LANES_MAX 10u

struct mailbox {
	struct rte_ring *lane[MAILBOX_LANES_MAX];
	unsigned nr_lanes;
	int event_fd; /* readable after a ring; in the receiver's epoll */
	uint32_t asleep; /* [receiver] TH-1 */
};

/* @nr: more than can ever be under way in a lane, a power of two.  After eal_start().  Return: 0, -errno. */
int mailbox_init(struct mailbox *m, const char *name, unsigned nr_lanes, unsigned nr);
void mailbox_fini(struct mailbox *m);

/* Never waits; a full ring is our mistake and aborts. */
void mailbox_send(struct mailbox *m, unsigned lane, enum mail_type type, void *ptr, uint32_t arg);

/* Receiver.  Return: 1 taken, 0 none. */
int mailbox_take(struct mailbox *m, struct mail *ret);
bool mailbox_has_mail(const struct mailbox *m);

/* Receiver: going to sleep on event_fd; then look once more.  And awake again. */
void mailbox_arm(struct mailbox *m);
void mailbox_disarm(struct mailbox *m);

#endif
