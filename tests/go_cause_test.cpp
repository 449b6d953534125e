// The table of Go's TestCause, row by row, and rows of our own: which verdict and which cause a context has
// after this and that.
#include "support.hpp"

#include <ostream>
#include <string>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

// One per process, as equality of message errors is identity.
const heed::error& parent_cause() {
  static const heed::error e("parent");
  return e;
}
const heed::error& child_cause() {
  static const heed::error e("child");
  return e;
}
const heed::error& too_slow() {
  static const heed::error e("too slow");
  return e;
}
const heed::error& finished_early() {
  static const heed::error e("finished early");
  return e;
}

constexpr auto forever = std::chrono::seconds(1'000'000);

// A context, and what must not be canceled behind its back by the end of a scope.
struct outcome {
  heed::context ctx;
  std::vector<heed::cancel_func> kept = {};

  // Goes down by one with_*; returns the cancel of the new layer.
  heed::cancel_func& down(heed::cancelable c) {
    ctx = c.ctx;
    return kept.emplace_back(std::move(c.cancel));
  }
};

// The two cancels, in a vector that no longer grows.
outcome two_layers(void (*then)(const heed::cancel_func& parent, const heed::cancel_func& child)) {
  outcome o;
  o.down(heed::with_cancel(heed::background()));
  o.down(heed::with_cancel(o.ctx));
  then(o.kept[0], o.kept[1]);
  return o;
}
outcome custom_below(void (*then)(const heed::cancel_func& parent, plain_custom& child)) {
  outcome o;
  o.down(heed::with_cancel(heed::background()));
  auto made = heed::with_custom<plain_custom>(o.ctx);
  o.ctx = made.ctx;
  o.kept.push_back(std::move(made.cancel));
  then(o.kept[0], made.self);
  return o;
}

struct row {
  const char* name;
  outcome (*make)();
  std::error_code err;
  heed::error cause;
};
void PrintTo(const row& r, std::ostream* out) {
  *out << r.name;
}

