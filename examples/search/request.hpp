// What one search is asked to do. It travels inside the context: whoever has the context knows the task.
#pragma once

#include <heed/heed.hpp>

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace search {

struct request {
  std::string pattern;
  bool regex = false;
  std::vector<std::string> paths;
  unsigned jobs = 1;
  bool follow = false;  // symbolic links below the paths
  bool repeat = false;  // start over for ever
};

/// What context::to_string() shows of it.
inline std::string to_string(const request& r) {
  return fmt::format("\"{}\" in {}", r.pattern, fmt::join(r.paths, " "));
}

inline constexpr heed::key<request> request_key{"search"};
inline constexpr heed::key<int> run_key{"run"};
inline constexpr heed::key<unsigned> worker_key{"worker"};

/// The cause of a search that somebody stopped: why, and when it was asked to.
struct stop_request : std::runtime_error {
  explicit stop_request(const std::string& why) : std::runtime_error(why) {}
  heed::time_point at = heed::clock::now();
};

}  // namespace search
