#!/usr/bin/env bash
# heed as others use it: installed, by find_package and by pkg-config, and as a subdirectory.
# Usage: check.sh static|shared SOURCE_DIR WORK_DIR VERSION COMPILER
set -euo pipefail
kind=$1 root=$2 work=$3 version=$4 compiler=$5
prefix=$work/prefix
consumer=$root/tests/packaging/consumer
shared=$([[ $kind == shared ]] && echo ON || echo OFF)
rm -rf "$work"
mkdir -p "$work"

say() { printf '\n== %s\n' "$*"; }
fail() { echo "packaging: $*" >&2; exit 1; }
configure() {
  cmake -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF "$@"
}

say "with every option off heed needs no other package"
configure -S "$root" -B "$work/build" -DCMAKE_INSTALL_PREFIX="$prefix" -DBUILD_SHARED_LIBS=$shared \
  -DHEED_BUILD_TESTS=OFF -DHEED_BUILD_BENCHMARKS=OFF -DHEED_BUILD_EXAMPLES=OFF \
  -DCMAKE_DISABLE_FIND_PACKAGE_{GTest,benchmark,fmt,CLI11,PkgConfig}=ON
cmake --build "$work/build"
cmake --install "$work/build"

say "find_package(heed)"
configure -S "$consumer" -B "$work/found" -DCMAKE_PREFIX_PATH="$prefix" -DHEED_WANTED="$version"
cmake --build "$work/found"
"$work/found/consumer"

say "find_package(heed) of a version that is not installed"
if configure -S "$consumer" -B "$work/too_new" -DCMAKE_PREFIX_PATH="$prefix" -DHEED_WANTED=99.0 &> "$work/too_new.log"
then
  fail "version 99.0 was found"
fi
grep -q 'version: '"$version" "$work/too_new.log" || fail "the message does not name the version that is there"

say "pkg-config, from a prefix that was moved"
mv "$prefix" "$work/moved"
prefix=$work/moved
libdir=$(dirname "$(find "$prefix" -name 'libheed.*' | head -n 1)")
export PKG_CONFIG_PATH=$libdir/pkgconfig
[[ $(pkg-config --modversion heed) == "$version" ]] || fail "heed.pc says version $(pkg-config --modversion heed)"
# shellcheck disable=SC2046 # these are words
"$compiler" -std=c++20 "$consumer/main.cpp" -o "$work/by_pkg_config" $(pkg-config --cflags --libs heed)
LD_LIBRARY_PATH=$libdir "$work/by_pkg_config"

if [[ $kind == static ]]; then
  say "add_subdirectory" # not optimized: it is to be there, and that is quicker
  configure -S "$consumer" -B "$work/inside" -DHEED_SOURCE="$root" -DCMAKE_BUILD_TYPE=Debug
  cmake --build "$work/inside"
  "$work/inside/consumer"
  [[ ! -e $work/inside/heed/tests ]] || fail "the tests are part of other people's builds"
fi

if [[ $kind == shared ]]; then
  say "libheed.so exports heed's names and no others"
  exported=$(nm -DC --defined-only "$libdir/libheed.so" | cut -d ' ' -f 3-)
  grep -q '^heed::v0::without_cancel(' <<< "$exported" || fail "without_cancel is not exported"
  foreign=$(grep -vE '^((vtable|typeinfo|typeinfo name) for )?heed::' \
    <<< "$exported" || true)
  [[ -z $foreign ]] || fail "exported too:"$'\n'"$foreign"
  readelf -d "$libdir/libheed.so" | grep -q NODELETE || fail "libheed.so may be unloaded under its threads"
fi
say "ok"
