// libFuzzer's entry: README.md.
#include "lockstep.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::lockstep both;
  both.run(fuzz::bytes({data, size}));
  return 0;
}
