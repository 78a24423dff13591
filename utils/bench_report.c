/* SPDX-License-Identifier: Apache-2.0 */
/* bench_report.c - kvshm bench report: what was measured as one page, with the machine it was measured on */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/bench_runs.h"
#include "utils/commands.h"
#include "utils/html.h"

#define FILES_MAX 64u

static void usage(FILE *out)
{
	fputs("usage: kvshm bench report FILE...\n\n"
	      "Prints one HTML page of what `kvshm bench WHAT --json >> FILE` collected: medians of the runs, their\n"
	      "spread, and the machine.\n\n"
	      "  -h, --help    print this\n\n"
	      "Exit status: 0 printed, 2 usage, 8 a file is malformed.\n", out);
}

/* The runs of a figure on a scale from 0 to the largest: a line for the spread, a bar for the median. */
static void draw(struct samples *s, FILE *out)
{
	double low = samples_quantile(s, 0), mid = samples_quantile(s, 0.5), high = samples_quantile(s, 1);

	if (!(high > 0) || low < 0)
		return;
	fprintf(out, "<svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" style=\"height:10px\">"
		"<rect class=\"part\" y=\"2\" width=\"%.1f\" height=\"6\"/>"
		"<rect class=\"bar\" x=\"%.1f\" y=\"4\" width=\"%.1f\" height=\"2\"/></svg>",
		100 * mid / high, 100 * low / high, 100 * (high - low) / high);
}

static void row(struct run_series *s, FILE *out)
{
	struct samples *v = &s->of[0];

	fputs("<tr><td class=\"t\">", out);
	html_text(s->field, out);
	fprintf(out, "</td><td>%.4g</td><td>%.4g</td><td>%.4g</td><td>%zu</td><td style=\"width:40%%\">",
		samples_quantile(v, 0.5), samples_quantile(v, 0), samples_quantile(v, 1), v->nr);
	draw(v, out);
	fputs("</td></tr>", out);
}

/* Series of one benchmark and its parameters follow each other, as they were read. */
static void print(struct runs *r, FILE *out)
{
	const char *last = "";

	html_begin("kvshm", "bench", 0, out);
	fputs("</h1><p class=\"dim\">", out);
	html_text(r->machine, out);
	fputs("</p>", out);
	for (unsigned i = 0; i < r->nr; i++) {
		struct run_series *s = &r->series[i];

		if (strcmp(last, s->what)) {
			fputs(*last ? "</table></div><h2>" : "<h2>", out);
			html_text(s->what, out);
			fputs("</h2><div class=\"scroll\"><table><tr><th class=\"t\">FIELD</th><th>MEDIAN</th><th>LEAST</th>"
			      "<th>MOST</th><th>RUNS</th><th></th></tr>", out);
			last = s->what;
		}
		row(s, out);
	}
	fputs(*last ? "</table></div>" : "<p>no run</p>", out);
	fputs("<p class=\"dim\">units are in the names; compare figures of one machine only</p>", out);
	html_end(out);
}

int bench_report(int argc, char **argv)
{
	static struct runs r;
	const struct option_row rows[] = { { 0 } };
	int ret = options_parse(&(struct option_table){ "kvshm bench report", usage, rows, FILES_MAX }, argc, argv);
	int nr = options_words(argc);

	if (ret != OPTIONS_GO_ON)
		return ret;
	if (!nr) {
		usage(stderr);
		return EXIT_USAGE;
	}
	ret = EXIT_FINE;
	for (int i = argc - nr; i < argc && !ret; i++)
		ret = runs_read(&r, 0, "kvshm bench report", argv[i]);
	if (!ret)
		print(&r, stdout);
	runs_fini(&r);
	return ret;
}
