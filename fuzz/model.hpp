// What heed should do, in the most obvious way: a vector of contexts, and whatever is to be known found by
// walking. It shares nothing with heed. It performs the operations of conformance/op.hpp, and answers as heed
// should.
//
// Where heed promises no order, the model is told what happened, and says whether that may be.
#pragma once

#include "../conformance/op.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fuzz {

using conformance::op;
using conformance::verb;

class model {
 public:
  model() { nodes_.push_back({.step = "background"}); }

  /// All but stop and advance.
  std::string perform(const op& o) {
    ++event_;
    const auto n = static_cast<std::size_t>(o.at[0]);
    switch (o.what) {
      case verb::cancel: return has(n) && nodes_[n].cancels ? end(n, canceled, o.at[1], o.place) : gone;
      case verb::end:
        return has(n) && nodes_[n].custom ? end(n, static_cast<int>(o.at[1]), o.at[2], o.place) : gone;
      case verb::cancel_by:
        return n < cancelers_.size() && cancelers_[n] ? end(*cancelers_[n], canceled, o.at[1], o.place)
                                                      : gone;
      case verb::share:
        cancelers_.emplace_back();
        if (!has(n) || !nodes_[n].cancels) return gone;
        cancelers_.back() = n;
        return {};
      case verb::unshare:
        if (n >= cancelers_.size() || !cancelers_[n]) return gone;
        cancelers_[n].reset();
        return {};
      case verb::leave:
      case verb::forget:
        if (n == 0 || !has(n)) return gone;
        if (o.what == verb::leave && nodes_[n].cancels) end(n, canceled, conformance::none, nodes_[n].place);
        nodes_[n].handle = false;
        return {};
      case verb::on_cancel:
        callbacks_.push_back({n, event_});
        if (!has(n)) return gone;
        callbacks_.back().now = done(n) ? callback::due : callback::waiting;
        return {};
      case verb::off:
        if (n >= callbacks_.size() || !callbacks_[n].held) return gone;
        callbacks_[n].held = false;
        callbacks_[n].now = callback::over;
        return {};
      case verb::after_func:
        functions_.push_back({n});
        if (!has(n)) return gone;
        functions_.back().now = done(n) ? function::fired : function::waiting;
        return {};
      case verb::read: return has(n) ? read(n) : gone;
      case verb::fd: return !has(n) ? gone : done(n) ? "readable" : "quiet";
      case verb::place: return !has(n) ? gone : done(n) ? "p" + std::to_string(nodes_[n].end->place) : "-";
      case verb::text: return has(n) ? way(n, false) : gone;
      default: return derive(o);
    }
  }

  // --- what happens when heed chooses to ---

  /// Whether a stop() may give this answer; if so, it has.
  bool stopped(std::size_t f, bool answer) {
    if (f >= functions_.size()) return !answer;
    function& is = functions_[f];
    forget_the_unreachable();
    const bool must = is.now == function::waiting || is.now == function::abandoned;
    // Its context has ended in a cancel that is under way: it may have been posted by now, or not.
    const bool may = must || is.now == function::due;
    if (answer ? !may : must) return false;
    is.now = answer ? function::over : is.now == function::due ? function::fired : is.now;
    return true;
  }
  /// Whether this callback may run now; if so, it has.
  bool runs_callback(std::size_t b) {
    callback& is = callbacks_.at(b);
    // A deadline's callbacks have all run before the next one fires.
    while (is.now != callback::due && has_run_all(0) && fire_next()) {}
    if (is.now != callback::due) return false;
    is.now = callback::over;
    return true;
  }
  bool runs_function(std::size_t f) {
    function& is = functions_.at(f);
    if (is.now != function::due && is.now != function::fired) return false;
    is.now = function::over;
    ran_.push_back(f);
    return true;
  }
  /// The constructor of a callback has returned.
  void registered(std::size_t b) { callbacks_.at(b).held = true; }