std::vector<row> go_rows() {
  return {
      {"Background", [] { return outcome{heed::background()}; }, {}, {}},
      {"TODO", [] { return outcome{heed::todo()}; }, {}, {}},
      {"WithCancel",
       [] {
         outcome o;
         o.down(heed::with_cancel(heed::background()))();
         return o;
       },
       errc::canceled, errc::canceled},
      {"WithCancelCause",
       [] {
         outcome o;
         o.down(heed::with_cancel(heed::background()))(parent_cause());
         return o;
       },
       errc::canceled, parent_cause()},
      {"WithCancelCauseNil",
       [] {
         outcome o;
         o.down(heed::with_cancel(heed::background()))(nullptr);
         return o;
       },
       errc::canceled, errc::canceled},
      {"ParentCauseBeforeChild",
       [] {
         return two_layers([](auto& parent, auto& child) {
           parent(parent_cause());
           child(child_cause());
         });
       },
       errc::canceled, parent_cause()},
      {"ParentCauseAfterChild",
       [] {
         return two_layers([](auto& parent, auto& child) {
           child(child_cause());
           parent(parent_cause());
         });
       },
       errc::canceled, child_cause()},
      {"ParentCauseBeforeNil",
       [] {
         return two_layers([](auto& parent, auto& child) {
           parent(parent_cause());
           child();
         });
       },
       errc::canceled, parent_cause()},
      {"ParentCauseAfterNil",
       [] {
         return two_layers([](auto& parent, auto& child) {
           child();
           parent(parent_cause());
         });
       },
       errc::canceled, errc::canceled},
      {"ChildCauseAfterNil",
       [] {
         return two_layers([](auto& parent, auto& child) {
           parent();
           child(child_cause());
         });
       },
       errc::canceled, errc::canceled},
      {"ChildCauseBeforeNil",
       [] {
         return two_layers([](auto& parent, auto& child) {
           child(child_cause());
           parent();
         });
       },
       errc::canceled, child_cause()},
      {"WithTimeout",
       [] {
         outcome o;
         o.down(heed::with_timeout(heed::background(), 0s))();
         return o;
       },
       errc::deadline_exceeded, errc::deadline_exceeded},
      {"WithTimeoutCanceled",
       [] {
         outcome o;
         o.down(heed::with_timeout(heed::background(), forever))();
         return o;
       },
       errc::canceled, errc::canceled},
      {"WithTimeoutCause",
       [] {
         outcome o;
         o.down(heed::with_timeout(heed::background(), 0s, too_slow()))();
         return o;
       },
       errc::deadline_exceeded, too_slow()},
      {"WithTimeoutCauseCanceled",
       [] {
         outcome o;
         o.down(heed::with_timeout(heed::background(), forever, too_slow()))();
         return o;
       },
       errc::canceled, errc::canceled},
      {"WithTimeoutCauseStacked",
       [] {
         outcome o;
         o.down(heed::with_cancel(heed::background()));
         o.down(heed::with_timeout(o.ctx, 0s, too_slow()));
         o.kept[0](finished_early());
         return o;
       },
       errc::deadline_exceeded, too_slow()},
      {"WithTimeoutCauseStackedCanceled",
       [] {
         outcome o;
         o.down(heed::with_cancel(heed::background()));
         o.down(heed::with_timeout(o.ctx, forever, too_slow()));
         o.kept[0](finished_early());
         return o;
       },
       errc::canceled, finished_early()},
      {"WithoutCancel", [] { return outcome{heed::without_cancel(heed::background())}; }, {}, {}},
      {"WithoutCancelCanceled",
       [] {
         outcome o;
         auto& cancel = o.down(heed::with_cancel(heed::background()));
         o.ctx = heed::without_cancel(o.ctx);
         cancel(finished_early());
         return o;
       },
       {},
       {}},
      {"WithoutCancelTimeout",
       [] {
         outcome o;
         auto& cancel = o.down(heed::with_timeout(heed::background(), 0s, too_slow()));
         o.ctx = heed::without_cancel(o.ctx);
         cancel();
         return o;
       },
       {},
       {}},
      {"ParentOfCustomNotCanceled", [] { return custom_below([](auto&, auto& child) { child.end(); }); },
       errc::canceled, errc::canceled},
      {"ParentOfCustomCanceledBefore",
       [] {
         return custom_below([](auto& parent, auto& child) {
           parent(parent_cause());
           child.end();
         });
       },
       errc::canceled, parent_cause()},
      // Go cannot tell which came first and reports the parent's cause. Here the first one stands, always.
      {"ParentOfCustomCanceledAfter",
       [] {
         return custom_below([](auto& parent, auto& child) {
           child.end();
           parent(parent_cause());
         });
       },
       errc::canceled, errc::canceled},
  };
}

std::vector<row> heed_rows() {
  return {
      {"SecondCauseOfOneCancel",
       [] {
         outcome o;
         auto& cancel = o.down(heed::with_cancel(heed::background()));
         cancel(parent_cause());
         cancel(child_cause());
         return o;
       },
       errc::canceled, parent_cause()},
      {"CauseAfterNilOfOneCancel",
       [] {
         outcome o;
         auto& cancel = o.down(heed::with_cancel(heed::background()));
         cancel();
         cancel(child_cause());
         return o;
       },
       errc::canceled, errc::canceled},
      {"ForeignDeadline",
       [] {
         return custom_below([](auto& parent, auto& child) {
           child.end(errc::deadline_exceeded, too_slow());
           parent(parent_cause());
         });
       },
       errc::deadline_exceeded, too_slow()},
  };
}

class GoCause : public testing::TestWithParam<row> {};

TEST_P(GoCause, Row) {
  const outcome o = GetParam().make();
  EXPECT_EQ(o.ctx.err(), GetParam().err);
  EXPECT_EQ(o.ctx.done(), bool(GetParam().err));
  EXPECT_EQ(o.ctx.cause(), GetParam().cause) << o.ctx;
  // What is below has the same story, and without_cancel starts a new one.
  auto [below, cancel] = heed::with_cancel(o.ctx);
  EXPECT_EQ(below.err(), GetParam().err);
  EXPECT_EQ(below.cause(), GetParam().cause);
  EXPECT_TRUE(is_live(heed::without_cancel(below)));
}

std::string row_name(const testing::TestParamInfo<row>& of) {
  return of.param.name;
}
INSTANTIATE_TEST_SUITE_P(Go, GoCause, testing::ValuesIn(go_rows()), row_name);
INSTANTIATE_TEST_SUITE_P(Heed, GoCause, testing::ValuesIn(heed_rows()), row_name);

}  // namespace
