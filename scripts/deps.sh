# Sourced by ./test, ./demo and ./bench: `need build tests` sees to it that the packages for these are installed.
# Debian 12 and Ubuntu 24.04 have them all; nothing else is ever downloaded. `a|b`: the first that there is.

declare -A packages_for=(
  [build]="g++ cmake ninja-build"
  [examples]="libcli11-dev libfmt-dev"
  [bench]="libbenchmark-dev libcli11-dev libboost1.81-dev|libboost1.83-dev|libboost-dev python3"
  [plots]="gnuplot-nox"
  [tests]="libgtest-dev spin pkg-config binutils valgrind libc6-dbg graphviz python3 libboost1.81-dev|libboost1.83-dev|libboost-dev"
  [clang]="clang-19 libclang-rt-19-dev libc++-19-dev libc++abi-19-dev googletest"
  [coverage]="llvm-19"
  [format]="clang-format-19"
  [tidy]="clang-tidy-19"
  [cppcheck]="cppcheck"
  [cross]="g++-aarch64-linux-gnu qemu-user googletest"
)

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

installed() {
  dpkg-query -W -f '${Status}\n' "$1" 2> /dev/null | grep -q ' installed$'
}

# first_of A|B|C: the first that is installed or can be had, else the last.
first_of() {
  local package packages
  IFS='|' read -ra packages <<< "$1"
  for package in "${packages[@]}"; do
    installed "$package" && break
    [[ -n $(apt-cache --quiet=2 --names-only search "^${package//./\\.}\$") ]] && break
  done
  echo "$package"
}

# Fails where a package cannot be had.
need() {
  local package missing=() chosen=()
  if ! command -v apt-get > /dev/null; then
    echo "No apt-get here; going on with what is installed. Needed: $(for what; do echo "${packages_for[$what]}"; done)"
    return 0
  fi
  for package in $(for what; do echo "${packages_for[$what]}"; done); do
    installed "$(first_of "$package")" || missing+=("$package")
  done
  ((${#missing[@]} > 0)) || return 0
  as_root apt-get update -qq || return
  for package in "${missing[@]}"; do chosen+=("$(first_of "$package")"); done # now the lists are there
  echo "Installing: ${chosen[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${chosen[@]}" > /dev/null
}

# release TARGET...: the optimized build of these programs, quietly.
release() {
  mkdir -p build
  echo "Building: $*"
  if ! { cmake --preset release && cmake --build --preset release --parallel "$(nproc)" --target "$@"; } \
    > build/release.log 2>&1; then
    echo "That failed; the end of build/release.log:"
    tail -n 40 build/release.log
    return 1
  fi
}
