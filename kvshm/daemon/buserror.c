/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/buserror.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/daemon/store.h"

#define RETIRED_FILE "retired"
#define UNIT_DIRECTORY UINT64_MAX

static struct {
	const struct store *st;
	int fd;
} watch; /* set once, before the handler may run */

static bool is_known(const uint64_t *units, int nr, uint64_t unit)
{
	for (int i = 0; i < nr; i++)
		if (units[i] == unit)
			return true;
	return false;
}

int retired_read(int dirfd, uint64_t *ret_units)
{
	int nr = 0, fd = openat(dirfd, RETIRED_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t unit;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	while (nr >= 0 && nr < (int)RETIRED_MAX && read(fd, &unit, sizeof(unit)) == sizeof(unit)) {
		if (unit == UNIT_DIRECTORY)
			nr = -EIO;
		else if (!is_known(ret_units, nr, unit))
			ret_units[nr++] = unit;
	}
	close(fd);
	return nr;
}

int retired_forget(int dirfd)
{
	int fd = openat(dirfd, RETIRED_FILE, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	close(fd);
	return 0;
}

static bool lies_in(const void *addr, const void *base, size_t len)
{
	return (uintptr_t)addr - (uintptr_t)base < len;
}

/* What a signal handler may call: no printf here. */
static void say(const char *what)
{
	ssize_t n = write(STDERR_FILENO, what, strlen(what));

	(void)n;
}

static void note(uint64_t unit)
{
	ssize_t n = write(watch.fd, &unit, sizeof(unit));

	if (n != sizeof(unit))
		say("kvshmd: error: the bad memory cannot be noted\n");
}

/* Reset by SA_RESETHAND: the instruction runs again after the return, and ends the process. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	const struct store *st = watch.st;

	(void)sig;
	(void)context;
	if (lies_in(info->si_addr, st->arena.base, st->arena.reserved)) {
		note((uint64_t)((char *)info->si_addr - st->arena.base) &
		     ~(uint64_t)(HUGE_LEN - 1));
		say("kvshmd: error: bus error in the arena: dying, the next start does not use those 2 MiB\n");
	} else if (!st->dir.sb || lies_in(info->si_addr, st->dir.sb, st->dir.len)) {
		note(UNIT_DIRECTORY);
		say("kvshmd: error: bus error in the directory: dying, the next start is cold\n");
	} else {
		say("kvshmd: error: bus error in private memory: dying\n");
	}
}

int buserror_watch(const struct store *st, int dirfd)
{
	struct sigaction sa = { .sa_sigaction = on_bus_error,
				.sa_flags = SA_SIGINFO | SA_RESETHAND };

	watch.st = st;
	watch.fd = openat(dirfd, RETIRED_FILE,
			  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (watch.fd < 0)
		return -errno;
	return sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}
