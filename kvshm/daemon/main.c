/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvshmd - serves a node's KV cache
 *
 * Start: configuration, directories and locks, EAL, content (warm or cold), threads, socket, LIVE.
 * Stop: the content stays for the next start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kvshm/version.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/confpage.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/eal.h"
#include "kvshm/daemon/gpulink.h"
#include "kvshm/daemon/lcore.h"
#include "kvshm/daemon/loop.h"
#include "kvshm/daemon/sandbox.h"
#include "kvshm/daemon/sdnotify.h"
#include "kvshm/daemon/server.h"
#include "kvshm/daemon/statgroup.h"
#include "kvshm/daemon/writer.h"

#define BACKLOG 1024
#define NR_MAIL 8192u /* > all slices and a few messages a session */

static struct daemon the_daemon; /* large; one a process */

static int fail(struct diag *g, int status, const char *what, int err)
{
	return diag_set(g, status, "%s: %s", what, strerror(-err));
}

static int start_stats(struct daemon *d, struct diag *g)
{
	int ret = statpage_create(d->inst.run_fd, "stats", KVSHM_VERSION_STRING, &d->stats);

	if (ret < 0)
		return fail(g, EX_CANTCREAT, "cannot make the stats page", ret);
	d->conf_fd = confpage_create(&d->inst);
	if (d->conf_fd < 0)
		log_warn("%s/%s: %s", d->inst.run_dir, CONFPAGE_NAME, strerror(-d->conf_fd));
	confpage_write(d->conf_fd, &d->conf, &d->inst);
	statgroup_give(&d->inst, &d->conf);
	cache_count_uses(d->store.cache, d->stats);
	stat_text(d->stats, KVSHM_TEXT_INSTANCE, d->conf.instance);
	stat_text(d->stats, KVSHM_TEXT_PAGES, backing_kind_name(d->store.dir.extent[0].page_kind));
	stat_text(d->stats, KVSHM_TEXT_POLICY, d->conf.policy);
	stat_text(d->stats, KVSHM_TEXT_START, d->store.reason);
	stat_text(d->stats, KVSHM_TEXT_PROTECTION, d->rofd.protection);
	stat_text(d->stats, KVSHM_TEXT_VERSION, KVSHM_VERSION_STRING);
	stat_text(d->stats, KVSHM_TEXT_MEMORY_DIR, d->inst.mem_dir);
	stat_text(d->stats, KVSHM_TEXT_SOCKET, d->inst.socket);
	return 0;
}

static int start_mailboxes(struct daemon *d, struct diag *g)
{
	int ret = mailbox_init(&d->to_writer, "to-writer", LANE_COPIER + d->nr_copiers, NR_MAIL);

	if (ret == 0)
		ret = mailbox_init(&d->to_main, "to-main", 1, NR_MAIL);
	for (unsigned i = 0; i < d->nr_copiers && ret == 0; i++)
		ret = copier_init(&d->copier[i], i, &d->to_writer, d->stats);
	return ret < 0 ? fail(g, EX_OSERR, "cannot make the message rings", ret) : 0;
}

static int start_threads(struct daemon *d, struct writer *w, struct diag *g)
{
	int ret = lcore_launch(LCORE_WRITER, writer_main, w);

	for (unsigned i = 0; i < d->nr_copiers && ret == 0; i++)
		ret = lcore_launch(LCORE_COPY + i, copier_main, &d->copier[i]);
	return ret < 0 ? fail(g, EX_OSERR, "cannot start the threads", ret) : 0;
}

static int start_listening(struct daemon *d, struct diag *g)
{
	int ret;

	d->listen_fd = sd_listen_fd();
	d->is_socket_ours = d->listen_fd < 0;
	if (d->is_socket_ours)
		d->listen_fd = sock_listen(d->inst.socket, (mode_t)d->conf.socket_mode, BACKLOG);
	if (d->listen_fd < 0)
		return diag_set(g, EX_CANTCREAT, "cannot listen at %s: %s", d->inst.socket,
				strerror(-d->listen_fd));
	ret = gpulink_listen(d);
	if (ret < 0)
		log_warn("no socket for kvshm-gpud: %s", strerror(-ret));
	return 0;
}

static void register_extents(const struct daemon *d)
{
	const struct store *st = &d->store;

	for (uint32_t i = 0; i < st->arena.nr_extents; i++) {
		const struct kvshm_extent_entry *e = &st->dir.extent[i];
		int ret = extmem_register(st->arena.base + e->base, e->len);

		if (ret < 0)
			log_warn("extent %u is unknown to EAL: %s", i, strerror(-ret));
	}
}

/* What is unusual about the sandbox, for the start line. */
static const char *enter_sandbox(const struct daemon *d)
{
	static const char *const says[] = {
		[SANDBOX_ON] = "",
		[SANDBOX_KILL] = ", sandbox kills",
		[SANDBOX_LOG] = ", sandbox only logs",
		[SANDBOX_OFF] = ", no sandbox",
	};
	int ret = sandbox_enter((enum sandbox_mode)d->conf.sandbox);

	if (ret == -EOPNOTSUPP)
		return ", no sandbox (sanitizer build)";
	if (ret < 0)
		log_warn("the kernel gives no sandbox: %s", strerror(-ret));
	return says[ret < 0 ? SANDBOX_OFF : d->conf.sandbox];
}

