/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/statgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/confpage.h"

/* Return: 0, -errno. */
static int give(int dirfd, const char *name, gid_t gid)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = fchown(fd, (uid_t)-1, gid) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

void statgroup_give(const struct instance *in, const struct conf *c)
{
	static const char *const files[] = { "stats", "events", CONFPAGE_NAME };
	const char *name = c->stats_group[0] ? c->stats_group : in->is_system ? STATGROUP_OF_A_SERVICE : NULL;
	const struct group *g = name ? getgrnam(name) : NULL;
	int ret = g ? 0 : -ENOENT;

	if (!name)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(files) && ret == 0; i++)
		ret = give(in->run_fd, files[i], g->gr_gid);
	if (ret < 0 && c->stats_group[0])
		log_warn("daemon.stats_group=%s: %s", name, g ? strerror(-ret) : "no such group");
}
