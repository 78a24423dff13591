#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each lint goes red: a small clean tree, one violation of each kind planted in it, then taken out again.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
export KVSHM_LINT_ROOT=$tree PYTHONDONTWRITEBYTECODE=1

cd "$root" || exit 1
cp --parents Makefile tests/module.mk utils/dist/dist.mk kvshm/base/atomic.h "$tree"
find gpu ipc kvshm policy utils -name module.mk -exec cp --parents {} "$tree" \;
cd "$tree" || exit 1
mkdir -p Documentation/design kvshm/include/kvshm kvshm/arena kvshm/cache
cat > kvshm/arena/word.c <<'T'
#include <stdint.h>
#include "kvshm/base/atomic.h"
uint64_t word_get(uint64_t *w);
void word_set(uint64_t *w, uint64_t v);
uint64_t word_get(uint64_t *w)
{
	/* ZZ-1: what was written before; pairs with word_set(). */
	return load_acquire(w);
}
void word_set(uint64_t *w, uint64_t v)
{
	/* ZZ-1: all before; pairs with word_get(). */
	store_release(w, v);
}
T
printf '%s\n' '====  ====' 'Label Word' '====  ====' 'ZZ-1  word' '====  ====' > Documentation/design/ordering.rst
printf '#ifndef H\n#define H\n#include <stdint.h>\nint low(uint32_t x);\n#endif\n' > kvshm/base/low.h
printf '#include "kvshm/base/low.h"\n' > kvshm/cache/high.h
printf '#ifndef A\n#define A\n#include <stdint.h>\nstruct a { uint32_t x; };\n#endif\n' > kvshm/include/kvshm/abi.h

for lint in layers headers ordering forbidden; do
	if out=$("$root/tests/lint/$lint.py" 2>&1); then
		echo "ok - $lint: a clean tree is clean"
	else
		echo "not ok - $lint: a clean tree is clean"
		printf '%s\n' "$out" | sed 's/^/# /'
	fi
done

# plant LINT FILE 'FILE:LINE: TEXT' SENTENCE < new content (appended): the lint fails and says so
plant() {
	local out status kept=$tree/kept
	rm -f "$kept"
	[ -e "$2" ] && cp "$2" "$kept"
	mkdir -p "$(dirname "$2")"
	cat >> "$2"
	out=$("$root/tests/lint/$1.py" 2>&1)
	status=$?
	if [ $status -eq 1 ] && printf '%s\n' "$out" | grep -qF -- "$3"; then
		echo "ok - $1: $4"
	else
		echo "not ok - $1: $4"
		printf 'status %s\n%s\n' "$status" "$out" | sed 's/^/# /'
	fi
	if [ -e "$kept" ]; then mv "$kept" "$2"; else rm "$2"; fi
}

plant layers kvshm/base/up.c "kvshm/base/up.c:1: kvshm-base may not include kvshm-cache" "an include upwards" <<< '#include "kvshm/cache/high.h"'
plant layers policy/p.c "policy/p.c:1: policy includes <kvshm/abi.h>" "a public header where deps does not name include" <<< '#include <kvshm/abi.h>'
plant layers kvshm/include/kvshm/key.h "public header includes" "a public header that includes an internal one" <<< '#include "kvshm/base/low.h"'
plant layers ipc/q.c '"low.h" is no path from the root' "a path that does not start at the root" <<< '#include "low.h"'
plant layers kvshm/base/module.mk "cycle in the deps lines" "a cycle of the deps lines" <<< 'deps-kvshm-base := kvshm-cache'
plant layers policy/module.mk "names kvshm-nothing" "a deps line that names no module" <<< 'deps-policy := kvshm-nothing'
plant layers kvshm/cache/d.c "kvshm/cache/d.c:1: <rte_ring.h> has its own door" "DPDK outside the daemon" <<< '#include <rte_ring.h>'
plant layers kvshm/client/g.c "<cuda.h> has its own door" "CUDA outside gpu" <<< '#include <cuda.h>'
plant layers kvshm/daemon/main.c "<numa.h> has its own door" "libnuma outside numa.c" <<< '#include <numa.h>'
plant layers utils/top.c "<ncurses.h> has its own door" "ncurses outside screen.c" <<< '#include <ncurses.h>'
plant layers utils/exporter.c "<microhttpd.h> has its own door" "libmicrohttpd outside http.c" <<< '#include <microhttpd.h>'
plant layers utils/stat.c "<jansson.h> has its own door" "jansson outside json.c" <<< '#include <jansson.h>'
plant layers kvshm/pin/x.c "<xxhash.h> has its own door" "xxhash outside its doors" <<< '#include <xxhash.h>'
plant layers utils/l.c "<llama.h> has its own door" "llama.cpp outside the engine" <<< '#include <llama.h>'
plant layers kvshm/new/x.c "lies in no module" "a folder without a module.mk" <<< 'int x;'

