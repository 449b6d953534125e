#include "runner.hpp"

#include <poll.h>

#include <algorithm>
#include <source_location>
#include <tuple>

namespace conformance {
namespace {

// Two kinds of values: one that a node keeps inside itself, one that owns memory. Both can be nil.
struct small {
  std::int8_t number;
  std::string to_string() const { return number == none ? "nil" : "v" + std::to_string(number); }
};
struct large {
  explicit large(std::int64_t n) : number(n == none ? nullptr : std::make_unique<std::int64_t>(n)) {}
  std::unique_ptr<std::int64_t> number;
  std::string to_string() const { return number ? "v" + std::to_string(*number) : "nil"; }
};

constexpr std::size_t half = keys / 2;
constexpr heed::key<small> small_keys[half] = {heed::key<small>("k0"), heed::key<small>("k2"),
                                               heed::key<small>("k4"), heed::key<small>("k6"),
                                               heed::key<small>("k8")};
constexpr heed::key<large> large_keys[half] = {heed::key<large>("k1"), heed::key<large>("k3"),
                                               heed::key<large>("k5"), heed::key<large>("k7"),
                                               heed::key<large>("k9")};
const heed::key<small>* small_key(std::int64_t k) {
  return k % 2 == 0 ? &small_keys[k / 2] : nullptr;
}
const heed::key<large>& large_key(std::int64_t k) {
  return large_keys[k / 2];
}

const heed::error& cause_of(std::int64_t n) {
  static const heed::error no_cause;
  static const heed::error all[causes] = {"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"};
  return n == none ? no_cause : all[n];
}

using here = std::source_location;
constexpr here places_of_ops[places] = {here::current(), here::current(), here::current(), here::current(),
                                        here::current(), here::current(), here::current(), here::current()};

std::string name_of(const here& where) {
  const auto position = [](const here& at) { return std::tuple(at.line(), at.column()); };
  for (const here& at : places_of_ops) {
    if (position(at) == position(where)) return "p" + std::to_string(&at - places_of_ops);
  }
  return "elsewhere";
}

std::string name_of(std::error_code e) {
  if (e == heed::errc::canceled) return "canceled";
  if (e == heed::errc::deadline_exceeded) return "deadline_exceeded";
  return e ? "another error" : "-";
}

// Causes are told apart as objects, not by their texts.
std::string name_of(const heed::error& cause) {
  for (std::int64_t n = 0; n < causes; ++n) {
    if (cause == cause_of(n)) return "c" + std::to_string(n);
  }
  return name_of(cause.code());
}

heed::duration milliseconds(std::int64_t ms) {
  if (ms == forever) return heed::duration::max();
  if (ms == minus_forever) return heed::duration::min();
  return heed::saturate(std::chrono::milliseconds(ms));
}

const char* boolean(bool b) {
  return b ? "true" : "false";
}

constexpr const char* gone = "gone";

}  // namespace

std::string list_of_functions(std::vector<std::size_t> numbers) {
  if (numbers.empty()) return "-";
  std::sort(numbers.begin(), numbers.end());
  std::string text;
  for (const std::size_t f : numbers) text += (text.empty() ? "f" : " f") + std::to_string(f);
  return text;
}

/// A custom context with one value, that ends when it is told to.
class runner::foreign : public heed::custom_context {
 public:
  foreign(anchor a, runner& of, std::size_t number, std::int64_t k, std::int64_t v)
      : custom_context(a), of_(of), number_(number), key_(k), small_{static_cast<std::int8_t>(v)}, large_(v) {
    of_.contexts_[number_].object = this;
  }
  ~foreign() override { of_.contexts_[number_].object = nullptr; }
  const void* find(const heed::key_base& k) const noexcept override {
    if (const auto* s = small_key(key_)) return s == &k ? &small_ : nullptr;
    return &large_key(key_) == &k ? &large_ : nullptr;
  }
  using custom_context::end;

 private:
  runner& of_;
  const std::size_t number_;
  const std::int64_t key_;
  const small small_;
  const large large_;
};

/// An after_func's: known to be kept until it is destroyed.
class runner::function {
 public:
  function(runner& of, std::size_t number) : of_(&of), number_(number) { of.kept_[number] = true; }
  function(function&& other) noexcept : of_(std::exchange(other.of_, nullptr)), number_(other.number_) {}
  ~function() {
    if (of_) of_->kept_[number_] = false;
  }
  void operator()() {
    of_->ran_.push_back(number_);
    of_->to_.function_runs(number_);
  }

