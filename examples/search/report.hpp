// What is printed when a search is over.
#pragma once

#include "engine.hpp"

#include <string>
#include <vector>

namespace search {

void report(const request& asked, const outcome& o, const tally& t, const output& out, bool verbose);

/// Searches that were stopped midway: one line each, then how long stopping took.
void report(const std::vector<outcome>& runs, const output& out);

}  // namespace search
