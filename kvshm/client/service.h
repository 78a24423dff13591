/* SPDX-License-Identifier: Apache-2.0 */
/* service.h - what the parts of <kvshm/service.h> know of one another */
#ifndef KVSHM_CLIENT_SERVICE_H
#define KVSHM_CLIENT_SERVICE_H

struct kvshm;
struct kvshm_service;

/* The handle that it was opened for. */
struct kvshm *service_handle(const struct kvshm_service *s);

#endif
