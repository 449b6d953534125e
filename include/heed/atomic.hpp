// The atomics that all of heed is made of, in one place: what explores heed's own interleavings puts others
// here.
#pragma once

#include <heed/export.hpp>

#if defined(HEED_ATOMICS)
#include HEED_ATOMICS  // a header that defines the two names below
#else
#include <atomic>

namespace heed::inline v0::sync {
/// `std::atomic` ([atomics.types.generic]).
template <class T>
using atomic = std::atomic<T>;
/// `std::atomic_ref` ([atomics.ref.generic]).
template <class T>
using atomic_ref = std::atomic_ref<T>;
}  // namespace heed::inline v0::sync
#endif
