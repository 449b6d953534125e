// The statistics against plain counting, and the format against what it should look like.
#include "benchstat.hpp"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <source_location>

namespace {

using benchstat::sample;

void check(bool holds, std::source_location at = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%u: failed\n", at.file_name(), at.line());
  std::exit(1);
}

void same(const std::string& got, const std::string& want,
          std::source_location at = std::source_location::current()) {
  if (got != want) std::fprintf(stderr, "got  \"%s\"\nwant \"%s\"\n", got.c_str(), want.c_str());
  check(got == want, at);
}

bool near(double a, double b) {
  return std::abs(a - b) < 1e-12;
}

// The same p-value from the definition: how often x of one sample beats y of the other, over every choice of
// who belongs to which.
double counted(const sample& a, const sample& b) {
  sample all = a;
  all.insert(all.end(), b.begin(), b.end());
  const auto twice_u = [&](unsigned mask) {
    int u = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t j = 0; j < all.size(); ++j) {
        if ((mask >> i & 1) && !(mask >> j & 1)) u += all[i] > all[j] ? 2 : all[i] == all[j] ? 1 : 0;
      }
    }
    return u;
  };
  const int ours = twice_u((1U << a.size()) - 1);
  double below = 0, above = 0, total = 0;
  for (unsigned mask = 0; mask < 1U << all.size(); ++mask) {
    if (static_cast<std::size_t>(__builtin_popcount(mask)) != a.size()) continue;
    const int u = twice_u(mask);
    ++total;
    below += u <= ours;
    above += u >= ours;
  }
  return std::min(1.0, 2 * std::min(below, above) / total);
}

}  // namespace

int main() {
  // Known: wholly apart, the p-value is 2 / (n + m over n).
  const sample low{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, high{11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
  check(near(benchstat::u_test(low, high), 2.0 / 184756));
  check(near(benchstat::u_test(high, low), 2.0 / 184756));
  check(near(benchstat::u_test({1, 2, 3}, {4, 5, 6}), 0.1));
  check(near(benchstat::u_test({1, 2, 3, 4}, {5, 6, 7, 8}), 2.0 / 70));
  check(benchstat::u_test(low, low) == 1);
  check(benchstat::u_test({1, 1, 1}, {1, 1, 1}) == 1);
  check(benchstat::u_test({}, {}) == 1);

  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto any = [&] {
      sample x(1 + random() % 5);
      for (double& v : x) v = static_cast<double>(random() % 6);  // few values: many ties
      return x;
    };
    const sample a = any(), b = any();
    check(near(benchstat::u_test(a, b), counted(a, b)));
    check(near(benchstat::u_test(a, b), benchstat::u_test(b, a)));
  }

  // The median, and its interval: of ten values from the second to the ninth; of five there is none.
  check(benchstat::summarize({3, 1, 2}).center == 2);
  check(benchstat::summarize({4, 1, 2, 3}).center == 2.5);
  check(near(benchstat::summarize({90, 95, 98, 99, 100, 100, 101, 102, 110, 300}).spread, 0.10));
  check(near(benchstat::summarize({100, 100, 100, 100, 100, 120}).spread, 0.20));
  check(std::isinf(benchstat::summarize({1, 2, 3, 4, 5}).spread));

  same(benchstat::time(5.3124e-9), "5.312n");
  same(benchstat::time(0.28e-9), "280.0p");
  same(benchstat::time(99.994e-9), "99.99n");
  same(benchstat::time(99.996e-9), "100.0n");
  same(benchstat::time(999.96e-9), "1.000µ");
  same(benchstat::time(1.5), "1.500");
  same(benchstat::spread({1, 0.016}), "± 2%");
  same(benchstat::spread(benchstat::summarize({1, 2})), "± ∞");
  same(benchstat::versus(low, high), "+181.82% (p=0.000 n=10)");
  same(benchstat::versus(high, low), "-64.52% (p=0.000 n=10)");
  same(benchstat::versus(low, low), "~ (p=1.000 n=10)");
  same(benchstat::versus({1, 2, 3}, {4, 5, 6, 7}), "~ (p=0.057 n=3+4)");

  const sample ten(10, 10e-9), twenty(10, 20e-9), five(10, 5e-9);
  same(benchstat::table({{"ErrOK", ten, five}, {"ErrCanceled-2", twenty, five}}),
       "                 before           after\n"
       "                time/op         time/op        vs base\n"
       "ErrOK            10.00n ± 0%     5.000n ± 0%   -50.00% (p=0.000 n=10)\n"
       "ErrCanceled-2    20.00n ± 0%     5.000n ± 0%   -75.00% (p=0.000 n=10)\n"
       "geomean          14.14n          5.000n        -64.64%\n");
  std::puts("benchstat: all as it should be");
}
