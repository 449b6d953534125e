#include "locals.hpp"

#include "memory.hpp"

#include <link.h>

#include <algorithm>
#include <cstddef>

namespace model {
namespace {

// Of this program; its libraries have their own, which kernels do not touch.
struct segment {
  char* here = nullptr;
  const char* initial = nullptr;
  std::size_t initialized = 0;
  std::size_t size = 0;
};

segment found() {
  segment s;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& h = info->dlpi_phdr[i];
          if (h.p_type != PT_TLS) continue;
          *static_cast<segment*>(to) = {static_cast<char*>(info->dlpi_tls_data),
                                        reinterpret_cast<const char*>(info->dlpi_addr + h.p_vaddr),
                                        h.p_filesz, h.p_memsz};
        }
        return 1;  // the program itself comes first, and that is all
      },
      &s);
  return s;
}

const segment& locals() {
  static const segment s = found();
  return s;
}

}  // namespace

void thread_locals::reset() {
  const own_memory guard;
  bytes_.assign(locals().size, 0);
  std::copy_n(locals().initial, locals().initialized, bytes_.begin());
}

void thread_locals::keep() {
  std::copy_n(locals().here, bytes_.size(), bytes_.begin());
}

void thread_locals::bring() const {
  std::copy(bytes_.begin(), bytes_.end(), locals().here);
}

}  // namespace model
