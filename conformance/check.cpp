// Reads transcripts of Go's context package, performs their programs on heed, and compares, line by line.
// What differs must have a name: differences.hpp. With --all-met, each of these must have been met, too. With
// --print it prints heed's own transcript instead.
#include "differences.hpp"
#include "runner.hpp"

#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace conformance;

struct nobody : listener {
  void function_runs(std::size_t) override {}
  void callback_runs(std::size_t) override {}
  void time_has_moved() override {}
};

class comparison {
 public:
  explicit comparison(bool print) : print_(print) {}

  void line(std::string_view text) {
    if (text.starts_with("program ")) return begin(text);
    const std::size_t equals = text.find(" = ");
    const std::string_view operation = text.substr(0, equals);
    const std::string_view go = equals == std::string_view::npos ? "" : text.substr(equals + 3);
    ++lines_;
    auto o = parse(operation);
    if (!o || !heed_) return fail(text, "is no operation of a program");
    o->place = so_far_.size() % places;
    const std::string heed = heed_->perform(*o);
    so_far_.emplace_back(text);
    story_.tell(*o);
    if (print_) std::cout << operation << (heed.empty() ? "" : " = ") << heed << '\n';
    if (heed != go && !print_ && !explained(*o, go, heed))
      fail(text, "is what heed answers otherwise: " + heed);
  }

  /// Whether all was as it should be.
  bool report(bool all_met) {
    if (print_) return failures_ == 0;
    std::cout << programs_ << " programs, " << lines_ << " operations, " << failures_
              << " unexplained differences\n";
    bool met = true;
    for (std::size_t i = 0; i < differences.size(); ++i) {
      std::cout << "  " << differences[i].name << ": " << explained_[i] << '\n';
      met = met && explained_[i] > 0;
    }
    if (all_met && !met) std::cout << "a difference has a name, but is met nowhere\n";
    if (programs_ == 0) std::cout << "there is no program\n";
    return failures_ == 0 && programs_ > 0 && (met || !all_met);
  }

 private:
  void begin(std::string_view title) {
    heed_.reset();
    heed_ = std::make_unique<runner>(nobody_);
    story_ = {};
    so_far_.assign(1, std::string(title));
    failed_ = false;
    ++programs_;
    if (print_) std::cout << title << '\n';
  }

  bool explained(const op& o, std::string_view go_text, std::string_view heed_text) {
    if (o.what != verb::read) return false;
    const reading go(go_text);
    reading heed(heed_text);
    for (std::size_t i = 0; i < differences.size(); ++i) {
      if (differences[i].explains(story_, static_cast<std::size_t>(o.at[0]), go, heed)) ++explained_[i];
    }
    return go.state == heed.state && go.cause == heed.cause && go.deadline == heed.deadline &&
           go.values == heed.values;
  }

  // Once for each program, and only so often: what follows is mostly the consequence.
  void fail(std::string_view text, const std::string& what) {
    if (!failed_ && ++failures_ <= 3) {
      std::cout << "--- \"" << text << "\" " << what << "\nthe program so far:\n";
      for (const std::string& l : so_far_) std::cout << "    " << l << '\n';
    }
    failed_ = true;
  }

  const bool print_;
  nobody nobody_;
  std::unique_ptr<runner> heed_;
  story story_;
  std::vector<std::string> so_far_;
  bool failed_ = false;
  std::uint64_t programs_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t failures_ = 0;
  std::array<std::uint64_t, differences.size()> explained_{};
};

}  // namespace

int main(int count, char** arguments) {
  const auto asked = [&](const char* option) { return count > 1 && std::strcmp(arguments[1], option) == 0; };
  std::ios::sync_with_stdio(false);
  comparison all(asked("--print"));
  for (std::string text; std::getline(std::cin, text);) all.line(text);
  return all.report(asked("--all-met")) ? 0 : 1;
}
