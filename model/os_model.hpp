// What kernels ask of the modelled operating system.
#pragma once

namespace model {

bool readable(int fd);  // as poll() would say
void reset_events();
int open_events();  // how many descriptors contexts have

}  // namespace model
