#include "engine.hpp"

#include "matcher.hpp"
#include "work_list.hpp"

#include <heed/group.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

namespace search {
namespace {

using namespace std::chrono_literals;

std::string text_of(int code) {
  return std::generic_category().message(code);
}

class file {
 public:
  explicit file(int fd) noexcept : fd_(fd) {}
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

/// Directories already entered: what keeps a search that follows links out of circles.
class visited {
 public:
  bool add(const struct stat& s) {
    const std::lock_guard lock(mutex_);
    return seen_.emplace(s.st_dev, s.st_ino).second;
  }

 private:
  std::mutex mutex_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

/// What all workers of one search share.
struct shared {
  const request& asked;
  const limits& limit;
  heed::canceler cancel;
  output& out;
  tally& count;
  work_list work;
  visited directories;
};

class worker {
 public:
  worker(const heed::context& ctx, unsigned number, shared& s)
      : own_(heed::with_cancel(heed::with_value(ctx, worker_key, number))), ctx_(own_.ctx), s_(s),
        matcher_(s.asked.pattern, s.asked.regex), buffer_(chunk) {}

  void run() {
    s_.work.join();
    while (auto next = s_.work.next(ctx_)) {
      next->directory ? list(*next) : search(*next);
    }
  }

 private:
  static constexpr std::size_t chunk = 64 * 1024;

  void problem(const std::string& path, int code) {
    if (code == ENOENT) {
      s_.count.vanished++;  // between the listing and the opening, or a link to nowhere: nothing to search
      return;
    }
    s_.count.problems++;
    s_.out.problem(path, text_of(code));
  }

