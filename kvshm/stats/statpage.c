/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statpage.c - the shared statistics page, both ends
 *
 * One writer, any number of readers that take no lock and make the daemon do nothing.  A cell is one
 * aligned word: a plain relaxed store, a plain relaxed load.  Only the session table needs more, as an
 * entry is many words: a sequence lock (ST-1).  The writer may die inside it, so a reader gives up
 * after 64 tries and says "torn" instead of spinning behind a corpse.
 */
#include "kvshm/stats/statpage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/proc.h"
#include "kvshm/stats/metrics.h"

#define READ_TRIES 64

/* Private copies of what the header says, checked; the header is not read twice. */
struct statpage {
	struct kvshm_stats_page *page;
	size_t len;
	uint64_t *cell;			/* [nr_metrics] */
	struct kvshm_stats_session *session;	/* [nr_sessions] */
	char (*text)[KVSHM_STATS_TEXT_LEN];	/* [KVSHM_STATS_TEXTS] */
	struct kvshm_stats_hist *hist;	/* [nr_hists] */
	struct kvshm_stats_use *use;	/* [nr_uses] */
	uint32_t nr_metrics, nr_sessions, nr_hists, nr_uses;
};

_Static_assert(KVSHM_STATS_HIST_CELLS == HIST_CELLS, "a histogram of the page is a struct hist");

struct layout {
	uint32_t metric_off, cell_off, session_off, text_off, hist_off, use_off;
	size_t len;
};

static struct layout page_layout(void)
{
	struct layout l;

	l.metric_off = round_up(sizeof(struct kvshm_stats_page), 64u);
	l.cell_off = l.metric_off + KVSHM_STATS_METRICS * sizeof(struct kvshm_stats_metric);
	l.session_off = l.cell_off + KVSHM_STATS_METRICS * sizeof(uint64_t);
	l.text_off = l.session_off + KVSHM_STATS_SESSIONS * sizeof(struct kvshm_stats_session);
	l.hist_off = round_up(l.text_off + KVSHM_STATS_TEXTS * KVSHM_STATS_TEXT_LEN, 4096u);
	l.use_off = round_up(l.hist_off + KVSHM_STATS_HISTS * (uint32_t)sizeof(struct kvshm_stats_hist), 4096u);
	l.len = round_up(l.use_off + STAT_USES * sizeof(struct kvshm_stats_use), 4096ul);
	return l;
}

static void text_copy(char *dst, size_t len, const char *src)
{
	memset(dst, 0, len);
	memcpy(dst, src, strnlen(src, len - 1));
}

static uint64_t pid_ns_self(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : st.st_ino;
}

static void header_fill(struct kvshm_stats_page *h, const struct layout *l, const char *version)
{
	struct kvshm_stats_metric *m = (void *)((char *)h + l->metric_off);
	struct proc_stat self;

	h->major = KVSHM_STATS_MAJOR;
	h->minor = KVSHM_STATS_MINOR;
	h->len = l->len;
	proc_boot_id(h->boot_id);	/* stays 0 where /proc has none */
	h->start_ns = clock_ns();
	h->pid = (uint64_t)getpid();
	h->start_ticks = proc_stat_read(getpid(), &self) < 0 ? 0 : self.start_ticks;
	h->pid_ns = pid_ns_self();
	h->nr_metrics = METRIC_LAST;
	h->nr_sessions = KVSHM_STATS_SESSIONS;
	h->metric_off = l->metric_off;
	h->cell_off = l->cell_off;
	h->session_off = l->session_off;
	h->text_off = l->text_off;
	h->hist_off = l->hist_off;
	h->nr_hists = HIST_LAST;
	h->use_off = l->use_off;
	h->nr_uses = STAT_USES;
	for (unsigned i = 0; i < HIST_LAST; i++) {
		struct kvshm_stats_hist *to = (struct kvshm_stats_hist *)((char *)h + l->hist_off) + i;

		text_copy(to->name, sizeof(to->name), hist_defs[i].name);
		text_copy(to->label, sizeof(to->label), hist_defs[i].label);
	}
	for (unsigned i = 0; i < METRIC_LAST; i++) {
		text_copy(m[i].name, sizeof(m[i].name), metric_defs[i].name);
		m[i].type = metric_defs[i].type;
		m[i].unit = metric_defs[i].unit;
	}
	text_copy((char *)h + l->text_off + KVSHM_TEXT_VERSION * KVSHM_STATS_TEXT_LEN,
		  KVSHM_STATS_TEXT_LEN, version);
	h->magic = KVSHM_STATS_MAGIC;
}

