/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan.c - what is pinned, seen by the writer
 *
 * The writer closes a batch of victims, fences, and reads all pin files once (PN-1).  Files are read by
 * pread into private memory: a client may truncate or punch its file at any time, which would kill a
 * reader of the mapping.  Whatever stands there is only a number until it was checked.  Word 0 says how
 * many leading words are in use; a client that claims too few leaves its own pins unprotected and
 * nobody else's.
 *
 * Each file is compared with what it was at the last scan, and only words that differ change the marks
 * (mark.c).  A word that stays needs no new check: its block was in use, and is kept so by the mark; and a
 * word that was no pin becomes none later, as generations only grow.
 *
 * A session past twice its quota protects nothing: its pins are summed, but taken off the marks.  Twice,
 * because a scan is not atomic and may see a pin together with the one that replaces it.
 */
#include "kvshm/pin/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/usdt.h"

#define MIN_WORDS 64			/* read at least these: one call for most sessions */
#define CHUNK 8				/* words compared at once */

int pin_set_create(uint32_t max_files, struct pin_set **ret_s)
{
	struct pin_set *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->file = calloc(max_files ? max_files : 1, sizeof(*s->file));
	if (!s->file) {
		free(s);
		return -ENOMEM;
	}
	s->max_files = max_files;
	*ret_s = s;
	return 0;
}

struct pin_set *pin_set_destroy(struct pin_set *s)
{
	if (s) {
		while (s->nr_files)
			pin_set_remove(s, s->file[0].number);
		pin_marks_fini(&s->marks);
		free(s->file);
		free(s->word);
		free(s);
	}
	return NULL;
}

static struct pin_file *file_of(const struct pin_set *s, uint32_t number)
{
	uint32_t i;

	for (i = 0; i < s->nr_files; i++)
		if (s->file[i].number == number)
			return &s->file[i];
	return NULL;
}

/* Room for the longest file, so that a scan allocates nothing. */
static int reserve_words(struct pin_set *s, uint32_t nr_words)
{
	uint64_t *word;

	if (nr_words <= s->max_words)
		return 0;
	word = realloc(s->word, nr_words * sizeof(*word));
	if (!word)
		return -ENOMEM;
	s->word = word;
	s->max_words = nr_words;
	return 0;
}

int pin_set_add(struct pin_set *s, uint32_t number, int fd, uint32_t nr_words, uint64_t quota_bytes)
{
	struct pin_file f = {
		.number = number, .fd = fd, .nr_words = nr_words, .quota_bytes = quota_bytes,
	};

	if (file_of(s, number))
		return -EEXIST;
	if (s->nr_files == s->max_files)
		return -ENOSPC;
	if (reserve_words(s, nr_words) < 0)
		return -ENOMEM;
	f.last = calloc(nr_words, sizeof(*f.last));
	f.cost = calloc(nr_words, sizeof(*f.cost));
	if (!f.last || !f.cost) {
		free(f.last);
		free(f.cost);
		return -ENOMEM;
	}
	s->file[s->nr_files++] = f;
	return 0;
}

static long read_words(struct pin_set *s, const struct pin_file *f, uint32_t from, uint32_t to)
{
	ssize_t got;

	if (from >= to)
		return from;
	got = pread(f->fd, s->word + from, (to - from) * sizeof(*s->word),
		    (off_t)(from * sizeof(*s->word)));
	if (got < 0)
		return -errno;
	return from + (long)((size_t)got / sizeof(*s->word));
}

/* How many leading words are in use, as word 0 says. */
static uint32_t words_in_use(const struct pin_set *s, const struct pin_file *f)
{
	uint32_t nr = (uint32_t)(s->word[0] >> 32);

	if ((uint32_t)s->word[0] != KVSHM_PINFILE_OPEN || !nr)
		return f->nr_words;
	return min_of(nr, f->nr_words);
}

long pin_file_read(struct pin_set *s, struct pin_file *f)
{
	uint32_t first = min_of(max_of(f->nr_seen, MIN_WORDS), f->nr_words);
	long got = read_words(s, f, 0, first);

	if (got <= 0)
		return got;
	f->nr_seen = words_in_use(s, f);
	if (got == (long)first)
		got = read_words(s, f, first, f->nr_seen);
	return got;
}

/* What this word protects, if it is a pin: depth x length; 0: free, out of range, other life, unused. */
static uint64_t cost_of(const struct directory *dir, uint64_t word)
{
	blk_id_t id = (blk_id_t)word;
	const struct kvshm_desc *d;
	uint64_t state;

	if (!id || id > dir->max_blocks)
		return 0;
	d = &dir->desc[id];
	state = READ_ONCE(d->state);
	if (state_generation(state) != (uint32_t)(word >> 32))
		return 0;
	switch (state_of(state)) {
	case KVSHM_BLOCK_PUBLISHED:
	case KVSHM_BLOCK_EVICTING:
	case KVSHM_BLOCK_QUARANTINED:
		return ((uint64_t)READ_ONCE(d->depth) + 1) * READ_ONCE(d->length);
	default:
		return 0;
	}
}

