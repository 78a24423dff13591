/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/gpulink.h"
#include "kvshm/daemon/loop.h"
#include "kvshm/daemon/sdnotify.h"
#include "kvshm/daemon/server.h"

#define HEARTBEAT_MS 500
#define EVENTS_A_ROUND 64
#define STALE_NS 2000000000ull /* a thread that did not beat for so long hangs */

int loop_open(struct daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (d->epoll_fd < 0 || d->signal_fd < 0)
		return -errno;
	return server_watch(d, d->signal_fd, EPOLLIN, event_tag(EVENT_SIGNAL, 0));
}

void loop_close(struct daemon *d)
{
	close(d->epoll_fd);
	close(d->signal_fd);
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	if (d->link_fd >= 0)
		close(d->link_fd);
}

static void on_signal(struct daemon *d)
{
	struct signalfd_siginfo si;

	while (read(d->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			reload_conf(d);
			continue;
		}
		log_info("stopping on %s; the content stays for the next start",
			 si.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
		WRITE_ONCE(d->is_stopping, true);
	}
}

static void take_mail(struct daemon *d)
{
	struct mail m;

	mailbox_disarm(&d->to_main);
	while (mailbox_take(&d->to_main, &m))
		server_on_mail(d, &m);
}

static void on_event(struct daemon *d, uint64_t tag, bool *ret_accept)
{
	struct session *s = &d->session[(uint32_t)tag % SESSION_MAX];

	switch ((enum event_kind)(tag >> 32)) {
	case EVENT_LISTEN:
		*ret_accept = true;
		break;
	case EVENT_LINK:
		gpulink_accept(d);
		break;
	case EVENT_SIGNAL:
		on_signal(d);
		break;
	case EVENT_MAIL:
		break; /* looked at in each round */
	case EVENT_SOCKET:
		server_on_socket(d, s);
		break;
	case EVENT_PROCESS:
		if (s->state != SESSION_FREE)
			reaper_notice(d, s, DEATH_PIDFD, clock_ns());
		break;
	}
}

/* systemd's watchdog is fed only while all threads advance. */
static void feed_watchdog(struct daemon *d, uint64_t now_ns)
{
	const struct kvshm_stats_page *page = stat_header(d->stats);

	if (!d->watchdog_ns || now_ns - d->fed_ns < d->watchdog_ns)
		return;
	for (unsigned i = 0; i < 2 + d->nr_copiers; i++)
		if (now_ns - READ_ONCE(page->heartbeat_ns[i]) > STALE_NS)
			return;
	d->fed_ns = now_ns;
	sd_tell("WATCHDOG=1");
}

static int timeout_ms(const struct daemon *d, uint64_t now_ns)
{
	int ms = reaper_timeout_ms(d, now_ns);

	return ms < 0 || ms > HEARTBEAT_MS ? HEARTBEAT_MS : ms;
}

static void round_of(struct daemon *d, uint64_t *tick_ns)
{
	struct epoll_event ev[EVENTS_A_ROUND];
	uint64_t now = clock_ns();
	bool accept = false;
	int n;

	mailbox_arm(&d->to_main);
	n = mailbox_has_mail(&d->to_main) ? 0 : timeout_ms(d, now);
	n = epoll_wait(d->epoll_fd, ev, EVENTS_A_ROUND, n);
	take_mail(d);
	for (int i = 0; i < n; i++)
		on_event(d, ev[i].data.u64, &accept);
	now = clock_ns();
	if (now - *tick_ns >= 1000000u) {
		*tick_ns = now;
		reaper_tick(d, now);
		if (d->is_accept_paused && !accept)
			server_resume_accept(d);
	}
	/* Last: who left in this round has made room (D11). */
	if (accept)
		server_accept(d);
	server_count(d);
	stat_heartbeat(d->stats, 0, now);
	feed_watchdog(d, now);
}

int loop_run(struct daemon *d)
{
	uint64_t tick_ns = 0;
	int ret = server_watch(d, d->listen_fd, EPOLLIN, event_tag(EVENT_LISTEN, 0));

	if (ret == 0 && d->link_fd >= 0)
		ret = server_watch(d, d->link_fd, EPOLLIN, event_tag(EVENT_LINK, 0));
	if (ret == 0)
		ret = server_watch(d, d->to_main.event_fd, EPOLLIN, event_tag(EVENT_MAIL, 0));
	if (ret < 0)
		return ret;
	d->watchdog_ns = sd_watchdog_ns();
	while (!d->is_stopping)
		round_of(d, &tick_ns);
	return 0;
}
