/* SPDX-License-Identifier: Apache-2.0 */
/* tmp_dir.h - a directory of a test's own, on tmpfs where there is one */
#ifndef TESTS_LIB_TMP_DIR_H
#define TESTS_LIB_TMP_DIR_H

struct tmp_dir {
	char path[64];
	int fd;				/* open directory */
};

/* In $KVSHM_TEST_MEMORY or /dev/shm, else in /tmp; ends the program when neither can be written. */
void tmp_dir_create(struct tmp_dir *d);

/* In @base.  Return: 0, -errno. */
int tmp_dir_create_in(struct tmp_dir *d, const char *base);

/* Remove it and the files in it. */
void tmp_dir_destroy(struct tmp_dir *d);

/* Number of files in it. */
unsigned tmp_dir_count(const struct tmp_dir *d);

#endif
