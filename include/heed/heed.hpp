// heed: contexts for C++. Everything that is core: errors, contexts, callbacks, schedulers.
#pragma once

#include <heed/callback.hpp>
#include <heed/context.hpp>
#include <heed/custom.hpp>
#include <heed/error.hpp>
#include <heed/export.hpp>
#include <heed/format.hpp>
#include <heed/manual_scheduler.hpp>
#include <heed/memory.hpp>
#include <heed/scheduler.hpp>
#include <heed/time.hpp>
