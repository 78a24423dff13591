/* SPDX-License-Identifier: Apache-2.0 */
/* text_json.h - text of a model, which may hold half characters, as JSON */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_TEXT_JSON_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_TEXT_JSON_H

#include <stddef.h>

struct json_t;

/**
 * text_json() - a JSON string of @len bytes
 * What is not UTF-8 is shown as such, a '?' a byte.
 * Return: a new reference, or NULL.
 */
struct json_t *text_json(const char *text, size_t len);

#endif
