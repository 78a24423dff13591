/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/confpage.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/sdnotify.h"

static void refuse(struct daemon *d, const struct diag *g)
{
	char status[sizeof(g->text) + 64];

	WRITE_ONCE(d->counts.reloads_failed, d->counts.reloads_failed + 1);
	log_err("the configuration stays as it is: %s", g->text);
	snprintf(status, sizeof(status), "STATUS=configuration not reloaded: %s", g->text);
	sd_tell(status);
}

void reload_conf(struct daemon *d)
{
	struct conf next;
	struct diag g;
	unsigned nr;

	if (conf_load(&next, d->argc, d->argv, &g) < 0) {
		refuse(d, &g);
		return;
	}
	nr = conf_take_live(&d->conf, &next);
	conf_apply_log(&d->conf);
	confpage_write(d->conf_fd, &d->conf, &d->inst);
	store_set_limits(&d->store, &d->conf, d->store.grow.size);
	WRITE_ONCE(d->counts.reloads, d->counts.reloads + 1);
	log_info("configuration reloaded, %u values changed", nr);
	sd_tell("STATUS=configuration reloaded");
}
