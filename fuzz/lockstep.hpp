// Performs each operation on the model and on heed, and compares: answers, what ran, which functions are
// kept. Where heed calls back, the model is asked whether it may, and what the callback does is done on both,
// there and then.
#pragma once

#include "bytes.hpp"
#include "model.hpp"

#include "../conformance/runner.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace fuzz {

class lockstep : public conformance::listener {
 public:
  void run(bytes program) {
    for (int steps = 0; steps < 150 && !program.empty(); ++steps) {
      const std::uint64_t before = model_.event();
      perform(program.next(have()));
      model_.settle_functions();
      if (!model_.has_run_all(before)) fail("not all callbacks have run");
      for (std::size_t f = 0; f < heed_.functions(); ++f) {
        const auto keeps = model_.keeps(f);
        if (keeps != model::keeping::either && heed_.keeps(f) != (keeps == model::keeping::yes)) {
          fail("f" + std::to_string(f) + (heed_.keeps(f) ? " is" : " is not") + " kept");
        }
      }
    }
    over_ = true;
    heed_.drop_all(program.backwards);
    for (std::size_t f = 0; f < heed_.functions(); ++f) {
      if (heed_.keeps(f)) fail("f" + std::to_string(f) + " outlives everything");
    }
  }

 private:
  counts have() const { return {model_.contexts(), heed_.functions(), model_.callbacks(), cancelers_}; }

  void perform(const op& o) {
    const std::string text = std::string(depth_, ' ') + to_string(o);
    history_ += text + '\n';
    if (o.what == verb::after_func) functions_do_.push_back(o.then);
    if (o.what == verb::on_cancel) callbacks_do_.push_back(o.then);
    if (o.what == verb::share) ++cancelers_;
    const std::uint64_t before = model_.event();
    std::string expected;
    if (o.what == verb::advance) {
      model_.advance(o.at[0]);
    } else if (o.what != verb::stop) {
      expected = model_.perform(o);
    }
    const std::size_t made = model_.callbacks() - 1;  // by this operation, not by what it runs
    const std::string answer = heed_.perform(o);
    if (o.what == verb::stop) {
      expected =
          model_.stopped(static_cast<std::size_t>(o.at[0]), answer == "true") ? answer : "not " + answer;
    }
    if (o.what == verb::advance) expected = conformance::list_of_functions(model_.take_ran());
    if (answer != expected) fail("\"" + text + "\" is answered: " + answer + "; and should be: " + expected);
    if (o.what == verb::on_cancel && answer.empty()) model_.registered(made);
    if (!model_.has_run_all(before)) fail("\"" + text + "\" returns before all callbacks have run");
    if (printed) std::cerr << text << (answer.empty() ? "" : " = ") << answer << '\n';
  }

  void callback_runs(std::size_t b) override {
    if (!model_.runs_callback(b)) fail("b" + std::to_string(b) + " runs");
    act(callbacks_do_.at(b));
  }
  void function_runs(std::size_t f) override {
    if (over_) return;
    if (!model_.runs_function(f)) fail("f" + std::to_string(f) + " runs");
    act(functions_do_.at(f));
  }
  void time_has_moved() override { model_.time_has_moved(); }

  void act(std::shared_ptr<const op> then) {
    if (!then) return;
    depth_ += 2;
    perform(*then);
    depth_ -= 2;
  }

  [[noreturn]] void fail(const std::string& what) {
    std::cerr << "the program:\n" << history_ << "and then: " << what << std::endl;
    std::abort();
  }

  const bool printed = std::getenv("HEED_FUZZ_PRINT") != nullptr;
  conformance::runner heed_{*this};
  model model_;
  std::vector<std::shared_ptr<const op>> functions_do_;
  std::vector<std::shared_ptr<const op>> callbacks_do_;
  std::size_t cancelers_ = 0;
  std::size_t depth_ = 0;
  bool over_ = false;
  std::string history_;
};

}  // namespace fuzz
