/* SPDX-License-Identifier: Apache-2.0 */
/* stage_cost.c - costs of copies and kernels: defaults, limits, and the file that they are kept in */
#include "gpu/stage_cost.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/ini.h"

#define TIME_MAX 1e9			/* ns */
#define RATE_MIN 1e-3			/* bytes a ns */
#define RATE_MAX 1e6

/* A PCIe 5 x16 card; `kvshm bench stage` measures the one at hand. */
const struct stage_cost stage_cost_default = {
	.call_ns = 1800, .copy_ns = 1200, .row_ns = 40, .batch_ns = 3500, .entry_ns = 250, .entry_copy_ns = 1200,
	.launch_ns = 4500, .link_bytes_per_ns = 50, .device_bytes_per_ns = 1000, .direct_bytes_per_ns = 40,
};

#define TIME(name) { #name, offsetof(struct stage_cost, name), 0, TIME_MAX }
#define RATE(name) { #name, offsetof(struct stage_cost, name), RATE_MIN, RATE_MAX }

static const struct field {
	const char *name;
	size_t at;
	double min, max;
} fields[] = {
	TIME(call_ns), TIME(copy_ns), TIME(row_ns), TIME(batch_ns), TIME(entry_ns), TIME(entry_copy_ns),
	TIME(launch_ns), RATE(link_bytes_per_ns), RATE(device_bytes_per_ns), RATE(direct_bytes_per_ns),
};
_Static_assert(ARRAY_SIZE(fields) * sizeof(double) == sizeof(struct stage_cost), "a cost without a row");

static double get(const struct stage_cost *c, const struct field *f)
{
	return *(const double *)(const void *)((const char *)c + f->at);
}

static void set(struct stage_cost *c, const struct field *f, double v)
{
	*(double *)(void *)((char *)c + f->at) = v;
}

/* Written so that what is no number is not in range. */
static bool is_in_range(const struct field *f, double v)
{
	return v >= f->min && v <= f->max;
}

bool stage_cost_is_sane(const struct stage_cost *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (!is_in_range(&fields[i], get(c, &fields[i])))
			return false;
	return true;
}

