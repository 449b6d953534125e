// What the stress threads share: contexts in slots, each with a record of what must hold of it.
#pragma once

#include "../support.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace stress {

using namespace std::chrono_literals;

using random_engine = std::minstd_rand;

inline constexpr heed::key<std::uint64_t> number_key{"number"};

/// A context that several threads use, and what is known of it for good.
class entry {
 public:
  using pointer = std::shared_ptr<entry>;

  entry(heed::context c, heed::cancel_func f, std::vector<pointer> parents, std::uint64_t number)
      : ctx_(std::move(c)), cancel_(std::move(f)), number_(number) {
    // All that can end it: its parents, and what can end those.
    for (const pointer& p : parents) {
      above_.push_back(p);
      above_.insert(above_.end(), p->above_.begin(), p->above_.end());
    }
  }

  const heed::context& ctx() const noexcept { return ctx_; }
  bool below(const entry& other) const noexcept {
    for (const pointer& p : above_) {
      if (p.get() == &other) return true;
    }
    return false;
  }
  std::size_t depth() const noexcept { return above_.size(); }
  std::uint64_t number() const noexcept { return number_; }

  /// Ends it, and checks what cancel() promises of it; true: this call decided.
  bool end(const std::string& why) {
    const bool decided = cancel_(heed::error(why));
    EXPECT_TRUE(ctx_.done());
    if (decided) {
      EXPECT_EQ(ctx_.cause().message(), why);
      EXPECT_EQ(ctx_.err(), heed::errc::canceled);
      EXPECT_NE(std::string(ctx_.canceled_at()->file_name()).find("world.hpp"), std::string::npos);
    }
    check();
    return decided;
  }

  /// Everything that holds of a context at any moment, whoever does what to it.
  void check() {
    const std::error_code before = ctx_.err();
    const bool done = ctx_.done();
    const heed::error cause = ctx_.cause();
    const auto where = ctx_.canceled_at();
    if (before) {
      EXPECT_TRUE(done);
      EXPECT_TRUE(cause);
      EXPECT_TRUE(where);
      EXPECT_TRUE(ctx_.wait_for(0s));
      bool ran = false;
      const heed::cancel_callback now(ctx_, [&ran] { ran = true; });
      EXPECT_TRUE(ran);
    }
    if (done) remember();
    const auto deadline = ctx_.deadline();
    for (const pointer& p : above_) {
      if (const auto theirs = p->ctx_.deadline()) {
        ASSERT_TRUE(deadline);
        EXPECT_LE(*deadline, *theirs);
      }
    }
    if (before == heed::errc::deadline_exceeded && deadline) {
      EXPECT_LE(*deadline, heed::clock::now()) << "early";
    }
    const std::uint64_t* value = ctx_.value(number_key);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*value, number_);
  }

 private:
  // The first verdict stands: who sees it first writes it down, all others compare.
  void remember() {
    const std::lock_guard lock(mutex_);
    if (!verdict_) {
      verdict_ = ctx_.err();
      cause_ = ctx_.cause();
      where_ = ctx_.canceled_at();
      return;
    }
    EXPECT_EQ(ctx_.err(), *verdict_);
    EXPECT_EQ(ctx_.cause(), cause_);
    EXPECT_EQ(ctx_.canceled_at()->line(), where_->line());
  }

  const heed::context ctx_;
  const heed::cancel_func cancel_;
  const std::uint64_t number_;
  std::vector<pointer> above_;
  std::mutex mutex_;
  std::optional<std::error_code> verdict_;
  heed::error cause_;
  std::optional<std::source_location> where_;
};

/// Slots with contexts; each holds one at all times.
class world {
 public:
  static constexpr std::size_t size = 48;

  world() {
    for (slot& s : slots_) s.held = root();
  }
  entry::pointer get(std::size_t i) const {
    const std::lock_guard lock(slots_[i].mutex);
    return slots_[i].held;
  }
  entry::pointer any(random_engine& random) const { return get(random() % size); }
  /// Drops what was there: by the last one that holds it, on its thread.
  void put(std::size_t i, entry::pointer e) {
    const std::lock_guard lock(slots_[i].mutex);
    slots_[i].held.swap(e);
  }
  /// All at one moment each.
  std::vector<entry::pointer> all() const {
    std::vector<entry::pointer> now;
    for (std::size_t i = 0; i < size; ++i) now.push_back(get(i));
    return now;
  }
  /// A fresh context below background().
  static entry::pointer root() {
    auto made = heed::with_cancel(heed::with_value(heed::background(), number_key, 0U));
    return std::make_shared<entry>(made.ctx, std::move(made.cancel), std::vector<entry::pointer>(), 0);
  }

 private:
  struct slot {
    mutable std::mutex mutex;
    entry::pointer held;
  };
  std::array<slot, size> slots_;
};

}  // namespace stress
