/* SPDX-License-Identifier: Apache-2.0 */
/* tracegen_line.c - a generated trace as our own form has it */
#include <inttypes.h>

#include <kvshm/trace.h>

#include "utils/tracegen.h"

void gen_write_header(const struct tracegen *g, const char *how, FILE *out)
{
	fprintf(out, "{\"" KVSHM_TRACE_MARK "\":%d,\"block_tokens\":%u,\"is_synthetic\":true,"
		"\"note\":\"synthetic: kvshm trace gen %s --seed %" PRIu64 " --requests %" PRIu64 "\"}\n",
		KVSHM_TRACE_VERSION, g->block_tokens, how, g->seed, g->requests);
}

void gen_write_begin(const struct gen_line *l, FILE *out)
{
	fprintf(out, "{\"chat_id\":%" PRIu64 ",\"parent_chat_id\":%" PRId64, l->chat, l->parent);
	if (l->session)
		fprintf(out, ",\"session\":\"%" PRIu64 "\"", l->session);
	fprintf(out, ",\"timestamp\":%.3f,\"input_length\":%u", l->at_s, l->tokens);
	if (l->output)
		fprintf(out, ",\"output_length\":%u", l->output);
	fprintf(out, ",\"type\":\"%s\"", l->type);
	if (l->turn)
		fprintf(out, ",\"turn\":%u", l->turn);
	if (l->stop)
		fprintf(out, ",\"stop\":\"%s\"", l->stop);
	fputs(",\"hash_ids\":[", out);
}

void gen_write_id(unsigned i, uint64_t id, FILE *out)
{
	fprintf(out, "%s%" PRIu64, i ? "," : "", id);
}

void gen_write_end(FILE *out)
{
	fputs("]}\n", out);
}
