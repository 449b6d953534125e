// The workloads, by subject. Names are those of Go's src/context/benchmark_test.go where it has them.
#pragma once

#include "../harness.hpp"

void floors(bench::suite& s);     // what the hardware and the kernel ask for the parts
void sketches(bench::suite& s);   // and for whole operations
void memory(bench::suite& s);     // bytes per context; first, before there is a thread
void reads(bench::suite& s);      // err(), done()
void tree(bench::suite& s);       // making and ending contexts
void values(bench::suite& s);     // with_value, value()
void timers(bench::suite& s);     // with_timeout, and how late a deadline is
void callbacks(bench::suite& s);  // after_func, cancel_callback
void waking(bench::suite& s);     // how soon a blocked thread runs
