// Performs operations on heed, under a manual_scheduler, and answers as README.md says.
#pragma once

#include "op.hpp"

#include <heed/custom.hpp>
#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace conformance {

/// Is told, at the moment when it happens, what heed runs and when the clock has moved.
struct listener {
  virtual ~listener() = default;
  virtual void function_runs(std::size_t f) = 0;
  virtual void callback_runs(std::size_t b) = 0;
  virtual void time_has_moved() = 0;
};

class runner {
 public:
  explicit runner(listener& to);
  runner(const runner&) = delete;
  runner& operator=(const runner&) = delete;
  ~runner();

  /// The answer; empty where the operation has none.
  std::string perform(const op& o);
  /// Whether a function is still kept: it has not run, and may yet.
  bool keeps(std::size_t f) const { return kept_.at(f); }
  std::size_t functions() const noexcept { return kept_.size(); }
  /// Lets go of all it has, contexts from the first to the last or the other way round.
  void drop_all(bool backwards);

 private:
  class foreign;
  class function;
  struct callback {
    runner* of;
    std::size_t number;
    void operator()() const;  // may be destroyed by what it calls
  };
  using registration = heed::cancel_callback<callback>;

  struct slot {
    std::optional<heed::context> ctx;
    heed::cancel_func cancel;
    bool cancels = false;
    foreign* object = nullptr;  // a custom context's
    int fd = -1;                // once it was asked for
  };

  const heed::context* context(std::int64_t n) const;
  std::string derive(const op& o);
  void put(heed::cancelable made);
  std::string end(const op& o);
  std::string let_go(const op& o);
  std::string call(const op& o);
  std::string advance(std::int64_t ms);
  std::string look(const op& o);
  std::string read(const heed::context& ctx) const;

  listener& to_;
  heed::manual_scheduler time_;
  const heed::time_point start_ = time_.now();
  // A deque: a callback may add to it while one of them is in use.
  std::deque<slot> contexts_;
  std::deque<heed::stop_func> stops_;
  std::deque<bool> kept_;
  std::deque<std::unique_ptr<registration>> callbacks_;
  std::deque<std::optional<heed::canceler>> cancelers_;
  std::vector<std::size_t> ran_;  // since the last advance
};

/// "-" or "f1 f2": sorted.
std::string list_of_functions(std::vector<std::size_t> numbers);

}  // namespace conformance
