/* SPDX-License-Identifier: Apache-2.0 */
/* html.h - pages that are whole in themselves: no script, nothing from elsewhere, light and dark */
#ifndef UTILS_HTML_H
#define UTILS_HTML_H

#include <stdio.h>

/* The page up to its heading "@title @name", which the caller closes with </h1>; @refresh_s 0: it stays. */
void html_begin(const char *title, const char *name, unsigned refresh_s, FILE *out);
void html_end(FILE *out);

/* Text of whoever wrote it: nothing of it becomes markup. */
void html_text(const char *text, FILE *out);

#endif
