/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_session.c - by name, by chat, or by the prompt that it repeats
 *
 * One table from a 64-bit word to session and turn: the word is the hash of a session's name, a chat id,
 * or the hash of a request's chain without its last block, which may be a short one.
 */
#include "utils/reader_session.h"

#include <stdlib.h>

#include "kvshm/base/rand.h"

#define REPEATED_MIN 2u			/* fewer blocks in common are a system prompt, not a chat */

struct entry {
	uint64_t word;
	uint64_t session;		/* 0: empty */
	unsigned turn;
};

struct reader_sessions {
	struct entry *entry;
	size_t size, used;		/* a power of two */
	uint64_t nr;
	uint64_t *prefix;		/* hashes of a chain's prefixes */
	size_t room;
};

struct reader_sessions *reader_sessions_create(void)
{
	struct reader_sessions *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->size = 4096;
	s->entry = calloc(s->size, sizeof(*s->entry));
	if (!s->entry) {
		free(s);
		return NULL;
	}
	return s;
}

void reader_sessions_destroy(struct reader_sessions *s)
{
	if (!s)
		return;
	free(s->entry);
	free(s->prefix);
	free(s);
}

static struct entry *entry_at(const struct reader_sessions *s, uint64_t word)
{
	size_t i = rand_mix(word) & (s->size - 1);

	while (s->entry[i].session && s->entry[i].word != word)
		i = (i + 1) & (s->size - 1);
	return &s->entry[i];
}

static bool make_room(struct reader_sessions *s)
{
	struct reader_sessions n = *s;

	if (2 * (s->used + 1) <= s->size)
		return true;
	n.size = 2 * s->size;
	n.entry = calloc(n.size, sizeof(*n.entry));
	if (!n.entry)
		return false;
	for (size_t i = 0; i < s->size; i++)
		if (s->entry[i].session)
			*entry_at(&n, s->entry[i].word) = s->entry[i];
	free(s->entry);
	*s = n;
	return true;
}

static void store(struct reader_sessions *s, uint64_t word, uint64_t session, unsigned turn)
{
	struct entry *e = entry_at(s, word);

	s->used += !e->session;
	*e = (struct entry){ .word = word, .session = session, .turn = turn };
}

static uint64_t by_name(struct reader_sessions *s, struct reader_line *l)
{
	uint64_t word = 0;
	struct entry *e;

	for (const char *c = l->session; *c; c++)
		word = rand_mix(word + (unsigned char)*c + 1);
	e = entry_at(s, word);
	store(s, word, e->session ? e->session : ++s->nr, e->turn + 1);
	if (!l->turn)
		l->turn = e->turn;
	return e->session;
}

static uint64_t by_chat(struct reader_sessions *s, struct reader_line *l)
{
	struct entry *up = l->parent_chat_id >= 0 ? entry_at(s, (uint64_t)l->parent_chat_id) : NULL;
	uint64_t session = up && up->session ? up->session : ++s->nr;

	if (!l->turn)
		l->turn = up && up->session ? up->turn + 1 : 1;
	store(s, (uint64_t)l->chat_id, session, l->turn);
	return session;
}

/* The deepest prefix with which a request ended, its last block left out. */
static uint64_t by_prompt(struct reader_sessions *s, struct reader_line *l)
{
	uint64_t h = 0, session = 0;
	unsigned turn = 1;
	size_t i;

	if (l->nr > s->room) {
		uint64_t *p = realloc(s->prefix, l->nr * sizeof(*p));

		if (!p)
			return 0;
		s->prefix = p;
		s->room = l->nr;
	}
	for (i = 0; i < l->nr; i++)
		s->prefix[i] = h = rand_mix(h ^ rand_mix(l->hash[i] + 1));
	for (i = l->nr; i >= REPEATED_MIN && !session; i--) {
		struct entry *e = entry_at(s, s->prefix[i - 1]);

		session = e->session;
		turn = session ? e->turn + 1 : 1;
	}
	if (!session)
		session = ++s->nr;
	if (!l->turn)
		l->turn = turn;
	if (l->nr > REPEATED_MIN)
		store(s, s->prefix[l->nr - 2], session, l->turn);
	return session;
}

uint64_t reader_session_of(struct reader_sessions *s, struct reader_line *l)
{
	if (!make_room(s))
		return 0;
	if (l->session[0])
		return by_name(s, l);
	return l->has_chat ? by_chat(s, l) : by_prompt(s, l);
}
