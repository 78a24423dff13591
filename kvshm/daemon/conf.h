/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h - configuration: one table drives files, options, checks, printing and help
 *
 * Later sources override earlier ones: built-in default, vendor file, /etc file, its drop-ins, the
 * command line.  Each value remembers where it came from.
 */
#ifndef KVSHM_DAEMON_CONF_H
#define KVSHM_DAEMON_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "kvshm/daemon/diag.h"

#define CONF_TEXT_LEN 256
#define CONF_NR_KEYS 32 /* room; the table is checked against it */
#define CONF_UIDS 64

struct conf_size {
	uint64_t bytes; /* 0 with percent 0: automatic */
	unsigned percent;
};

enum conf_numa { CONF_NUMA_PREFERRED, CONF_NUMA_STRICT };

struct conf {
	/* [daemon] */
	char instance[64];
	char run_dir[CONF_TEXT_LEN], socket[CONF_TEXT_LEN];
	char stats_group[64];
	uint64_t copy_lcores;
	unsigned sandbox; /* enum sandbox_mode */
	uint64_t scrub_ns; /* one pass over all known checksums, 0: never */
	unsigned log_level; /* index of its name */
	/* [arena] */
	char dir[CONF_TEXT_LEN], readonly_dir[CONF_TEXT_LEN];
	struct conf_size size, extent;
	unsigned pages; /* enum backing_pages */
	unsigned numa; /* enum conf_numa */
	unsigned wipe; /* enum cache_wipe */
	uint64_t max_blocks; /* 0: size / 64 KiB */
	uint64_t capacity_blocks; /* 0: no limit */
	/* [clients] */
	char pins_dir[CONF_TEXT_LEN];
	struct {
		uid_t uid[CONF_UIDS];
		unsigned nr;
	} trusted;
	uint64_t max, max_per_uid;
	struct conf_size pin_quota;
	uint64_t credit_blocks;
	struct conf_size credit_bytes;
	uint64_t handshake_ns;
	uint64_t socket_mode;
	/* [policy] */
	char policy[32];
	unsigned lockstep; /* 1: yes */
	/* the command line only */
	char file[CONF_TEXT_LEN];
	bool is_lenient, is_discard;
	int verbosity; /* -1 quiet, 0, 1 verbose */
	enum { CONF_RUN, CONF_CHECK, CONF_PRINT, CONF_HELP, CONF_VERSION } action;

	unsigned nr_warnings; /* unknown keys let pass by --lenient */
	char origin[CONF_NR_KEYS][CONF_TEXT_LEN];
};

/* Built-in defaults. */
void conf_init(struct conf *c);

/**
 * conf_load() - everything: defaults, files, command line
 * Return: 0, or -1 with @d filled: EX_USAGE for the command line, EX_CONFIG for a file.
 */
int conf_load(struct conf *c, int argc, char **argv, struct diag *d);

/* One file into @c.  Return: 0, -1 with @d. */
int conf_read(struct conf *c, const char *path, struct diag *d);

/* One value, as text.  Return: 0; -1 with @d naming @origin. */
int conf_set(struct conf *c, const char *section, const char *key, const char *value,
	     const char *origin, struct diag *d);

/* Limits between keys.  Return: 0, -1 with @d. */
int conf_check(const struct conf *c, struct diag *d);

/* Effective values with their origin, in the format of a file. */
void conf_print(const struct conf *c, FILE *out);
void conf_help(FILE *out);

/**
 * conf_take_live() - a reload: the values that may change while the service runs, from @next
 * Each change is told in the log, also those that wait for the next start.  Other threads may read
 * these values by READ_ONCE().  Return: number taken.
 */
unsigned conf_take_live(struct conf *c, const struct conf *next);

/* As configured, with -v and -q. */
void conf_apply_log(const struct conf *c);

bool conf_is_default(const struct conf *c, const char *section, const char *key);

/* ---- values (conf_value.c); Return: 0, -EINVAL, -ERANGE ------------------------------------- */

int conf_parse_size(const char *s, struct conf_size *ret); /* 512M 64G 80% auto */
int conf_parse_time(const char *s, uint64_t *ret_ns); /* 500ms 10s */
int conf_parse_count(const char *s, uint64_t *ret);
int conf_parse_uids(const char *s, uid_t *ret_uids, unsigned max, unsigned *ret_nr);
void conf_format_size(const struct conf_size *v, char *buf, size_t len);
void conf_format_time(uint64_t ns, char *buf, size_t len);

#endif
