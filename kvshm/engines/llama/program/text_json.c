/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/text_json.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

struct json_t *text_json(const char *text, size_t len)
{
	json_t *t = json_stringn(text, len);
	char *ascii;
	size_t i;

	if (t)
		return t;
	ascii = malloc(len + 1);
	if (!ascii)
		return NULL;
	memcpy(ascii, text, len);
	for (i = 0; i < len; i++)
		if (ascii[i] & 0x80)
			ascii[i] = '?';
	t = json_stringn(ascii, len);
	free(ascii);
	return t;
}