/* Return: 0, -EBADMSG, -EPROTONOSUPPORT.  Every number is checked before it is used. */
static int page_check(struct statpage *p)
{
	const struct kvshm_stats_page *h = p->page;
	struct layout l = page_layout();

	/* Told apart first, by the words that stay: another major may be shorter. */
	if (p->len < sizeof(*h) || h->magic != KVSHM_STATS_MAGIC)
		return -EBADMSG;
	if (h->major != KVSHM_STATS_MAJOR)
		return -EPROTONOSUPPORT;
	/* Within a major the offsets are fixed; a minor may name more metrics, never fewer. */
	if (p->len < l.len || h->metric_off != l.metric_off || h->cell_off != l.cell_off ||
	    h->session_off != l.session_off || h->text_off != l.text_off || h->hist_off != l.hist_off ||
	    h->use_off != l.use_off || h->nr_metrics > KVSHM_STATS_METRICS || h->nr_sessions > KVSHM_STATS_SESSIONS ||
	    h->nr_hists > KVSHM_STATS_HISTS || h->nr_uses != STAT_USES)
		return -EBADMSG;
	p->nr_uses = STAT_USES;
	p->use = (void *)((char *)p->page + l.use_off);
	p->nr_hists = min_of(h->nr_hists, (uint32_t)HIST_LAST);
	p->hist = (void *)((char *)p->page + l.hist_off);
	p->nr_metrics = min_of(h->nr_metrics, (uint32_t)METRIC_LAST);
	p->nr_sessions = h->nr_sessions;
	p->cell = (void *)((char *)p->page + l.cell_off);
	p->session = (void *)((char *)p->page + l.session_off);
	p->text = (void *)((char *)p->page + l.text_off);
	return 0;
}

static int page_map(int fd, size_t len, int prot, struct statpage **ret_p)
{
	struct statpage *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->len = len;
	p->page = mmap(NULL, len, prot, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (p->page == MAP_FAILED) {
		int ret = -errno;

		free(p);
		return ret;
	}
	*ret_p = p;
	return 0;
}

int statpage_create(int dirfd, const char *name, const char *version, struct statpage **ret_p)
{
	struct layout l = page_layout();
	struct statpage *p;
	char temp[80];
	int fd, ret;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.%d", name, (int)getpid()) >= sizeof(temp))
		return -ENAMETOOLONG;
	fd = openat(dirfd, temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	ret = fchmod(fd, 0640) < 0 ? -errno : -posix_fallocate(fd, 0, (off_t)l.len);
	if (ret < 0)
		goto err_unlink;
	ret = page_map(fd, l.len, PROT_READ | PROT_WRITE, &p);
	if (ret < 0)
		goto err_unlink;
	header_fill(p->page, &l, version);
	ret = page_check(p);
	if (!ret && renameat(dirfd, temp, dirfd, name) < 0)
		ret = -errno;
	if (ret < 0)
		goto err_unmap;
	close(fd);
	*ret_p = p;
	return 0;
err_unmap:
	statpage_destroy(p);
err_unlink:
	close(fd);
	unlinkat(dirfd, temp, 0);
	return ret;
}

int statpage_open(const char *path, struct statpage **ret_p)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct statpage *p = NULL;
	struct stat st;
	int ret;

	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st) < 0 ? -errno : 0;
	if (!ret && (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(struct kvshm_stats_page)))
		ret = -EBADMSG;
	if (!ret)
		ret = page_map(fd, min_of((size_t)st.st_size, page_layout().len), PROT_READ, &p);
	close(fd);
	if (!ret)
		ret = page_check(p);
	if (ret < 0) {
		statpage_destroy(p);
		return ret;
	}
	*ret_p = p;
	return 0;
}

struct statpage *statpage_destroy(struct statpage *p)
{
	if (p) {
		munmap(p->page, p->len);
		free(p);
	}
	return NULL;
}

void stat_set(struct statpage *p, enum metric m, uint64_t value)
{
	WRITE_ONCE(p->cell[m], value);
}

void stat_add(struct statpage *p, enum metric m, uint64_t n)
{
	WRITE_ONCE(p->cell[m], READ_ONCE(p->cell[m]) + n);
}

uint64_t stat_get(const struct statpage *p, enum metric m)
{
	return (uint32_t)m < p->nr_metrics ? READ_ONCE(p->cell[m]) : 0;
}

static struct hist *hist_of(const struct statpage *p, enum stat_hist h)
{
	return (uint32_t)h < p->nr_hists ? (struct hist *)p->hist[h].count : NULL;
}

