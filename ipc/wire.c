/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.c - is an SQE well-formed?
 *
 * One table says what each opcode may carry; an opcode without a row is refused.  Checked on a
 * private copy only: the entry in the ring still belongs to the client.
 */
#include "ipc/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "kvshm/base/compiler.h"

struct wire_op {
	bool is_known;
	struct wire_rule rule;
};

static const struct wire_op wire_ops[KVSHM_OP_LAST] = {
	[KVSHM_OP_NOP] = { true, { 0 } },
	[KVSHM_OP_ATTACH_NS] = { true, { .rec_len = sizeof(struct kvshm_ns_args), .max_nr = 1 } },
	[KVSHM_OP_GRANT] = { true, { .len_is_bytes = 1, .max_nr = KVSHM_COMMIT_MAX } },
	[KVSHM_OP_RETURN] = { true, { .rec_len = sizeof(struct kvshm_block_ref),
				      .max_nr = KVSHM_COMMIT_MAX } },
	[KVSHM_OP_COMMIT] = { true, { .flags = KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE |
					       KVSHM_SQE_F_STAGED,
				      .has_key = 1, .rec_len = sizeof(struct kvshm_commit_rec),
				      .max_nr = KVSHM_COMMIT_MAX } },
	[KVSHM_OP_DROP] = { true, { .flags = KVSHM_SQE_F_ALL, .has_key = 1 } },
	[KVSHM_OP_HINT] = { true, { .rec_len = sizeof(struct kvshm_hint_rec), .max_nr = KVSHM_HINTS_MAX } },
	[KVSHM_OP_STAGE_IN] = { true, { .rec_len = sizeof(struct kvshm_stage_rec), .max_nr = KVSHM_STAGE_MAX } },
	[KVSHM_OP_STAGE_OUT] = { true, { .flags = KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE,
					 .has_key = 1, .rec_len = sizeof(struct kvshm_commit_rec),
					 .piece_len = sizeof(struct kvshm_stage_rec), .max_nr = KVSHM_STAGE_MAX } },
	[KVSHM_OP_DETACH] = { true, { 0 } },
};

static const char *const op_names[KVSHM_OP_LAST] = {
	[KVSHM_OP_NOP] = "nop",
	[KVSHM_OP_ATTACH_NS] = "attach_ns",
	[KVSHM_OP_GRANT] = "grant",
	[KVSHM_OP_RETURN] = "return",
	[KVSHM_OP_COMMIT] = "commit",
	[KVSHM_OP_DROP] = "drop",
	[KVSHM_OP_HINT] = "hint",
	[KVSHM_OP_PREFETCH] = "prefetch",
	[KVSHM_OP_STAGE_IN] = "stage_in",
	[KVSHM_OP_STAGE_OUT] = "stage_out",
	[KVSHM_OP_DETACH] = "detach",
};

const char *wire_op_name(uint8_t op)
{
	return op < KVSHM_OP_LAST ? op_names[op] : "unknown";
}

static bool key_is_zero(const struct kvshm_key *key)
{
	uint8_t all = 0;
	unsigned i;

	for (i = 0; i < KVSHM_KEY_LEN; i++)
		all |= key->bytes[i];
	return !all;
}

/* Flags that say "no key here". */
static bool key_is_allowed(const struct kvshm_sqe *sqe, const struct wire_rule *rule)
{
	return rule->has_key &&
	       !(sqe->flags & (KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE | KVSHM_SQE_F_ALL));
}

/* Of the bytes that @sqe says, and its records are @bytes. */
static bool pieces_ok(const struct kvshm_sqe *sqe, const struct wire_rule *rule, uint64_t bytes)
{
	uint64_t more = sqe->len - bytes;

	return sqe->len >= bytes && more % rule->piece_len == 0 && more / rule->piece_len >= sqe->nr &&
	       more / rule->piece_len <= KVSHM_STAGE_MAX;
}

static int args_check(const struct kvshm_sqe *sqe, const struct wire_rule *rule, uint32_t args_len)
{
	uint64_t bytes = (uint64_t)sqe->nr * rule->rec_len;	/* nr <= max_nr: no overflow */

	if (!rule->rec_len)		/* no arguments: both fields are reserved bytes */
		return sqe->off || (sqe->len && !rule->len_is_bytes) ? -EINVAL : 0;
	if (rule->piece_len ? !pieces_ok(sqe, rule, bytes) : sqe->len != bytes)
		return -EINVAL;
	if (sqe->off % 8 || sqe->off > args_len || sqe->len > args_len - sqe->off)
		return -EFAULT;
	return 0;
}

int wire_check(const struct kvshm_sqe *sqe, uint32_t args_len)
{
	const struct wire_rule *rule;

	if (sqe->op >= KVSHM_OP_LAST || !wire_ops[sqe->op].is_known)
		return -EOPNOTSUPP;
	rule = &wire_ops[sqe->op].rule;
	if (sqe->flags & ~rule->flags)
		return -EINVAL;
	if ((sqe->flags & KVSHM_SQE_F_NOPARENT) && (sqe->flags & KVSHM_SQE_F_LOOSE))
		return -EINVAL;
	if (rule->max_nr ? !sqe->nr || sqe->nr > rule->max_nr : sqe->nr)
		return -EINVAL;
	if (!key_is_allowed(sqe, rule) && !key_is_zero(&sqe->key))
		return -EINVAL;
	return args_check(sqe, rule, args_len);
}
