// The seam between the host and its plug-ins: C functions, and a key that all of them name.
#pragma once

#include <heed/heed.hpp>

inline constexpr heed::key<int> plugin_key{"plugin"};
using plugin_use = int();                              // uses contexts; 0: all is well
using plugin_give = void(heed::context*);              // adds a value with the key
using plugin_take = const int*(const heed::context*);  // finds it
using plugin_key_address = const void*();
