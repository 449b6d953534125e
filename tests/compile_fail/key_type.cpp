// A key names the type of a stored value: an object type without const. And it has a name.
#include <heed/heed.hpp>

struct user {};

#if WRONG == 1
inline constexpr heed::key<const user> k{"k"};  // WRONG 1: heed::key<T>: T is the type of the stored value
#elif WRONG == 2
inline constexpr heed::key<int[3]> k{"k"};  // WRONG 2: heed::key<T>: T is the type of the stored value
#elif WRONG == 3
inline constexpr heed::key<user&> k{"k"};  // WRONG 3: heed::key<T>: T is the type of the stored value
#elif WRONG == 4
inline constexpr heed::key<void> k{"k"};  // WRONG 4: heed::key<T>: T is the type of the stored value
#elif WRONG == 5
inline constexpr heed::key<user> k{nullptr};  // WRONG 5: deleted
#else
inline constexpr heed::key<user> k{"k"};
inline constexpr heed::key<const user*> to_const{"to_const"};
#endif
