/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/key.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

int key_of_bytes(const void *data, size_t len, struct kvshm_key *ret_key)
{
	return EVP_Digest(data, len, ret_key->bytes, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

static int digest_stream(EVP_MD_CTX *md, FILE *f, struct kvshm_key *ret_key)
{
	static unsigned char buf[1 << 18];
	size_t n;

	if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		return -EIO;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		if (EVP_DigestUpdate(md, buf, n) != 1)
			return -EIO;
	if (ferror(f))
		return -EIO;
	return EVP_DigestFinal_ex(md, ret_key->bytes, NULL) == 1 ? 0 : -EIO;
}

int key_of_file(const char *path, struct kvshm_key *ret_key)
{
	EVP_MD_CTX *md;
	FILE *f;
	int ret;

	f = fopen(path, "rbe");
	if (!f)
		return -errno;
	md = EVP_MD_CTX_new();
	ret = md ? digest_stream(md, f, ret_key) : -ENOMEM;
	EVP_MD_CTX_free(md);
	fclose(f);
	return ret;
}

int key_chain(const struct kvshm_key *root, const int32_t *tokens, unsigned block_tokens,
	      unsigned nr_blocks, struct kvshm_key *ret_keys)
{
	struct {
		struct kvshm_key parent;
		uint32_t tokens[];
	} * msg;
	size_t len = sizeof(*msg) + block_tokens * sizeof(msg->tokens[0]);
	unsigned i, j;
	int ret = 0;

	msg = malloc(len);
	if (!msg)
		return -ENOMEM;
	msg->parent = *root;
	for (i = 0; !ret && i < nr_blocks; i++) {
		for (j = 0; j < block_tokens; j++)
			msg->tokens[j] = htole32((uint32_t)tokens[i * block_tokens + j]);
		ret = key_of_bytes(msg, len, &ret_keys[i]);
		msg->parent = ret_keys[i];
	}
	free(msg);
	return ret;
}

const char *key_hex(const struct kvshm_key *key, char buf[KEY_HEX_LEN])
{
	unsigned i;

	for (i = 0; i < KVSHM_KEY_LEN; i++)
		snprintf(buf + 2 * i, 3, "%02x", key->bytes[i]);
	return buf;
}
