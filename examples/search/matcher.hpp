// Finds a pattern in a block of text: a plain string, or an extended regular expression as in grep -E.
#pragma once

#include <regex.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace search {

/// Not to be shared between threads: a compiled expression locks inside.
class matcher {
 public:
  static constexpr std::size_t npos = std::string_view::npos;

  /// Throws std::invalid_argument for a pattern that is none.
  matcher(std::string pattern, bool regex) : text_(std::move(pattern)) {
    if (text_.empty()) throw std::invalid_argument("the pattern is empty");
    if (text_.find('\n') != npos) throw std::invalid_argument("a pattern lies within one line");
    if (text_.size() > 4096) throw std::invalid_argument("the pattern is longer than 4096 bytes");
    if (!regex) return;
    auto made = std::make_unique<regex_t>();
    if (const int code = regcomp(made.get(), text_.c_str(), REG_EXTENDED)) {
      char why[256];
      regerror(code, made.get(), why, sizeof why);
      throw std::invalid_argument("regular expression \"" + text_ + "\": " + why);
    }
    regex_.reset(made.release());
  }

  /// An offset within the first line that matches, or npos.
  std::size_t find(std::string_view block) const {
    if (!regex_) {
      const void* at = memmem(block.data(), block.size(), text_.data(), text_.size());
      return at ? static_cast<std::size_t>(static_cast<const char*>(at) - block.data()) : npos;
    }
    for (std::size_t from = 0; from < block.size();) {
      const std::size_t to = std::min(block.find('\n', from), block.size());
      regmatch_t range[1];
      range[0].rm_so = 0;  // from the line's start, where ^ matches
      range[0].rm_eo = static_cast<regoff_t>(to - from);
      if (regexec(regex_.get(), block.data() + from, 1, range, REG_STARTEND) == 0) return from;
      from = to + 1;
    }
    return npos;
  }

  /// How much of a block's end may be the beginning of a match.
  std::size_t overlap() const noexcept { return regex_ ? 0 : text_.size() - 1; }

 private:
  struct free_regex {
    void operator()(regex_t* r) const noexcept {
      regfree(r);
      delete r;
    }
  };
  std::string text_;
  std::unique_ptr<regex_t, free_regex> regex_;
};

}  // namespace search
