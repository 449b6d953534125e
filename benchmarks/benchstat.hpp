// Comparing two sets of measurements as Go's benchstat does: medians with their spread, the change, and the
// Mann-Whitney U test, which asks whether the two could as well come from one source.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

namespace benchstat {

using sample = std::vector<double>;

/// The median, and how far the ends of its 95 % confidence interval are from it, as a fraction.
struct summary {
  double center = 0;
  double spread = 0;  // infinity where there are too few values to say
};

inline summary summarize(sample x) {
  std::sort(x.begin(), x.end());
  const std::size_t n = x.size();
  if (n == 0) return {};
  summary s;
  s.center = n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
  // The interval is from the k-th smallest to the k-th largest. It misses the true median where fewer than k
  // of n fair coins show heads, or tails: the greatest k for which that is at most 5 %.
  double miss = 0;
  double heads = std::pow(0.5, static_cast<double>(n));  // the probability of exactly k
  std::size_t k = 0;
  while (k < n / 2 && miss + 2 * heads <= 0.05) {
    miss += 2 * heads;
    heads *= static_cast<double>(n - k) / static_cast<double>(k + 1);
    ++k;
  }
  s.spread = k == 0 ? std::numeric_limits<double>::infinity()
                    : std::max(s.center - x[k - 1], x[n - k] - s.center) / s.center;
  return s;
}

/// The two-sided p-value of the U test: exact, ties included. Of all ways to deal the ranks out to the two
/// samples it counts those that part them at least as far as these are parted.
inline double u_test(const sample& a, const sample& b) {
  struct value {
    double x;
    bool in_a;
  };
  std::vector<value> all;
  for (double x : a) all.push_back({x, true});
  for (double x : b) all.push_back({x, false});
  std::sort(all.begin(), all.end(), [](const value& l, const value& r) { return l.x < r.x; });

  // Twice the rank of each, so that the middle rank of equal values is a whole number, too.
  std::vector<std::size_t> ranks;
  std::size_t ours = 0;
  for (std::size_t i = 0; i < all.size();) {
    std::size_t j = i;
    while (j < all.size() && all[j].x == all[i].x) ++j;
    for (std::size_t k = i; k < j; ++k) {
      ranks.push_back(i + 1 + j);
      if (all[k].in_a) ours += i + 1 + j;
    }
    i = j;
  }

  // ways[k][s]: how many choices of k of the ranks seen so far have the sum s. Doubles are exact up to 2^53.
  std::size_t most = 0;
  for (std::size_t r : ranks) most += r;
  std::vector<std::vector<double>> ways(a.size() + 1, std::vector<double>(most + 1));
  ways[0][0] = 1;
  for (std::size_t r : ranks) {
    for (std::size_t k = a.size(); k-- > 0;) {
      for (std::size_t s = r; s <= most; ++s) ways[k + 1][s] += ways[k][s - r];
    }
  }
  double below = 0, above = 0, total = 0;
  for (std::size_t s = 0; s <= most; ++s) {
    const double w = ways[a.size()][s];
    total += w;
    if (s <= ours) below += w;
    if (s >= ours) above += w;
  }
  return std::min(1.0, 2 * std::min(below, above) / total);
}

inline std::string format(const char* pattern, auto... values) {
  std::array<char, 128> text;
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

/// Seconds with four digits and a prefix: "5.312n", "12.00µ", "1.500".
inline std::string time(double seconds) {
  static constexpr std::array prefixes{"p", "n", "µ", "m", ""};
  if (!(seconds > 0)) return "0";
  double x = seconds * 1e12;
  std::size_t i = 0;
  for (; x >= 999.95 && i + 1 < prefixes.size(); ++i) x /= 1000;
  return format("%.*f%s", x < 9.9995 ? 3 : x < 99.995 ? 2 : 1, x, prefixes[i]);
}

/// "± 2%"
inline std::string spread(const summary& s) {
  return std::isinf(s.spread) ? "± ∞" : format("± %.0f%%", 100 * s.spread);
}

/// "-94.71% (p=0.000 n=10)", or "~ (p=0.421 n=10)" where the test sees no difference.
inline std::string versus(const sample& before, const sample& after) {
  const double p = u_test(before, after);
  const double from = summarize(before).center, to = summarize(after).center;
  const std::string change = p >= 0.05 ? "~" : format("%+.2f%%", 100 * (to / from - 1));
  const std::string n = before.size() == after.size() ? format("%zu", after.size())
                                                      : format("%zu+%zu", before.size(), after.size());
  return change + format(" (p=%.3f n=", p) + n + ")";
}

struct row {
  std::string name;
  sample before, after;  // seconds
};

/// Pads by what a terminal shows: UTF-8's continuation bytes take no room.
inline std::string pad(const std::string& text, std::size_t width, bool right = false) {
  const auto shown = static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  const std::string fill(width > shown ? width - shown : 0, ' ');
  return right ? fill + text : text + fill;
}

/// The whole table, with the geometric means in its last row.
inline std::string table(const std::vector<row>& rows) {
  std::size_t width = 7;
  for (const row& r : rows) width = std::max(width, r.name.size());
  const auto line = [&](const std::string& name, const std::string& before, const std::string& between,
                        const std::string& after, const std::string& rest) {
    std::string text =
        pad(name, width) + "  " + pad(before, 8, true) + pad(between, 8) + pad(after, 8, true) + rest;
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
  };
  const std::string gap = " ";
  std::string out = line("", "before", "", "after", "");
  out += line("", "time/op", "", "time/op", "        vs base");
  double from = 0, to = 0;
  for (const row& r : rows) {
    const summary before = summarize(r.before), after = summarize(r.after);
    from += std::log(before.center);
    to += std::log(after.center);
    out += line(r.name, time(before.center), gap + spread(before), time(after.center),
                pad(gap + spread(after), 8) + versus(r.before, r.after));
  }
  const auto n = static_cast<double>(rows.size());
  if (rows.empty()) return out;
  out += line("geomean", time(std::exp(from / n)), "", time(std::exp(to / n)),
              pad(gap, 8) + format("%+.2f%%", 100 * (std::exp((to - from) / n) - 1)));
  return out;
}

}  // namespace benchstat
