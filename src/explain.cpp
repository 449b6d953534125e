// explain(): why a context ended, or what can end it.
#include <heed/inspect.hpp>

#include "picture.hpp"
#include "text.hpp"
#include "track.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace heed::inline v0 {
namespace {

constexpr std::size_t steps_shown = 32;   // of a way
constexpr std::size_t scopes_shown = 16;  // of those that can end a context

// The nodes at and above one, as far as an end comes down: up to the nearest without_cancel() on each way.
// The nearest come first, each with the one that we came up from and how far up it is.
class ancestors {
 public:
  struct one {
    const node* of;
    std::size_t from;  // its index; its own: the first
    std::size_t steps;
  };
  explicit ancestors(const node* n) {
    if (n) all_.push_back({n, 0, 0});
    bool forks = false;
    std::unordered_set<const node*> met;  // two ways lead to one ancestor only where there was a fork
    for (std::size_t at = 0; at < all_.size(); ++at) {
      if (all_[at].of->what == kind::detached) continue;
      const parent_list above = parents_of(*all_[at].of);
      if (above.count > 1 && !std::exchange(forks, true)) {
        for (const one& o : all_) met.insert(o.of);
      }
      for (const node* up : above) {
        if (up && (!forks || met.insert(up).second)) all_.push_back({up, at, all_[at].steps + 1});
      }
    }
  }
  const std::vector<one>& all() const noexcept { return all_; }
  // From the first up to that one; empty: it is not above.
  std::vector<const node*> way_to(const node* n) const {
    std::vector<const node*> way;
    auto at = std::find_if(all_.begin(), all_.end(), [n](const one& o) { return o.of == n; });
    if (at == all_.end()) return way;
    for (;; at = all_.begin() + static_cast<std::ptrdiff_t>(at->from)) {
      way.push_back(at->of);
      if (at->steps == 0) break;
    }
    std::reverse(way.begin(), way.end());
    return way;
  }

 private:
  std::vector<one> all_;
};

std::string line_of(const std::source_location& where) {
  if (where.line() == 0) return "somewhere";
  return std::string(where.file_name()) + ':' + std::to_string(where.line());
}

std::string up(std::size_t steps) {
  if (steps == 0) return "itself";
  return std::to_string(steps) + (steps == 1 ? " step up" : " steps up");
}

std::string title(const cancel_node& n) {
  switch (n.what) {
    case kind::deadline: return "with_deadline";
    case kind::custom: return static_cast<const custom_node&>(n).self->name();
    case kind::merge: return "merge";
    default: return "with_cancel";
  }
}

// ", made at file:line" where tracking knows it.
std::string made_at(const node& n) {
  if (!track::on()) return {};
  std::string text;
  std::uint32_t line = 0;
  for (std::size_t room = 256;; room *= 2) {
    text.reserve(room);
    const track::reading list;
    const track::entry* e = list.find(&n);
    if (!e || e->line == 0) return {};
    if (e->file_size > text.capacity()) continue;
    text.assign(e->file());  // has room: nothing is allocated under the lock
    line = e->line;
    break;
  }
  return ", made at " + text + ':' + std::to_string(line);
}

std::string means(const cancel_node& n, time_point now) {
  switch (n.what) {
    case kind::deadline: {
      const time_point when = static_cast<const deadline_node&>(n).when();
      return "its deadline, " + relative(when, now) + "; its cancel";
    }
    case kind::custom: return "its source; its cancel";
    default: return "its cancel";
  }
}

std::string what_ended(const cancel_node& n, std::uint64_t verdict) {
  switch (n.what) {
    case kind::deadline:
      return verdict == static_cast<std::uint64_t>(errc::deadline_exceeded) ? "the deadline of "
                                                                            : "a cancel of ";
    case kind::custom: return "a cancel, or the source, of ";
    default: return "a cancel of ";
  }
}

std::string live(const ancestors& above, time_point now) {
  std::string lines;
  std::string cuts;
  std::size_t scopes = 0;
  for (const auto& [n, from, steps] : above.all()) {
    if (n->what == kind::detached) {
      cuts += "  nothing above without_cancel, " + up(steps) + made_at(*n) + ", reaches it\n";
    } else if (scope_above(n) == static_cast<const node*>(n) && ++scopes <= scopes_shown) {
      const auto& scope = static_cast<const cancel_node&>(*n);
      lines += "  " + title(scope) + ", " + up(steps) + made_at(scope) + ": " + means(scope, now) + "\n";
    }
  }
  if (scopes == 0) return "live; nothing can end it\n" + cuts;
  if (scopes > scopes_shown) lines += "  and " + std::to_string(scopes - scopes_shown) + " more above\n";
  return "live; what can end it:\n" + lines + cuts;
}

}  // namespace

std::string explain(const context& ctx) {
  const node* n = tree::of(ctx);
  const time_point now = ctx.now();
  const auto whole = way_up(n);
  std::string text = way_text(whole, now, contents::hidden, steps_shown) + '\n';
  const ancestors above(n);
  const std::error_code why = ctx.err();
  if (!why) return text + live(above, now);
  const auto verdict = static_cast<std::uint64_t>(why.value());
  const cancel_node& by = decider_of(*node_of(tree::scope_of(ctx)));
  const auto down = above.way_to(&by);
  text += "ended: " + why.message() + '\n';
  text += "cause: " + (by.cause ? by.cause.message() : "none was given") + '\n';
  text += "where: " + line_of(place_of(by));
  if (*place_of(by).function_name()) text += std::string(" in ") + place_of(by).function_name();
  text += "\nwhat:  " + what_ended(by, verdict) + title(by) + ", " + up(down.empty() ? 0 : down.size() - 1) +
          made_at(by) + '\n';
  if (down.size() > 1) text += "down:  " + way_text(down, now, contents::hidden, steps_shown) + '\n';
  return text;
}

}  // namespace heed::inline v0