const char *stage_cost_field(const struct stage_cost *c, unsigned i, double *ret)
{
	if (i >= ARRAY_SIZE(fields))
		return NULL;
	*ret = get(c, &fields[i]);
	return fields[i].name;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

struct reading {
	const char *card;
	bool is_simulated;
	struct stage_cost cost;
	unsigned seen;			/* bits of fields */
	bool has_source, is_other_source;
};

static int complain(const struct ini_entry *e, char *error, const char *what)
{
	snprintf(error, INI_ERROR_LEN, "%.100s:%u: %.60s: %s", e->file, e->line, e->key, what);
	return -EINVAL;
}

/* Digits and perhaps a fraction, whatever the program's locale; billionths and less are dropped. */
static bool take_number(const char *t, double *ret)
{
	uint64_t whole = 0, part = 0, scale = 1;

	if (*t < '0' || *t > '9')
		return false;
	for (; *t >= '0' && *t <= '9'; t++) {
		if (whole > 1000000000000)
			return false;
		whole = whole * 10 + (uint64_t)(*t - '0');
	}
	if (*t == '.')
		for (t++; *t >= '0' && *t <= '9'; t++)
			if (scale < 1000000000) {
				part = part * 10 + (uint64_t)(*t - '0');
				scale *= 10;
			}
	*ret = (double)whole + (double)part / (double)scale;
	return !*t;
}

static int take_source(struct reading *r, const struct ini_entry *e, bool is_ours, char *error)
{
	bool is_simulated = !strcmp(e->value, "simulated");

	if (!is_simulated && strcmp(e->value, "measured") != 0)
		return complain(e, error, "measured or simulated");
	if (!is_ours)
		return 0;
	if (r->has_source)
		return complain(e, error, "a second time for this card");
	r->has_source = true;
	r->is_other_source = is_simulated != r->is_simulated;
	return 0;
}

/* Other cards' sections are held to the same rules: a file is right or wrong on every machine. */
static int on_entry(void *arg, const struct ini_entry *e, char *error)
{
	struct reading *r = arg;
	bool is_ours = !strcmp(e->section, r->card);
	unsigned i = 0;
	double v;

	if (!strcmp(e->key, "source"))
		return take_source(r, e, is_ours, error);
	while (i < ARRAY_SIZE(fields) && strcmp(e->key, fields[i].name) != 0)
		i++;
	if (i == ARRAY_SIZE(fields))
		return complain(e, error, "no such cost");
	if (!take_number(e->value, &v))
		return complain(e, error, "not a plain decimal number");
	if (!is_in_range(&fields[i], v))
		return complain(e, error, "out of range");
	if (!is_ours)
		return 0;
	if (r->seen & 1u << i)
		return complain(e, error, "a second time for this card");
	r->seen |= 1u << i;
	set(&r->cost, &fields[i], v);
	return 0;
}

/* Does what was read suffice?  Return: 1; -ENODATA; -EINVAL. */
static int judge(const struct reading *r, const char *path, char *why)
{
	const unsigned missing = ~r->seen & ((1u << ARRAY_SIZE(fields)) - 1);

	if (!r->seen && !r->has_source) {
		snprintf(why, STAGE_COST_WHY, "%.120s has no section [%.80s]", path, r->card);
		return -ENODATA;
	}
	if (missing || !r->has_source) {
		snprintf(why, STAGE_COST_WHY, "%.120s: [%.80s] lacks %s", path, r->card,
			 missing ? fields[__builtin_ctz(missing)].name : "source");
		return -EINVAL;
	}
	if (r->is_other_source) {
		snprintf(why, STAGE_COST_WHY, "%.120s: [%.80s] was %s", path, r->card,
			 r->is_simulated ? "measured, and this driver is simulated" : "simulated, and this driver is not");
		return -ENODATA;
	}
	return 1;
}

_Static_assert(STAGE_COST_WHY >= INI_ERROR_LEN, "a complaint of the parser fits");

int stage_cost_find(const char *path, const char *card, bool is_simulated, struct stage_cost *ret,
		    char text[static STAGE_COST_WHY])
{
	struct reading r = { .card = card, .is_simulated = is_simulated };
	const char *env = secure_getenv("KVSHM_STAGE_COSTS"), *named = path ? path : env && *env ? env : NULL;
	int err;

	*ret = stage_cost_default;
	path = named ? named : STAGE_COSTS_PATH;
	err = ini_read(path, on_entry, &r, text);
	if (err == -ENOENT && !named) {
		*text = 0;
		return 0;
	}
	if (err == 0)
		err = judge(&r, path, text);
	if (err <= 0)
		return err;
	*ret = r.cost;
	snprintf(text, STAGE_COST_WHY, "%s", path);
	return 1;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* As ini.h reads it back: on a line, not cut by a comment, with nothing that is dropped at either end. */
static bool is_section(const char *card)
{
	const size_t n = strlen(card);

	return n && n < 128 && !strpbrk(card, "#\r\n") && card[0] > ' ' && card[n - 1] > ' ';
}

int stage_cost_print(const struct stage_cost *c, const char *card, bool is_simulated, char *buf, size_t len)
{
	size_t at;

	if (!stage_cost_is_sane(c) || !is_section(card))
		return -EINVAL;
	at = (size_t)snprintf(buf, len, "[%s]\nsource=%s\n", card, is_simulated ? "simulated" : "measured");
	for (unsigned i = 0; i < ARRAY_SIZE(fields) && at < len; i++) {
		const uint64_t milli = (uint64_t)(get(c, &fields[i]) * 1000 + 0.5);

		at += (size_t)snprintf(buf + at, len - at, "%s=%" PRIu64 ".%03" PRIu64 "\n", fields[i].name,
				       milli / 1000, milli % 1000);
	}
	return at < len ? (int)at : -ENOSPC;
}
