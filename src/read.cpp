// What a context tells: cause, deadline, values, where it ended, and its text.
#include "tree.hpp"

#include <cstdio>
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
  return decider_of(*node_of(scope_)).place;
}

std::optional<time_point> context::deadline() const noexcept {
  // The nearest one is the earliest: with_deadline() sees to that.
  for (const cancel_node* n = node_of(scope_); n && n->timed; n = scope_above(n->parent)) {
    if (n->what == kind::deadline) return static_cast<const deadline_node*>(n)->when();
    if (n->what == kind::merge) return static_cast<const merge_node*>(n)->when;  // timed, so there is one
    if (n->what == kind::custom && static_cast<const custom_node*>(n)->when != time_point::max()) {
      return static_cast<const custom_node*>(n)->when;
    }
  }
  return std::nullopt;
}

// What one node answers.
static const void* ask(const node& n, const key_base& k) noexcept {
  if (n.what == kind::custom) return static_cast<const custom_node&>(n).self->find(k);
  if (n.what == kind::merge) {
    auto& m = const_cast<merge_node&>(static_cast<const merge_node&>(n));
    for (std::size_t i = 0; i < m.asked_count; ++i) {
      if (const void* found = ask(*m.asked()[i], k)) return found;  // one deep: none of them is a merge
    }
    return nullptr;
  }
  auto& v = const_cast<value_node&>(static_cast<const value_node&>(n));
  return v.key == &k ? v.storage() : nullptr;
}

const void* context::find(const key_base& k) const noexcept {
  for (const node* n = lookup_at(node_); n; n = lookup_above(n)) {
    if (const void* found = ask(*n, k)) return found;
  }
  return nullptr;
}

time_point context::now() const noexcept {
  return scheduler_of(node_).now();
}

namespace {

// "in 1.500s" or "1.500s ago".
std::string relative(time_point when, time_point now) {
  if (when == time_point::max()) return "never";
  const std::chrono::duration<double> left = std::chrono::duration<double>(when.time_since_epoch()) -
                                             std::chrono::duration<double>(now.time_since_epoch());
  char text[64];
  std::snprintf(text, sizeof text, left.count() < 0 ? "%.3fs ago" : "in %.3fs",
                left.count() < 0 ? -left.count() : left.count());
  return text;
}

std::string way_to(const node* end, time_point now, bool inside);

// Inside: within the text of a merge.
std::string step_to(const node& n, time_point now, bool inside) {
  switch (n.what) {
    case kind::todo: return "todo";
    case kind::root: return "background";
    case kind::detached: return "without_cancel";
    case kind::cancel: return "with_cancel";
    case kind::deadline:
      return "with_deadline(" + relative(static_cast<const deadline_node&>(n).when(), now) + ")";
    case kind::custom: return static_cast<const custom_node&>(n).self->name();
    case kind::merge:  // one deep: merges of merges would grow without bounds
      return "merge(" +
             (inside ? "..." : way_to(static_cast<const merge_node&>(n).second.parent, now, true)) + ")";
    case kind::tether: break;
    case kind::value: {
      auto& v = static_cast<const value_node&>(n);
      return std::string("with_value(") + v.key->name() + ", " +
             v.type->print(const_cast<value_node&>(v).storage()) + ")";
    }
  }
  return {};
}

std::string way_to(const node* end, time_point now, bool inside) {
  std::vector<const node*> way;
  for (const node* n = end; n; n = n->parent) way.push_back(n);
  std::string text;
  if (way.empty() || (way.back()->what != kind::root && way.back()->what != kind::todo)) text = "background";
  for (auto n = way.rbegin(); n != way.rend(); ++n) {
    if (!text.empty()) text += '.';
    text += step_to(**n, now, inside);
  }
  return text;
}

}  // namespace

std::string context::to_string() const {
  return way_to(node_, now(), false);
}

std::ostream& operator<<(std::ostream& out, const context& ctx) {
  return out << ctx.to_string();
}

}  // namespace heed::inline v0
