/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.h - where an instance's socket is found
 *
 * One order for the daemon, the client library and the tools: an explicit path, $KVSHM_SOCKET, the
 * user's ($XDG_RUNTIME_DIR/kvshm/NAME/kvshm.sock, else /tmp/kvshm-UID/NAME/kvshm.sock, owner checked),
 * the system's (/run/kvshm/NAME/kvshm.sock).
 */
#ifndef IPC_INSTANCE_H
#define IPC_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>

/* A usable instance name: 1 to 32 letters, digits, '-', '_', '.', not starting with a dot. */
bool instance_name_ok(const char *name);

/**
 * instance_run_dir() - the directory in which a daemon of this user makes its socket
 * @is_system: /run/kvshm/NAME (root, system service); else the user's.  Nothing is created.
 * Return: 0, -EINVAL bad name, -ENAMETOOLONG.
 */
int instance_run_dir(const char *name, bool is_system, char *buf, size_t len);

/**
 * instance_socket() - the first socket path of the order above that exists
 * @path: explicit, or NULL; @name: NULL is "main"
 * An explicit path and $KVSHM_SOCKET are taken as they are, existing or not.
 * Return: 0; -ENOENT none of them exists, -EINVAL bad name, -ENAMETOOLONG.
 */
int instance_socket(const char *path, const char *name, char *buf, size_t len);

/**
 * instance_stats() - the statistics page of the same order of look-up, beside the socket
 * A daemon that was stopped leaves its page but no socket.
 */
int instance_stats(const char *path, const char *name, char *buf, size_t len);

#endif
