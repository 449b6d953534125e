// Operations out of bytes: any bytes are a program.
#pragma once

#include "../conformance/op.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace fuzz {

using conformance::op;
using conformance::verb;

/// How many of each there are, for operands that mostly stand for something.
struct counts {
  std::size_t contexts, functions, callbacks, cancelers;
};

class bytes {
 public:
  explicit bytes(std::span<const std::uint8_t> from) : left_(from) {
    const std::uint8_t first = take();
    backwards = first % 2 == 1;
    many_values_ = first % 4 >= 2;
  }
  bool backwards;  // how all is dropped in the end
  bool empty() const noexcept { return left_.empty(); }

  op next(const counts& have, bool nested = false) {
    const std::uint8_t first = take();
    op o{static_cast<verb>(first % conformance::forms.size())};
    // Long chains of values are found otherwise than short ones.
    if (many_values_ && o.what > verb::read) o.what = verb::with_value;
    // Within a callback time stands still.
    if (nested && o.what == verb::advance) o.what = verb::read;
    for (std::size_t i = 0; i < o.shape().operands.size(); ++i)
      o.at[i] = operand(o.shape().operands[i], have);
    o.place = placed_++ % conformance::places;
    if (!nested && o.shape().acts && first >= 128) o.then = std::make_shared<const op>(next(have, true));
    return o;
  }
  std::uint8_t take() noexcept {
    if (left_.empty()) return 0;
    const std::uint8_t b = left_.front();
    left_ = left_.subspan(1);
    return b;
  }

 private:
  std::int64_t operand(char letter, const counts& have) {
    namespace kind = conformance::operand;
    const std::uint8_t b = take();
    // The lower half counts from the newest, the upper half from the oldest; one too many is allowed.
    const auto of = [b](std::size_t count) {
      const std::size_t n = b < 128 ? count - b % (count + 1) : (b - 128U) % (count + 1);
      return static_cast<std::int64_t>(n);
    };
    switch (letter) {
      case kind::context: return of(have.contexts - 1);
      case kind::function: return of(have.functions);
      case kind::callback: return of(have.callbacks);
      case kind::canceler: return of(have.cancelers);
      case kind::time:
        if (b >= 254) return b == 254 ? conformance::forever : conformance::minus_forever;
        return (b % 32 - 4) * 5;  // close together, so that many are equal
      case kind::cause: return b % (conformance::causes + 1) - 1;
      case kind::key: return b % conformance::keys;
      case kind::value: return b % 11 - 1;
      case kind::verdict: return 1 + b % 2;
      default: return 0;
    }
  }

  std::span<const std::uint8_t> left_;
  bool many_values_;
  std::size_t placed_ = 0;
};

}  // namespace fuzz
