#include "timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace heed::inline v0 {
namespace {

// All times in their order, also those before the epoch.
constexpr std::uint64_t epoch = std::uint64_t{1} << 63;
std::uint64_t number(time_point t) noexcept {
  return static_cast<std::uint64_t>(t.time_since_epoch().count()) ^ epoch;
}
time_point time_of(std::uint64_t n) noexcept {
  return time_point(duration(static_cast<duration::rep>(n ^ epoch)));
}

void push_back(links& list, links& item) noexcept {
  item.next = &list;
  item.prev = list.prev;
  list.prev->next = &item;
  list.prev = &item;
}

void take_out(links& item) noexcept {
  item.prev->next = item.next;
  item.next->prev = item.prev;
  item.next = item.prev = nullptr;
}

}  // namespace

timer_wheel::timer_wheel() noexcept {
  for (auto& level : slots_) {
    for (slot& s : level) s.list.next = s.list.prev = &s.list;
  }
}

timer_wheel::place timer_wheel::place_of(std::uint64_t when) const noexcept {
  const std::uint64_t differs = when ^ at_;
  const int level = differs == 0 ? 0 : (63 - std::countl_zero(differs)) / digit_bits;
  return {level, static_cast<int>((when >> (level * digit_bits)) & (slots - 1))};
}

void timer_wheel::insert(timer& t) noexcept {
  const std::uint64_t when = std::max(number(t.when()), at_);
  const place p = place_of(when);
  slot& s = slots_[static_cast<std::size_t>(p.level)][static_cast<std::size_t>(p.digit)];
  std::uint64_t& used = used_[static_cast<std::size_t>(p.level)];
  const bool empty = s.list.next == &s.list;  // not the bit, which removal leaves
  s.first = empty ? when : std::min(s.first, when);
  used |= std::uint64_t{1} << p.digit;
  push_back(s.list, t);
}

void timer_wheel::remove(timer& t) noexcept {
  if (contains(t)) take_out(t);
}

timer_wheel::place timer_wheel::first() noexcept {
  for (int level = 0; level < levels; ++level) {
    std::uint64_t& used = used_[static_cast<std::size_t>(level)];
    while (used != 0) {
      const int digit = std::countr_zero(used);
      const slot& s = slots_[static_cast<std::size_t>(level)][static_cast<std::size_t>(digit)];
      if (s.list.next != &s.list) return {level, digit};
      used &= used - 1;
    }
  }
  return {-1, 0};
}

timer* timer_wheel::pop(time_point now) noexcept {
  const std::uint64_t limit = number(now);
  for (;;) {
    const place p = first();
    if (p.level < 0) return nullptr;
    slot& s = slots_[static_cast<std::size_t>(p.level)][static_cast<std::size_t>(p.digit)];
    if (s.first > limit) return nullptr;
    if (p.level == 0) {  // one nanosecond wide: all in it are due at s.first, or were before
      at_ = std::max(at_, s.first);
      auto* t = static_cast<timer*>(s.list.next);
      take_out(*t);
      return t;
    }
    // To the start of the slot, which is not after s.first; what lies in it goes to lower levels (W1, W2 hold).
    const int shift = p.level * digit_bits;
    const std::uint64_t above =
        shift + digit_bits >= 64 ? 0 : at_ >> (shift + digit_bits) << (shift + digit_bits);
    at_ = above | static_cast<std::uint64_t>(p.digit) << shift;
    used_[static_cast<std::size_t>(p.level)] &= ~(std::uint64_t{1} << p.digit);
    links moving;
    moving.next = s.list.next;
    moving.prev = s.list.prev;
    moving.next->prev = moving.prev->next = &moving;
    s.list.next = s.list.prev = &s.list;
    while (moving.next != &moving) {
      auto* t = static_cast<timer*>(moving.next);
      take_out(*t);
      insert(*t);
    }
  }
}

time_point timer_wheel::next() noexcept {
  const place p = first();
  if (p.level < 0) return time_point::max();
  const slot& s = slots_[static_cast<std::size_t>(p.level)][static_cast<std::size_t>(p.digit)];
  return time_of(s.first);
}

}  // namespace heed::inline v0
