// The files and directories still to be looked at, shared by all workers.
#pragma once

#include <heed/wait.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace search {

struct item {
  std::string path;
  bool root = false;  // named by the user, not found on the way
  bool directory = false;
};

/// A worker takes an item, and may add others. Last in, first out: depth first, so that it stays short.
class work_list {
 public:
  work_list(std::vector<item> roots, bool repeat)
      : roots_(std::move(roots)), items_(roots_), repeat_(repeat) {}

  /// One more worker, who will call next() until there is none. Whoever comes when all is done finds so.
  void join() {
    const std::lock_guard lock(mutex_);
    ++workers_;
  }

  void add(std::vector<item> found) {
    {
      const std::lock_guard lock(mutex_);
      for (item& i : found) items_.push_back(std::move(i));
    }
    changed_.notify_all();
  }

  /// Waits for an item. None: the context is done, or every worker waits here, and so nothing can come any
  /// more.
  std::optional<item> next(const heed::context& ctx) {
    std::unique_lock lock(mutex_);
    ++idle_;
    if (repeat_ && items_.empty() && idle_ == workers_) {
      items_ = roots_;
      changed_.notify_all();
    }
    const auto something = [&] { return !items_.empty() || idle_ == workers_; };
    if (heed::wait(ctx, changed_, lock, something) || ctx.done()) {
      stopped_ = true;  // and others' contexts may be about to end, too
      return std::nullopt;
    }
    if (items_.empty()) {
      drained_ = !stopped_;
      changed_.notify_all();
      return std::nullopt;
    }
    --idle_;
    item taken = std::move(items_.back());
    items_.pop_back();
    return taken;
  }

  /// Nothing was left over, or left in the middle. To be asked when the workers are gone.
  bool drained() const noexcept { return drained_; }

 private:
  const std::vector<item> roots_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<item> items_;
  unsigned workers_ = 0;
  unsigned idle_ = 0;
  bool stopped_ = false;  // a worker, perhaps in the middle of an item
  bool drained_ = false;
  const bool repeat_;
};

}  // namespace search