 private:
  runner* of_;
  const std::size_t number_;
};

void runner::callback::operator()() const {
  of->to_.callback_runs(number);
}

runner::runner(listener& to) : to_(to) {
  contexts_.emplace_back().ctx = heed::background(time_);
}

runner::~runner() {
  drop_all(true);
}

void runner::drop_all(bool backwards) {
  callbacks_.clear();
  cancelers_.clear();
  for (std::size_t i = 0; i < contexts_.size(); ++i) {
    slot& s = contexts_[backwards ? contexts_.size() - 1 - i : i];
    s.cancel.release();
    s.ctx.reset();
  }
  // A source that still can end its context keeps what waits for that.
  for (slot& s : contexts_) {
    if (s.object) s.object->end();
  }
  time_.advance(heed::duration::max());
  time_.run_pending();
  stops_.clear();
}

const heed::context* runner::context(std::int64_t n) const {
  const auto i = static_cast<std::size_t>(n);
  return i < contexts_.size() && contexts_[i].ctx ? &*contexts_[i].ctx : nullptr;
}

std::string runner::perform(const op& o) {
  switch (o.what) {
    case verb::with_cancel:
    case verb::with_deadline:
    case verb::with_timeout:
    case verb::with_value:
    case verb::without_cancel:
    case verb::merge:
    case verb::custom: return derive(o);
    case verb::cancel:
    case verb::cancel_by:
    case verb::end: return end(o);
    case verb::leave:
    case verb::forget:
    case verb::unshare:
    case verb::off: return let_go(o);
    case verb::after_func:
    case verb::on_cancel:
    case verb::share:
    case verb::stop: return call(o);
    case verb::advance: return advance(o.at[0]);
    case verb::read:
    case verb::fd:
    case verb::place:
    case verb::text: return look(o);
  }
  return {};
}

void runner::put(heed::cancelable made) {
  slot& s = contexts_.emplace_back();
  s.ctx = std::move(made.ctx);
  s.cancel = std::move(made.cancel);
  s.cancels = true;
}

std::string runner::derive(const op& o) {
  const heed::context* parent = context(o.at[0]);
  const heed::context* second = o.what == verb::merge ? context(o.at[1]) : parent;
  if (!parent || !second) {
    contexts_.emplace_back();
    return gone;
  }
  const here& where = places_of_ops[o.place];
  const std::int64_t k = o.at[1];
  const std::int64_t v = o.at[2];
  switch (o.what) {
    case verb::with_cancel: put(heed::with_cancel(*parent, where)); break;
    case verb::with_timeout:
      put(heed::with_timeout(*parent, milliseconds(o.at[1]), cause_of(o.at[2]), where));
      break;
    case verb::with_deadline:
      put(heed::with_deadline(*parent, heed::saturating_add(start_, milliseconds(o.at[1])), cause_of(o.at[2]),
                              where));
      break;
    case verb::with_value:
      contexts_.emplace_back().ctx =
          small_key(k) ? heed::with_value(*parent, *small_key(k), small{static_cast<std::int8_t>(v)}, where)
                       : heed::with_value(*parent, large_key(k), v, where);
      break;
    case verb::without_cancel: contexts_.emplace_back().ctx = heed::without_cancel(*parent, where); break;
    case verb::merge: put(heed::merge(*parent, *second, where)); break;
    case verb::custom: {
      contexts_.emplace_back();
      const std::size_t number = contexts_.size() - 1;
      auto made = heed::with_custom<foreign>({*parent, where}, *this, number, k, v);
      contexts_[number].ctx = std::move(made.ctx);
      contexts_[number].cancel = std::move(made.cancel);
      contexts_[number].cancels = true;
      break;
    }
    default: break;
  }
  return {};
}

std::string runner::end(const op& o) {
  const here& where = places_of_ops[o.place];
  const auto i = static_cast<std::size_t>(o.at[0]);
  if (o.what == verb::cancel_by) {
    if (i >= cancelers_.size() || !cancelers_[i]) return gone;
    return boolean((*cancelers_[i])(cause_of(o.at[1]), where));
  }
  if (!context(o.at[0])) return gone;
  if (o.what == verb::end) {
    if (!contexts_[i].object) return gone;
    return boolean(contexts_[i].object->end(static_cast<heed::errc>(o.at[1]), cause_of(o.at[2]), where));
  }
  if (!contexts_[i].cancels) return gone;
  return boolean(contexts_[i].cancel(cause_of(o.at[1]), where));
}

std::string runner::let_go(const op& o) {
  const auto i = static_cast<std::size_t>(o.at[0]);
  if (o.what == verb::unshare) {
    if (i >= cancelers_.size() || !cancelers_[i]) return gone;
    cancelers_[i].reset();
    return {};
  }
  if (o.what == verb::off) {
    if (i >= callbacks_.size() || !callbacks_[i]) return gone;
    const auto taken = std::move(callbacks_[i]);
    return {};
  }
  if (i == 0 || !context(o.at[0])) return gone;
  // Out of the slot first: what runs here may look at it.
  heed::cancel_func cancel = std::move(contexts_[i].cancel);
  const auto ctx = std::exchange(contexts_[i].ctx, std::nullopt);
  if (o.what == verb::forget) cancel.release();
  return {};
}

std::string runner::call(const op& o) {
  const auto i = static_cast<std::size_t>(o.at[0]);
  if (o.what == verb::stop) return boolean(i < stops_.size() && stops_[i]());
  const heed::context* ctx = context(o.at[0]);
  switch (o.what) {
    case verb::after_func: {
      kept_.push_back(false);
      heed::stop_func& stop = stops_.emplace_back();
      if (ctx) stop = heed::after_func(*ctx, function(*this, kept_.size() - 1));
      break;
    }
    case verb::on_cancel: {
      auto& registered = callbacks_.emplace_back();
      if (!ctx) break;
      auto made = std::make_unique<registration>(*ctx, callback{this, callbacks_.size() - 1});
      registered = std::move(made);
      break;
    }
    case verb::share: {
      auto& shared = cancelers_.emplace_back();
      if (!ctx || !contexts_[i].cancels) return gone;
      shared = contexts_[i].cancel.share();
      break;
    }
    default: break;
  }
  return ctx ? "" : gone;
}

std::string runner::advance(std::int64_t ms) {
  time_.run_pending();
  time_.advance(milliseconds(ms));
  to_.time_has_moved();
  time_.run_pending();
  return list_of_functions(std::exchange(ran_, {}));
}

std::string runner::look(const op& o) {
  const heed::context* ctx = context(o.at[0]);
  if (!ctx) return gone;
  switch (o.what) {
    case verb::fd: {
      int& fd = contexts_[static_cast<std::size_t>(o.at[0])].fd;
      if (fd < 0) fd = ctx->done_fd();  // not anew, as an event loop would not: to ask may make it readable
      pollfd p{fd, POLLIN, 0};
      return ::poll(&p, 1, 0) == 1 && (p.revents & POLLIN) ? "readable" : "quiet";
    }
    case verb::place: {
      const auto where = ctx->canceled_at();
      return where ? name_of(*where) : "-";
    }
    case verb::text: return ctx->to_string();
    default: return read(*ctx);
  }
}

std::string runner::read(const heed::context& ctx) const {
  std::string text = ctx.err() ? name_of(ctx.err()) : ctx.cancel_possible() ? "live" : "never";
  if (ctx.done() != static_cast<bool>(ctx.err())) text += " done() and err() differ";
  text += ' ';
  text += name_of(ctx.cause());
  if (const auto when = ctx.deadline()) {
    // Each for itself, as their difference may be more than there is.
    const auto ms = [](heed::time_point t) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
    };
    text += " @" + std::to_string(ms(*when) - ms(start_));
  }
  for (std::int64_t k = 0; k < keys; ++k) {
    std::string value;
    if (const auto* s = small_key(k)) {
      if (const small* found = ctx.value(*s)) value = found->to_string();
    } else if (const large* found = ctx.value(large_key(k))) {
      value = found->to_string();
    }
    if (!value.empty()) text += " k" + std::to_string(k) + "=" + value;
  }
  return text;
}

}  // namespace conformance
