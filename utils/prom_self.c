/* SPDX-License-Identifier: Apache-2.0 */
/* prom_self.c - the exporter about itself, by the names that all exporters use */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kvshm/base/proc.h"
#include "utils/prom.h"

static double resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long all, resident = 0;

	if (f && fscanf(f, "%lu %lu", &all, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* But for the one that looks. */
static double open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	double nr = 0;

	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr < 3 ? 0 : nr - 3;	/* ".", ".." */
}

static double max_fds(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_NOFILE, &r) ? 0 : (double)r.rlim_cur;
}

void prom_write_self(enum prom_form form, FILE *out)
{
	double ticks = (double)sysconf(_SC_CLK_TCK);
	uint64_t boot_s = proc_boot_time();
	struct proc_stat self;
	const char *total = form == PROM_OPENMETRICS ? "" : "_total";

	if (proc_stat_read(getpid(), &self) < 0)
		return;
	fprintf(out, "# HELP process_cpu_seconds%s processor time of the exporter\n# TYPE process_cpu_seconds%s counter\n"
		"process_cpu_seconds_total %.15g\n", total, total, (double)self.cpu_ticks / ticks);
	fprintf(out, "# HELP process_resident_memory_bytes memory of the exporter\n# TYPE process_resident_memory_bytes gauge\n"
		"process_resident_memory_bytes %.15g\n", resident_bytes());
	fprintf(out, "# HELP process_open_fds descriptors of the exporter\n# TYPE process_open_fds gauge\nprocess_open_fds %.15g\n",
		open_fds());
	fprintf(out, "# HELP process_max_fds that it may have\n# TYPE process_max_fds gauge\nprocess_max_fds %.15g\n", max_fds());
	if (boot_s)
		fprintf(out, "# HELP process_start_time_seconds when the exporter started, since 1970\n"
			"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.15g\n",
			(double)boot_s + (double)self.start_ticks / ticks);
}