  /// Time moves, until time_has_moved(): what is due fires then, or when a callback shows that it has.
  void advance(std::int64_t ms) { target_ = sum(now_, nanoseconds(ms)); }
  void time_has_moved() {
    while (fire_next()) {}
    now_ = std::max(now_, target_);
  }
  /// The functions that ran since the last time that it was asked.
  std::vector<std::size_t> take_ran() { return std::exchange(ran_, {}); }

  /// An operation is over: whether all callbacks that it should have run have run. `since` is what event()
  /// was before.
  bool has_run_all(std::uint64_t since) const {
    return std::none_of(callbacks_.begin(), callbacks_.end(),
                        [&](const callback& c) { return c.now == callback::due && c.event > since; });
  }
  std::uint64_t event() const noexcept { return event_; }
  /// A step is over: the functions of what has ended have been posted, and what nothing can end is given up.
  void settle_functions() {
    forget_the_unreachable();
    for (function& f : functions_) {
      if (f.now == function::due) f.now = function::fired;
    }
  }

  enum class keeping { yes, no, either };
  /// Whether heed keeps the function: it waits, and something can still end its context; or it is about to
  /// run.
  keeping keeps(std::size_t f) const {
    const function& is = functions_.at(f);
    if (is.now == function::waiting && maybe_a_source(is.on)) return keeping::either;
    return is.now == function::waiting || is.now == function::fired || is.now == function::due ? keeping::yes
                                                                                               : keeping::no;
  }

  std::size_t contexts() const noexcept { return nodes_.size(); }
  std::size_t callbacks() const noexcept { return callbacks_.size(); }

 private:
  static constexpr int canceled = 1;
  static constexpr int deadline_exceeded = 2;
  static constexpr const char* gone = "gone";
  static constexpr std::int64_t hour = 3'600'000'000'000;  // when it is when a program starts

  struct verdict {
    int what;
    std::int64_t cause;
    std::size_t place;
  };
  struct node {
    std::string step;                        // of to_string()
    std::optional<std::size_t> parent = {};  // up here for values; for the rest see `ends`
    std::optional<std::size_t> second = {};
    bool handle = true;
    bool cancels = false;  // has a verdict of its own
    bool ends = false;     // can end: it, or one above
    bool custom = false;
    std::optional<std::int64_t> when = {};   // its own deadline
    std::int64_t cause = conformance::none;  // of the deadline
    std::size_t place = 0;
    std::optional<std::int64_t> key = {};
    std::int64_t value = 0;
    std::optional<verdict> end = {};
    bool detached = false;  // what is above does not end it
  };
  struct callback {
    std::size_t on;
    std::uint64_t event;  // that made it due
    enum { waiting, due, over } now = over;
    bool held = false;
  };
  struct function {
    std::size_t on;
    enum { waiting, due, fired, abandoned, over } now = over;
  };

  bool has(std::size_t n) const { return n < nodes_.size() && nodes_[n].handle; }
  bool done(std::size_t n) const { return nodes_[n].end.has_value(); }
  std::vector<std::size_t> parents(std::size_t n) const {
    std::vector<std::size_t> all;
    if (nodes_[n].parent && !nodes_[n].detached) all.push_back(*nodes_[n].parent);
    if (nodes_[n].second) all.push_back(*nodes_[n].second);
    return all;
  }

  static std::int64_t nanoseconds(std::int64_t ms) {
    if (ms == conformance::forever || ms == conformance::minus_forever) return ms;
    return ms * 1'000'000;
  }
  static std::int64_t sum(std::int64_t a, std::int64_t b) {
    std::int64_t s = 0;
    if (!__builtin_add_overflow(a, b, &s)) return s;
    return b < 0 ? conformance::minus_forever : conformance::forever;
  }