plant headers kvshm/pin/lone.h "kvshm/pin/lone.h:1: kvshm/pin/lone.h does not compile alone" "a header that does not compile alone" <<< 'uint32_t lone(void);'
plant headers kvshm/include/kvshm/cpp.h "does not compile alone: g++" "a public header that is no C++" <<< '#ifndef C
#define C
static inline int *f(void *class) { return class; }
#endif'
plant headers kvshm/pin/twice.h "does not compile alone" "a header without an include guard" <<< 'struct twice { int x; };'

plant ordering ipc/a.c "ipc/a.c:1: memory_order_acquire outside" "a raw memory order" <<< 'int f(void) { return memory_order_acquire; }'
plant ordering ipc/a.c "ipc/a.c:1: __atomic_load_n outside" "a raw builtin" <<< 'int f(int *p) { return __atomic_load_n(p, 0); }'
plant ordering ipc/a.c "ipc/a.c:3: smp_mb without a label" "a fence without a label" <<< 'void f(void)
{
	smp_mb();
}'
plant ordering ipc/a.c "ipc/a.c:8: load_acquire without a label" "a label too far above" <<< 'int f(int *p)
{
	/* ZZ-1: far away. */
	int x = 0;

	x++;
	x++;
	return x + load_acquire(p);
}'
plant ordering ipc/a.c "ZZ-2 has fewer than two ends (f() in ipc/a.c)" "a label with one end" <<< 'void f(int *p)
{
	/* ZZ-2: alone. */
	store_release(p, 1);
}'
plant ordering ipc/a.c "ZZ-3 has no row" "a label without a row" <<< 'void f(int *p)
{
	/* ZZ-3: one. */
	store_release(p, 1);
}
int g(int *p)
{
	/* ZZ-3: other. */
	return load_acquire(p);
}'
plant ordering Documentation/design/ordering.rst "ZZ-9 is in no source" "a row without a source" <<< 'ZZ-9  word'
mv Documentation/design/ordering.rst kept.rst
plant ordering ipc/a.c "Documentation/design/ordering.rst:1: missing" "no table at all" <<< ''
mv kept.rst Documentation/design/ordering.rst

while IFS='|' read -r name code; do
	plant forbidden kvshm/pin/f.c "kvshm/pin/f.c:1: $name" "$name" <<< "$code"
done <<'T'
strcpy is forbidden|void f(char *d, char *s) { strcpy(d, s); }
strcat is forbidden|void f(char *d, char *s) { strcat(d, s); }
sprintf is forbidden|void f(char *d) { sprintf(d, "x"); }
strtok is forbidden|void f(char *d) { strtok(d, ","); }
atoi and its kin is forbidden|int f(char *d) { return atoi(d); }
alloca is forbidden|void f(void) { alloca(8); }
gets is forbidden|void f(char *d) { gets(d); }
__sync builtin is forbidden|void f(void) { __sync_synchronize(); }
wall-clock time is forbidden|clock_gettime(CLOCK_REALTIME, &t);
volatile is forbidden|volatile int x;
a library prints|void f(void) { printf("x"); }
a library prints|void f(void) { fprintf(stderr, "x"); }
T
plant_clean() {
	cat > kvshm/pin/c.c
	if "$root/tests/lint/forbidden.py" > /dev/null; then echo "ok - forbidden: $1"; else echo "not ok - forbidden: $1"; fi
	rm kvshm/pin/c.c
}
plant_clean "comments, strings and snprintf are left alone" <<'T'
/* strcpy( is bad, volatile too */
void f(char *d, unsigned long n) { snprintf(d, n, "gets(x)"); __asm__ __volatile__("" ::: "memory"); }
T
if KVSHM_LINT_ROOT=$tree "$root/tests/lint/run" > /dev/null; then echo "ok - all lints pass on a clean tree"; else echo "not ok - all lints pass on a clean tree"; fi
echo 'volatile int x;' > kvshm/pin/f.c
if "$root/tests/lint/run" > /dev/null; then echo "not ok - one finding fails the whole"; else echo "ok - one finding fails the whole"; fi