/* ---- one word more or less in a file ---------------------------------------------------------- */

static void word_out(struct pin_set *s, struct pin_file *f, uint32_t i)
{
	if (f->cost[i]) {
		if (!f->is_hostile)
			pin_mark_down(&s->marks, (blk_id_t)f->last[i]);
		f->bytes -= f->cost[i];
		f->nr_pins--;
		f->cost[i] = 0;
	}
	f->last[i] = 0;
}

static void word_in(struct pin_set *s, const struct directory *dir, struct pin_file *f, uint32_t i,
		    uint64_t word)
{
	f->last[i] = word;
	f->cost[i] = cost_of(dir, word);
	if (!f->cost[i])
		return;
	f->bytes += f->cost[i];
	f->nr_pins++;
	if (!f->is_hostile)
		pin_mark_up(&s->marks, dir, (blk_id_t)word);
}

static void all_out(struct pin_set *s, struct pin_file *f)
{
	uint32_t i;

	for (i = 1; i < f->nr_words; i++)
		if (f->last[i])
			word_out(s, f, i);
}

void pin_set_remove(struct pin_set *s, uint32_t number)
{
	struct pin_file *f = file_of(s, number);

	if (!f)
		return;
	all_out(s, f);
	free(f->last);
	free(f->cost);
	*f = s->file[--s->nr_files];
}

/* ---- the scan ---------------------------------------------------------------------------------- */

static bool chunk_differs(const uint64_t *a, const uint64_t *b)
{
	uint64_t diff = 0;
	unsigned i;

	for (i = 0; i < CHUNK; i++)
		diff |= a[i] ^ b[i];
	return diff != 0;
}

/* Fetch what the new words of a chunk will need. */
static void prefetch_words(const struct pin_set *s, const struct directory *dir, uint32_t from,
			   uint32_t to)
{
	for (; from < to; from++) {
		blk_id_t id = (blk_id_t)s->word[from];

		if (id && id <= dir->max_blocks)
			prefetch(&dir->desc[id]);
	}
}

/* Bring the file's marks up to the @nr words just read; what lies beyond is gone.  Return: words looked at. */
static uint32_t take_words(struct pin_set *s, const struct directory *dir, struct pin_file *f, uint32_t nr)
{
	uint32_t i = 1, end, to = max_of(nr, f->nr_last);

	memset(s->word + nr, 0, (to - nr) * sizeof(*s->word));
	f->nr_last = nr;
	while (i < to) {
		end = min_of(i + CHUNK, to);
		if (end == i + CHUNK && !chunk_differs(&s->word[i], &f->last[i])) {
			i = end;
			continue;
		}
		prefetch_words(s, dir, i, end);
		for (; i < end; i++) {
			if (s->word[i] == f->last[i])
				continue;
			word_out(s, f, i);
			if (s->word[i])
				word_in(s, dir, f, i, s->word[i]);
		}
	}
	return to;
}

/* Over or under twice the quota: the file's pins leave the marks, or come back checked anew. */
static void judge_file(struct pin_set *s, const struct directory *dir, struct pin_file *f, uint32_t nr)
{
	bool is_hostile = f->quota_bytes && f->bytes / 2 > f->quota_bytes;
	uint32_t i;

	if (is_hostile == f->is_hostile)
		return;
	all_out(s, f);
	f->is_hostile = is_hostile;
	for (i = 1; i < nr; i++)
		if (s->word[i])
			word_in(s, dir, f, i, s->word[i]);
}

long pin_set_scan(struct pin_set *s, const struct directory *dir)
{
	long nr_pins = 0, got;
	uint32_t i;

	USDT(pin_scan_start, s->nr_files);
	s->is_blind = true;
	if (!s->marks.m && pin_marks_init(&s->marks, dir->max_blocks) < 0)
		return -ENOMEM;
	for (i = 0; i < s->nr_files; i++) {
		struct pin_file *f = &s->file[i];

		got = pin_file_read(s, f);
		if (got < 0)
			return -EIO;
		judge_file(s, dir, f, take_words(s, dir, f, (uint32_t)got));
		nr_pins += f->is_hostile ? 0 : f->nr_pins;
	}
	/* PN-2: the words before the blocks are written again; pairs with pin_drop(). */
	smp_acquire();
	s->is_blind = false;
	USDT(pin_scan, s->nr_files, nr_pins);
	return nr_pins;
}

bool pin_set_is_pinned(const struct pin_set *s, blk_id_t id)
{
	return s->is_blind || (s->marks.m && id <= s->marks.max_blocks && s->marks.m[id].refs);
}

uint64_t pin_set_bytes(const struct pin_set *s)
{
	return s->marks.bytes;
}

int pin_set_file(const struct pin_set *s, uint32_t number, uint64_t *ret_bytes, uint32_t *ret_pins,
		 bool *ret_is_hostile)
{
	const struct pin_file *f = file_of(s, number);

	if (!f)
		return -ENOENT;
	*ret_bytes = f->bytes;
	*ret_pins = f->nr_pins;
	*ret_is_hostile = f->is_hostile;
	return 0;
}
