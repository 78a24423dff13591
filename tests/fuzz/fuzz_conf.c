/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_conf.c - F6: a configuration file, and the values in it */
#include "kvshm/base/ini.h"
#include "kvshm/daemon/conf.h"
#include "tests/fuzz/fuzz.h"

static int on_entry(void *arg, const struct ini_entry *e, char *error)
{
	struct conf_size size;
	struct diag d = { 0 };
	uint64_t v;

	(void)conf_parse_size(e->value, &size);
	(void)conf_parse_time(e->value, &v);
	(void)conf_parse_count(e->value, &v);
	if (conf_set(arg, e->section, e->key, e->value, e->file, &d) < 0)
		MUST(d.text[0] && memchr(d.text, 0, sizeof(d.text)));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static FILE *out;
	char error[INI_ERROR_LEN] = "";
	struct diag d = { 0 };
	struct conf c;

	if (!out)
		out = fopen("/dev/null", "we");
	MUST(out);
	conf_init(&c);
	if (ini_parse("fuzz", (const char *)data, len, on_entry, &c, error) < 0)
		MUST(error[0] && memchr(error, 0, sizeof(error)));
	conf_check(&c, &d);
	conf_print(&c, out);
	return 0;
}
