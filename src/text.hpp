// Text about contexts: the pieces that to_string(), explain() and dump() are made of (read.cpp).
#pragma once

#include <heed/time.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace heed::inline v0 {

struct node;

// "1.500s": nanoseconds as seconds, to the nearest thousandth.
std::string seconds(std::int64_t ns);
// What is left until `when`, in nanoseconds, or as near to it as there is a number.
std::int64_t left(time_point when, time_point now) noexcept;
// "in 1.500s" or "1.500s ago", or "never".
std::string relative(time_point when, time_point now);

enum class contents { hidden, shown };  // shown: with values, which calls their conversions: foreign code

// `n` and its ancestors, the root last, which is null where it is background().
std::vector<const node*> way_up(const node* n);
inline constexpr std::size_t all_steps = static_cast<std::size_t>(-1);
// "background.with_cancel.with_value(user)": the way down, given upwards. Where there are more than `most`
// steps, those in the middle are only counted (a merge's second way is shortened more). Calls name() of
// custom contexts: foreign code.
std::string way_text(std::span<const node* const> up, time_point now, contents shown, std::size_t most,
                     bool within_merge = false);

}  // namespace heed::inline v0
