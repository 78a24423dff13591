/* SPDX-License-Identifier: Apache-2.0 */
/* Pin files over a restart: which still protect something. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/log.h"
#include "kvshm/daemon/store.h"

/* "pins.<number>": the number, 0: another file. */
static uint32_t slot_of(const char *name)
{
	char *end;
	unsigned long v;

	if (strncmp(name, "pins.", 5) || name[5] < '1' || name[5] > '9')
		return 0;
	v = strtoul(name + 5, &end, 10);
	return *end || v > KVSHM_OWNER_MAX ? 0 : (uint32_t)v;
}

static uint32_t words_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)(2 * sizeof(uint64_t)))
		return 0;
	return (uint32_t)min_of((uint64_t)st.st_size / sizeof(uint64_t), (uint64_t)1 << 20);
}

static bool is_closed(int fd)
{
	uint64_t word = 0;

	return pread(fd, &word, sizeof(word), 0) == (ssize_t)sizeof(word) &&
	       (uint32_t)word == KVSHM_PINFILE_CLOSED;
}

/*
 * Does the file still count?  Locked: its owner lives.  Unlocked, not closed, owner alive by our
 * private list: the client dropped its lock by mistake; it is scanned on.
 */
static bool still_counts(struct store *st, int fd, uint32_t slot, struct pinowner *o)
{
	int pid = 0, is_locked = pinfile_is_locked(fd, &pid);

	if (!pinowner_find(st->owners_fd, slot, o) || o->slot != slot)
		*o = (struct pinowner){ .slot = slot };
	if (is_locked && !pinowner_is_alive(o)) {
		o->pid = pid > 0 ? (uint32_t)pid : 0;
		o->start_ticks = o->pid ? process_start_ticks(pid) : 0;
	}
	if (is_locked)
		return true;
	if (is_closed(fd) || !pinowner_is_alive(o))
		return false;
	log_warn("pin file %u is unlocked but its owner, process %u, lives: it goes on counting",
		 slot, o->pid);
	return true;
}

static int take_file(struct store *st, int pins_fd, const char *name, uint32_t slot)
{
	struct pinowner o;
	int ret, fd = openat(pins_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (!still_counts(st, fd, slot, &o)) {
		close(fd);
		unlinkat(pins_fd, name, 0);
		return 0;
	}
	o.pin_words = words_of(fd);
	ret = st->nr_orphans < PINOWNER_MAX ? 0 : -ENOSPC;
	if (ret == 0 && o.pin_words)
		ret = pin_set_add(st->pins, slot, fd, o.pin_words, st->quota_bytes);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	st->orphan[st->nr_orphans++] = (struct orphan){ .owner = o, .fd = fd };
	return 0;
}

int store_find_orphans(struct store *st, int pins_fd)
{
	int ret = 0, fd = openat(pins_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (ret == 0 && (e = readdir(dir))) {
		uint32_t slot = slot_of(e->d_name);

		if (!slot)
			continue;
		st->last_slot = max_of(st->last_slot, slot);
		ret = take_file(st, pins_fd, e->d_name, slot);
	}
	closedir(dir);
	return ret;
}
