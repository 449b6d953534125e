// HEED_TRACK=1: a list of all contexts that are alive, with the lines that made them. For dump() and for the
// list of those that are left at exit. Off, which is the rule, it costs a load and a branch per context made
// or freed.
//
// Nodes know nothing of it: the registry is a table from node to entry. An entry goes before its node's
// memory does (gone(), first thing in a destruction), and a node's ancestors outlive it; so under the
// registry's lock every node that is listed, and every node above one, may be read.
//
// Lock order: the registry's lock comes before a node's. made() and gone() are called with no lock held, as
// all of making and destroying is; who reads the list takes node locks inside it, one at a time. Under it
// nothing is allocated and nothing foreign runs (I5).
#pragma once

#include <heed/atomic.hpp>

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string_view>

namespace heed::inline v0 {

struct node;

namespace track {

enum class mode : std::uint8_t { unknown, off, on };
// relaxed, all of it: it is settled once, from the environment, and orders nothing.
[[gnu::visibility("hidden")]] extern constinit sync::atomic<mode> state;
// Settles the state: true, on.
bool decide() noexcept;

inline bool on() noexcept {
  const mode m = state.load(std::memory_order_relaxed);
  if (m == mode::off) [[likely]]
    return false;
  return m == mode::on || decide();
}

// True: nothing is listed. For who has no time to settle it; not settled yet counts as false.
inline bool surely_off() noexcept {
  return state.load(std::memory_order_relaxed) == mode::off;
}

void add(const node& n, std::source_location where) noexcept;
void remove(const node& n) noexcept;

// A context was made; nobody else can free it yet.
inline void made(const node& n, std::source_location where) noexcept {
  if (on()) [[unlikely]]
    add(n, where);
}
// A context is about to be freed, and nobody can pin it any more.
inline void gone(const node& n) noexcept {
  if (on()) [[unlikely]]
    remove(n);
}

// One context that is listed. The texts are copies: the code that made the context may have been unloaded
// since.
struct entry {
  const node* of;
  std::size_t number;  // counts births
  entry* newer;
  entry* older;
  entry* same_slot;
  std::uint32_t line;  // 0: not known
  std::uint32_t file_size;
  std::uint32_t key_size;
  std::size_t printed;  // for the list at exit
  // The name of a value's key, and the file, follow.
  std::string_view key() const noexcept { return {reinterpret_cast<const char*>(this + 1), key_size}; }
  std::string_view file() const noexcept {
    return {reinterpret_cast<const char*>(this + 1) + key_size, file_size};
  }
};

struct totals {
  std::size_t contexts = 0;
  std::size_t bytes = 0;       // of their texts
  std::size_t not_listed = 0;  // for want of memory, since the start
};

// Reads the list; holds the registry's lock while it lives.
class reading {
 public:
  reading() noexcept;
  ~reading();
  reading(const reading&) = delete;
  reading& operator=(const reading&) = delete;
  totals sum() const noexcept;
  const entry* oldest() const noexcept;
  // The entry of a node; null: it is not listed. Only the address is used.
  const entry* find(const node* n) const noexcept;
};

}  // namespace track
}  // namespace heed::inline v0
