/* SPDX-License-Identifier: Apache-2.0 */
/* csv.h - comma-separated values (RFC 4180) */
#ifndef UTILS_CSV_H
#define UTILS_CSV_H

#include <stdio.h>

/* One field: quoted where a comma, a quote or a line's end is in it. */
void csv_text(const char *text, FILE *out);

#endif
