/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key.h - SHA-256 block keys, chained over a prompt
 *
 * The root key covers all that makes KV bytes of two processes interchangeable; the key of a block
 * is the digest of its parent's key and of its own tokens.  Equal keys therefore mean equal
 * prefixes under equal models.  The one file that knows libcrypto is key.c.
 */
#ifndef KVSHM_ENGINES_LLAMA_KEY_H
#define KVSHM_ENGINES_LLAMA_KEY_H

#include <stddef.h>
#include <stdint.h>

#include <kvshm/key.h>

#define KEY_HEX_LEN (2 * KVSHM_KEY_LEN + 1)

/**
 * key_of_bytes() - SHA-256 of memory
 * Return: 0, -EIO if the digest is not to be had.
 */
int key_of_bytes(const void *data, size_t len, struct kvshm_key *ret_key);

/**
 * key_of_file() - SHA-256 of a file's content
 * Return: 0 or -errno.
 */
int key_of_file(const char *path, struct kvshm_key *ret_key);

/**
 * key_chain() - keys of the leading full blocks of a prompt
 * @root: parent of the first block
 * @tokens: @nr_blocks * @block_tokens of them
 * @ret_keys: array of @nr_blocks
 * Return: 0, -ENOMEM, -EIO.
 */
int key_chain(const struct kvshm_key *root, const int32_t *tokens, unsigned block_tokens,
	      unsigned nr_blocks, struct kvshm_key *ret_keys);

/**
 * key_hex() - lower-case hexadecimal text of a key
 * Return: @buf.
 */
const char *key_hex(const struct kvshm_key *key, char buf[KEY_HEX_LEN]);

#endif
