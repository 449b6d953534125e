// What kernels ask of the modelled operating system.
#pragma once

namespace model {

bool readable(int fd);  // as poll() would say
void reset_events();
void fresh_process();  // as if neither the timer thread nor the executor had ever been started
void refuse_threads(bool refuse);
int open_events();  // how many descriptors contexts have

}  // namespace model
