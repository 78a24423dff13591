/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - is an SQE well-formed?  What it means is the daemon's business
 */
#ifndef IPC_WIRE_H
#define IPC_WIRE_H

#include <kvshm/abi.h>

/* What an opcode may carry: one const table in wire.c, holes refuse. */
struct wire_rule {
	uint8_t flags;			/* KVSHM_SQE_F_* allowed */
	uint8_t has_key;		/* .key may be non-zero */
	uint8_t len_is_bytes;		/* GRANT: .len is a block length, not arguments */
	uint32_t rec_len;		/* bytes of one argument record, 0: no arguments */
	uint32_t piece_len;		/* of a piece behind the records: one for each at least, KVSHM_STAGE_MAX at most */
	uint32_t max_nr;
};

/**
 * wire_check() - refuse or accept a private copy of an entry
 * @args_len: size of the session's argument area
 * Return: 0; -EOPNOTSUPP unknown opcode; -EINVAL unknown flag, a key or arguments where the opcode has
 * none, nr of 0 or too many (or not 0 where it counts nothing: NOP, DROP, DETACH), .len other than
 * nr records and their pieces; -EFAULT arguments outside the area or unaligned (overflow-safe).
 */
int wire_check(const struct kvshm_sqe *sqe, uint32_t args_len);

const char *wire_op_name(uint8_t op);

#endif
