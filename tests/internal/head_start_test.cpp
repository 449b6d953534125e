// How the thread that keeps time learns when to ask to be woken.
#include "head_start.hpp"

#include <gtest/gtest.h>

using namespace std::chrono_literals;
using heed::head_start;
using heed::time_point;

namespace {

constexpr time_point present{1h};
constexpr time_point far = present + 1s;

heed::duration ahead(const head_start& h) {
  return far - h.before(far, present);
}

}  // namespace

TEST(HeadStart, StartsWithNone) {
  EXPECT_EQ(ahead(head_start()), 0ns);
}

TEST(HeadStart, ComesNearWhatWakingTakesAndNotOverIt) {
  head_start h;
  for (int i = 0; i < 100; ++i) {
    h.learn(30us);
    ASSERT_LE(ahead(h), 30us);
  }
  EXPECT_GT(ahead(h), 29us);
}

TEST(HeadStart, FallsAtOnceWhereItWasTooMuch) {
  head_start h;
  for (int i = 0; i < 100; ++i) h.learn(30us);
  h.learn(4us);
  EXPECT_LT(ahead(h), 4us);
}

TEST(HeadStart, OneThatWasLateBecauseOfOthersTellsLittle) {
  head_start h;
  h.learn(1s);
  EXPECT_EQ(ahead(h), head_start::step);
  for (int i = 0; i < 100; ++i) h.learn(1s);
  EXPECT_EQ(ahead(h), head_start::most);
}

TEST(HeadStart, WokenForAnotherReasonTellsNothing) {
  head_start h;
  h.learn(10us);
  const auto before = ahead(h);
  h.learn(-1us);
  EXPECT_EQ(ahead(h), before);
}

TEST(HeadStart, WhatIsTooNearOrNeverIsAskedForAsItIs) {
  head_start h;
  for (int i = 0; i < 100; ++i) h.learn(30us);
  EXPECT_EQ(h.before(present + 20us, present), present + 20us);
  EXPECT_EQ(h.before(time_point::max(), present), time_point::max());
}