static void say_ready(const struct daemon *d, const char *sandbox)
{
	log_info("ready: %zu MiB of %s, %s, socket %s%s",
		 max_of(d->store.arena.span, d->store.grow.size) >> 20,
		 backing_kind_name(d->store.dir.extent[0].page_kind), d->store.reason,
		 d->inst.socket, sandbox);
	log_debug("memory in %s, pins in %s, %u orphans, protection: %s", d->inst.mem_dir,
		  d->inst.pins_dir, (unsigned)d->counts.orphans, d->rofd.protection);
}

static void stop_threads(struct daemon *d)
{
	mailbox_send(&d->to_writer, LANE_MAIN, MAIL_QUIT, NULL, 0);
	lcore_join(LCORE_WRITER);
	for (unsigned i = 0; i < d->nr_copiers; i++) {
		mailbox_send(&d->copier[i].in, LANE_ONLY, MAIL_QUIT, NULL, 0);
		lcore_join(LCORE_COPY + i);
	}
}

/* From the start of the threads to the end of the service. */
static int serve(struct daemon *d, struct writer *w, struct diag *g)
{
	int ret;

	if (start_threads(d, w, g) < 0)
		return -1;
	ret = grower_start(d);
	if (ret < 0)
		log_warn("the arena does not grow: %s", strerror(-ret));
	stat_heartbeat(d->stats, 0, clock_ns());
	say_ready(d, enter_sandbox(d));
	sd_tell("READY=1");
	ret = loop_run(d);
	sd_tell("STOPPING=1");
	grower_stop(d);
	stop_threads(d);
	return ret < 0 ? fail(g, EX_OSERR, "main loop", ret) : 0;
}

/* LIVE only once there is a socket to come back to (SB-1); the threads find connections waiting. */
static int serve_content(struct daemon *d, struct diag *g)
{
	struct writer *w;
	int ret;

	if (start_stats(d, g) < 0 || start_mailboxes(d, g) < 0)
		return -1;
	register_extents(d);
	server_take_orphans(d);
	if (start_listening(d, g) < 0)
		return -1;
	store_go_live(&d->store);
	ret = writer_create(d, &w);
	if (ret < 0)
		return fail(g, EX_OSERR, "cannot start the writer", ret);
	ret = serve(d, w, g);
	writer_destroy(w);
	gpulink_unlisten(d);
	if (d->is_socket_ours)
		unlink(d->inst.socket);
	return ret;
}

static int run(struct daemon *d, struct diag *g)
{
	int ret;

	d->listen_fd = d->link_fd = d->conf_fd = -1;
	d->nr_copiers = (unsigned)d->conf.copy_lcores;
	if (instance_open(&d->inst, &d->conf, g) < 0)
		return -1;
	ret = rofd_init(&d->rofd, d->inst.mem_dir, d->inst.mem_fd, d->conf.readonly_dir);
	if (ret < 0)
		return diag_set(g, EX_CONFIG, "arena.readonly_dir=%s is no read-only view: %s",
				d->conf.readonly_dir, strerror(-ret));
	ret = loop_open(d);
	if (ret < 0)
		return fail(g, EX_OSERR, "cannot start", ret);
	ret = eal_start(d->conf.instance, d->inst.run_dir, LCORE_COPY + d->nr_copiers);
	if (ret < 0)
		return fail(g, EX_OSERR, "DPDK's EAL does not start", ret);
	ret = buserror_watch(&d->store, d->inst.pins_fd);
	if (ret < 0)
		return diag_set(g, EX_CANTCREAT, "%s/retired: %s", d->inst.pins_dir, strerror(-ret));
	if (store_open(&d->store, &d->inst, &d->conf, g) < 0)
		return -1;
	ret = serve_content(d, g);
	loop_close(d);
	store_close(&d->store);
	statpage_destroy(d->stats);
	if (d->conf_fd >= 0)
		close(d->conf_fd);
	eal_stop();
	instance_close(&d->inst);
	return ret;
}

static int print_config(struct daemon *d, struct diag *g)
{
	struct conf *c = &d->conf;
	struct instance *in = &d->inst;

	if (instance_name(in, c, g) < 0 || confpage_name_files(c, in, g) < 0)
		return -1;
	conf_print(c, stdout);
	return 0;
}

static void set_limits(void)
{
	struct rlimit nofile;

	umask(0077);
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
		nofile.rlim_cur = nofile.rlim_max;
		setrlimit(RLIMIT_NOFILE, &nofile);
	}
}

static int end(const struct diag *g)
{
	if (*g->text)
		log_err("%s", g->text);
	return g->status;
}

int main(int argc, char **argv)
{
	struct daemon *d = &the_daemon;
	struct diag g = { .status = EX_SOFTWARE };

	log_init("kvshmd");
	if (conf_load(&d->conf, argc, argv, &g) < 0)
		return end(&g);
	conf_apply_log(&d->conf);
	d->argc = argc;
	d->argv = argv;
	switch (d->conf.action) {
	case CONF_HELP:
		conf_help(stdout);
		return 0;
	case CONF_VERSION:
		printf("kvshmd %s (ABI %u)\n", KVSHM_VERSION_STRING, KVSHM_ABI);
		return 0;
	case CONF_PRINT:
		return print_config(d, &g) < 0 ? end(&g) : 0;
	case CONF_CHECK:
		printf("configuration is fine\n");
		return 0;
	case CONF_RUN:
		break;
	}
	sandbox_prepare();
	set_limits();
	return run(d, &g) < 0 ? end(&g) : 0;
}
