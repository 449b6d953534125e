#include "track.hpp"

#include <heed/inspect.hpp>

#include "annotations.hpp"
#include "os.hpp"
#include "picture.hpp"
#include "sync.hpp"
#include "tree.hpp"
#include "values.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace heed::inline v0::track {

constinit sync::atomic<mode> state{mode::unknown};

namespace {

// Never destroyed, and ready before any constructor has run: contexts may be made and freed at any time.
struct registry {
  futex_lock lock;
  entry** slots HEED_GUARDED_BY(lock) = nullptr;  // a power of two of them
  std::size_t slot_count HEED_GUARDED_BY(lock) = 0;
  entry* oldest HEED_GUARDED_BY(lock) = nullptr;
  entry* newest HEED_GUARDED_BY(lock) = nullptr;
  std::size_t births HEED_GUARDED_BY(lock) = 0;
  totals sum HEED_GUARDED_BY(lock);

  entry** slot(const node* n) const noexcept HEED_REQUIRES(lock) {
    // Fibonacci hashing: addresses are alike in their low bits.
    const auto hash = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(n)) * 0x9e3779b97f4a7c15U;
    return &slots[(hash >> 32) & (slot_count - 1)];
  }

  // Moves to a table of `count` empty slots; returns the old one, to be freed outside the lock.
  entry** move_to(entry** fresh, std::size_t count) noexcept HEED_REQUIRES(lock) {
    entry** old = std::exchange(slots, fresh);
    slot_count = count;
    for (entry* e = oldest; e; e = e->newer) {
      e->same_slot = std::exchange(*slot(e->of), e);
    }
    return old;
  }
};
constinit registry all;

entry* make_entry(const node& n, std::source_location where) noexcept {
  const char* key = n.what == kind::value ? static_cast<const value_node&>(n).key->name() : "";
  const char* file = where.file_name();
  const std::size_t key_size = std::strlen(key);
  const std::size_t file_size = std::strlen(file);
  void* memory = ::operator new(sizeof(entry) + key_size + file_size, std::nothrow);
  if (!memory) return nullptr;
  auto* e = ::new (memory) entry{&n,
                                 0,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 static_cast<std::uint32_t>(where.line()),
                                 static_cast<std::uint32_t>(file_size),
                                 static_cast<std::uint32_t>(key_size),
                                 0};
  char* text = reinterpret_cast<char*>(e + 1);
  std::memcpy(text, key, key_size);
  std::memcpy(text + key_size, file, file_size);
  return e;
}

}  // namespace

bool decide() noexcept {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): who changes the environment while threads run breaks more than
  // this.
  const char* given = std::getenv("HEED_TRACK");
  const std::string_view value = given ? given : "";
  mode now = mode::unknown;
  if (!state.compare_exchange_strong(now, value == "1" ? mode::on : mode::off, std::memory_order_relaxed)) {
    return now == mode::on;  // another thread was first
  }
  if (value == "1") {
    // A child must not find the lock taken. Where there is no memory for this, that may happen to it.
    // Unchecked: one locks, another unlocks.
    const auto unlock = []() HEED_UNCHECKED { all.lock.unlock(); };
    os::try_at_fork([]() HEED_UNCHECKED { all.lock.lock(); }, unlock, unlock);
    return true;
  }
  if (!value.empty() && value != "0") {
    constexpr std::string_view text = "heed: HEED_TRACK is neither 0 nor 1: contexts are not tracked\n";
    os::write_error(text.data(), text.size());
  }
  return false;
}

void add(const node& n, std::source_location where) noexcept {
  entry* e = make_entry(n, where);
  entry** fresh = nullptr;
  std::size_t fresh_count = 0;
  all.lock.lock();
  // A slot for each: memory for more is had outside the lock.
  while (e && all.sum.contexts >= all.slot_count) {
    const std::size_t wanted = all.slot_count == 0 ? 1024 : 2 * all.slot_count;
    if (fresh_count < wanted) {
      all.lock.unlock();
      delete[] fresh;
      fresh = new (std::nothrow) entry* [wanted] {};
      fresh_count = fresh ? wanted : 0;
      all.lock.lock();
      if (!fresh) break;  // crowded slots are only slow
      continue;           // somebody else may have been first
    }
    fresh = all.move_to(fresh, fresh_count);
    break;
  }
  if (!e || all.slot_count == 0) {
    ++all.sum.not_listed;
  } else {
    e->number = ++all.births;
    e->same_slot = std::exchange(*all.slot(&n), e);
    e->older = std::exchange(all.newest, e);
    (e->older ? e->older->newer : all.oldest) = e;
    ++all.sum.contexts;
    all.sum.bytes += e->key_size + e->file_size;
    e = nullptr;
  }
  all.lock.unlock();
  delete[] fresh;
  ::operator delete(e);
}

