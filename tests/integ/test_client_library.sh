#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libkvshm.so needs libc and nothing else, and exports its public functions and nothing else.
set -u
. tests/lib/say.sh
: "${KVSHM_BUILD:=$PWD/build}"
lib=$KVSHM_BUILD/libkvshm.so

command -v readelf > /dev/null || { echo "no readelf"; exit 77; }
[ -f "$lib" ] || { echo "no $lib"; exit 77; }

needed=$(readelf -d "$lib" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
if nm -D "$lib" | grep -q -e ' __asan_' -e ' __tsan_' -e ' __ubsan_'; then
	echo "ok - the library needs libc only # SKIP a sanitizer is linked in"
else
	[ "$needed" = "libc.so.6 " ]
	say $? "the library needs libc only"
	[ $status = 0 ] || echo "# NEEDED: $needed"
fi

soname=$(readelf -d "$lib" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ "$soname" = libkvshm.so.0 ]
say $? "the library has a versioned name"

# Every function of the headers, each with the version node; and no other.
declared=$(sed -n 's/^\(int\|void\|uint32_t\|struct kvshm \*\) \{0,1\}\(kvshm_[a-z_]*\)(.*/\2/p' \
	kvshm/include/kvshm/{kvshm,gather,hint,gpu,migrate,direct,service}.h | sort)
exported=$(nm -D --defined-only --with-symbol-versions "$lib" | sed -n 's/.* T \(.*\)@@KVSHM_0$/\1/p' | sort)
[ -n "$declared" ] && [ "$declared" = "$exported" ]
say $? "the library exports what the headers declare"
[ "$declared" = "$exported" ] || diff <(echo "$declared") <(echo "$exported") | sed 's/^/# /'

others=$(nm -D --defined-only "$lib" | grep -v -e ' T kvshm_' -e ' A KVSHM_0' -e san)
[ -z "$others" ]
say $? "the library exports no other name"

# the static one: the same names and no other, and it links into a program that needs no libkvshm.so
static=$KVSHM_BUILD/libkvshm.a
[ "$(nm --defined-only -g "$static" 2> /dev/null | sed -n 's/.* [TDBRV] //p' | grep -v -e san | sort)" = "$declared" ]
say $? "the static library has these names and no other"
if nm "$static" 2> /dev/null | grep -q -e ' __asan_' -e ' __tsan_' -e ' __ubsan_'; then
	echo "ok - a program links it # SKIP a sanitizer is linked in"
else
	${CC:-gcc} -Ikvshm/include -o "$TMPDIR/first" Documentation/examples/first.c "$static" -pthread &&
		! readelf -d "$TMPDIR/first" | grep -q libkvshm
	say $? "a program links it"
fi
exit $status
