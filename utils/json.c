/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - json.h on jansson; read_jsonl.c reads with it, no other file of the tool knows the library */
#include "utils/json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <kvshm/version.h>

/* A struct jdoc is the library's object under another name. */
static json_t *raw(const struct jdoc *j)
{
	return (json_t *)(uintptr_t)j;
}

static void out_of_memory(void)
{
	fputs("kvshm: out of memory\n", stderr);
	exit(1);
}

static void set(struct jdoc *j, const char *name, json_t *v)
{
	if (!v || json_object_set_new(raw(j), name, v) < 0)
		out_of_memory();
}

static void cpu_name(char *buf, size_t len)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(buf, len, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strchr(line, ':');

		if (strncmp(line, "model name", 10) || !at || !at[1])
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(buf, len, "%s", at + 2);
		break;
	}
	if (f)
		fclose(f);
}

struct jdoc *jdoc_begin(const char *name, const char *page_kind)
{
	struct jdoc *j = (struct jdoc *)json_object(), *machine;
	char text[256], schema[64];
	struct utsname un;

	if (!j)
		out_of_memory();
	snprintf(schema, sizeof(schema), "kvshm.%s/1", name);
	jdoc_text(j, "schema", schema);
	jdoc_text(j, "version", KVSHM_VERSION_STRING);
	machine = jdoc_object(j, "machine");
	cpu_name(text, sizeof(text));
	jdoc_text(machine, "cpu", text);
	jdoc_text(machine, "kernel", uname(&un) ? "unknown" : un.release);
	jdoc_text(machine, "page_kind", page_kind);
	return j;
}

void jdoc_page_kind(struct jdoc *j, const char *page_kind)
{
	jdoc_text((struct jdoc *)json_object_get(raw(j), "machine"), "page_kind", page_kind);
}

void jdoc_int(struct jdoc *j, const char *name, int64_t v)
{
	set(j, name, json_integer(v));
}

void jdoc_real(struct jdoc *j, const char *name, double v)
{
	set(j, name, isfinite(v) ? json_real(v) : json_null());
}

void jdoc_text(struct jdoc *j, const char *name, const char *v)
{
	json_t *s = json_string(v);

	set(j, name, s ? s : json_null());
}

void jdoc_bool(struct jdoc *j, const char *name, int v)
{
	set(j, name, json_boolean(v));
}

void jdoc_null(struct jdoc *j, const char *name)
{
	set(j, name, json_null());
}

void jdoc_array(struct jdoc *j, const char *name)
{
	set(j, name, json_array());
}

struct jdoc *jdoc_object(struct jdoc *j, const char *name)
{
	json_t *o = json_object();

	set(j, name, o);
	return (struct jdoc *)o;
}

struct jdoc *jdoc_append(struct jdoc *j, const char *name)
{
	json_t *a = json_object_get(raw(j), name), *o = json_object();

	if (!a) {
		a = json_array();
		set(j, name, a);
	}
	if (!o || json_array_append_new(a, o) < 0)
		out_of_memory();
	return (struct jdoc *)o;
}

struct jdoc *jdoc_parse(const char *text)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(o)) {
		json_decref(o);
		return NULL;
	}
	return (struct jdoc *)o;
}

void jdoc_each(const struct jdoc *j, void (*fn)(void *arg, const char *name, const char *text, double number), void *arg)
{
	const char *name;
	json_t *v;

	json_object_foreach(raw(j), name, v) {
		if (json_is_string(v))
			fn(arg, name, json_string_value(v), NAN);
		else if (json_is_true(v))
			fn(arg, name, "yes", NAN);
		else if (json_is_number(v))
			fn(arg, name, NULL, json_number_value(v));
	}
}

const char *jdoc_text_of(const struct jdoc *j, const char *object, const char *name)
{
	return json_string_value(json_object_get(json_object_get(raw(j), object), name));
}

int jdoc_number(const struct jdoc *j, const char *name, double *ret_v)
{
	json_t *v = json_object_get(raw(j), name);

	if (!json_is_number(v))
		return -1;
	*ret_v = json_number_value(v);
	return 0;
}

struct jdoc *jdoc_end(struct jdoc *j, FILE *out)
{
	if (out) {
		json_dumpf(raw(j), out, JSON_COMPACT | JSON_REAL_PRECISION(12));
		fputc('\n', out);
	}
	json_decref(raw(j));
	return NULL;
}

struct jdoc *jdoc_end_lines(struct jdoc *j, FILE *out)
{
	const char *name;
	json_t *v;

	json_object_foreach(raw(j), name, v) {
		if (json_is_string(v))
			fprintf(out, "%-22s %s\n", name, json_string_value(v));
		else if (json_is_integer(v))
			fprintf(out, "%-22s %lld\n", name, (long long)json_integer_value(v));
		else if (json_is_real(v))
			fprintf(out, "%-22s %.4g\n", name, json_real_value(v));
		else if (json_is_boolean(v))
			fprintf(out, "%-22s %s\n", name, json_is_true(v) ? "yes" : "no");
		else if (json_is_null(v))
			fprintf(out, "%-22s n/a\n", name);
	}
	return jdoc_end(j, NULL);
}
