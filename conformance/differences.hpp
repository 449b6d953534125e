// Where heed answers otherwise than Go, on purpose: by name, as docs/go_parity.md lists them. Whatever else
// differs is an error.
#pragma once

#include "op.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace conformance {

/// An answer to `read`, taken apart.
struct reading {
  explicit reading(std::string_view text) : state(take_word(text)), cause(take_word(text)) {
    if (text.starts_with('@')) deadline = take_word(text);
    values = text;
  }
  std::string_view state, cause, deadline, values;
};

/// What a program has said so far: which contexts lie above which, and the causes that stand by.
class story {
 public:
  void tell(const op& o) {
    const auto subject = static_cast<std::size_t>(o.at[0]);
    switch (o.what) {
      case verb::with_cancel:
      case verb::with_value: contexts_.push_back({subject}); break;
      case verb::without_cancel: contexts_.push_back({0}); break;
      case verb::with_timeout:
      case verb::with_deadline: {
        const bool relative = o.what == verb::with_timeout && o.at[1] != forever && o.at[1] != minus_forever;
        contexts_.push_back(
            {subject, true, o.at[1] + (relative ? now_ : 0), name(o.at[2], "deadline_exceeded")});
        break;
      }
      case verb::cancel:
        if (subject < contexts_.size()) contexts_[subject].given.push_back(name(o.at[1], "canceled"));
        break;
      case verb::advance: now_ += o.at[0]; break;
      default: break;
    }
  }

  /// Whether two deadlines at or above this context are at one instant and have these causes.
  bool have_equal_deadlines(std::size_t context, std::string_view one, std::string_view other) const {
    return any_above(context, [&](const entry& a) {
      return a.timed && a.cause == one && any_above(context, [&](const entry& b) {
               return b.timed && b.cause == other && a.when == b.when;
             });
    });
  }
  /// Whether a deadline at or above this context was canceled with this cause.
  bool canceled_a_deadline(std::size_t context, std::string_view cause) const {
    return any_above(context, [&](const entry& a) {
      for (const std::string& given : a.given) {
        if (a.timed && given == cause) return true;
      }
      return false;
    });
  }

 private:
  struct entry {
    std::size_t parent = 0;
    bool timed = false;
    std::int64_t when = 0;
    std::string cause = {};
    std::vector<std::string> given = {};  // to its cancel
  };
  static std::string name(std::int64_t cause, const char* otherwise) {
    return cause == none ? otherwise : "c" + std::to_string(cause);
  }
  template <class Holds>
  bool any_above(std::size_t context, Holds holds) const {
    for (std::size_t i = context; i > 0 && i < contexts_.size(); i = contexts_[i].parent) {
      if (holds(contexts_[i])) return true;
    }
    return false;
  }

  std::vector<entry> contexts_{1};
  std::int64_t now_ = 0;
};

struct difference {
  std::string_view name;
  /// Whether it may be the reason why heed's reading of this context is another; if so, makes heed's the same
  /// as Go's in what it explains.
  bool (*explains)(const story& s, std::size_t context, const reading& go, reading& heed);
};

inline constexpr std::array<difference, 4> differences{{
    {"equal deadlines",
     [](const story& s, std::size_t context, const reading& go, reading& heed) {
       if (go.state != "deadline_exceeded" || !s.have_equal_deadlines(context, go.cause, heed.cause))
         return false;
       return std::exchange(heed.cause, go.cause) != go.cause;
     }},
    {"cause for a deadline's cancel",
     [](const story& s, std::size_t context, const reading& go, reading& heed) {
       if (go.cause != "canceled" || !s.canceled_a_deadline(context, heed.cause)) return false;
       return std::exchange(heed.cause, go.cause) != go.cause;
     }},
    {"saturating",
     [](const story&, std::size_t, const reading& go, reading& heed) {
       const auto century = [](std::string_view deadline) {  // -1 and 1: more than one away
         const long long ms = deadline.empty() ? 0 : std::atoll(std::string(deadline.substr(1)).c_str());
         return ms / (100LL * 365 * 24 * 3600 * 1000);
       };
       if (century(go.deadline) * century(heed.deadline) <= 0) return false;
       return std::exchange(heed.deadline, go.deadline) != go.deadline;
     }},
    {"stored nil",
     [](const story&, std::size_t, const reading& go, reading& heed) {
       // What is left of heed's values without the nils is Go's.
       std::string left;
       std::string_view rest = heed.values;
       while (!rest.empty()) {
         const std::string_view value = take_word(rest);
         if (!value.ends_with("=nil")) left += (left.empty() ? "" : " ") + std::string(value);
       }
       if (left != go.values) return false;
       return std::exchange(heed.values, go.values) != go.values;
     }},
}};

}  // namespace conformance
