/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/instance.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/ini.h"
#include "kvshm/base/log.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/conf_table.h"

const struct conf_key *conf_find(const char *section, const char *key)
{
	for (unsigned i = 0; i < conf_nr_keys; i++)
		if (!strcmp(conf_keys[i].section, section) && !strcmp(conf_keys[i].key, key))
			return &conf_keys[i];
	return NULL;
}

static void *field(struct conf *c, const struct conf_key *k)
{
	return (char *)c + k->offset;
}

static int parse_text(char *dst, size_t len, const char *value)
{
	if (strlen(value) >= len)
		return -ERANGE;
	strcpy_bounded(dst, value, len);
	return 0;
}

static int parse_name(const struct conf_key *k, const char *value, unsigned *ret)
{
	for (unsigned i = 0; k->names[i]; i++) {
		if (!strcmp(k->names[i], value)) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_mode(const char *s, uint64_t *ret)
{
	char *end;
	unsigned long v = strtoul(s, &end, 8);

	if (end == s || *end || v > 0777)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_uids(struct conf *c, const char *value)
{
	return conf_parse_uids(value, c->trusted.uid, CONF_UIDS, &c->trusted.nr);
}

static int parse_value(struct conf *c, const struct conf_key *k, const char *value)
{
	void *f = field(c, k);
	uint64_t n;
	int ret;

	switch (k->type) {
	case CONF_TEXT:
		return parse_text(f, k->len, value);
	case CONF_SIZE:
		return conf_parse_size(value, f);
	case CONF_TIME:
		return conf_parse_time(value, f);
	case CONF_MODE:
		return parse_mode(value, f);
	case CONF_NAME:
		return parse_name(k, value, f);
	case CONF_UID_LIST:
		return parse_uids(c, value);
	case CONF_COUNT:
		ret = conf_parse_count(value, &n);
		if (ret < 0)
			return ret;
		if (n < k->min || n > k->max)
			return -ERANGE;
		*(uint64_t *)f = n;
		return 0;
	}
	return -EINVAL;
}

static int bad_value(const struct conf_key *k, const char *value, const char *origin, int status,
		     struct diag *d)
{
	return diag_set(d, status, "%s: %s.%s: '%s' is not %s", origin, k->section, k->key, value,
			k->expect);
}

static int set_key(struct conf *c, const struct conf_key *k, const char *value, const char *origin,
		   int status, struct diag *d)
{
	if (parse_value(c, k, value) < 0)
		return bad_value(k, value, origin, status, d);
	strcpy_bounded(c->origin[k - conf_keys], origin, CONF_TEXT_LEN);
	return 0;
}

int conf_set(struct conf *c, const char *section, const char *key, const char *value,
	     const char *origin, struct diag *d)
{
	const struct conf_key *k = conf_find(section, key);

	if (!k)
		return diag_set(d, EX_CONFIG, "%s: unknown key %s.%s", origin, section, key);
	return set_key(c, k, value, origin, EX_CONFIG, d);
}

void conf_init(struct conf *c)
{
	struct diag d;

	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < conf_nr_keys; i++)
		set_key(c, &conf_keys[i], conf_keys[i].def, "default", EX_SOFTWARE, &d);
}

struct reading {
	struct conf *c;
	struct diag *d;
};

static int on_entry(void *arg, const struct ini_entry *e, char *error)
{
	struct reading *r = arg;
	const struct conf_key *k = conf_find(e->section, e->key);
	char origin[CONF_TEXT_LEN];

	snprintf(origin, sizeof(origin), "%s:%u", e->file, e->line);
	if (!k && r->c->is_lenient) {
		r->c->nr_warnings++;
		log_warn("%s: unknown key %s.%s ignored", origin, e->section, e->key);
		return 0;
	}
	if (conf_set(r->c, e->section, e->key, e->value, origin, r->d) < 0)
		return -ECANCELED; /* has said why */
	return 0;
}

int conf_read(struct conf *c, const char *path, struct diag *d)
{
	struct reading r = { .c = c, .d = d };
	char error[INI_ERROR_LEN];

	int ret = ini_read(path, on_entry, &r, error);

	if (ret == -ECANCELED)
		return -1;
	if (ret < 0)
		return diag_set(d, EX_CONFIG, "%s", error);
	return 0;
}

static int unknown_policy(const struct conf *c, struct diag *d)
{
	char known[CONF_TEXT_LEN] = "";
	size_t n = 0;

	for (unsigned i = 0; cache_policy_name(i) && n < sizeof(known); i++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
				      cache_policy_name(i));
	return diag_set(d, EX_CONFIG, "policy.name '%s' is unknown; there are %s", c->policy,
			known);
}

int conf_check(const struct conf *c, struct diag *d)
{
	if (!instance_name_ok(c->instance))
		return diag_set(
			d, EX_USAGE,
			"instance name '%s': write 1 to 32 of letters, digits, '-', '_', '.'",
			c->instance);
	if (!cache_policy(c->policy))
		return unknown_policy(c, d);
	if (c->readonly_dir[0] && !c->dir[0])
		return diag_set(d, EX_CONFIG,
				"arena.readonly_dir needs arena.dir, whose read-only view it is");
	if (c->credit_bytes.percent || !c->credit_bytes.bytes)
		return diag_set(d, EX_CONFIG, "clients.credit_bytes is a number of bytes, as 64M");
	if (!c->pin_quota.percent && !c->pin_quota.bytes)
		return diag_set(
			d, EX_CONFIG,
			"clients.pin_quota is a share of the arena, as 25%%, or a number of bytes");
	if (c->extent.percent)
		return diag_set(d, EX_CONFIG, "arena.extent is a number of bytes, as 256M");
	return 0;
}

static void format_uids(const struct conf *c, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < c->trusted.nr && n < len; i++)
		n += (size_t)snprintf(buf + n, len - n, "%s%u", i ? "," : "", c->trusted.uid[i]);
}

static void format_value(const struct conf *c, const struct conf_key *k, char *buf, size_t len)
{
	const void *f = (const char *)c + k->offset;

	switch (k->type) {
	case CONF_TEXT:
		snprintf(buf, len, "%s", (const char *)f);
		break;
	case CONF_SIZE:
		conf_format_size(f, buf, len);
		break;
	case CONF_TIME:
		conf_format_time(*(const uint64_t *)f, buf, len);
		break;
	case CONF_MODE:
		snprintf(buf, len, "%04" PRIo64, *(const uint64_t *)f);
		break;
	case CONF_NAME:
		snprintf(buf, len, "%s", k->names[*(const unsigned *)f]);
		break;
	case CONF_UID_LIST:
		format_uids(c, buf, len);
		break;
	case CONF_COUNT:
		snprintf(buf, len, "%" PRIu64, *(const uint64_t *)f);
		break;
	}
}

void conf_print(const struct conf *c, FILE *out)
{
	const char *section = "";

	for (unsigned i = 0; i < conf_nr_keys; i++) {
		const struct conf_key *k = &conf_keys[i];
		char value[CONF_UIDS * 12], both[CONF_UIDS * 12 + 32];

		if (strcmp(section, k->section)) {
			section = k->section;
			fprintf(out, "[%s]\n", section);
		}
		format_value(c, k, value, sizeof(value));
		snprintf(both, sizeof(both), "%s=%s", k->key, value);
		fprintf(out, "%-39s # %s\n", both, c->origin[i]);
	}
}

/* Word by word, as other threads may be reading. */
static void take_field(void *to, const void *from, size_t len)
{
	if (len == sizeof(uint32_t)) {
		WRITE_ONCE(*(uint32_t *)to, *(const uint32_t *)from);
		return;
	}
	for (size_t i = 0; i < len / sizeof(uint64_t); i++)
		WRITE_ONCE(((uint64_t *)to)[i], ((const uint64_t *)from)[i]);
}

unsigned conf_take_live(struct conf *c, const struct conf *next)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < conf_nr_keys; i++) {
		const struct conf_key *k = &conf_keys[i];
		char old[CONF_UIDS * 12], value[CONF_UIDS * 12];

		format_value(c, k, old, sizeof(old));
		format_value(next, k, value, sizeof(value));
		if (!strcmp(old, value))
			continue;
		if (!k->is_live) {
			log_warn("%s.%s=%s (%s) waits for the next start", k->section, k->key,
				 value, next->origin[i]);
			continue;
		}
		take_field(field(c, k), (const char *)next + k->offset, k->len);
		strcpy_bounded(c->origin[i], next->origin[i], CONF_TEXT_LEN);
		log_info("%s.%s is %s now, was %s (%s)", k->section, k->key, value, old,
			 next->origin[i]);
		nr++;
	}
	return nr;
}

void conf_apply_log(const struct conf *c)
{
	static const enum log_level levels[] = { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
						 LOG_LEVEL_DEBUG };

	log_set(levels[c->log_level]);
	log_adjust(c->verbosity);
}

bool conf_is_default(const struct conf *c, const char *section, const char *key)
{
	const struct conf_key *k = conf_find(section, key);

	return k && !strcmp(c->origin[k - conf_keys], "default");
}