  std::string derive(const op& o) {
    const auto first = static_cast<std::size_t>(o.at[0]);
    const auto second = static_cast<std::size_t>(o.at[1]);
    if (!has(first) || (o.what == verb::merge && !has(second))) {
      nodes_.push_back({.step = "", .handle = false});
      return gone;
    }
    node n{.step = "", .parent = first, .ends = nodes_[first].ends, .place = o.place};
    n.cancels = o.what != verb::with_value && o.what != verb::without_cancel;
    if (n.cancels) n.ends = true;
    switch (o.what) {
      case verb::with_deadline:
      case verb::with_timeout: {
        std::int64_t when = sum(o.what == verb::with_deadline ? hour : now_, nanoseconds(o.at[1]));
        if (o.what == verb::with_timeout && o.at[1] <= 0 && when == conformance::forever) --when;
        const auto above = deadline(first);
        if (above && *above < when) break;
        n.when = when;
        n.cause = o.at[2];
        break;
      }
      case verb::with_value: n.step = "with_value"; break;
      case verb::without_cancel:
        n.step = "without_cancel";
        n.detached = true;
        n.ends = false;
        break;
      case verb::merge: n.second = second; break;
      case verb::custom:
        n.step = "custom";
        n.custom = true;
        break;
      default: break;
    }
    if (o.what == verb::with_value || o.what == verb::custom) {
      n.key = o.at[1];
      n.value = o.at[2];
    }
    nodes_.push_back(n);
    inherit();
    node& made = nodes_.back();
    if (armed(made) && *made.when <= now_) {
      made.end = verdict{deadline_exceeded, made.cause, made.place};
    }
    return {};
  }

