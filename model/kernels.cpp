#include "kernels.hpp"

namespace model {

std::vector<kernel> kernels() {
  std::vector<kernel> all;
  for (const auto& part :
       {cancel_kernels(), life_kernels(), callback_kernels(), time_kernels(), wait_kernels(), merge_kernels(),
        shard_kernels(), see_kernels(), thread_kernels(), task_kernels(), walk_kernels(), loop_kernels(),
        hooked_kernels(), chain_kernels(), crowd_kernels(), late_kernels()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace model
