#include "timer_wheel.hpp"

#include "sizes.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace heed::inline v0 {

void timer_wheel::start(unsigned tag, time_point now) noexcept {
  next_tag_ = static_cast<std::uint8_t>(tag & low);
  prev_tag_ = static_cast<std::uint8_t>(tag >> half);
  at_ = number(now);
  make_empty(moving_);
  for (links& list : slots_) make_empty(list);
}

void timer_wheel::clear() noexcept {
  const auto clear_list = [this](links& list) {
    for (links* l = bare(list.next); l != &list;) {
      auto& t = static_cast<timer&>(*std::exchange(l, bare(l->next)));
      forget(t);
    }
    make_empty(list);
  };
  clear_list(moving_);
  for (links& list : slots_) clear_list(list);
}

std::uint64_t timer_wheel::start_of(place p) const noexcept {
  const int shift = p.level * digit_bits;
  const int above = shift + digit_bits;
  return (above == 64 ? 0 : at_ >> above << above) | static_cast<std::uint64_t>(p.digit) << shift;
}

timer_wheel::place timer_wheel::first() noexcept {
  while (used_levels_ != 0) {
    const int level = std::countr_zero(used_levels_);
    std::uint16_t& used = used_[static_cast<std::size_t>(level)];
    while (used != 0) {
      const place p{level, std::countr_zero(used)};
      links& list = list_at(p);
      if (bare(list.next) != &list) return p;
      used = static_cast<std::uint16_t>(used & (used - 1));
    }
    used_levels_ = static_cast<std::uint16_t>(used_levels_ & (used_levels_ - 1));
  }
  return {-1, 0};
}

timer* timer_wheel::pop(time_point now) noexcept {
  int steps = std::numeric_limits<int>::max();
  timer* t = nullptr;
  do {
    t = take(number(now), true, steps);
  } while (!t && busy());  // after 2^31 moves
  return t;
}

timer* timer_wheel::take(std::uint64_t limit, bool ordered, int& steps) noexcept {
  for (;;) {
    while (busy() && steps > 0) {
      auto& t = static_cast<timer&>(*bare(moving_.next));
      unlink(t);
      --steps;
      if (ordered || number(t.when()) > limit) {
        insert(t);
      } else {
        make_empty(t);
        return &t;
      }
    }
    const place p = first();
    if (p.level < 0 || start_of(p) > limit) {
      at_ = std::max(at_, limit);  // W3
      return nullptr;
    }
    links& list = list_at(p);
    at_ = start_of(p);
    if (p.level == 0) {  // one nanosecond wide: all in it are due at its start, or were before
      auto& t = static_cast<timer&>(*bare(list.next));
      unlink(t);
      make_empty(t);
      return &t;
    }
    // All of the list goes to the end of `moving_`.
    put(bare(list.next)->prev, moving_.prev);
    put(bare(moving_.prev)->next, list.next);
    put(bare(list.prev)->next, tagged(&moving_, next_tag_));
    put(moving_.prev, list.prev);
    make_empty(list);
  }
}

time_point timer_wheel::next() noexcept {
  if (busy()) return time_of(at_);
  const place p = first();
  if (p.level < 0) return time_point::max();
  links& list = list_at(p);
  time_point earliest = time_point::max();
  int seen = 0;
  for (links* l = bare(list.next); l != &list; l = bare(l->next)) {
    if (++seen > sizes::timers_looked_at) return time_of(start_of(p));
    earliest = std::min(earliest, static_cast<timer*>(l)->when());
  }
  return earliest;
}

}  // namespace heed::inline v0
