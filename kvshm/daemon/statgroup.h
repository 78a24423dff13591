/* SPDX-License-Identifier: Apache-2.0 */
/* statgroup.h - who may look, besides the daemon's user: the group of statistics page, ring of events and configuration */
#ifndef KVSHM_DAEMON_STATGROUP_H
#define KVSHM_DAEMON_STATGROUP_H

#include "kvshm/daemon/conf.h"
#include "kvshm/daemon/instance.h"

#define STATGROUP_OF_A_SERVICE "kvshm-stat"

/*
 * Give the files to daemon.stats_group; a service that names none gives them to the group above if there is one and
 * it may.  What was asked for and cannot be done is told in the log: the files stay readable by the daemon's group.
 */
void statgroup_give(const struct instance *in, const struct conf *c);

#endif
