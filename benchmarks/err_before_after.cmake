include(CheckCXXSourceCompiles)
include(CMakePushCheckState)

find_package(benchmark QUIET)
find_package(CLI11 QUIET)
if(NOT benchmark_FOUND OR NOT CLI11_FOUND)
  message(STATUS "heed: err_before_after needs Google Benchmark and CLI11 (libbenchmark-dev, libcli11-dev): left out")
  return()
endif()

# A distribution's libbenchmark is built for one standard library: see whether it is ours.
cmake_push_check_state(RESET)
set(CMAKE_REQUIRED_LIBRARIES benchmark::benchmark)
check_cxx_source_compiles(
  "#include <benchmark/benchmark.h>\nint main() { benchmark::RunSpecifiedBenchmarks(std::string()); }"
  HEED_BENCHMARK_LINKS)
cmake_pop_check_state()
if(NOT HEED_BENCHMARK_LINKS)
  message(STATUS "heed: Google Benchmark does not fit this standard library: err_before_after is left out")
  return()
endif()

add_executable(err_before_after err_before_after.cpp)
target_link_libraries(err_before_after PRIVATE heed::heed benchmark::benchmark CLI11::CLI11 Threads::Threads)
add_test(NAME bench.err_before_after COMMAND err_before_after --quick --rounds 3)
set_tests_properties(bench.err_before_after PROPERTIES TIMEOUT 300 LABELS bench)
