/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_script.c - the fake driver's settings, its rules for failures, its counters */
#include "tests/fake/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#define MAX_RULES 32u
#define MAX_ATTRS 16u

struct rule {				/* of one entry, or of copies when @entry is E_LAST */
	int entry;
	uint64_t left;			/* calls until it takes effect; 0: at each call */
	CUresult code;
	bool is_hang;
};

static const struct fake_conf defaults = {
	.devices = 1, .version = 13000, .peer = 1, .bytes_a_second = { 25e9, 25e9, 1e12 }, .peer_bytes_a_second = 2e11, .latency_ns = 1500, .item_ns = 150,
	.row_ns = 10, .launch_ns = 3000,
};

static const struct fake_attr attr_defaults[] = {
	{ CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3 },
	{ CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9 },
	{ CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED, 0 },
	{ CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 1 },
	{ CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, 1 },
};

struct fake_conf fake_conf;
static struct fake_counters own_counters;
struct fake_counters *fake_count = &own_counters;
static struct rule rules[MAX_RULES];
static unsigned nr_rules;
static struct fake_attr attrs[MAX_ATTRS];
static unsigned nr_attrs;
static bool is_ready;

/* ---- what the rules say ------------------------------------------------------------------------------ */

static bool rule_fires(struct rule *r)
{
	if (!r->left)
		return true;
	return !--r->left;
}

static void rule_drop(struct rule *r)
{
	*r = rules[--nr_rules];
}

CUresult fake_rule(enum fake_entry e)
{
	for (unsigned i = 0; i < nr_rules; i++) {
		struct rule *r = &rules[i];
		bool always = !r->left;
		CUresult code = r->code;

		if (r->entry != (int)e || !rule_fires(r))
			continue;
		if (!always)
			rule_drop(r);
		return code;
	}
	return CUDA_SUCCESS;
}

CUresult fake_copy_rule(bool *ret_hang)
{
	CUresult code = CUDA_SUCCESS;

	for (unsigned i = 0; i < nr_rules;) {
		struct rule *r = &rules[i];

		if (r->entry != E_LAST || !rule_fires(r)) {
			i++;
			continue;
		}
		*ret_hang |= r->is_hang;
		code = r->is_hang ? code : r->code;
		rule_drop(r);
	}
	return code;
}

int fake_attribute(int which, int dev)
{
	switch (which) {
	case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
		return 0x3b + dev;
	case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
	case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
		return 0;
	default:
		break;
	}
	for (unsigned i = nr_attrs; i-- > 0;)
		if (attrs[i].which == which)
			return attrs[i].value;
	for (unsigned i = 0; i < ARRAY_SIZE(attr_defaults); i++)
		if (attr_defaults[i].which == which)
			return attr_defaults[i].value;
	return 0;
}

/* ---- reading it --------------------------------------------------------------------------------------- */

static int entry_of(const char *name, size_t len)
{
	for (int i = 0; i < E_LAST; i++)
		if (strlen(fake_entry_names[i]) == len && !strncmp(fake_entry_names[i], name, len))
			return i;
	return -1;
}

static bool number(const char **at, double *ret)
{
	char *end;

	*ret = strtod(*at, &end);
	if (end == *at || *ret < 0)
		return false;
	*at = end;
	return true;
}

static bool second_number(const char **at, double *ret)
{
	return *(*at)++ == ':' && number(at, ret);
}

static bool add_rule(int entry, double left, double code, bool is_hang)
{
	if (nr_rules == MAX_RULES)
		return false;
	rules[nr_rules++] = (struct rule){ .entry = entry, .left = (uint64_t)left, .code = (CUresult)code, .is_hang = is_hang };
	return true;
}

static bool word_entry(const char *name, const char *v)
{
	size_t len = strcspn(v, ":;");
	int entry = entry_of(v, len);
	double a, b;

	if (entry < 0)
		return false;
	v += len;
	if (!strcmp(name, "missing")) {
		fake_conf.missing[entry] = true;
		return !*v;
	}
	return second_number(&v, &a) && second_number(&v, &b) && !*v && add_rule(entry, a, b, false);
}

static bool word_pair(const char *name, const char *v)
{
	double a, b;

	if (!number(&v, &a) || !second_number(&v, &b) || *v)
		return false;
	if (!strcmp(name, "land"))
		return a > 0 && add_rule(E_LAST, a, b, false);
	if (!strcmp(name, "node")) {
		if (a >= FAKE_DEVICES)
			return false;
		fake_conf.node[(int)a] = (int)b;
		return true;
	}
	if (nr_attrs == MAX_ATTRS)
		return false;
	attrs[nr_attrs++] = (struct fake_attr){ (int)a, (int)b };
	return true;
}

