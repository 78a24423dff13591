/* SPDX-License-Identifier: Apache-2.0 */
/* writer_mail.h - what the other threads ask of the writer; for writer.c only */
#ifndef KVSHM_DAEMON_WRITER_MAIL_H
#define KVSHM_DAEMON_WRITER_MAIL_H

#include "kvshm/daemon/mailbox.h"
#include "kvshm/daemon/writer.h"

void writer_take_mail(struct writer *w, const struct mail *m);

#endif
