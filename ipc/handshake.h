/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.h - HELLO to READY, both sides; later requests for extents and staging
 *
 *   client                                  daemon
 *   HELLO {abi, label, old slot}     ->
 *                                    <-     WELCOME {slot, limits} + directory, pins, segment, doorbell
 *   map all, lock the pin file
 *   MAPPED                           ->     seal; the pin file has been in the scan set before WELCOME
 *                                    <-     READY
 *   EXTENTS {first}                  ->
 *                                    <-     EXTENT_FDS {first, nr} + descriptors
 *   STAGING                          ->
 *                                    <-     STAGING_FD + descriptor
 *   MAPPED                           ->     seal it
 *                                    <-     READY
 */
#ifndef IPC_HANDSHAKE_H
#define IPC_HANDSHAKE_H

#include "ipc/sock.h"

union handshake_msg {
	struct kvshm_msg_hdr hdr;
	struct kvshm_msg_hello hello;
	struct kvshm_msg_welcome welcome;
	struct kvshm_msg_plain plain;
	struct kvshm_msg_refused refused;
	char bytes[KVSHM_MSG_MAX];
};

/**
 * handshake_check() - is this a well-formed message of a known type?
 * Exact length for its type, magic, zero padding, known flags, NUL inside text fields.
 * Return: the type, or -EBADMSG.
 */
int handshake_check(const union handshake_msg *m, size_t len);

/*
 * Fill a message whole.  MAPPED, READY, STAGING and WAKE carry .arg = .nr = 0, EXTENTS .nr = 0,
 * STAGING_FD .arg = 0 and .nr = 1; @text is cut to what fits.
 */
void handshake_plain(struct kvshm_msg_plain *m, enum kvshm_msg_type type, uint32_t arg, uint32_t nr);
void handshake_refused(struct kvshm_msg_refused *m, int error, const char *text);

/* ---- the client's half; WAKE messages in between are skipped ------------------------------- */

enum { HANDSHAKE_FD_DIRECTORY, HANDSHAKE_FD_PINS, HANDSHAKE_FD_SEGMENT, HANDSHAKE_FD_DOORBELL, HANDSHAKE_NR_FDS };

/**
 * handshake_hello() - send HELLO, take WELCOME and its descriptors
 * @hello: all but its header, which is filled in here
 * @fds: HANDSHAKE_NR_FDS, the caller's on success
 * Return: 0; the daemon's refusal (-EPROTONOSUPPORT other ABI, -EAGAIN no slot, ...); -ETIMEDOUT,
 * -ECONNRESET, -EBADMSG.
 */
int handshake_hello(int sock, const struct kvshm_msg_hello *hello, uint64_t deadline_ns,
		    struct kvshm_msg_welcome *ret_welcome, int *fds);

/* Send MAPPED, wait for READY. */
int handshake_mapped(int sock, uint64_t deadline_ns);

/* Descriptors of extents @first ..; @fds room for KVSHM_MSG_MAX_FDS.  Return: number, -errno. */
int handshake_extents(int sock, uint32_t first, uint64_t deadline_ns, int *fds);

/* The staging window's descriptor (then map it and call handshake_mapped()).  Return: fd, -errno. */
int handshake_staging(int sock, uint64_t deadline_ns);

#endif
