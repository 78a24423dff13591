/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_gpu.c - the driver, its devices, and which ways to the GPU are open
 *
 * A driver that is wedged does not come back from its first call, so a child asks it, with a deadline.
 * Below a root nothing is asked: it is another host's driver.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/ctx.h"
#include "gpu/cuda_fake.h"
#include "gpu/cufile_loader.h"
#include "gpu/stage_cost.h"
#include "kvshm/base/clock.h"
#include "utils/doctor.h"

#define ASK_NS 20000000000ull		/* cuInit() of a machine with many devices takes seconds */

/* What the child found, as plain text: the verdict's number, a tab, the words. */
static void tell(FILE *out, enum verdict v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void tell(FILE *out, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	fprintf(out, "%d\t", (int)v);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fputc('\n', out);
}

static const char *yes_no(bool v)
{
	return v ? "yes" : "no";
}

/* Network cards that take part in RDMA. */
static unsigned nr_rdma_cards(void)
{
	DIR *dir = opendir("/sys/class/infiniband");
	struct dirent *e;
	unsigned nr = 0;

	if (!dir)
		return 0;
	while ((e = readdir(dir)))
		nr += e->d_name[0] != '.';
	closedir(dir);
	return nr;
}

/* Memory that can be exported is of use only where a card imports it. */
static void tell_rdma(FILE *out, const struct gpu_device *d)
{
	const char *why = !d->has_rdma ? "off: the device does not have it" :
			  !d->has_dmabuf ? "off: the driver exports no dma-buf (open kernel modules are needed)" :
			  !nr_rdma_cards() ? "off: its memory can be exported by dma-buf, but no RDMA card is here" :
					     NULL;

	tell(out, why ? VERDICT_NOTE : VERDICT_OK, "device %d GPUDirect RDMA: %s", d->ordinal, why ? why : "on, by dma-buf");
}

static void tell_device(FILE *out, const struct gpu_device *d)
{
	char node[24] = "node unknown";

	if (d->node >= 0)
		snprintf(node, sizeof(node), "node %d", d->node);
	tell(out, VERDICT_OK, "device %d: %s, %s, %s, sm_%d, %d copy engines", d->ordinal, d->name, d->pci, node, d->sm,
	     d->nr_copy_engines);
	tell(out, d->has_hostreg ? VERDICT_OK : VERDICT_NOTE,
	     "device %d pins shared writable memory: %s; read-only memory, as untrusted clients have it: %s%s", d->ordinal,
	     yes_no(d->has_hostreg), yes_no(d->has_ro_hostreg),
	     d->has_ro_hostreg ? "" : " (they go by kvshm-gpud or a bounce buffer)");
	tell(out, d->has_vmm_fd ? VERDICT_OK : VERDICT_NOTE,
	     "device %d shares memory by descriptor: %s; streams wait for memory words: %s", d->ordinal,
	     yes_no(d->has_vmm_fd), yes_no(d->has_stream_word));
	tell(out, d->has_vmm_fd ? VERDICT_OK : VERDICT_NOTE, "device %d staging pool: %s", d->ordinal,
	     d->has_vmm_fd ? "possible (kvshm-gpud --pool)" : "off: the device does not share memory by descriptor");
	tell_rdma(out, d);
}

/* Return: as gpu_device_peer(), of both directions. */
static int are_peers(const struct cuda *cu, const struct gpu_device *a, const struct gpu_device *b)
{
	int ret = gpu_device_peer(cu, a, b);

	return ret > 0 ? gpu_device_peer(cu, b, a) : ret;
}

static void tell_costs(FILE *out, const struct gpu_device *d, bool is_simulated)
{
	char text[STAGE_COST_WHY];
	struct stage_cost c;
	int ret = stage_cost_find(NULL, d->name, is_simulated, &c, text);

	if (ret > 0)
		tell(out, VERDICT_OK, "device %d: copies are planned by the costs in %s", d->ordinal, text);
	else
		tell(out, VERDICT_NOTE, "device %d: copies are planned by guessed costs%s%s (kvshm bench stage --costs "
		     STAGE_COSTS_PATH ")", d->ordinal, ret ? ": " : "", text);
}

static void tell_peers(FILE *out, const struct cuda *cu, const struct gpu_device *d, int nr)
{
	int ret;

	if (nr == 1)
		tell(out, VERDICT_NOTE, "device %d GPUDirect P2P: off: there is no other device", d->ordinal);
	for (int i = 0; i < nr; i++)
		for (int j = i + 1; j < nr; j++) {
			ret = are_peers(cu, &d[i], &d[j]);
			tell(out, ret > 0 ? VERDICT_OK : VERDICT_NOTE, "devices %d and %d GPUDirect P2P: %s%s", d[i].ordinal,
			     d[j].ordinal, ret > 0 ? "on" : ret ? "off: " : "off: no path between them",
			     ret >= 0 ? "" : ret == -EOPNOTSUPP ? "the driver lacks the question" : strerror(-ret));
		}
}

/* The library writes a log into the working directory unless it is told otherwise. */
static void tell_storage(FILE *out, const struct cuda *cu, const struct gpu_device *d)
{
	struct cufile f;
	struct gpu_ctx ctx;

	if (gpu_ctx_open(cu, d, &ctx) < 0)
		return;
	setenv("CUFILE_LOGFILE_PATH", "/dev/null", 0);
	if (cufile_load(NULL, &ctx, &f) == 0)
		tell(out, VERDICT_OK, "GPUDirect Storage: on, by %s", f.how);
	else
		tell(out, VERDICT_NOTE, "GPUDirect Storage: off, %s: files go through pinned host memory", f.why);
	cufile_unload(&f);
	gpu_ctx_close(&ctx);
}

static void ask(FILE *out)
{
	struct gpu_device d[GPU_MAX_DEVICES];
	struct cuda cu;
	int nr;

	if (cuda_load(NULL, &cu) < 0) {
		tell(out, VERDICT_NOTE, "%s: %s", cu.why[CUDA_F_CORE], cuda_feature_instead(CUDA_F_CORE));
		return;
	}
	tell(out, VERDICT_OK, "driver of CUDA %d.%d", cu.version / 1000, cu.version % 1000 / 10);
	for (unsigned f = 0; f < CUDA_NR_FEATURES; f++)
		if (!cuda_has(&cu, f))
			tell(out, VERDICT_NOTE, "%s is off, %s: %s", cuda_feature_name(f), cu.why[f], cuda_feature_instead(f));
	nr = gpu_device_list(&cu, "/sys", d, GPU_MAX_DEVICES);
	if (nr < 0)
		tell(out, VERDICT_NOTE, "the driver does not list its devices: %s", strerror(-nr));
	for (int i = 0; i < nr; i++) {
		tell_device(out, &d[i]);
		tell_costs(out, &d[i], cuda_fake_open(&cu) != NULL);
	}
	tell_peers(out, &cu, d, nr);
	if (nr > 0)
		tell_storage(out, &cu, &d[0]);
}

/* Everything that comes until the deadline.  Return: false: it did not come to its end. */
static bool read_all(int fd, char *buf, size_t size)
{
	const uint64_t deadline = clock_ns() + ASK_NS;
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_ns();

		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
			break;
		n = read(fd, buf + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	buf[len] = 0;
	return n == 0;
}

static void take_lines(struct doctor *d, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n")))
		if (line[0] >= '0' && line[0] <= '0' + VERDICT_CHANGE && line[1] == '\t')
			doctor_find(d, "gpu", (enum verdict)(line[0] - '0'), NULL, "%s", line + 2);
}

static void ask_in_child(struct doctor *d)
{
	static char text[16384];
	int p[2];
	pid_t pid;
	bool ended;

	if (pipe(p) < 0)
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		FILE *out = fdopen(p[1], "w");

		close(p[0]);
		ask(out);
		fclose(out);
		_exit(0);
	}
	close(p[1]);
	ended = pid > 0 && read_all(p[0], text, sizeof(text));
	close(p[0]);
	take_lines(d, text);
	if (!ended)
		doctor_find(d, "gpu", VERDICT_CHANGE, "# see the kernel's log for NVRM lines",
			    "the driver does not answer within %u s", (unsigned)(ASK_NS / 1000000000));
	if (pid > 0) {
		kill(pid, SIGKILL);
		/* one that hangs in the kernel cannot be waited for */
		waitpid(pid, NULL, ended ? 0 : WNOHANG);
	}
}

void check_gpu(struct doctor *d)
{
	char text[256];
	int n = doctor_read(d, "/proc/driver/nvidia/version", text, sizeof(text));

	if (!*d->root) {
		ask_in_child(d);
		return;
	}
	if (n <= 0) {
		doctor_find(d, "gpu", VERDICT_NOTE, NULL, "no GPU driver here: blocks are read from host memory");
		return;
	}
	text[strcspn(text, "\n")] = 0;
	doctor_find(d, "gpu", VERDICT_NOTE, NULL, "%.120s; it is not asked below a root", text);
}
