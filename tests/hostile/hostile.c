/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile.c - a client that means harm, one named attack a run		(kvshm-test: timeout=400)
 *
 *   hostile                     run all by tests/hostile/run, which starts the daemon and the neighbour
 *   hostile --list              names of the attacks
 *   hostile ATTACK SOCKET       exit 0: the daemon answered as it must; 1: it did not, and why; 77: cannot
 *   hostile --innocent SOCKET   the neighbour (innocent.h)
 *   hostile --flood WHAT SOCKET until it is ended (flood.h)
 *
 * An attack checks what the attacker is told; that nobody else is harmed is checked by tests/hostile/run.
 */
#include <kvshm/kvshm.h>

#include "tests/hostile/attack_memory.h"
#include "tests/hostile/attack_queue.h"
#include "tests/hostile/attack_refs.h"
#include "tests/hostile/attack_save.h"
#include "tests/hostile/attack_socket.h"
#include "tests/hostile/attack_staging.h"
#include "tests/hostile/flood.h"
#include "tests/hostile/innocent.h"
#include "tests/hostile/raw.h"

#define ATTACK(f) { #f, f }

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
	ATTACK(sq_tail_beyond),
	ATTACK(sq_tail_back),
	ATTACK(sq_tail_half_round),
	ATTACK(sq_full_of_zero),
	ATTACK(sq_head_forged),
	ATTACK(cq_head_beyond),
	ATTACK(cq_tail_forged),
	ATTACK(cq_never_drained),
	ATTACK(touch_tail_beyond),
	ATTACK(geometry_forged),
	ATTACK(entry_overflows),
	ATTACK(entry_reserved_bits),
	ATTACK(entry_unknown_opcodes),
	ATTACK(hints_random),
	ATTACK(hints_hoard),
	ATTACK(entry_budget),
	ATTACK(entries_random),
	ATTACK(entries_flipped),
	ATTACK(arguments_flipped),
	ATTACK(ref_foreign),
	ATTACK(ref_published),
	ATTACK(ref_free_stale_beyond),
	ATTACK(ref_used_twice),
	ATTACK(ref_length_forged),
	ATTACK(commit_record_reserved),
	ATTACK(parent_forged),
	ATTACK(parent_of_another_namespace),
	ATTACK(namespace_forged),
	ATTACK(namespace_crossed),
	ATTACK(namespace_arguments),
	ATTACK(grant_beyond_credit),
	ATTACK(grant_length_forged),
	ATTACK(grant_untrusted),
	ATTACK(save_pieces_forged),
	ATTACK(save_beyond_the_namespace),
	ATTACK(saves_and_dies),
	ATTACK(save_arguments_flipped),
	ATTACK(touches_forged),
	ATTACK(counters_forged),
	ATTACK(staging_tail_beyond),
	ATTACK(staging_tail_back),
	ATTACK(staging_head_forged),
	ATTACK(staging_without_commit),
	ATTACK(staged_never_filled),
	ATTACK(staged_records_forged),
	ATTACK(staged_without_window),
	ATTACK(staged_bytes_flipped),
	ATTACK(pins_random),
	ATTACK(pins_flicker),
	ATTACK(pins_hoard),
	ATTACK(pin_file_truncated),
	ATTACK(pin_file_grown),
	ATTACK(pin_file_punched),
	ATTACK(pin_word_0_forged),
	ATTACK(pin_file_of_the_past),
	ATTACK(locks_everywhere),
	ATTACK(lock_lost),
	ATTACK(everything_closed_but_alive),
	ATTACK(segment_resized),
	ATTACK(segment_sealed_first),
	ATTACK(segment_punched_first),
	ATTACK(writes_as_the_same_user),
	ATTACK(writes_as_another_user),
	ATTACK(grants_as_another_user),
	ATTACK(drops_as_another_user),
	ATTACK(hello_malformed),
	ATTACK(hello_of_another_abi),
	ATTACK(hello_with_rubbish_fields),
	ATTACK(hello_twice),
	ATTACK(order_of_messages),
	ATTACK(extents_out_of_range),
	ATTACK(staging_twice),
	ATTACK(descriptors_sent),
	ATTACK(messages_flood),
	ATTACK(socket_never_read),
	ATTACK(wakes_never_read),
	ATTACK(doorbell_full),
	ATTACK(doorbell_stolen),
	ATTACK(bells_without_entries),
	ATTACK(connect_storm),
	ATTACK(half_open),
	ATTACK(half_open_expires),
	ATTACK(attach_storm),
	ATTACK(offend_and_come_again),
	ATTACK(detach_and_go_on),
	ATTACK(dies_with_grants),
	ATTACK(dies_with_pins),
	ATTACK(dies_in_a_put),
	ATTACK(dies_in_the_handshake),
	ATTACK(dies_with_a_full_queue),
	ATTACK(leaves_a_child_behind),
	ATTACK(stopped_with_pins),
	ATTACK(namespaces_without_end),
};

static int list(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(attacks); i++)
		printf("%s\n", attacks[i].name);
	return 0;
}

static int attack(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(attacks); i++) {
		if (strcmp(attacks[i].name, name))
			continue;
		attacks[i].run();
		return 0;
	}
	die("no attack %s", name);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 1) {
		execl("tests/hostile/run", "tests/hostile/run", (char *)NULL);
		die("tests/hostile/run: %s", strerror(errno));
	}
	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	raw_path = argv[argc - 1];
	if (argc == 3 && !strcmp(argv[1], "--innocent"))
		return innocent_main();
	if (argc == 4 && !strcmp(argv[1], "--flood"))
		return flood_main(argv[2]);
	if (argc != 3)
		die("usage: hostile [--list | ATTACK SOCKET]");
	return attack(argv[1]);
}
