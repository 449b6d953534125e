// What a context tells: cause, deadline, where it ended, and its text.
#include "text.hpp"
#include "tree.hpp"
#include "values.hpp"

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <vector>

namespace heed::inline v0 {

error context::cause() const noexcept {
  const std::error_code why = err();  // also closes, so that all forms agree (I1)
  if (!why) return {};
  const cancel_node& by = decider_of(*node_of(scope_));
  return by.cause ? by.cause : error(why);
}

std::optional<std::source_location> context::canceled_at() const noexcept {
  if (!done()) return std::nullopt;
  return place_of(decider_of(*node_of(scope_)));
}

std::optional<time_point> earlier(std::optional<time_point> a, std::optional<time_point> b) noexcept {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

// What a scope adds to those above it; null: nothing.
static const time_point* deadline_of(const cancel_node& n) noexcept {
  const std::optional<time_point>* of_all = nullptr;
  if (n.what == kind::deadline) return &static_cast<const deadline_node&>(n).when();
  if (n.what == kind::custom) of_all = &static_cast<const custom_node&>(n).when;
  if (n.what == kind::merge) of_all = &static_cast<const merge_node&>(n).when;
  return of_all && *of_all ? &**of_all : nullptr;
}

const time_point* earliest_deadline(const cancel_node* n) noexcept {
  const time_point* earliest = nullptr;
  for (; n && n->is(node::timed); n = scope_above(n->parent)) {
    if (n->what == kind::cancel) continue;
    const time_point* own = deadline_of(*n);
    if (own && (!earliest || *own < *earliest)) earliest = own;
    // The nearest one is the earliest: with_deadline() sees to that, where all count on one clock. A merge
    // and a custom context know of all above them.
    if (n->what >= kind::custom || (own && !n->is(node::mixed))) break;
  }
  return earliest;
}

const time_point* context::earliest(const scope& s) noexcept {
  return earliest_deadline(&node_of(s));
}

time_point context::now() const noexcept {
  return scheduler_of(tree::of(*this)).now();
}

std::string seconds(std::int64_t ns) {
  // Whole numbers: what printf makes of a fraction depends on the locale.
  const std::uint64_t ms =
      (static_cast<std::uint64_t>(ns < 0 ? -(ns + 1) : ns) + (ns < 0 ? 1U : 0U) + 500'000) / 1'000'000;
  std::string digits = std::to_string(ms % 1000);
  digits.insert(0, 3 - digits.size(), '0');
  std::string text;
  if (ns < 0) text += '-';
  text += std::to_string(ms / 1000);
  text += '.';
  text += digits;
  return text += 's';
}

std::int64_t left(time_point when, time_point now) noexcept {
  std::int64_t ns = 0;
  if (!__builtin_sub_overflow(when.time_since_epoch().count(), now.time_since_epoch().count(), &ns))
    return ns;
  return (when < now ? duration::min() : duration::max()).count();
}

std::string relative(time_point when, time_point now) {
  if (when == time_point::max()) return "never";
  const std::int64_t ns = left(when, now);
  return ns < 0 ? seconds(ns).substr(1) + " ago" : "in " + seconds(ns);
}

namespace {

// How much of a second parent's way, where not all is asked for.
constexpr std::size_t short_way = 8;

// A merge tells of its second parent, but within the text of one no more: they would grow without bounds.
std::string step_to(const node& n, time_point now, contents shown, std::size_t most, bool within_merge) {
  switch (n.what) {
    case kind::todo: return "todo";
    case kind::root: return "background";
    case kind::detached: return "without_cancel";
    case kind::cancel: return "with_cancel";
    case kind::deadline:
      return "with_deadline(" + relative(static_cast<const deadline_node&>(n).when(), now) + ")";
    case kind::custom: return static_cast<const custom_node&>(n).self->name();
    case kind::merge: {
      if (within_merge) return "merge(...)";
      const auto second = way_up(static_cast<const merge_node&>(n).second.parent);
      return "merge(" +
             way_text(second, now, shown, most == all_steps ? most : std::min(most, short_way), true) + ")";
    }
    case kind::tether: break;
    case kind::value: {
      auto& v = static_cast<const value_node&>(n);
      std::string text = std::string("with_value(") + v.key->name();
      if (shown == contents::shown) text += ", " + v.type->print(v.storage());
      return text + ")";
    }
  }
  return {};
}

}  // namespace

std::string way_text(std::span<const node* const> up, time_point now, contents shown, std::size_t most,
                     bool within_merge) {
  std::string text;
  const std::size_t left_out = up.size() > most ? up.size() - most : 0;
  for (std::size_t i = 0; i < up.size(); ++i) {
    if (left_out > 0 && i == most / 2) {
      text += ".(" + std::to_string(left_out) + " more)";
      i += left_out;
    }
    if (!text.empty()) text += '.';
    const node* n = up[up.size() - 1 - i];
    text += n ? step_to(*n, now, shown, most, within_merge) : "background";
  }
  return text;
}

std::vector<const node*> way_up(const node* n) {
  std::vector<const node*> way;
  for (; n; n = n->parent) way.push_back(n);
  if (way.empty() || (way.back()->what != kind::root && way.back()->what != kind::todo))
    way.push_back(nullptr);
  return way;
}

std::string context::to_string() const {
  const auto way = way_up(tree::of(*this));
  return way_text(way, now(), contents::shown, all_steps);
}

std::ostream& operator<<(std::ostream& out, const context& ctx) {
  return out << ctx.to_string();
}

}  // namespace heed::inline v0