void remove(const node& n) noexcept {
  entry* e = nullptr;
  {
    const locked guard(all.lock);
    if (all.slot_count == 0) return;
    entry** at = all.slot(&n);
    while (*at && (*at)->of != &n) at = &(*at)->same_slot;
    e = *at;
    if (!e) return;  // there was no memory for it, or its making failed
    *at = e->same_slot;
    (e->older ? e->older->newer : all.oldest) = e->newer;
    (e->newer ? e->newer->older : all.newest) = e->older;
    --all.sum.contexts;
    all.sum.bytes -= e->key_size + e->file_size;
  }
  ::operator delete(e);
}

reading::reading() noexcept {
  all.lock.lock();
}
reading::~reading() {
  all.lock.unlock();
}
// Unchecked, these, and list_what_is_left(): a reading holds the lock while it lives.
totals reading::sum() const noexcept HEED_UNCHECKED {
  return all.sum;
}
const entry* reading::oldest() const noexcept HEED_UNCHECKED {
  return all.oldest;
}
const entry* reading::find(const node* n) const noexcept HEED_UNCHECKED {
  if (all.slot_count == 0) return nullptr;
  const entry* e = *all.slot(n);
  while (e && e->of != n) e = e->same_slot;
  return e;
}

namespace {

const char* name_of(kind k) noexcept {
  switch (k) {
    case kind::todo: return "todo";
    case kind::root: return "background(scheduler)";
    case kind::value: return "with_value";
    case kind::detached: return "without_cancel";
    case kind::cancel: return "with_cancel";
    case kind::deadline: return "with_deadline";
    case kind::custom: return "with_custom";
    case kind::merge: return "merge";
    case kind::tether: break;
  }
  return "";
}

// Text of a fixed length: what is too long is cut.
class line {
 public:
  line& operator<<(std::string_view text) noexcept {
    const std::size_t fits = std::min(text.size(), sizeof text_ - size_);
    std::memcpy(text_ + size_, text.data(), fits);
    size_ += fits;
    return *this;
  }
  line& operator<<(std::size_t number) noexcept {
    char digits[24];
    char* at = digits + sizeof digits;
    do *--at = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    return *this << std::string_view(at, static_cast<std::size_t>(digits + sizeof digits - at));
  }
  void print() noexcept {
    text_[size_] = '\n';
    os::write_error(text_, size_ + 1);
    size_ = 0;
  }

 private:
  std::size_t size_ = 0;
  char text_[1001];  // one more than ever counts: for the end of the line
};

void print_left(const entry& e, const reading& list) noexcept {
  line text;
  const node& n = *e.of;
  text << "  #" << e.printed << " " << name_of(n.what);
  if (n.what == kind::value) {
    text << "(";
    for (const char& c : e.key().substr(0, 100)) {  // a context stays on its line
      text << (static_cast<unsigned char>(c) < 0x20 ? std::string_view("?") : std::string_view(&c, 1));
    }
    text << ")";
  }
  const char* under = " under ";
  if (n.what != kind::root) {
    for (const node* up : parents_of(n)) {
      text << std::exchange(under, " and ");
      // It was made before, and so printed before; unless there was no memory to list it.
      if (const entry* above = list.find(up)) {
        text << "#" << above->printed;
      } else {
        text << (up ? name_of(up->what) : "background");
      }
    }
  }
  if (const scope* s = scope_above(&n)) {
    switch (s->word.load(std::memory_order_relaxed) & word::verdict) {  // relaxed: only printed
      case 0: text << ", live"; break;
      case static_cast<std::uint32_t>(errc::canceled): text << ", canceled"; break;
      default: text << ", deadline exceeded"; break;
    }
  }
  const std::size_t handles = crowd::count_handles(n);
  text << ", " << handles << (handles == 1 ? " handle" : " handles");
  if (e.line == 0) {
    text << ", made somewhere";
  } else {
    const std::string_view file = e.file();
    text << ", made at " << file.substr(file.size() - std::min<std::size_t>(file.size(), 600)) << ":"
         << e.line;
  }
  text.print();
}

// Runs when the last static object is gone: the functions of .fini_array come after all that atexit() and
// static objects have registered, and the lowest priority after a library's own static objects where it is
// unloaded. By then foreign code may rely on nothing any more: none is called, and nothing is allocated or
// freed.
[[gnu::destructor(101)]] void list_what_is_left() HEED_UNCHECKED {
  if (state.load(std::memory_order_relaxed) != mode::on) return;
  const reading list;
  const totals sum = list.sum();
  line text;
  if (sum.contexts > 0) {
    text << "heed: " << sum.contexts << (sum.contexts == 1 ? " context is" : " contexts are")
         << " still alive at exit:";
    text.print();
  }
  std::size_t printed = 0;
  for (entry* e = all.oldest; e; e = e->newer) {
    e->printed = ++printed;
    print_left(*e, list);
  }
  if (sum.not_listed > 0) {
    text << "heed: " << sum.not_listed << (sum.not_listed == 1 ? " context was" : " contexts were")
         << " not tracked, for want of memory";
    text.print();
  }
}

}  // namespace
}  // namespace heed::inline v0::track

namespace heed::inline v0 {

bool tracking() noexcept {
  return track::on();
}

}  // namespace heed::inline v0
