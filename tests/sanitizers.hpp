// Which sanitizer this is built with, whether an emulator runs it, and whether other builds do the long
// rounds: what some tests must know of.
#pragma once

#if defined(__has_feature)
#define HEED_TEST_HAS(feature) __has_feature(feature)
#else
#define HEED_TEST_HAS(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || HEED_TEST_HAS(thread_sanitizer)
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif

#if defined(__SANITIZE_ADDRESS__) || HEED_TEST_HAS(address_sanitizer)
inline constexpr bool under_asan = true;
#else
inline constexpr bool under_asan = false;
#endif

#if defined(HEED_TEST_EMULATED)  // the preset aarch64
inline constexpr bool emulated = true;
#else
inline constexpr bool emulated = false;
#endif

// The presets that differ from dev and clang in nothing but what the library is linked with.
#if defined(HEED_TEST_BRIEF)
inline constexpr int fewer = 5;
#else
inline constexpr int fewer = 1;
#endif

// What they cost in time, about.
inline constexpr int slower = emulated ? 20 : under_tsan || under_asan ? 8 : fewer;
