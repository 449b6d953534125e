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
    if (n->what == kind::custom && static_cast<const custom_node*>(n)->when != time_point::max()) {
      return static_cast<const custom_node*>(n)->when;
    }
  }
  return std::nullopt;
}

const void* context::find(const key_base& k) const noexcept {
  for (const node* n = lookup_at(node_); n; n = lookup_above(n)) {
    if (n->what == kind::value) {
      auto* v = static_cast<const value_node*>(n);
      if (v->key == &k) return const_cast<value_node*>(v)->storage();
    } else if (const void* found = static_cast<const custom_node*>(n)->self->find(k)) {
      return found;
    }
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

std::string step_to(const node& n, time_point now) {
  switch (n.what) {
    case kind::todo: return "todo";
    case kind::root: return "background";
    case kind::detached: return "without_cancel";
    case kind::cancel: return "with_cancel";
    case kind::deadline:
      return "with_deadline(" + relative(static_cast<const deadline_node&>(n).when(), now) + ")";
    case kind::custom: return static_cast<const custom_node&>(n).self->name();
    case kind::value: {
      auto& v = static_cast<const value_node&>(n);
      return std::string("with_value(") + v.key->name() + ", " +
             v.type->print(const_cast<value_node&>(v).storage()) + ")";
    }
  }
  return {};
}

}  // namespace

std::string context::to_string() const {
  std::vector<const node*> way;
  for (const node* n = node_; n; n = n->parent) way.push_back(n);
  std::string text;
  if (way.empty() || (way.back()->what != kind::root && way.back()->what != kind::todo)) text = "background";
  const time_point present = now();
  for (auto n = way.rbegin(); n != way.rend(); ++n) {
    if (!text.empty()) text += '.';
    text += step_to(**n, present);
  }
  return text;
}

std::ostream& operator<<(std::ostream& out, const context& ctx) {
  return out << ctx.to_string();
}

}  // namespace heed::inline v0