static bool word_lost(const char *v)
{
	double code, dev = -1;

	if (!number(&v, &code) || (*v && (!second_number(&v, &dev) || dev >= FAKE_DEVICES)) || *v)
		return false;
	for (int i = 0; i < FAKE_DEVICES; i++)
		if (dev < 0 || i == (int)dev)
			fake_lose(i, (CUresult)code);
	return true;
}

/* As a new process would find it, but for what is still allocated, registered and open. */
static void reset(void)
{
	struct fake_counters now = { .registered = fake_count->registered, .registered_bytes = fake_count->registered_bytes,
				     .imports = fake_count->imports, .streams = fake_count->streams,
				     .events = fake_count->events, .allocations = fake_count->allocations };

	struct fake_conf conf = defaults;

	conf.devices = fake_conf.devices;
	conf.version = fake_conf.version;
	conf.peer = fake_conf.peer;
	memcpy(conf.node, fake_conf.node, sizeof(conf.node));
	memcpy(conf.missing, fake_conf.missing, sizeof(conf.missing));
	fake_conf = conf;
	for (int i = 0; i < FAKE_DEVICES; i++)
		fake_lose(i, CUDA_SUCCESS);
	fake_clock_set(false);
	*fake_count = now;
	nr_rules = 0;
	nr_attrs = 0;
	fake_reset_landed();
}

static bool word_one(const char *name, const char *v)
{
	const struct {
		const char *name;
		uint64_t *at;
	} times[] = {
		{ "latency", &fake_conf.latency_ns }, { "row", &fake_conf.row_ns }, { "item", &fake_conf.item_ns },
		{ "launch", &fake_conf.launch_ns }, { "call", &fake_conf.call_ns }, { "register", &fake_conf.register_ns },
	};
	static const char *const dirs[] = { [GPU_H2D] = "h2d", [GPU_D2H] = "d2h", [GPU_D2D] = "d2d" };
	double a;

	if (!number(&v, &a) || *v)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(times); i++)
		if (!strcmp(name, times[i].name)) {
			*times[i].at = (uint64_t)a;
			return true;
		}
	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!strcmp(name, dirs[i]) && a > 0) {
			fake_conf.bytes_a_second[i] = a;
			return true;
		}
	if (!strcmp(name, "p2p") && a > 0)
		fake_conf.peer_bytes_a_second = a;
	else if (!strcmp(name, "hang"))
		return a > 0 && add_rule(E_LAST, a, 0, true);
	else if (!strcmp(name, "devices") && a <= FAKE_DEVICES) {
		fake_conf.devices = (int)a;
	} else if (!strcmp(name, "version")) {
		fake_conf.version = (int)a;
	} else if (!strcmp(name, "peer")) {
		fake_conf.peer = (int)a;
	} else {
		return false;
	}
	return true;
}

static bool word(char *text)
{
	char *v = strchr(text, '=');

	if (!strcmp(text, "reset")) {
		reset();
		return true;
	}
	if (!v)
		return false;
	*v++ = 0;
	if (!strcmp(text, "fail") || !strcmp(text, "missing"))
		return word_entry(text, v);
	if (!strcmp(text, "lost"))
		return word_lost(v);
	if (!strcmp(text, "land") || !strcmp(text, "attr") || !strcmp(text, "node"))
		return word_pair(text, v);
	if (!strcmp(text, "clock")) {
		if (strcmp(v, "virtual") && strcmp(v, "real"))
			return false;
		fake_clock_set(!strcmp(v, "virtual"));
		return true;
	}
	return word_one(text, v);
}

static int apply(const char *text)
{
	char *copy = strdup(text), *at = copy, *w;
	bool ok = copy;

	while (ok && (w = strsep(&at, ";\n")))
		ok = !*w || word(w);
	free(copy);
	return ok ? 0 : -EINVAL;
}

int fake_script(const char *text)
{
	int ret;

	fake_script_start();
	pthread_mutex_lock(&fake_lock);
	ret = apply(text);
	pthread_mutex_unlock(&fake_lock);
	return ret;
}

/* ---- start --------------------------------------------------------------------------------------------- */

static void map_counters(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *at = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, sizeof(*fake_count)))
		at = mmap(NULL, sizeof(*fake_count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (at == MAP_FAILED) {
		fprintf(stderr, "fake libcuda: counters cannot be kept in %s: %m\n", path);
		return;
	}
	memset(at, 0, sizeof(*fake_count));
	fake_count = at;
}

void fake_script_start(void)
{
	const char *text = getenv("FAKE_CUDA_SCRIPT"), *stats = getenv("FAKE_CUDA_STATS");

	pthread_mutex_lock(&fake_lock);
	if (!is_ready) {
		is_ready = true;
		fake_conf = defaults;
		if (stats && *stats)
			map_counters(stats);
		if (text && apply(text) < 0)
			fprintf(stderr, "fake libcuda: FAKE_CUDA_SCRIPT is malformed: %s\n", text);
	}
	pthread_mutex_unlock(&fake_lock);
}
