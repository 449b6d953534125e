// heed::error and its category.
#include <heed/error.hpp>
#include <heed/time.hpp>

#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <stdexcept>
#include <utility>

namespace heed::inline v0 {

constinit immortal_category the_category;
[[gnu::init_priority(101)]] const std::error_code no_error;

const char* error_category::name() const noexcept {
  return "heed";
}

std::string error_category::message(int value) const {
  switch (static_cast<errc>(value)) {
    case errc::canceled: return "context canceled";
    case errc::deadline_exceeded: return "context deadline exceeded";
  }
  return "unknown heed error " + std::to_string(value);
}

std::error_condition error_category::default_error_condition(int value) const noexcept {
  switch (static_cast<errc>(value)) {
    case errc::canceled: return std::errc::operation_canceled;
    case errc::deadline_exceeded: return std::errc::timed_out;
  }
  return {value, *this};
}

void abort_with(const char* message) noexcept {
  std::fprintf(stderr, "%s\n", message);
  std::abort();
}

void misuse(const char* message) {
#if defined(__cpp_exceptions)
  throw std::invalid_argument(message);
#else
  abort_with(message);
#endif
}

namespace {

template <class E>
[[noreturn]] void raise_as(const E& e) {
#if defined(__cpp_exceptions)
  throw e;
#else
  abort_with(e.what());
#endif
}

constexpr char code_tag = 0;
constexpr char message_tag = 0;
constexpr char pointer_tag = 0;

class code_error final : public error::shared {
 public:
  explicit code_error(std::error_code c, bool immortal = false) noexcept
      : shared(&code_tag, immortal), code_(c) {}
  std::error_code code() const noexcept override { return code_; }
  std::string message() const override { return code_.message(); }
  [[noreturn]] void raise() const override { raise_as(std::system_error(code_)); }

 private:
  std::error_code code_;
};

class message_error final : public error::shared {
 public:
  explicit message_error(std::string m) noexcept : shared(&message_tag), message_(std::move(m)) {}
  std::string message() const override { return message_; }
  [[noreturn]] void raise() const override { raise_as(std::runtime_error(message_)); }

 private:
  std::string message_;
};

class pointer_error final : public error::shared {
 public:
  explicit pointer_error(std::exception_ptr p) noexcept : shared(&pointer_tag), pointer_(std::move(p)) {}
  std::exception_ptr pointer() const noexcept override { return pointer_; }
#if defined(__cpp_exceptions)
  std::error_code code() const noexcept override {
    try {
      std::rethrow_exception(pointer_);
    } catch (const std::system_error& e) {
      return e.code();
    } catch (...) {
      return {};
    }
  }
  std::string message() const override {
    try {
      std::rethrow_exception(pointer_);
    } catch (const std::exception& e) {
      const char* text = e.what();
      return text ? text : "";
    } catch (...) {
      return "unknown exception";
    }
  }
  [[noreturn]] void raise() const override { std::rethrow_exception(pointer_); }
#else
  std::string message() const override { return {}; }
  [[noreturn]] void raise() const override { abort_with("heed: an exception was raised"); }
#endif

 private:
  std::exception_ptr pointer_;
};

// The errors of heed's own errcs: immortal, made at first use, never counted.
union immortal_error {
  code_error value;
  explicit immortal_error(errc e) noexcept : value(make_error_code(e), true) {}
  ~immortal_error() {}
};

error::shared* immortal(errc e) noexcept {
  static immortal_error canceled(errc::canceled);
  static immortal_error deadline_exceeded(errc::deadline_exceeded);
  return e == errc::canceled ? &canceled.value : &deadline_exceeded.value;
}

bool is_own(const std::error_code& code) noexcept {
  return code.category() == category() && (code.value() == static_cast<int>(errc::canceled) ||
                                           code.value() == static_cast<int>(errc::deadline_exceeded));
}

}  // namespace

error::error(std::error_code code) {
  if (!code) return;
  if (is_own(code)) {
    shared_ = immortal(static_cast<errc>(code.value()));
  } else {
    shared_ = new code_error(code);
  }
}

error::error(std::string message) : shared_(new message_error(std::move(message))) {}

error::error(const char* message) {
  if (!message) misuse("heed::error: the message is a null pointer");
  shared_ = new message_error(message);
}

error::error(std::exception_ptr e) {
  if (e) shared_ = new pointer_error(std::move(e));
}

error::error(const error& other) noexcept : shared_(other.shared_) {
  // relaxed: a copy of a live error needs no ordering of its own, and 0 (immortal) never changes.
  if (shared_ && shared_->count_.load(std::memory_order_relaxed) != 0) {
    shared_->count_.fetch_add(1, std::memory_order_relaxed);
  }
}

void error::let_go(shared* s) noexcept {
  if (s->count_.load(std::memory_order_relaxed) == 0) return;
  // release: our reads come before the destruction; acquire: the destroyer sees everybody's.
  if (s->count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete s;
}

std::error_code error::code() const noexcept {
  return shared_ ? shared_->code() : std::error_code{};
}

std::string error::message() const {
  return shared_ ? shared_->message() : std::string{};
}

void error::raise() const {
  if (!shared_) raise_as(std::logic_error("heed::error::raise() on a null error"));
  shared_->raise();
  __builtin_unreachable();  // raise() is noreturn; through the vtable g++ does not always see it
}

bool error::same_code(const error& other) const noexcept {
  const std::error_code mine = code();
  return mine && mine == other.code();
}

bool error::holds(const std::error_code& c) const noexcept {
  return shared_ ? (c && code() == c) : !c;
}

const void* error::stored(const void* tag) const noexcept {
  return shared_ && shared_->tag_ == tag ? shared_->object() : nullptr;
}

const std::exception* error::stored_exception() const noexcept {
  return shared_ ? shared_->exception() : nullptr;
}

std::exception_ptr error::stored_pointer() const noexcept {
  return shared_ ? shared_->pointer() : nullptr;
}

std::ostream& operator<<(std::ostream& out, const error& e) {
  return out << (e ? e.message() : std::string("null"));
}

}  // namespace heed::inline v0
