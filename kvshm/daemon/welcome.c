/* SPDX-License-Identifier: Apache-2.0 */
/* From HELLO to READY, and what a session may ask for later. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/doorbell.h"
#include "ipc/handshake.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/base/usdt.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/server.h"
#include "kvshm/daemon/writer.h"

#define STAGING_LEN ((uint64_t)KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES)

void welcome_refuse(struct session *s, int error, const char *text)
{
	struct kvshm_msg_refused m;

	handshake_refused(&m, error, text);
	sock_send(s->sock, &m, sizeof(m), NULL, 0);
	log_limited(LOG_LEVEL_INFO, "refused pid %d uid %u: %s", (int)s->peer.pid,
		    (unsigned)s->peer.uid, text);
}

static int refuse(struct session *s, int error, const char *text)
{
	welcome_refuse(s, error, text);
	return error;
}

static bool is_trusted_uid(const struct daemon *d, uid_t uid)
{
	if (uid == geteuid())
		return true;
	for (unsigned i = 0; i < d->conf.trusted.nr; i++)
		if (d->conf.trusted.uid[i] == uid)
			return true;
	return false;
}

/* Unless the operator says otherwise, a stranger leaves half of all sessions to the others. */
static unsigned share_of(const struct daemon *d, uid_t uid)
{
	uint64_t max = d->conf.max;

	if (d->conf.max_per_uid)
		return (unsigned)d->conf.max_per_uid;
	return (unsigned)(is_trusted_uid(d, uid) ? max : max_of(max / 2, (uint64_t)1));
}

/*
 * With detached ones, or a client that offends and comes again would fill the table.  After a restart of
 * ours an honest client has two entries until it has let go of what it read: orphans have as many again.
 */
static bool is_over_its_share(const struct daemon *d, uid_t uid)
{
	unsigned share = share_of(d, uid), nr = 0, orphans = 0;

	for (unsigned i = 0; i < SESSION_MAX; i++) {
		const struct session *s = &d->session[i];

		if (s->state == SESSION_FREE || s->state == SESSION_REMOVING || s->peer.uid != uid)
			continue;
		orphans += s->is_orphan;
		nr += !s->is_orphan;
	}
	return nr > share || nr + orphans > 2 * share;
}

/* A number that no pin file has: not a session's, not an orphan's, not a stranger's in the directory. */
static int make_pin_file(struct daemon *d, struct session *s)
{
	int fd = -EEXIST;

	s->pin_words = KVSHM_PIN_WORDS;
	for (unsigned tries = 0; tries < 1024 && fd == -EEXIST; tries++) {
		d->next_slot = d->next_slot % KVSHM_OWNER_MAX + 1;
		fd = pinfile_create(d->inst.pins_fd, d->next_slot, s->pin_words);
	}
	if (fd < 0)
		return fd;
	s->pin_fd = fd;
	s->slot = d->next_slot;
	return 0;
}

static int make_segment(struct session *s)
{
	int ret = segment_create(&s->q.seg, &s->segment_fd);

	if (ret < 0)
		return ret;
	s->doorbell_fd = doorbell_create();
	return s->doorbell_fd < 0 ? s->doorbell_fd : 0;
}

static int check_hello(struct daemon *d, struct session *s, const struct kvshm_msg_hello *m)
{
	char text[112];

	if (m->abi != KVSHM_ABI) {
		snprintf(text, sizeof(text), "the client has ABI %u, this daemon has ABI %u",
			 m->abi, KVSHM_ABI);
		return refuse(s, -EPROTONOSUPPORT, text);
	}
	if (m->pin_words && m->pin_words != KVSHM_PIN_WORDS)
		return refuse(s, -EINVAL, "pin files have 4096 words here");
	if (is_over_its_share(d, s->peer.uid))
		reaper_look_for_hangups(d, clock_ns());
	if (is_over_its_share(d, s->peer.uid))
		return refuse(s, -EAGAIN, "no session free for this user (clients.max_per_uid)");
	return 0;
}

/* Who owns the pin file, for a successor of ours. */
static void note_owner(struct daemon *d, const struct session *s)
{
	struct pinowner o = {
		.slot = s->slot,
		.pid = (uint32_t)s->peer.pid,
		.start_ticks = s->start_ticks,
		.uid = s->peer.uid,
		.pin_words = s->pin_words,
	};

	memcpy(o.label, s->label, sizeof(o.label));
	if (pinowner_put(d->store.owners_fd, s->index, &o) < 0)
		log_warn("the owner of pin file %u cannot be noted", s->slot);
}

int welcome_hello(struct daemon *d, struct session *s, const struct kvshm_msg_hello *m)
{
	int ret = check_hello(d, s, m);
	char text[112];

	if (ret < 0)
		return ret;
	memcpy(s->label, m->label, sizeof(s->label));
	s->label[sizeof(s->label) - 1] = '\0';
	s->start_ticks = s->peer.pid > 0 ? process_start_ticks(s->peer.pid) : 0;
	s->quota_bytes = d->store.quota_bytes;
	s->is_trusted = is_trusted_uid(d, s->peer.uid) && !(m->flags & KVSHM_HELLO_F_UNTRUSTED);
	ret = make_pin_file(d, s);
	if (ret == 0)
		ret = make_segment(s);
	if (ret < 0) {
		snprintf(text, sizeof(text), "the daemon cannot make a session: %s",
			 strerror(-ret));
		log_limited(LOG_LEVEL_WARN, "%s", text);
		return refuse(s, ret, text);
	}
	note_owner(d, s);
	s->state = SESSION_PINNING;
	mailbox_send(&d->to_writer, LANE_MAIN, MAIL_PINS, s, 0);
	return 0;
}

