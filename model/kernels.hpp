// The situations that are explored: each a function of a few threads that checks what must hold.
#pragma once

#include <vector>

namespace model {

struct kernel {
  const char* name;
  void (*body)();
};
std::vector<kernel> kernels();
std::vector<kernel> cancel_kernels();    // kernels_cancel.cpp
std::vector<kernel> life_kernels();      // kernels_life.cpp
std::vector<kernel> callback_kernels();  // kernels_callback.cpp
std::vector<kernel> time_kernels();      // kernels_time.cpp
std::vector<kernel> wait_kernels();      // kernels_wait.cpp
std::vector<kernel> merge_kernels();     // kernels_merge.cpp
std::vector<kernel> shard_kernels();     // kernels_shard.cpp
std::vector<kernel> see_kernels();       // kernels_see.cpp
std::vector<kernel> thread_kernels();    // kernels_thread.cpp
std::vector<kernel> task_kernels();      // kernels_task.cpp
std::vector<kernel> walk_kernels();      // kernels_walk.cpp
std::vector<kernel> loop_kernels();      // kernels_loop.cpp
std::vector<kernel> hooked_kernels();    // kernels_hooked.cpp
std::vector<kernel> chain_kernels();     // kernels_chain.cpp
std::vector<kernel> crowd_kernels();     // kernels_crowd.cpp
std::vector<kernel> late_kernels();      // kernels_late.cpp
std::vector<kernel> broken_kernels();    // broken.cpp: not among those above

}  // namespace model
