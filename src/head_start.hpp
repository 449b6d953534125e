// How long before a moment to ask to be woken, so as to be awake at it: learned from how late one was woken
// before.
#pragma once

#include <heed/time.hpp>

#include <algorithm>

namespace heed::inline v0 {

// To wake a thread takes the system its time: 20 to 45 µs after the timer on an idle virtual machine, 2 on a
// busy one. The least of that need not come on top of a deadline. So this creeps up while it is not enough,
// and falls at once below what was too much: then the sleeper woke before its moment, and has to sleep again
// for the rest.
class head_start {
 public:
  // When to be woken for `moment`. Where it is too near for that: then.
  time_point before(time_point moment, time_point present) const noexcept {
    return moment != time_point::max() && moment - present > ahead_ ? moment - ahead_ : moment;
  }
  // Woken so long after what before() had said; negative: it was for another reason.
  void learn(duration late) noexcept {
    if (late < duration::zero()) return;
    if (late < ahead_) {
      ahead_ = late - late / 4;
    } else {
      // In steps: one that was late because something else was running tells nothing of the next.
      ahead_ = std::min(ahead_ + std::min((late - ahead_) / 4, step), most);
    }
  }
  static constexpr duration step = std::chrono::microseconds(4);
  static constexpr duration most = std::chrono::microseconds(50);

 private:
  duration ahead_ = duration::zero();
};

}  // namespace heed::inline v0