  // Whoever has a parent that is done is done, parents come before children, and a merge's first parent
  // before its second.
  void inherit() {
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      for (const std::size_t p : parents(n)) {
        if (!nodes_[n].end && nodes_[n].ends) nodes_[n].end = nodes_[p].end;
      }
    }
    for (callback& c : callbacks_) {
      if (c.now == callback::waiting && done(c.on)) {
        c.now = callback::due;
        c.event = event_;
      }
    }
    for (function& f : functions_) {
      if (f.now == function::waiting && done(f.on)) f.now = function::due;
    }
  }
  std::string end(std::size_t n, int what, std::int64_t cause, std::size_t place) {
    if (done(n)) return "false";
    forget_the_unreachable();
    nodes_[n].end = verdict{what, cause, place};
    inherit();
    return "true";
  }

  bool armed(const node& n) const { return n.when && *n.when != conformance::forever && !n.end; }
  // The earliest deadline that has come; of equal ones the first made.
  bool fire_next() {
    std::optional<std::size_t> next;
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      if (armed(nodes_[n]) && *nodes_[n].when <= target_ && (!next || *nodes_[n].when < *nodes_[*next].when))
        next = n;
    }
    if (!next) return false;
    ++event_;
    now_ = std::max(now_, *nodes_[*next].when);
    end(*next, deadline_exceeded, nodes_[*next].cause, nodes_[*next].place);
    return true;
  }

  // The nearest with a verdict of its own, at or above; nothing where there is none.
  std::optional<std::size_t> scope(std::size_t n) const {
    while (!nodes_[n].cancels) {
      if (nodes_[n].detached || !nodes_[n].parent) return {};
      n = *nodes_[n].parent;
    }
    return n;
  }
  bool any_scope_at_or_above(std::size_t n, auto holds) const {
    std::vector<bool> seen(nodes_.size());
    std::vector<std::size_t> left{n};
    while (!left.empty()) {
      const std::size_t at = left.back();
      left.pop_back();
      if (seen[at]) continue;
      seen[at] = true;
      if (nodes_[at].cancels && holds(at)) return true;
      for (const std::size_t p : parents(at)) left.push_back(p);
    }
    return false;
  }
  bool maybe_a_source(std::size_t n) const {
    return any_scope_at_or_above(n, [&](std::size_t at) { return nodes_[at].custom && !nodes_[at].handle; });
  }
  // Functions on what nothing can end any more: no handle, no canceler, no armed deadline, on it or above.
  void forget_the_unreachable() {
    std::vector<bool> can_end(nodes_.size());
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      if (armed(nodes_[n]) || nodes_[n].custom) can_end[n] = true;
      if (const auto s = scope(n); s && nodes_[n].handle) can_end[*s] = true;
    }
    for (const auto& s : cancelers_) {
      if (s) can_end[*s] = true;
    }
    for (function& f : functions_) {
      if (f.now == function::waiting &&
          !any_scope_at_or_above(f.on, [&](std::size_t s) { return can_end[s]; }))
        f.now = function::abandoned;
    }
  }

  std::optional<std::int64_t> deadline(std::size_t n) const {
    std::optional<std::int64_t> earliest;
    any_scope_at_or_above(n, [&](std::size_t at) {
      if (nodes_[at].when && (!earliest || *nodes_[at].when < *earliest)) earliest = nodes_[at].when;
      return false;
    });
    return earliest;
  }

  // Of the nearest, the first parent before the second.
  std::optional<std::int64_t> value(std::size_t n, std::int64_t k, std::vector<bool>& seen) const {
    if (seen[n]) return {};  // it had none before, either
    seen[n] = true;
    if (nodes_[n].key == k) return nodes_[n].value;
    std::optional<std::int64_t> found;
    if (nodes_[n].parent) found = value(*nodes_[n].parent, k, seen);
    if (!found && nodes_[n].second) found = value(*nodes_[n].second, k, seen);
    return found;
  }

  static std::string value_text(std::int64_t v) {
    return v == conformance::none ? "nil" : "v" + std::to_string(v);
  }

  std::string read(std::size_t n) const {
    static const char* const names[] = {"-", "canceled", "deadline_exceeded"};
    const node& is = nodes_[n];
    std::string text = is.end ? names[is.end->what] : is.ends ? "live" : "never";
    text += " ";
    text += !is.end                              ? "-"
            : is.end->cause == conformance::none ? names[is.end->what]
                                                 : "c" + std::to_string(is.end->cause);
    if (const auto when = deadline(n)) text += " @" + std::to_string(*when / 1'000'000 - hour / 1'000'000);
    for (std::int64_t k = 0; k < conformance::keys; ++k) {
      std::vector<bool> seen(nodes_.size());
      if (const auto v = value(n, k, seen)) text += " k" + std::to_string(k) + "=" + value_text(*v);
    }
    return text;
  }

  std::string relative(std::int64_t when) const {
    if (when == conformance::forever) return "never";
    const std::int64_t left = sum(when, -now_);
    const auto ms =
        (static_cast<std::uint64_t>(left < 0 ? -(left + 1) : left) + (left < 0) + 500'000) / 1'000'000;
    std::string digits = std::to_string(ms % 1000);
    digits.insert(0, 3 - digits.size(), '0');
    const std::string seconds = std::to_string(ms / 1000) + "." + digits + "s";
    return left < 0 ? seconds + " ago" : "in " + seconds;
  }
  std::string way(std::size_t n, bool within_merge) const {
    const node& is = nodes_[n];
    if (!is.parent) return is.step;
    std::string step = is.step.empty() ? "with_cancel" : is.step;
    if (is.when) step = "with_deadline(" + relative(*is.when) + ")";
    if (step == "with_value") step += "(k" + std::to_string(*is.key) + ", " + value_text(is.value) + ")";
    if (is.second) step = within_merge ? "merge(...)" : "merge(" + way(*is.second, true) + ")";
    return way(*is.parent, within_merge) + "." + step;
  }

  std::vector<node> nodes_;
  std::vector<callback> callbacks_;
  std::vector<function> functions_;
  std::vector<std::optional<std::size_t>> cancelers_;
  std::vector<std::size_t> ran_;
  std::int64_t now_ = hour;
  std::int64_t target_ = hour;
  std::uint64_t event_ = 0;  // counts what happens
};

}  // namespace fuzz
