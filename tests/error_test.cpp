// errc, its category, and heed::error: what each constructor makes, what the members then say, what is equal.
#include "support.hpp"

#include <exception>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#if defined(__cpp_lib_format)
#include <format>
#endif

namespace {

using heed::errc;
using heed::error;
using heed_test::tracked;

TEST(Errc, IsAnErrorCode) {
  static_assert(std::is_error_code_enum_v<errc>);
  const std::error_code canceled = errc::canceled;
  const std::error_code exceeded = errc::deadline_exceeded;
  EXPECT_EQ(canceled.value(), 1);
  EXPECT_EQ(exceeded.value(), 2);
  EXPECT_EQ(canceled.category(), heed::category());
  EXPECT_STREQ(heed::category().name(), "heed");
  EXPECT_EQ(canceled.message(), "context canceled");
  EXPECT_EQ(exceeded.message(), "context deadline exceeded");
  EXPECT_NE(canceled, exceeded);
}

TEST(Errc, EqualsThePortableConditions) {
  EXPECT_TRUE(errc::canceled == std::errc::operation_canceled);
  EXPECT_TRUE(errc::deadline_exceeded == std::errc::timed_out);
  EXPECT_FALSE(errc::canceled == std::errc::timed_out);
  EXPECT_FALSE(errc::deadline_exceeded == std::errc::operation_canceled);
  EXPECT_TRUE(std::errc::timed_out == errc::deadline_exceeded);
  const std::error_code code = errc::canceled;
  EXPECT_EQ(code, std::errc::operation_canceled);
  EXPECT_EQ(code.default_error_condition(), std::errc::operation_canceled);
  // The equality is one of meaning: the code of another category stays another code.
  EXPECT_NE(code, std::make_error_code(std::errc::operation_canceled));
}

TEST(Errc, CategoryAnswersForUnknownValues) {
  const std::error_code unknown(77, heed::category());
  EXPECT_FALSE(unknown.message().empty());
  EXPECT_NE(unknown, std::errc::operation_canceled);
  EXPECT_NE(unknown, std::errc::timed_out);
}

TEST(Error, IsASmallValue) {
  static_assert(sizeof(error) == sizeof(void*));
  static_assert(std::is_nothrow_default_constructible_v<error>);
  static_assert(std::is_nothrow_constructible_v<error, std::nullptr_t>);
  static_assert(std::is_nothrow_copy_constructible_v<error> && std::is_nothrow_move_constructible_v<error>);
  static_assert(std::is_nothrow_swappable_v<error>);
  static_assert(!std::is_convertible_v<error, bool>, "only explicitly");
  static_assert(heed::error_enum<errc> && heed::error_enum<std::errc> && heed::error_enum<std::io_errc>);
  static_assert(!std::is_constructible_v<error, int>);
}

void expect_null(const error& e) {
  EXPECT_FALSE(e);
  EXPECT_EQ(e.code(), std::error_code());
  EXPECT_EQ(e.message(), "");
  EXPECT_EQ(e.as<std::exception>(), nullptr);
  EXPECT_THROW(e.raise(), std::logic_error);
  EXPECT_EQ(e, error());
  EXPECT_TRUE(e == std::error_code());
  EXPECT_TRUE(e == std::error_condition());
  EXPECT_FALSE(e == errc::canceled);
  EXPECT_FALSE(e == std::errc::timed_out);
}

TEST(Error, Null) {
  expect_null(error());
  expect_null(nullptr);
  expect_null(std::error_code());
  expect_null(std::errc());
  expect_null(std::exception_ptr());
  error moved = errc::canceled;
  const error taken = std::move(moved);
  expect_null(moved);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(taken, errc::canceled);
}

TEST(Error, FromACode) {
  const error e = errc::canceled;
  EXPECT_TRUE(e);
  EXPECT_EQ(e.code(), errc::canceled);
  EXPECT_EQ(e.message(), "context canceled");
  EXPECT_EQ(error(errc::deadline_exceeded).message(), "context deadline exceeded");

  const std::error_code code = std::make_error_code(std::errc::broken_pipe);
  const error other = code;
  EXPECT_EQ(other.code(), code);
  EXPECT_EQ(other.message(), code.message());
  EXPECT_EQ(other.as<std::runtime_error>(), nullptr);
  EXPECT_EQ(error(std::errc::broken_pipe), other);
  EXPECT_EQ(error(std::io_errc::stream).code(), std::make_error_code(std::io_errc::stream));
}

TEST(Error, CodeIsRaisedAsSystemError) {
  for (const std::error_code code :
       {std::error_code(errc::canceled), std::error_code(errc::deadline_exceeded),
        std::make_error_code(std::errc::broken_pipe)}) {
    try {
      error(code).raise();
      FAIL();
    } catch (const std::system_error& thrown) {
      EXPECT_EQ(thrown.code(), code);
    }
  }
}

TEST(Error, FromAMessage) {
  const error e("a message");
  EXPECT_TRUE(e);
  EXPECT_EQ(e.message(), "a message");
  EXPECT_FALSE(e.code());
  EXPECT_EQ(e.as<std::exception>(), nullptr);
  try {
    e.raise();
    FAIL();
  } catch (const std::runtime_error& thrown) {
    EXPECT_STREQ(thrown.what(), "a message");
  }
  const std::string with_zero("a\0b", 3);
  EXPECT_EQ(error(with_zero).message(), with_zero);
  EXPECT_TRUE(error("")) << "an empty message is a reason all the same";
  EXPECT_EQ(error(std::string(100'000, 'x')).message().size(), 100'000U);
}

TEST(Error, NullMessageIsRefused) {
  const char* none = nullptr;
  EXPECT_THROW(static_cast<void>(error(none)), std::invalid_argument);
}

struct quota : std::runtime_error {
  quota(const char* what, int n) : std::runtime_error(what), limit(n) {}
  int limit;
};
struct disk_quota : quota {
  using quota::quota;
};

TEST(Error, FromAnExceptionObject) {
  const error e = quota("too many", 5);
  EXPECT_EQ(e.message(), "too many");
  EXPECT_FALSE(e.code());
  ASSERT_NE(e.as<quota>(), nullptr);
  EXPECT_EQ(e.as<quota>()->limit, 5);
  EXPECT_EQ(e.as<disk_quota>(), nullptr);
  EXPECT_EQ(e.as<std::logic_error>(), nullptr);
  EXPECT_EQ(e.as<int>(), nullptr);
  try {
    e.raise();
    FAIL();
  } catch (const quota& thrown) {
    EXPECT_EQ(thrown.limit, 5);
    EXPECT_NE(&thrown, e.as<quota>()) << "a copy";
  }
#if defined(__cpp_rtti)
  const error derived = disk_quota("full", 6);
  ASSERT_NE(derived.as<quota>(), nullptr);
  EXPECT_EQ(derived.as<quota>()->limit, 6);
  ASSERT_NE(derived.as<std::exception>(), nullptr);
  EXPECT_STREQ(derived.as<std::exception>()->what(), "full");
#endif
}

struct coded : std::system_error {
  using std::system_error::system_error;
};

TEST(Error, CodeOfASystemError) {
  const std::error_code code = std::make_error_code(std::errc::no_space_on_device);
  const error by_value = coded(code, "writing");
  EXPECT_EQ(by_value.code(), code);
  EXPECT_EQ(by_value, code);
  EXPECT_EQ(by_value, std::errc::no_space_on_device);
  EXPECT_EQ(by_value.message(), coded(code, "writing").what());
  EXPECT_THROW(by_value.raise(), coded);

  const error by_pointer = std::make_exception_ptr(coded(code, "writing"));
  EXPECT_EQ(by_pointer.code(), code);
  EXPECT_EQ(by_pointer, by_value) << "both hold the same code";
}

TEST(Error, FromAnExceptionPointer) {
  const std::exception_ptr pointer = std::make_exception_ptr(disk_quota("full", 6));
  const error e = pointer;
  EXPECT_TRUE(e);
  EXPECT_EQ(e.message(), "full");
  EXPECT_FALSE(e.code());
  ASSERT_NE(e.as<disk_quota>(), nullptr);
  EXPECT_EQ(e.as<disk_quota>()->limit, 6);
  ASSERT_NE(e.as<quota>(), nullptr) << "a base of it";
  EXPECT_EQ(e.as<std::logic_error>(), nullptr);
  try {
    e.raise();
    FAIL();
  } catch (const disk_quota& thrown) {
    EXPECT_EQ(thrown.limit, 6);
  }
}

TEST(Error, FromAPointerToNoException) {
  const error e = std::make_exception_ptr(42);
  EXPECT_TRUE(e);
  EXPECT_FALSE(e.code());
  static_cast<void>(e.message());  // some text, or none
  ASSERT_NE(e.as<int>(), nullptr);
  EXPECT_EQ(*e.as<int>(), 42);
  EXPECT_EQ(e.as<std::exception>(), nullptr);
  EXPECT_THROW(e.raise(), int);
}

TEST(Error, FromTheCurrentException) {
  error e;
  try {
    throw quota("caught", 1);
  } catch (...) {
    e = std::current_exception();
  }
  ASSERT_NE(e.as<quota>(), nullptr);
  EXPECT_EQ(e.message(), "caught");
}

TEST(Error, CopiesShare) {
  const error e = quota("shared", 1);
  const error copy = e;
  EXPECT_EQ(copy, e);
  EXPECT_EQ(copy.as<quota>(), e.as<quota>());
  error assigned("other");
  assigned = e;
  EXPECT_EQ(assigned.as<quota>(), e.as<quota>());
  const error& self = assigned;
  assigned = self;
  EXPECT_EQ(assigned.as<quota>(), e.as<quota>());
  assigned = nullptr;
  EXPECT_FALSE(assigned);
}

TEST(Error, Equality) {
  EXPECT_EQ(error(errc::canceled), error(errc::canceled)) << "the same code";
  EXPECT_NE(error(errc::canceled), error(errc::deadline_exceeded));
  EXPECT_EQ(error(std::errc::io_error), error(std::errc::io_error)) << "the same code, two objects";
  EXPECT_NE(error(errc::canceled), error(std::errc::operation_canceled)) << "two codes";
  EXPECT_NE(error("text"), error("text")) << "two errors";
  EXPECT_NE(error(quota("text", 1)), error(quota("text", 1)));
  EXPECT_NE(error("context canceled"), error(errc::canceled));
  EXPECT_NE(error("text"), error());
  EXPECT_EQ(error(), error(nullptr));
}

TEST(Error, EqualityWithCodesAndConditions) {
  const error e = errc::deadline_exceeded;
  EXPECT_TRUE(e == errc::deadline_exceeded);
  EXPECT_TRUE(errc::deadline_exceeded == e);
  EXPECT_FALSE(e == errc::canceled);
  EXPECT_TRUE(e != errc::canceled);
  EXPECT_TRUE(e == std::error_code(errc::deadline_exceeded));
  EXPECT_TRUE(std::error_code(errc::deadline_exceeded) == e);
  EXPECT_TRUE(e == std::errc::timed_out);
  EXPECT_TRUE(std::errc::timed_out == e);
  EXPECT_FALSE(e == std::errc::operation_canceled);
  EXPECT_TRUE(e == std::make_error_condition(std::errc::timed_out));
  EXPECT_FALSE(e == std::make_error_code(std::errc::timed_out)) << "equal in meaning, another code";
  // What holds no code equals none, not even the empty one.
  EXPECT_FALSE(error("text") == std::error_code());
  EXPECT_FALSE(error("text") == std::error_condition());
  EXPECT_FALSE(error("text") == errc::canceled);
}

TEST(Error, Prints) {
  std::ostringstream out;
  out << error("a message") << '|' << error(errc::canceled) << '|' << error();
  EXPECT_EQ(out.str(), "a message|context canceled|null");
#if defined(__cpp_lib_format)
  EXPECT_EQ(std::format("{}|{:>6}|{}", error("m"), error("x"), error()), "m|     x|null");
#endif
}

struct counted : std::runtime_error {
  explicit counted(std::atomic<int>& alive) : std::runtime_error("counted"), tracker(alive) {}
  tracked tracker;
};

// Lives as long as any copy, and is destroyed once, wherever the last one goes.
TEST(Error, LivesAsLongAsAnyCopy) {
  std::atomic<int> alive = 0;
  error e = counted(alive);
  EXPECT_EQ(alive, 1);
  {
    std::vector<heed_test::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([mine = e] {
        for (int k = 0; k < 1000; ++k) {
          error copy = mine;
          ASSERT_NE(copy.as<counted>(), nullptr);
          error moved = std::move(copy);
          EXPECT_EQ(moved, mine);
        }
      });
    }
    e = {};
  }
  EXPECT_EQ(alive, 0);
}

TEST(Error, SurvivesTheContextThatEndedWithIt) {
  error cause;
  {
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    cancel(quota("limit", 3));
    cause = ctx.cause();
  }
  ASSERT_NE(cause.as<quota>(), nullptr);
  EXPECT_EQ(cause.as<quota>()->limit, 3);
}

// Whatever makes an error makes a cause.
TEST(Error, KindsOfCauses) {
  const auto cause_of = [](error e) {
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    cancel(std::move(e));
    return ctx.cause();
  };
  EXPECT_EQ(cause_of("text").message(), "text");
  EXPECT_EQ(cause_of(std::string("text")).message(), "text");
  EXPECT_EQ(cause_of(std::errc::io_error), std::errc::io_error);
  EXPECT_EQ(cause_of(std::make_error_code(std::errc::io_error)), std::errc::io_error);
  EXPECT_EQ(cause_of(std::make_exception_ptr(quota("q", 9))).as<quota>()->limit, 9);
  EXPECT_EQ(cause_of(errc::deadline_exceeded), errc::deadline_exceeded) << "the cause is what was given";
  EXPECT_EQ(cause_of({}), errc::canceled);
}

// An exception may have no text at all.
class wordless : public std::exception {
 public:
  const char* what() const noexcept override { return nullptr; }
};

TEST(Error, AnExceptionWithoutTextHasAnEmptyMessage) {
  EXPECT_EQ(error(wordless()).message(), "");
  EXPECT_EQ(error(std::make_exception_ptr(wordless())).message(), "");
}

// A number of ours that is no errc is kept as what it is.
TEST(Error, AnUnknownNumberOfOurCategory) {
  const error e(std::error_code(99, heed::category()));
  EXPECT_EQ(e.code().value(), 99);
  EXPECT_EQ(e.message(), "unknown heed error 99");
}

TEST(Error, OnlyAnExceptionIsFoundByItsType) {
  EXPECT_EQ(error("text").as<wordless>(), nullptr);
  EXPECT_EQ(error(std::errc::io_error).as<int>(), nullptr);
}

}  // namespace
