// The command: which kernels to explore, and how far.
#include "engine.hpp"
#include "kernels.hpp"
#include "mutants.hpp"
#include "os_model.hpp"

#include <sys/single_threaded.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <regex>
#include <string>
#include <vector>

namespace {

void usage(const char* program) {
  std::fprintf(
      stderr,
      "usage: %s [--only REGEX] [--preemptions N] [--stale N] [--most EXECUTIONS] [--random "
      "EXECUTIONS] [--seconds S]\n"
      "          [--seed N] [--replay SCHEDULE] [--list] [--mutant SITE:ORDER] [--sites] [--broken]\n"
      "Explores each kernel depth first, with at most N preemptions and N reads of replaced values, "
      "and after that\n"
      "at random. An error ends it, and tells the schedule to replay.\n",
      program);
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  __libc_single_threaded = 0;  // or std::shared_ptr counts without atomics
  std::string only, replay;
  model::settings how;
  std::uint64_t at_random = 4'000;
  how.seed = std::random_device()();
  if (const char* given = std::getenv("HEED_TEST_SEED")) how.seed = std::strtoull(given, nullptr, 10);
  bool list = false, sites = false;
  std::vector<model::kernel> kernels = model::kernels();
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--list") {
      list = true;
      continue;
    }
    if (option == "--broken") {
      kernels = model::broken_kernels();
      continue;
    }
    if (option == "--sites") {
      sites = true;
      continue;
    }
    if (i + 1 == argc) usage(argv[0]);
    const char* value = argv[++i];
    if (option == "--only")
      only = value;
    else if (option == "--preemptions")
      how.preemptions = std::atoi(value);
    else if (option == "--stale")
      how.stale_reads = std::atoi(value);
    else if (option == "--most")
      how.most = std::strtoull(value, nullptr, 10);
    else if (option == "--random")
      at_random = std::strtoull(value, nullptr, 10);
    else if (option == "--seed")
      how.seed = std::strtoull(value, nullptr, 10);
    else if (option == "--seconds")
      how.seconds = std::atof(value);
    else if (option == "--mutant" && model::weaken(value))
      continue;
    else if (option == "--replay")
      replay = value;
    else
      usage(argv[0]);
  }
  if (!list)
    std::printf("seed %llu\n%-44s %12s %12s %10s %8s\n", static_cast<unsigned long long>(how.seed), "kernel",
                "depth first", "all of them", "at random", "seconds");
  std::uint64_t total = 0;
  int explored = 0, whole = 0;
  for (const model::kernel& k : kernels) {
    if (!only.empty() && !std::regex_search(k.name, std::regex(only))) continue;
    if (list) {
      std::printf("%s\n", k.name);
      continue;
    }
    const auto from = std::chrono::steady_clock::now();
    model::settings s = how;
    s.replay = replay;
    const model::result searched = model::explore(k.name, k.body, s);
    model::result tried;
    if (replay.empty() && at_random > 0) {
      s.random = true;
      s.preemptions = 100;
      s.stale_reads = 100;
      s.most = at_random;
      tried = model::explore(k.name, k.body, s);
    }
    std::printf("%-44s %12llu %12s %10llu %8.2f\n", k.name,
                static_cast<unsigned long long>(searched.executions), searched.exhaustive ? "yes" : "no",
                static_cast<unsigned long long>(tried.executions),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count());
    if (sites) std::printf("sites%s\n", model::sites_reached().c_str());
    std::fflush(stdout);
    total += searched.executions + tried.executions;
    ++explored;
    whole += searched.exhaustive;
  }
  if (list) return 0;
  std::printf(
      "%d kernels, %d of them to the end with %d preemptions and %d old values read; %llu executions\n",
      explored, whole, how.preemptions, how.stale_reads, static_cast<unsigned long long>(total));
  return explored > 0 ? 0 : 1;
}
