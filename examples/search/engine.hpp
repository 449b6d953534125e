// The search itself: a group of workers under one context.
#pragma once

#include "output.hpp"
#include "request.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <system_error>

namespace search {

/// What has been done so far. Written by every worker, read by the line of progress.
struct tally {
  std::atomic<std::uint64_t> files{0}, bytes{0}, matches{0}, matching_files{0};
  std::atomic<std::uint64_t> problems{0}, vanished{0}, links{0}, special{0};
};

/// What may end a search before its work is done.
struct limits {
  std::optional<std::chrono::duration<double>> timeout;
  std::string timeout_cause;
  std::uint64_t matches = 0;    // stop after so many; 0: never
  std::uint64_t cancel_at = 0;  // a thread that is no worker cancels after so many bytes; 0: never
};

/// How it ended.
struct outcome {
  bool finished = false;  // everything was searched; otherwise the context ended it:
  std::error_code verdict;
  heed::error cause;
  std::optional<std::source_location> where;
  std::chrono::nanoseconds took{0};
  std::optional<std::chrono::nanoseconds>
      stop_took;        // from the request, or the deadline, to the last worker's end
  std::string context;  // as text
};

/// Searches what the request in `parent` says, until done, or until one of the limits or `parent` ends it.
outcome run(const heed::context& parent, const limits& l, output& out, tally& t);

}  // namespace search