void stat_hist_record(struct statpage *p, enum stat_hist h, uint64_t v)
{
	hist_record(hist_of(p, h), v);
}

void stat_get_hist(const struct statpage *p, enum stat_hist h, struct hist *ret_h)
{
	const struct hist *from = hist_of(p, h);

	*ret_h = (struct hist){ 0 };
	if (from)
		hist_merge(ret_h, from);
}

static void words_copy(void *dst, const void *src, size_t len)
{
	uint64_t *d = dst;
	const uint64_t *s = src;

	for (size_t i = 0; i < len / sizeof(uint64_t); i++)
		WRITE_ONCE(d[i], READ_ONCE(s[i]));
}

unsigned stat_use_ns(uint32_t ns)
{
	return ns < KVSHM_STATS_NS ? ns : 0;
}

unsigned stat_use_class(uint32_t type)
{
	return KVSHM_STATS_NS + min_of(type, KVSHM_STATS_CLASSES - 1);
}

bool stat_use_any(const struct kvshm_stats_use *use)
{
	return use->hit_blocks || use->put_blocks || use->evicted_blocks || use->dropped_blocks;
}

void stat_use_add(struct statpage *p, unsigned group, const struct kvshm_stats_use *more)
{
	const uint64_t *from = (const uint64_t *)more;
	uint64_t *to = (uint64_t *)&p->use[group];

	for (unsigned i = 0; i < sizeof(*more) / sizeof(*to); i++)
		if (from[i])
			WRITE_ONCE(to[i], READ_ONCE(to[i]) + from[i]);
}

void stat_get_use(const struct statpage *p, unsigned group, struct kvshm_stats_use *ret_use)
{
	*ret_use = (struct kvshm_stats_use){ 0 };
	if (group < p->nr_uses)
		words_copy(ret_use, &p->use[group], sizeof(*ret_use));
}

void stat_heartbeat(struct statpage *p, unsigned thread, uint64_t now_ns)
{
	if (thread < KVSHM_STATS_THREADS)
		WRITE_ONCE(p->page->heartbeat_ns[thread], now_ns);
}

uint64_t stat_get_heartbeat(const struct statpage *p, unsigned thread)
{
	return thread < KVSHM_STATS_THREADS ? READ_ONCE(p->page->heartbeat_ns[thread]) : 0;
}

void stat_text(struct statpage *p, unsigned which, const char *text)
{
	if (which < KVSHM_STATS_TEXTS)
		text_copy(p->text[which], KVSHM_STATS_TEXT_LEN, text);
}

void stat_get_text(const struct statpage *p, unsigned which, char *buf)
{
	memset(buf, 0, KVSHM_STATS_TEXT_LEN);
	if (which < KVSHM_STATS_TEXTS)
		memcpy(buf, p->text[which], KVSHM_STATS_TEXT_LEN - 1);
}

_Static_assert(sizeof(struct kvshm_stats_session) % sizeof(uint64_t) == 0, "copied by words");

void stat_session(struct statpage *p, unsigned index, const struct kvshm_stats_session *s)
{
	uint64_t seq = READ_ONCE(p->page->session_seq) | 1;

	if (index >= p->nr_sessions)
		return;
	WRITE_ONCE(p->page->session_seq, seq);
	/* ST-1: odd before the first word changes; pairs with stat_get_session(). */
	smp_release();
	words_copy(&p->session[index], s, sizeof(*s));
	/* ST-1: even after the last word; pairs with stat_get_session(). */
	store_release(&p->page->session_seq, seq + 1);
}

int stat_get_session(const struct statpage *p, unsigned index, struct kvshm_stats_session *ret_s)
{
	struct kvshm_stats_session s;

	if (index >= p->nr_sessions)
		return -EINVAL;
	for (int i = 0; i < READ_TRIES; i++) {
		/* ST-1: the sequence before the words; pairs with stat_session(). */
		uint64_t seq = load_acquire(&p->page->session_seq);

		words_copy(&s, &p->session[index], sizeof(s));
		/* ST-1: the words before the second look; pairs with stat_session(). */
		smp_acquire();
		if (!(seq & 1) && READ_ONCE(p->page->session_seq) == seq) {
			s.label[sizeof(s.label) - 1] = 0;
			*ret_s = s;
			return 0;
		}
		cpu_relax();
	}
	return -EAGAIN;
}

const struct kvshm_stats_page *stat_header(const struct statpage *p)
{
	return p->page;
}
