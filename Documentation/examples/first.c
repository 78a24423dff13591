/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <kvshm/kvshm.h>

int main(void)
{
	struct kvshm_ns_desc model = { .fingerprint = "my model", .block_len = 65536, .block_tokens = 16 };
	struct kvshm_key key = { "a digest of the prompt so far" };
	static char kv[65536] = "keys and values of 16 tokens";
	const void *src = kv;
	struct kvshm_completion done;
	struct kvshm_block block;
	struct kvshm_pin pin;
	struct kvshm *k;
	uint32_t ns;

	if (kvshm_open(NULL, &k) < 0 || kvshm_attach_ns(k, &model, &ns) < 0)
		return 1;
	kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, 0, 1000000);
	kvshm_poll(k, &done, 1, 1000000);
	if (kvshm_acquire(k, ns, &key, 1, &pin) != 1 || kvshm_resolve(k, &pin, &key, &block) != 1)
		return 1;
	printf("%s\n", (char *)block.ptr);	/* in place: no copy, no message */
	kvshm_release(k, &pin);
	return kvshm_close(k) != NULL;
}