  void list(const item& dir) {
    const int at = open(dir.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status{};
    if (at < 0 || fstat(at, &status) != 0) return problem(dir.path, errno);
    DIR* const stream = fdopendir(at);
    if (!stream) {
      const int code = errno;
      close(at);
      return problem(dir.path, code);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, closedir);
    if (s_.asked.follow && !s_.directories.add(status)) return;
    std::vector<item> found;
    for (;;) {
      if (ctx_.err()) return;
      errno = 0;
      const dirent* const entry = readdir(stream);
      if (!entry) {
        if (errno) problem(dir.path, errno);
        break;
      }
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      consider(dir, at, name, entry->d_type, found);
    }
    s_.work.add(std::move(found));
  }

  // Decides what becomes of a directory's entry.
  void consider(const item& dir, int at, std::string_view name, unsigned char type,
                std::vector<item>& found) {
    std::string path = dir.path + (dir.path.ends_with('/') ? "" : "/") + std::string(name);
    if (type == DT_UNKNOWN || (type == DT_LNK && s_.asked.follow)) {
      struct stat status{};
      const int flags = s_.asked.follow ? 0 : AT_SYMLINK_NOFOLLOW;
      if (fstatat(at, path.c_str() + (path.size() - name.size()), &status, flags) != 0)
        return problem(path, errno);
      type = static_cast<unsigned char>(IFTODT(status.st_mode));
    }
    switch (type) {
      case DT_DIR: found.push_back({std::move(path), false, true}); break;
      case DT_REG: found.push_back({std::move(path), false, false}); break;
      case DT_LNK: s_.count.links++; break;
      default: s_.count.special++; break;
    }
  }

  void search(const item& target) {
    // Never blocks in open(): a pipe without a writer is opened at once and waited for below.
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    const file f(open(target.path.c_str(), flags | (target.root || s_.asked.follow ? 0 : O_NOFOLLOW)));
    struct stat status{};
    if (f.fd() < 0 || fstat(f.fd(), &status) != 0) return problem(target.path, errno);
    const bool regular = S_ISREG(status.st_mode);
    if (!regular && !target.root) {  // it was a file when it was listed
      s_.count.special++;
      return;
    }
    matched_ = false;
    if (scan(f.fd(), target.path, !regular)) s_.count.files++;
  }

  // Blocks until there is something to read. False: the context ended first.
  bool wait_readable(int fd) const {
    pollfd fds[] = {{fd, POLLIN, 0}, {ctx_.done_fd(), POLLIN, 0}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR) {}
    return !ctx_.done();
  }

  // Reads a file chunk by chunk, of any length, and tells of each line that matches. False: it was not read
  // to its end, for the context ended, or an error that has been told.
  bool scan(int fd, const std::string& path, bool may_block) {
    std::size_t have = 0;    // bytes in the buffer
    std::uint64_t line = 1;  // the number of the buffer's first line
    bool told = false;       // that line is the rest of one that is told already
    bool first = true;
    bool binary = false;
    for (;;) {
      if (ctx_.err()) return false;
      if (may_block && !wait_readable(fd)) return false;
      const ssize_t got = read(fd, buffer_.data() + have, chunk - have);
      if (got < 0) {
        if (errno == EINTR || errno == EAGAIN) continue;
        problem(path, errno);
        return false;
      }
      const auto n = static_cast<std::size_t>(got);
      if (first) binary = std::memchr(buffer_.data(), 0, n) != nullptr;
      first = false;
      have += n;
      s_.count.bytes += n;
      // Whole lines only, but for the last one and for one that is longer than the buffer.
      const std::string_view all(buffer_.data(), have);
      const std::size_t last = n == 0 ? std::string_view::npos : all.rfind('\n');
      const bool whole = last != std::string_view::npos;
      if (!whole && n != 0 && have < chunk && !binary) continue;
      const std::string_view block = all.substr(0, whole ? last + 1 : have);
      if (!search_block(block, path, binary, line, told)) return false;
      if (n == 0 || (binary && told)) return true;
      const std::size_t keep = whole ? have - block.size() : std::min(have, matcher_.overlap());
      std::memmove(buffer_.data(), buffer_.data() + have - keep, keep);
      have = keep;
    }
  }

  // False: enough.
  bool search_block(std::string_view block, const std::string& path, bool binary, std::uint64_t& line,
                    bool& told) {
    if (binary) {
      if (matcher_.find(block) == matcher::npos) return true;
      told = true;
      return tell(path, 0, "binary file matches");
    }
    std::size_t at = 0;
    if (told) {  // skip to the next line
      at = block.find('\n');
      if (at == matcher::npos) return true;
      ++at;
      ++line;
      told = false;
    }
    const auto lines = [&](std::size_t from, std::size_t to) {
      return static_cast<std::uint64_t>(std::count(block.data() + from, block.data() + to, '\n'));
    };
    for (;;) {
      const std::size_t hit = matcher_.find(block.substr(at));
      if (hit == matcher::npos) break;
      const std::size_t newline = block.substr(0, at + hit).rfind('\n');
      const std::size_t begin = newline == matcher::npos || newline < at ? at : newline + 1;
      const std::size_t end = block.find('\n', at + hit);
      line += lines(at, begin);
      if (!tell(path, line, block.substr(begin, end == matcher::npos ? end : end - begin))) return false;
      if (end == matcher::npos) {
        told = true;
        return true;
      }
      at = end + 1;
      ++line;
    }
    line += lines(at, block.size());
    return true;
  }

  // Counts and shows a match; the one that makes it enough cancels. False: enough.
  bool tell(const std::string& path, std::uint64_t line, std::string_view text) {
    const std::uint64_t number = ++s_.count.matches;
    const std::uint64_t most = s_.limit.matches;
    if (most && number > most) {
      --s_.count.matches;
      return false;
    }
    if (!std::exchange(matched_, true)) s_.count.matching_files++;
    s_.out.match(path, line, text);
    if (number != most) return true;
    s_.cancel(stop_request(fmt::format("enough: {} match{}", most, most == 1 ? "" : "es")));
    return false;
  }

  const heed::cancelable own_;  // for the eyes of --tree: one branch for each worker
  const heed::context& ctx_;
  shared& s_;
  const matcher matcher_;
  std::vector<char> buffer_;
  bool matched_ = false;  // the present file
};

// A path that does not exist is an error here, not something that vanished.
std::vector<item> roots_of(const request& asked, output& out, tally& count) {
  std::vector<item> roots;
  for (const std::string& path : asked.paths) {
    struct stat status{};
    if (stat(path.c_str(), &status) != 0) {
      count.problems++;
      out.problem(path, text_of(errno));
      continue;
    }
    roots.push_back({path, true, S_ISDIR(status.st_mode)});
  }
  std::reverse(roots.begin(), roots.end());  // the list is last in, first out
  return roots;
}

}  // namespace

outcome run(const heed::context& parent, const limits& l, output& out, tally& t) {
  const request& asked = *parent.value(request_key);
  const heed::time_point begin = heed::clock::now();

  // The way down: what interrupts everything, this search's deadline, this search's own end.
  heed::cancelable timed;
  if (l.timeout) timed = heed::with_timeout(parent, *l.timeout, heed::error(l.timeout_cause));
  auto [ctx, cancel] = heed::with_cancel(l.timeout ? timed.ctx : parent);

  shared s{asked, l, cancel.share(), out, t, work_list(roots_of(asked, out, t), asked.repeat), {}};

  // What goes wrong in one worker ends the others, and is the cause. Leaving early cancels and joins them.
  heed::group workers(ctx);
  for (unsigned i = 0; i < asked.jobs; ++i) {
    workers.go([&s, i](const heed::context& c) { worker(c, i + 1, s).run(); });
  }
  heed::time_point stopped;
  {
    // Somebody else may look on, and cancel: here a task that lives until this scope is left.
    heed::group onlooker(heed::background());
    onlooker.go([&](const heed::context& c) {
      const auto step = l.cancel_at ? heed::duration(1ms) : heed::duration(100ms);
      do {
        if (l.cancel_at && t.bytes >= l.cancel_at) s.cancel(stop_request("another thread asked"));
        out.progress(t);
      } while (!c.wait_for(step));
    });
    workers.wait();
    stopped = heed::clock::now();
  }
  out.clear_progress();

  outcome o;
  o.finished = s.work.drained();
  o.context = workers.ctx().to_string();
  o.took = stopped - begin;
  if (!o.finished) {
    o.verdict = workers.ctx().err();
    o.cause = workers.ctx().cause();
    o.where = workers.ctx().canceled_at();
    // A deadline counts from itself, so that a late timer would show.
    if (o.verdict == heed::errc::deadline_exceeded) {
      o.stop_took = stopped - std::max(*ctx.deadline(), begin);
    } else if (const auto* request = o.cause.as<stop_request>()) {
      o.stop_took = stopped - std::max(request->at, begin);
    }
  }
  return o;
}

}  // namespace search
