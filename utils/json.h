/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h - the one object that a command prints; hides the JSON library
 *
 * snake_case names, units in the name (_ns _us _ms _bytes _ratio _percent).  Every object begins with
 * schema, version and machine.  An allocation that fails ends the program: there is nothing to print.
 * One thread.
 */
#ifndef UTILS_JSON_H
#define UTILS_JSON_H

#include <stdint.h>
#include <stdio.h>

struct jdoc;				/* an object; nested ones belong to the outermost */

/* A new object with schema "kvshm.@name/1", version and machine {cpu, kernel, page_kind}. */
struct jdoc *jdoc_begin(const char *name, const char *page_kind);

/* Set machine.page_kind, when it is known later. */
void jdoc_page_kind(struct jdoc *j, const char *page_kind);

void jdoc_int(struct jdoc *j, const char *name, int64_t v);
void jdoc_real(struct jdoc *j, const char *name, double v);	/* not finite: null */
void jdoc_text(struct jdoc *j, const char *name, const char *v);	/* not UTF-8: null */
void jdoc_bool(struct jdoc *j, const char *name, int v);
void jdoc_null(struct jdoc *j, const char *name);

/* An object @name inside @j, or one more object at the end of its array @name. */
struct jdoc *jdoc_object(struct jdoc *j, const char *name);
struct jdoc *jdoc_append(struct jdoc *j, const char *name);

/* An array @name, empty until jdoc_append(). */
void jdoc_array(struct jdoc *j, const char *name);

/* An object out of @text, to be ended as one begun.  Return: NULL, it is none. */
struct jdoc *jdoc_parse(const char *text);

/* Each field that is a number, a text, or true (text "yes"), in the order of the text. */
void jdoc_each(const struct jdoc *j, void (*fn)(void *arg, const char *name, const char *text, double number), void *arg);

/* Text @name of object @object in @j, of @j's life.  NULL: there is none. */
const char *jdoc_text_of(const struct jdoc *j, const char *object, const char *name);

/* A number of @j by name, for assertions.  Return: 0; -1 there is none. */
int jdoc_number(const struct jdoc *j, const char *name, double *ret_v);

/* Print on one line (@out may be NULL: do not) and free all.  Return: NULL. */
struct jdoc *jdoc_end(struct jdoc *j, FILE *out);

/* The same for people: a line a field, nested objects left out. */
struct jdoc *jdoc_end_lines(struct jdoc *j, FILE *out);

#endif
