// For mutate.py: in the copy of the library that it makes, each memory order asks here what it is to be.
#include "mutants.hpp"

#include "atomics.hpp"
#include "memory.hpp"

#include <array>
#include <cstdlib>
#include <string>
#include <utility>

namespace model {
namespace {

std::array<bool, 4096> reached{};
unsigned weakened = ~0U;
std::memory_order instead = std::memory_order_relaxed;

}  // namespace

std::memory_order ordered(unsigned site, std::memory_order usual) noexcept {
  if (running) reached[site] = true;
  return site == weakened ? instead : usual;
}

bool weaken(const char* site_and_order) {
  char* end = nullptr;
  weakened = static_cast<unsigned>(std::strtoul(site_and_order, &end, 10));
  const std::string order = *end == ':' ? end + 1 : "";
  instead = order == "acquire"   ? std::memory_order_acquire
            : order == "release" ? std::memory_order_release
            : order == "acq_rel" ? std::memory_order_acq_rel
                                 : std::memory_order_relaxed;
  return instead != std::memory_order_relaxed || order == "relaxed";
}

std::string sites_reached() {
  std::string all;
  for (std::size_t i = 0; i < reached.size(); ++i) {
    if (std::exchange(reached[i], false)) all += " " + std::to_string(i);
  }
  return all;
}

}  // namespace model
