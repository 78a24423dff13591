/* SPDX-License-Identifier: Apache-2.0 */
/* html.c - the frame of a page, and its style sheet */
#include "utils/html.h"

static const char style[] =
	":root{color-scheme:light dark;--bg:#fbfbfa;--fg:#1c1c1a;--dim:#6b6b66;--card:#fff;--line:#dcdcd6;--a:#2a6fb0;"
	"--good:#2c7a3f;--bad:#b3261e}"
	"@media(prefers-color-scheme:dark){:root{--bg:#161615;--fg:#e6e6e1;--dim:#9a9a93;--card:#1f1f1d;--line:#383834;"
	"--a:#6ea8de;--good:#6cc080;--bad:#f28b82}}"
	"body{background:var(--bg);color:var(--fg);font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1em}"
	"h1{font-size:1.3em;margin:.3em 0}h2{font-size:1em;margin:1.4em 0 .4em;color:var(--dim);font-weight:600}"
	".badge{padding:.1em .6em;border-radius:1em;color:var(--bg);background:var(--good)}.bad{background:var(--bad)}"
	".dim{color:var(--dim)}.alarm{color:var(--bad);font-weight:600}"
	".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:.7em}"
	".card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.6em .8em}"
	".card b{display:block;font-size:1.4em;font-weight:600}"
	"table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line)}"
	"th,td{padding:.25em .6em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}"
	"th{color:var(--dim);font-weight:600}.t{text-align:left}.scroll{overflow-x:auto}"
	"svg{display:block;width:100%;height:40px}polyline{fill:none;stroke:var(--a);stroke-width:1.5}"
	"svg.chart{height:90px}line.mark{stroke:var(--dim);stroke-dasharray:3}"
	"rect.bar{fill:var(--line)}rect.part{fill:var(--a)}";

void html_text(const char *text, FILE *out)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
}

void html_begin(const char *title, const char *name, unsigned refresh_s, FILE *out)
{
	fputs("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"
	      "<meta name=\"viewport\" content=\"width=device-width\">", out);
	if (refresh_s)
		fprintf(out, "<meta http-equiv=\"refresh\" content=\"%u\">", refresh_s);
	fprintf(out, "<title>%s ", title);
	html_text(name, out);
	fprintf(out, "</title><style>%s</style></head><body><h1>%s ", style, title);
	html_text(name, out);
}

void html_end(FILE *out)
{
	fputs("</body></html>\n", out);
}
