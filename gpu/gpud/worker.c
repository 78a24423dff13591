/* SPDX-License-Identifier: Apache-2.0 */
/* worker.c - the one thread that has the device: start, loop, end */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "gpu/gpud/gpud.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/log.h"
#include "kvshm/base/wait.h"

#define EVENTS 32
#define ATTACH_NS 5000000000ull
#define END_NS 2000000000ull		/* for the driver to let go */
#define BEAT_MS 500
#define NAP_NS 50000

void gpud_end(struct gpud *g, int status)
{
	if (g->end < 0)
		g->end = status;
}

/* ---- start ----------------------------------------------------------------------------------------- */

static int start_device(struct gpud *g)
{
	struct gpu_device d[GPU_MAX_DEVICES];
	int nr, ret = cuda_load(g->opts->libcuda, &g->cuda);

	if (ret < 0) {
		log_err("%s", g->cuda.why[CUDA_F_CORE]);
		return 69;
	}
	nr = gpu_device_list(&g->cuda, "/sys", d, GPU_MAX_DEVICES);
	if (nr <= (int)g->opts->device) {
		log_err("no device %u, there are %d", g->opts->device, max_of(nr, 0));
		return 69;
	}
	ret = gpu_ctx_open(&g->cuda, &d[g->opts->device], &g->ctx);
	if (!ret)
		ret = gpu_imports_create(&g->ctx, GPUD_BUFFERS, GPUD_PIECES, &g->imports);
	if (ret < 0) {
		log_err("device %u (%s) does not start: %s", g->opts->device, d[g->opts->device].name, strerror(-ret));
		return 70;
	}
	return 0;
}

/* In the background; until its turn has come an extent's copies go through the driver's own staging. */
static void register_extents(struct gpud *g)
{
	const struct attach *a = &g->attach;

	for (; g->hostreg && g->nr_registered < a->arena.nr_extents; g->nr_registered++) {
		const struct kvshm_extent_entry *e = &a->dir.extent[g->nr_registered];
		int ret = hostreg_add(g->hostreg, arena_ptr(&a->arena, e->base), e->len, HOSTREG_LOOK);

		if (ret < 0)
			log_warn("extent %u is not pinned: %s", g->nr_registered, strerror(-ret));
	}
}

static int start_arena(struct gpud *g)
{
	struct epoll_event ev = { .events = EPOLLRDHUP, .data.ptr = &g->attach };
	int ret = attach_open(&g->attach, g->opts->socket, clock_ns() + ATTACH_NS);

	if (ret < 0) {
		log_err("no daemon at %s: %s", g->opts->socket, strerror(-ret));
		return 69;
	}
	ret = hostreg_create(&g->ctx, &g->hostreg);
	if (ret < 0)
		log_warn("the arena is not pinned, copies are slower: %s", strerror(-ret));
	register_extents(g);
	if (epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->attach.sock, &ev) < 0)
		return 71;
	ret = jobs_link(g);
	if (ret < 0) {
		log_err("no link at %s: %s", g->opts->link_socket, strerror(-ret));
		return 69;
	}
	return 0;
}

static int start(struct gpud *g)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &g->listen_fd };
	int ret;

	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (g->epoll_fd < 0 || getrandom(&g->life, sizeof(g->life), 0) != (ssize_t)sizeof(g->life))
		return 71;
	clients_init(g);
	ret = start_device(g);
	if (!ret)
		pool_open(g);
	if (!ret)
		ret = start_arena(g);
	if (!ret && epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->listen_fd, &ev) < 0)
		ret = 71;
	return ret;
}

/* ---- loop ------------------------------------------------------------------------------------------ */

static void on_event(struct gpud *g, const struct epoll_event *ev)
{
	if (ev->data.ptr == &g->listen_fd) {
		clients_accept(g);
	} else if (ev->data.ptr == &g->link_fd) {
		if (jobs_take(g) < 0) {
			log_info("the daemon has hung up");
			gpud_end(g, 0);
		}
	} else if (ev->data.ptr == &g->attach) {
		/* It wakes its clients for completions; we have none.  Only its end matters. */
		if (sock_is_hung_up(g->attach.sock)) {
			log_info("the daemon is gone");
			gpud_end(g, 0);
		}
	} else {
		clients_serve(g, ev->data.ptr);
	}
}

/* The keeper's sign that the driver lets go of this thread. */
static void beat(struct gpud *g, uint64_t *last_ns)
{
	uint64_t now = clock_ns();

	if (now - *last_ns < BEAT_MS * 1000000ull)
		return;
	*last_ns = now;
	if (g->beat_fd >= 0 && write(g->beat_fd, "", 1) < 0 && errno == EPIPE)
		gpud_end(g, 0);
	register_extents(g);
	clients_tick(g);
	pool_tell(g);
}

static bool is_copying(const struct gpud *g)
{
	return g->nr_jobs || pool_is_busy(g);
}

static void loop(struct gpud *g)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	struct epoll_event ev[EVENTS];
	uint64_t beat_ns = 0;
	struct wait w;
	int n;

	wait_init(&w);
	wait_begin(&w);
	while (g->end < 0) {
		n = epoll_wait(g->epoll_fd, ev, EVENTS, is_copying(g) ? 0 : BEAT_MS);
		for (int i = 0; i < n && g->end < 0; i++)
			on_event(g, &ev[i]);
		n += (int)(jobs_poll(g) + pool_poll(g));
		beat(g, &beat_ns);
		if (n > 0) {
			wait_end(&w, true);
			wait_begin(&w);
		} else if (is_copying(g) && !wait_step(&w)) {
			nanosleep(&nap, NULL);
		}
	}
}

/* ---- end ------------------------------------------------------------------------------------------- */

/* With copies under way, or a device that is lost, nothing is taken apart: the kernel does it. */
static void take_apart(struct gpud *g)
{
	for (unsigned i = 0; i < GPUD_CLIENTS; i++)
		if (g->client[i].fd >= 0 && g->client[i].has_said_hello) {
			gpu_stream_close(&g->client[i].stream);
			gpu_stream_close(&g->client[i].out);
		}
	jobs_fini(g);
	pool_close(g);
	gpu_imports_destroy(g->imports);
	if (hostreg_destroy(g->hostreg, clock_ns() + END_NS) < 0)
		return;
	gpu_ctx_close(&g->ctx);
	attach_close(&g->attach);
}

int gpud_worker(const struct gpud_options *opts, int listen_fd, int beat_fd)
{
	struct gpud *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return 71;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	*g = (struct gpud){ .opts = opts, .listen_fd = listen_fd, .link_fd = -1, .epoll_fd = -1, .beat_fd = beat_fd, .end = -1 };
	g->attach.sock = g->attach.pin_fd = g->attach.doorbell_fd = -1;
	ret = start(g);
	if (ret)
		return ret;
	log_info("ready: device %u, %s, %u extents, socket %s", opts->device, g->ctx.device.name, g->attach.arena.nr_extents,
		 opts->own_socket);
	loop(g);
	if (g->end == 0 && !is_copying(g))
		take_apart(g);
	return g->end;
}
