// Values that are their bytes go back to the pool as blocks of the size that they were taken as, whatever
// their own size is.
#include "pool.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <vector>

namespace {

constexpr std::size_t classes = heed::pool::classes;

std::array<std::size_t, classes> blocks_out() {
  std::array<std::size_t, classes> out{};
  for (std::size_t c = 0; c < classes; ++c) out[c] = heed::pool::out(c);
  return out;
}

template <std::size_t size>
struct bytes {
  std::array<char, size> all{};
};
// Not made by copying its bytes: takes the other way into the library.
template <std::size_t size>
struct made_by_constructor {
  explicit made_by_constructor(int) {}
  std::array<char, size> all{};
};
template <std::size_t size>
struct with_destructor {
  std::array<char, size> all{};
  ~with_destructor() { all[0] = 1; }
};

template <class T, class... Args>
void come_and_go(const heed::key<T>& key, Args... args) {
  std::vector<heed::context> all;
  for (int i = 0; i < 500; ++i) all.push_back(heed::with_value(heed::background(), key, args...));
  heed::context chain;  // values of each kind: with an index, and after it
  for (int i = 0; i < 50; ++i) chain = heed::with_value(chain, key, args...);
}

template <std::size_t... sizes>
void each_size() {
  (
      [] {
        static constexpr heed::key<bytes<sizes>> plain{"plain"};
        static constexpr heed::key<made_by_constructor<sizes>> made{"made"};
        static constexpr heed::key<with_destructor<sizes>> destroyed{"destroyed"};
        const auto pass = [] {
          come_and_go(plain, bytes<sizes>{});
          come_and_go(made, std::in_place, 1);
          come_and_go(destroyed, std::in_place);
        };
        pass();  // what this thread keeps, it has now
        const auto before = blocks_out();
        for (int i = 0; i < 20; ++i) pass();
        EXPECT_EQ(blocks_out(), before) << "values of " << sizes << " bytes";
      }(),
      ...);
}

TEST(Plain, ABlockGoesBackWhereItCameFrom) {
  each_size<1, 4, 5, 8, 12, 20, 31, 32, 33, 64, 241, 244, 248, 249, 250, 252, 256, 300>();
}

}  // namespace
