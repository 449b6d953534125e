// What clang's -Wthread-safety is told of the core's locks; other compilers see nothing of it.
//
// It knows locks by name. What it cannot follow (a function that hands out a locked shard; fork handlers,
// which lock in one call and unlock in another) is HEED_UNCHECKED, with the reason beside it.
#pragma once

#if defined(__clang__)
#define HEED_ANNOTATION(...) __attribute__((__VA_ARGS__))
#else
#define HEED_ANNOTATION(...)
#endif

#define HEED_LOCK HEED_ANNOTATION(capability("mutex"))
#define HEED_SCOPED_LOCK HEED_ANNOTATION(scoped_lockable)
#define HEED_GUARDED_BY(lock) HEED_ANNOTATION(guarded_by(lock))
#define HEED_ACQUIRES(...) HEED_ANNOTATION(acquire_capability(__VA_ARGS__))
#define HEED_TRIES() HEED_ANNOTATION(try_acquire_capability(true))
#define HEED_RELEASES(...) HEED_ANNOTATION(release_capability(__VA_ARGS__))
#define HEED_REQUIRES(...) HEED_ANNOTATION(requires_capability(__VA_ARGS__))
#define HEED_UNCHECKED HEED_ANNOTATION(no_thread_safety_analysis)
