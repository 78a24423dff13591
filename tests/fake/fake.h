/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake.h - the parts of the fake driver, among themselves
 *
 * One lock over everything: fake_enter() takes it, fake_leave() gives it back.  Objects stay in their
 * lists when they are destroyed (marked dead), so that a call on a stale handle is an error, not a crash.
 */
#ifndef TESTS_FAKE_FAKE_H
#define TESTS_FAKE_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "gpu/cuda_fake.h"
#include "gpu/cuda_types.h"
#include "gpu/stream.h"

enum fake_entry {
#define CU_SYM(feature, member, version, args) E_##member,
#include "gpu/cuda_syms.def"
#undef CU_SYM
	E_LAST,
};

struct fake_op;

#define FAKE_DEVICES 8
#define FAKE_NEVER UINT64_MAX

/* ---- memory (libcuda_mem.c) ------------------------------------------------------------------------ */

enum fake_mem_kind { FAKE_ALLOC, FAKE_IMPORT, FAKE_MAPPING, FAKE_RESERVED, FAKE_HOST };

struct fake_mem {			/* a range of addresses that copies may name */
	struct fake_mem *next;
	enum fake_mem_kind kind;
	uint64_t addr, len;
	int fd;				/* its file, -1 none */
	unsigned seq;			/* of the file's name */
	int dev;
	bool is_dead, is_readonly;
	struct fake_phys *phys;		/* of a mapping */
};

struct fake_phys {			/* physical memory of the virtual memory interface */
	struct fake_phys *next;
	int fd, dev;
	uint64_t len;
	unsigned refs;			/* the handle's, and each mapping's */
	bool can_export, is_import;
};

struct fake_mem *fake_mem_add(enum fake_mem_kind kind, uint64_t addr, uint64_t len);
struct fake_mem *fake_mem_at(enum fake_mem_kind kind, uint64_t addr);	/* that begins there */
struct fake_mem *fake_mem_find(uint64_t addr, uint64_t len);	/* that holds all of it */
bool fake_mem_is_device(uint64_t addr, uint64_t len);
bool fake_mem_is_writable(uint64_t addr, uint64_t len);
bool fake_mem_is_pinned(uint64_t addr, uint64_t len);
bool fake_mem_imported(int pid, unsigned seq);
void fake_mem_unmap(struct fake_mem *m);

/* ---- copies, and those that have landed (libcuda_copy.c) -------------------------------------------- */

/* One contiguous copy onto a stream, @extra_ns more than its direction's time. */
CUresult fake_copy(CUstream stream, enum gpu_dir dir, uint64_t dst, uint64_t src, size_t len, uint64_t extra_ns);
void fake_record_landed(const struct fake_op *op);
void fake_reset_landed(void);
size_t fake_get_landed(size_t from, struct fake_landed *ret, size_t max);

/* ---- files (libcuda_file.c) ------------------------------------------------------------------------- */

/* Mapped; NULL: it cannot be. */
void *fake_file_new(uint64_t len, unsigned *ret_seq, int *ret_fd);
void *fake_file_open(int pid, unsigned seq, uint64_t len, int *ret_fd);
void fake_file_remove(unsigned seq);

/* ---- the machine: streams, engines, time (libcuda_sched.c) ----------------------------------------- */

enum fake_op_kind { OP_COPY, OP_RECORD, OP_WAIT_EVENT, OP_WAIT_WORD, OP_WRITE_WORD, OP_KERNEL };

struct fake_event_word {		/* private, or in a file that two processes map */
	uint64_t recorded, done;
};

struct CUevent_st {
	struct CUevent_st *next;
	struct fake_event_word *word, own;
	struct fake_op *last;		/* the latest record; referenced */
	uint64_t end_ns;		/* of the latest completed record */
	unsigned flags, seq;		/* seq of its file */
	int dev;			/* of the context that it was made in */
	bool is_dead;
};

struct CUstream_st {
	struct CUstream_st *next;
	struct fake_op *head, *tail;	/* not done */
	uint64_t end_ns;		/* of the latest that has an end */
	int dev;
	bool is_dead;
};

