/* SPDX-License-Identifier: Apache-2.0 */
/* tracegen_draw.c - draws from the distributions that loads are described by */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "utils/tracegen.h"

double draw_exponential(struct rand *r, double mean)
{
	return -mean * log(1 - rand_double(r));
}

unsigned draw_log_normal(struct rand *r, double mu, double sigma)
{
	double u = 1 - rand_double(r), v = rand_double(r);
	double x = exp(mu + sigma * sqrt(-2 * log(u)) * cos(2 * M_PI * v));

	return x < 1 ? 1 : x > 60000 ? 60000 : (unsigned)x;
}

unsigned draw_between(struct rand *r, unsigned min, unsigned max)
{
	return min + (unsigned)rand_below(r, max - min + 1ull);
}

int zipf_init(struct zipf *ret_z, unsigned n, double s)
{
	struct zipf z = { .below = malloc(n * sizeof(*z.below)), .n = n };
	double sum = 0;

	*ret_z = z;
	if (!z.below)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		z.below[i] = sum += pow(i + 1, -s);
	for (unsigned i = 0; i < n; i++)
		z.below[i] /= sum;
	return 0;
}

void zipf_fini(struct zipf *z)
{
	free(z->below);
	*z = (struct zipf){ 0 };
}

unsigned zipf_draw(const struct zipf *z, struct rand *r)
{
	const double u = rand_double(r);
	unsigned low = 0, high = z->n - 1;

	while (low < high) {
		const unsigned middle = low + (high - low) / 2;

		if (u < z->below[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}
