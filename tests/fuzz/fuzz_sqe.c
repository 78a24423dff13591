/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_sqe.c - F1: an entry of the submission queue */
#include "ipc/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	uint32_t args_len = take16(&in) * 8u;
	struct kvshm_sqe e;

	take(&in, &e, sizeof(e));
	wire_op_name(e.op);
	if (wire_check(&e, args_len) != 0)
		return 0;
	MUST(e.op < KVSHM_OP_LAST);
	MUST(!(e.flags & ~KVSHM_SQE_F_KNOWN));
	MUST(e.nr <= KVSHM_COMMIT_MAX);
	if (e.op == KVSHM_OP_COMMIT || e.op == KVSHM_OP_RETURN || e.op == KVSHM_OP_ATTACH_NS ||
	    e.op == KVSHM_OP_STAGE_IN || e.op == KVSHM_OP_STAGE_OUT) {
		MUST(e.nr > 0 && e.len > 0 && e.off % 8 == 0);
		MUST((uint64_t)e.off + e.len <= args_len);
	}
	if (e.op == KVSHM_OP_STAGE_OUT) {
		const size_t bytes = e.len - e.nr * sizeof(struct kvshm_commit_rec);
		const size_t pieces = bytes / sizeof(struct kvshm_stage_rec);

		MUST(e.nr <= KVSHM_STAGE_MAX && e.len >= e.nr * sizeof(struct kvshm_commit_rec));
		MUST(bytes % sizeof(struct kvshm_stage_rec) == 0 && pieces >= e.nr && pieces <= KVSHM_STAGE_MAX);
	}
	return 0;
}