int welcome_send(struct daemon *d, struct session *s)
{
	struct kvshm_msg_welcome m = {
		.hdr = { KVSHM_MSG_MAGIC, KVSHM_MSG_WELCOME, sizeof(m) },
		.abi = KVSHM_ABI,
		.flags = s->is_trusted ? KVSHM_WELCOME_F_TRUSTED : 0,
		.slot = s->slot,
		.pin_words = s->pin_words,
		/* XT-1: the count before the entries; pairs with arena_grow(). */
		.nr_extents = load_acquire(&d->store.dir.sb->nr_extents),
		.credit_blocks = (uint32_t)d->conf.credit_blocks,
		.credit_bytes = d->store.credit_bytes,
		.pin_quota_bytes = s->quota_bytes,
		.instance = d->store.dir.instance,
	};
	int fds[HANDSHAKE_NR_FDS] = {
		[HANDSHAKE_FD_DIRECTORY] = rofd_open(&d->rofd, "directory"),
		[HANDSHAKE_FD_PINS] = s->pin_fd,
		[HANDSHAKE_FD_SEGMENT] = s->segment_fd,
		[HANDSHAKE_FD_DOORBELL] = s->doorbell_fd,
	};
	int ret;

	if (fds[HANDSHAKE_FD_DIRECTORY] < 0)
		return refuse(s, fds[HANDSHAKE_FD_DIRECTORY],
			      "the daemon cannot open its directory");
	ret = sock_send(s->sock, &m, sizeof(m), fds, HANDSHAKE_NR_FDS);
	close(fds[HANDSHAKE_FD_DIRECTORY]);
	return ret;
}

static int send_plain(struct session *s, enum kvshm_msg_type type, uint32_t arg, const int *fds,
		      unsigned nr)
{
	struct kvshm_msg_plain m;

	handshake_plain(&m, type, arg, nr);
	return sock_send(s->sock, &m, sizeof(m), fds, nr);
}

/*
 * From here on nobody can shrink it.  A client that did so before the seal would kill us by SIGBUS, so
 * the size is looked at after the seal.
 */
static int seal(int fd, uint64_t len)
{
	struct stat st;
	int ret = segment_seal(fd);

	if (ret < 0)
		return ret;
	return fstat(fd, &st) == 0 && (uint64_t)st.st_size == len ? 0 : -EBADMSG;
}

static int mapped_staging(struct daemon *d, struct session *s)
{
	int ret = seal(s->staging_fd, STAGING_LEN);

	if (ret < 0)
		return ret;
	s->staging_sent = false;
	close(s->staging_fd);
	s->staging_fd = -1;
	/* Not by mail, which the writer may find after an entry of a client that has heard READY. */
	WRITE_ONCE(s->q.has_staging, true);
	return send_plain(s, KVSHM_MSG_READY, 0, NULL, 0);
}

int welcome_mapped(struct daemon *d, struct session *s)
{
	int ret;

	if (s->state == SESSION_SERVING && s->staging_sent)
		return mapped_staging(d, s);
	if (s->state != SESSION_WELCOMED)
		return -EBADMSG;
	ret = seal(s->segment_fd, s->q.seg.len);
	if (ret < 0)
		return ret;
	close(s->segment_fd);
	s->segment_fd = -1;
	/* Not by the writer, which may come to it after a client that has heard READY has counted. */
	metrics_begin_client(s);
	s->state = SESSION_SERVING;
	s->was_served = true;
	WRITE_ONCE(d->counts.attaches, d->counts.attaches + 1);
	USDT(client_attach, s->slot, s->peer.uid);
	mailbox_send(&d->to_writer, LANE_MAIN, MAIL_SERVE, s, 0);
	return send_plain(s, KVSHM_MSG_READY, 0, NULL, 0);
}

static int open_extent(struct daemon *d, const struct session *s, uint32_t i)
{
	struct kvshm_extent_entry e = d->store.dir.extent[i];
	char name[32];
	int fd;

	arena_extent_name(&e, name);
	if (!s->is_trusted)
		return rofd_open(&d->rofd, name);
	fd = openat(d->inst.mem_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int welcome_extents(struct daemon *d, struct session *s, uint32_t first)
{
	int fds[KVSHM_MSG_MAX_FDS] = { -1 }, ret = 0;
	uint32_t nr = 0, there;

	/* XT-1: the count before the entries; pairs with arena_grow(). */
	there = load_acquire(&d->store.dir.sb->nr_extents);
	while (first < there && nr < there - first && nr < KVSHM_MSG_MAX_FDS) {
		fds[nr] = open_extent(d, s, first + nr);
		if (fds[nr] < 0) {
			ret = fds[nr];
			log_limited(LOG_LEVEL_ERR, "extent %u cannot be opened: %s", first + nr,
				    strerror(-ret));
			break;
		}
		nr++;
	}
	if (ret == 0 || nr > 0)
		ret = send_plain(s, KVSHM_MSG_EXTENT_FDS, first, fds, nr);
	while (nr > 0)
		close(fds[--nr]);
	return ret;
}

int welcome_staging(struct daemon *d, struct session *s)
{
	int ret;

	if (s->q.staging)
		return -EBADMSG;
	ret = staging_create(&s->q.staging, &s->staging_fd);
	if (ret < 0)
		return ret;
	WRITE_ONCE(d->counts.staging_bytes, d->counts.staging_bytes + STAGING_LEN);
	s->staging_sent = true;
	return send_plain(s, KVSHM_MSG_STAGING_FD, 0, &s->staging_fd, 1);
}