struct fake_op {
	struct fake_op *next;		/* on its stream */
	enum fake_op_kind kind;
	struct CUstream_st *stream;
	uint64_t submit_ns, start_ns, end_ns;	/* end_ns: FAKE_NEVER until it is known */
	bool is_hung, is_done;
	unsigned refs;
	CUresult land;			/* what it does to the context instead of landing */
	enum gpu_dir dir;
	uint64_t dst, src, len, rows, dst_pitch, src_pitch;	/* copy */
	void *bounce;			/* source of a pageable copy, taken at submit */
	uint64_t extra_ns;
	struct CUevent_st *event;
	struct fake_op *dep;
	uint64_t *word, value;		/* event sequence, or the word's */
	const struct fake_kernel *kernel;
	struct fake_launch launch;
	uint64_t params[16];
	void *param_at[16];
};

struct fake_op *fake_op_new(enum fake_op_kind kind, struct CUstream_st *stream);
void fake_op_put(struct fake_op *op);	/* freed when it is done and nobody refers to it */
void fake_submit(struct fake_op *op);
void fake_lose(int dev, CUresult r);	/* the context is lost: nothing of it lands any more; 0: as good as new */
void fake_clock_set(bool is_virtual);
void fake_run(void);			/* do what is due */
uint64_t fake_now(void);
void fake_advance(uint64_t ns);
void fake_take(uint64_t ns);		/* a call that takes this long; the lock is let go meanwhile */
void fake_clock_start(void);
CUresult fake_look(int dev, bool is_ready);	/* what a query answers */
void fake_stream_add(struct CUstream_st *s);
struct CUstream_st *fake_stream(CUstream s, int dev);
bool fake_op_uses(uint64_t addr, uint64_t len);

/* ---- events (libcuda_event.c) ------------------------------------------------------------------------ */

/* @word: of its file, NULL: its own.  NULL: no memory. */
struct CUevent_st *fake_event_new(unsigned flags, struct fake_event_word *word);

/* ---- settings, rules, counters (libcuda_script.c) --------------------------------------------------- */

struct fake_conf {
	int devices, version, peer;
	int node[FAKE_DEVICES];
	bool is_virtual;
	double bytes_a_second[3], peer_bytes_a_second;
	uint64_t latency_ns, row_ns, item_ns, launch_ns, call_ns, register_ns;
	bool missing[E_LAST];
};

struct fake_attr {
	int which, value;
};

extern struct fake_conf fake_conf;
extern struct fake_counters *fake_count;

int fake_script(const char *text);
void fake_script_start(void);
int fake_attribute(int which, int dev);
CUresult fake_rule(enum fake_entry e);	/* what the script lets this call return */
CUresult fake_copy_rule(bool *ret_hang);	/* what it lets this copy do */

/* ---- entries (libcuda.c) ---------------------------------------------------------------------------- */

extern pthread_mutex_t fake_lock;
extern CUresult fake_sticky[FAKE_DEVICES];
extern const char *const fake_entry_names[E_LAST];

CUresult fake_enter(enum fake_entry e);
CUresult fake_leave(CUresult r);

/* libcuda_device.c */
int fake_current(void);			/* device of the current context, -1 none */
int fake_ctx_device(CUcontext ctx);	/* -1: not one that is retained */
bool fake_is_device(CUdevice d);

#define FAKE_ENTRY(member) CUresult fake_##member

/* An entry as most are: its body runs under the lock, if rules and context let it.  @args: @params without types. */
#define FAKE_CALL(member, params, args)					\
	static CUresult call_##member params;				\
	FAKE_ENTRY(member) params					\
	{								\
		CUresult r = fake_enter(E_##member);			\
									\
		return r ? r : fake_leave(call_##member args);		\
	}								\
	static CUresult call_##member params

#define CU_SYM(feature, member, version, args) CUresult fake_##member args;
#include "gpu/cuda_syms.def"
#undef CU_SYM

const struct fake_kernel *fake_kernel_find(const char *name);
int fake_kernel_add(const struct fake_kernel *k);

#endif
