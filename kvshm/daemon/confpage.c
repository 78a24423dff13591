/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/confpage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/log.h"

int confpage_create(const struct instance *in)
{
	int fd = openat(in->run_fd, CONFPAGE_NAME, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640), ret;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0640) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

int confpage_name_files(struct conf *c, const struct instance *in, struct diag *d)
{
	if ((!c->run_dir[0] && conf_set(c, "daemon", "run_dir", in->run_dir, "default", d) < 0) ||
	    (!c->socket[0] && conf_set(c, "daemon", "socket", in->socket, "default", d) < 0) ||
	    (!c->dir[0] && conf_set(c, "arena", "dir", in->mem_dir, "default", d) < 0))
		return -1;
	return 0;
}

/* Return: 0, -errno.  A reader may see a part of it: it looks again. */
static int store(int fd, const char *text, size_t len)
{
	if (pwrite(fd, text, len, 0) != (ssize_t)len || ftruncate(fd, (off_t)len) < 0)
		return errno ? -errno : -EIO;
	return 0;
}

void confpage_write(int fd, const struct conf *c, const struct instance *in)
{
	struct conf *shown = malloc(sizeof(*shown));
	char *text = NULL;
	struct diag g;
	size_t len;
	int ret = -ENOMEM;
	FILE *f = shown && fd >= 0 ? open_memstream(&text, &len) : NULL;

	if (f) {
		*shown = *c;
		confpage_name_files(shown, in, &g);
		conf_print(shown, f);
		errno = 0;
		ret = fclose(f) ? -errno : store(fd, text, len);
	}
	free(text);
	free(shown);
	if (ret < 0 && fd >= 0)
		log_warn("%s/%s: %s", in->run_dir, CONFPAGE_NAME, strerror(-ret));
}
