// How much at a time. These decide what things cost, never whether they are right: so the model checker,
// whose kernels have few threads with few steps, sets them small, and comes to their edges.
#pragma once

#include <cstddef>

namespace heed::inline v0::sizes {

#if defined(HEED_MODEL)
inline constexpr bool small = true;
#else
inline constexpr bool small = false;
#endif

// Children in a chunk of a parent's list, which a walk turns under one lock.
inline constexpr std::size_t chunk = small ? 2 : 14;
// Children that a dump takes in one go while their parent's lock is held.
inline constexpr std::size_t children_copied = small ? 1 : 64;
// Timers that are fired, and those that are moved within the wheel, while a shard's lock is held: others wait
// that long.
inline constexpr std::size_t timer_batch = small ? 2 : 64;
inline constexpr int timer_moves = small ? 2 : 128;
// A slot of a wheel in which the earliest is looked for holds no more than these; of others the start is
// told.
inline constexpr int timers_looked_at = small ? 1 : 16;
// Shards of a parent on which threads meet.
inline constexpr unsigned most_shards = small ? 2 : 32;

}  // namespace heed::inline v0::sizes
