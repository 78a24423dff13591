/* SPDX-License-Identifier: Apache-2.0 */
/* confpage.h - the configuration in force, beside the statistics page, for who may look at that */
#ifndef KVSHM_DAEMON_CONFPAGE_H
#define KVSHM_DAEMON_CONFPAGE_H

#include "kvshm/daemon/conf.h"
#include "kvshm/daemon/instance.h"

#define CONFPAGE_NAME "config"

/* Make the file, mode 0640, empty.  Return: a descriptor, -errno. */
int confpage_create(const struct instance *in);

/* As --print-config prints it; also after a reload.  What cannot be written is told in the log. */
void confpage_write(int fd, const struct conf *c, const struct instance *in);

/* Where the files of @in go is part of what is in force, also where nobody said.  Return: 0, -1 with @d. */
int confpage_name_files(struct conf *c, const struct instance *in, struct diag *d);

#endif
