/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/mrc_chart.h"

#include <inttypes.h>
#include <math.h>

#include "kvshm/base/compiler.h"
#include "utils/target.h"

#define W 300.0
#define H 90.0

/* Sizes by octaves, from the first point to the last. */
static double x_of(double of_capacity)
{
	const double first = log2(mrc_watch_sizes[0]), last = log2(mrc_watch_sizes[MRC_WATCH_POINTS - 1]);
	const double at = (log2(of_capacity) - first) / (last - first);

	return W * (at < 0 ? 0 : at > 1 ? 1 : at);
}

static double y_of(double ratio)
{
	return H - 2 - ratio * (H - 4);
}

static void card(const struct mrc_watch_curve *c, uint64_t capacity_bytes, FILE *out)
{
	const double with = 1 + (double)MRC_WATCH_MORE_BYTES / (double)capacity_bytes;
	const double now = c->ratio[MRC_WATCH_AS_IS];

	fprintf(out, "<div class=\"card\"><span class=\"dim\">namespace %u, of %" PRIu64 " blocks asked</span>"
		"<b>+64 GiB would give %+.1f points</b>"
		"<svg class=\"chart\" viewBox=\"0 0 %g %g\" preserveAspectRatio=\"none\" role=\"img\">"
		"<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%g\"/><polyline points=\"", c->ns, c->uses,
		100 * (c->ratio_with_more - now), W, H, x_of(1), x_of(1), H);
	for (unsigned i = 0; i < MRC_WATCH_POINTS; i++)
		fprintf(out, "%s%.1f,%.1f", i ? " " : "", x_of(mrc_watch_sizes[i]), y_of(c->ratio[i]));
	fprintf(out, "\"/><rect class=\"part\" x=\"%.1f\" y=\"%.1f\" width=\"6\" height=\"4\"/></svg>", x_of(with) - 3,
		y_of(c->ratio_with_more) - 2);
	fprintf(out, "<span class=\"dim\">%.1f %% as large as it is, %.1f %% with 64 GiB more, %.1f %% without any limit</span></div>",
		100 * now, 100 * c->ratio_with_more, 100 * c->ratio_infinite);
}

void mrc_chart(const struct mrc_watch_curve *c, unsigned nr, uint64_t capacity_bytes, FILE *out)
{
	char size[16];

	fputs("<h2>Miss-ratio curve</h2>", out);
	if (!nr || !capacity_bytes) {
		fputs("<p class=\"dim\">nothing was heard yet: a curve takes requests that ended half a minute ago</p>", out);
		return;
	}
	fputs("<div class=\"cards\">", out);
	for (unsigned i = 0; i < nr; i++)
		card(&c[i], capacity_bytes, out);
	fprintf(out, "</div><p class=\"dim\">under leaf-lru, each namespace alone, from an eighth of the arena to sixteen times; "
		"line: the arena's %s; mark: with 64 GiB more. kvshm mrc asks for the daemon's own policy</p>",
		human_bytes(capacity_bytes, size));
}
