/* SPDX-License-Identifier: Apache-2.0 */
/* csv.c - comma-separated values */
#include "utils/csv.h"

#include <string.h>

void csv_text(const char *text, FILE *out)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++)
		fprintf(out, *text == '"' ? "\"\"" : "%c", *text);
	fputc('"', out);
}
