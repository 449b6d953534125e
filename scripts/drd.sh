#!/usr/bin/env bash
# The stress test under valgrind's drd, heed's atomics telling it what they order (tests/stress/drd_atomics.hpp). In about
# a minute; HEED_STRESS_STEPS (per thread) and HEED_TEST_SEED as for the test itself.
# Who notifies a condition variable need not hold the mutex (POSIX), and heed lets go of it before: no report of that.
# tests/stress/drd_futex.cpp says what else drd would take for an access.
# drd knows shared_ptr's own counts and orders only by the suppression in tests/stress/drd.supp.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/deps.sh
need build tests

cmake -G Ninja -B build/drd -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" \
  -DHEED_BUILD_EXAMPLES=OFF -DHEED_BUILD_BENCHMARKS=OFF > /dev/null
cmake --build build/drd --target heed_stress_drd
HEED_STRESS_STEPS=${HEED_STRESS_STEPS:-40} valgrind --tool=drd --error-exitcode=9 --segment-merging=no --report-signal-unlocked=no \
  --suppressions=tests/stress/drd.supp build/drd/tests/heed_stress_drd
