// Which memory order is weakened, and which were asked for (mutants.cpp).
#pragma once

#include <string>

namespace model {

bool weaken(const char* site_and_order);  // "12:relaxed"; false: that is none
std::string sites_reached();              // since this was asked last

}  // namespace model
