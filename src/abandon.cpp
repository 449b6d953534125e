// What happens when nothing can end a context any more: its functions are destroyed unrun, and its children
// may be abandoned in their turn. When that is, the two counts tell (tree.hpp).
#include "hanging.hpp"

#include <utility>

namespace heed::inline v0 {

void abandon(cancel_node& n) noexcept {
  // I7: children that have become unreachable too are linked by their `next`, as in a walk. None of these can
  // be canceled meanwhile: that would need one of the handles that are gone.
  cancel_node* first = &n;
  cancel_node* last = &n;
  if (is_told_late(n)) leave(n, fate::stays);  // its parent may not have come to take it off
  n.next = nullptr;                            // nothing can end it, so it hangs nowhere
  for (cancel_node* at = first; at;) {
    callback_base* functions = nullptr;
    chunk* emptied = nullptr;
    const bool hooks = (at->word.load(std::memory_order_acquire) & word::hooks) != 0;
    if (hooks && shard_count(*at) > 1) {
      const locked own(at->own.lock);  // L9: the locks of its table are others
    }
    for (unsigned number = 0; hooks && number < shard_count(*at); ++number) {
      shard& s = lock_shard(*at, number);
      const locked guard(s.lock, locked::already);
      while (cancel_node* entry = newest_in(s)) {
        if (chunk* c = take_out(s, *entry)) c->older = std::exchange(emptied, c);
        taken_off(*at, s, *entry);
        const bool tied = entry->what == kind::tether;
        cancel_node& c = tied ? static_cast<tether*>(entry)->of : *entry;
        if (is_told_late(*entry) && will_find_out(*entry)) continue;  // L9
        const std::uint32_t ours = tied ? node::second_up : node::up;
        // acq_rel, as in release_handle(): whoever takes the last of it away goes on.
        const bool unreachable = c.handles.fetch_and(~ours, std::memory_order_acq_rel) == ours;
        // One that is done is in the hands of who ended it, who may still run its callbacks.
        if (unreachable && (c.word.load(std::memory_order_acquire) & word::verdict) == 0 && try_hold(c)) {
          c.next = nullptr;
          last->next = &c;
          last = &c;
        }
      }
      functions = tree::take_detached(*at, s, functions);
      make_orphan(*at, s);
    }
    while (emptied) free_chunk(std::exchange(emptied, emptied->older));
    tree::tell_abandoned(functions);
    cancel_node* next = at->next;
    if (at != &n) drop(at);
    at = next;
  }
}

}  // namespace heed::inline v0
