// A key's identity is its address: a copy would be another key.
#include <heed/heed.hpp>

inline constexpr heed::key<int> k{"k"};
#if WRONG == 1
inline constexpr heed::key<int> copy = k;  // WRONG 1: deleted
#else
inline constexpr const heed::key<int>& same = k;
#endif
