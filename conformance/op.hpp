// The language of the programs: one operation, as data and as a line of text. README.md tells what each one
// does.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace conformance {

enum class verb : std::uint8_t {
  with_cancel,
  with_deadline,
  with_timeout,
  with_value,
  without_cancel,
  cancel,
  leave,
  forget,
  after_func,
  stop,
  advance,
  read,
  // What Go does not have.
  merge,
  custom,
  end,
  on_cancel,
  off,
  share,
  cancel_by,
  unshare,
  fd,
  place,
  text,
};

/// What an operand is, by the letter before its number.
namespace operand {
inline constexpr char context = '#';  // the letter that is not written
inline constexpr char time = '@';     // milliseconds, or forever, or -forever; not written either
inline constexpr char cause = 'c';    // or "-"
inline constexpr char key = 'k';
inline constexpr char value = 'v';  // or "nil"
inline constexpr char function = 'f';
inline constexpr char callback = 'b';
inline constexpr char canceler = 's';
inline constexpr char verdict = '!';  // "canceled" or "deadline_exceeded"
}  // namespace operand

struct form {
  std::string_view name;
  std::string_view operands;  // their letters
  bool acts = false;          // another operation may follow, done by the callback or function
};

inline constexpr std::array<form, 23> forms{{{"with_cancel", "#"},
                                             {"with_deadline", "#@c"},
                                             {"with_timeout", "#@c"},
                                             {"with_value", "#kv"},
                                             {"without_cancel", "#"},
                                             {"cancel", "#c"},
                                             {"leave", "#"},
                                             {"forget", "#"},
                                             {"after_func", "#", true},
                                             {"stop", "f"},
                                             {"advance", "@"},
                                             {"read", "#"},
                                             {"merge", "##"},
                                             {"custom", "#kv"},
                                             {"end", "#!c"},
                                             {"on_cancel", "#", true},
                                             {"off", "b"},
                                             {"share", "#"},
                                             {"cancel_by", "sc"},
                                             {"unshare", "s"},
                                             {"fd", "#"},
                                             {"place", "#"},
                                             {"text", "#"}}};

inline constexpr int causes = 8;
inline constexpr int keys = 10;
inline constexpr int places = 8;
inline constexpr std::int64_t none = -1;  // no cause; a stored nil
inline constexpr std::int64_t forever = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t minus_forever = std::numeric_limits<std::int64_t>::min();

struct op {
  verb what = verb::read;
  std::array<std::int64_t, 3> at{};     // the operands
  std::size_t place = 0;                // below `places`: the source line that heed is told; not written
  std::shared_ptr<const op> then = {};  // what the function or callback does when it runs
  const form& shape() const noexcept { return forms[static_cast<std::size_t>(what)]; }
};

inline std::string to_string(const op& o) {
  std::string text(o.shape().name);
  for (std::size_t i = 0; i < o.shape().operands.size(); ++i) {
    const char letter = o.shape().operands[i];
    const std::int64_t n = o.at[i];
    text += ' ';
    if (letter == operand::time && (n == forever || n == minus_forever)) {
      text += n == forever ? "forever" : "-forever";
    } else if (letter == operand::cause && n == none) {
      text += '-';
    } else if (letter == operand::value && n == none) {
      text += "nil";
    } else if (letter == operand::verdict) {
      text += n == 1 ? "canceled" : "deadline_exceeded";
    } else {
      if (letter != operand::context && letter != operand::time) text += letter;
      text += std::to_string(n);
    }
  }
  if (o.then) text += " " + to_string(*o.then);
  return text;
}

/// The next word of a line, taken off it.
inline std::string_view take_word(std::string_view& line) {
  const std::size_t end = line.find(' ');
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  return word;
}

inline std::optional<std::int64_t> parse_operand(char letter, std::string_view word) {
  if (letter == operand::time && word == "forever") return forever;
  if (letter == operand::time && word == "-forever") return minus_forever;
  if (letter == operand::cause && word == "-") return none;
  if (letter == operand::value && word == "nil") return none;
  if (letter == operand::verdict) return word == "canceled" ? 1 : 2;
  if (letter != operand::context && letter != operand::time) {
    if (word.empty() || word.front() != letter) return {};
    word.remove_prefix(1);
  }
  std::int64_t n = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), n);
  if (failed != std::errc() || end != word.data() + word.size()) return {};
  if (letter == operand::cause && (n < 0 || n >= causes)) return {};
  if (letter == operand::key && (n < 0 || n >= keys)) return {};
  if (letter == operand::value && (n < 0 || n > 9)) return {};
  if (letter != operand::time && n < 0) return {};
  return n;
}

/// Nothing where it is no operation.
inline std::optional<op> parse(std::string_view line) {
  const std::string_view name = take_word(line);
  for (std::size_t i = 0; i < forms.size(); ++i) {
    if (forms[i].name != name) continue;
    op o{static_cast<verb>(i)};
    for (std::size_t n = 0; n < forms[i].operands.size(); ++n) {
      const auto value = parse_operand(forms[i].operands[n], take_word(line));
      if (!value) return {};
      o.at[n] = *value;
    }
    if (!line.empty()) {
      if (!forms[i].acts) return {};
      const auto then = parse(line);
      if (!then) return {};
      o.then = std::make_shared<const op>(*then);
    }
    return o;
  }
  return {};
}

}  // namespace conformance
