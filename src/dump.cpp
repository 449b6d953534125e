// dump(): a picture of the tree as text, for Graphviz, as JSON.
#include <heed/inspect.hpp>

#include "picture.hpp"
#include "text.hpp"

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heed::inline v0 {
namespace {

// Collects text, and hands it on in pieces. Nothing of the stream's formatting counts: write() is not
// formatted.
class sink {
 public:
  explicit sink(std::ostream& out) noexcept : out_(out) {}
  void operator()(std::string_view text) {
    text_ += text;
    if (text_.size() > 16384) flush();
  }
  void flush() {
    out_.write(text_.data(), static_cast<std::streamsize>(text_.size()));
    text_.clear();
  }

 private:
  std::ostream& out_;
  std::string text_;
};

// The length of the UTF-8 character that the text starts with; 0: it is none.
std::size_t character(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xf0 && first < 0xf5   ? 4
                           : first >= 0xe0 && first < 0xf0 ? 3
                           : first >= 0xc2 && first < 0xe0 ? 2
                                                           : 0;
  if (size == 0 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Not the shortest form; halves of surrogate pairs; beyond the last character.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) {
    return 0;
  }
  return size;
}

// dot refuses a quoted string of more than 16384 bytes. In a label there are four foreign texts at most (a
// name, a cause, two files), or keys, and what is escaped grows to five times its length.
constexpr std::size_t longest_in_dot = 600;
constexpr std::size_t enough_keys_in_dot = 8000;

// Foreign text, made fit for a line of text, for a quoted string of dot, or for one of JSON.
std::string escaped(std::string_view text, dump_format format) {
  static constexpr char hex[] = "0123456789abcdef";
  if (format == dump_format::dot && text.size() > longest_in_dot) {
    std::size_t end = longest_in_dot;
    while (end > longest_in_dot - 4 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    return escaped(text.substr(0, end), format) + " ...";
  }
  std::string result;
  while (!text.empty()) {
    const std::size_t size = character(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (size == 0) {
      result += "\xef\xbf\xbd";  // U+FFFD
    } else if (c < 0x20 || c == 0x7f) {
      const char* start = format == dump_format::json  ? "\\u00"
                          : format == dump_format::dot ? "\\\\x"
                                                       : "\\x";
      result += start;
      result += hex[c >> 4];
      result += hex[c & 15];
    } else if ((format == dump_format::json || format == dump_format::dot) && (c == '"' || c == '\\')) {
      (result += '\\') += text[0];
    } else if (format == dump_format::dot && c == '&') {
      result += "&amp;";  // else it may start an entity
    } else {
      result += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

std::string id(const seen& s) {
  return 'n' + std::to_string(s.id);
}

const char* kind_of(const seen& s) noexcept {
  switch (s.what) {
    case kind::todo: return "todo";
    case kind::root: return "background";
    case kind::value: return "with_value";
    case kind::detached: return "without_cancel";
    case kind::cancel: return "with_cancel";
    case kind::deadline: return "with_deadline";
    case kind::custom: return "custom";
    case kind::merge: return "merge";
    case kind::tether: break;  // is not in the picture
  }
  return "";
}

// What people read first.
std::string title(const seen& s, dump_format f) {
  if (s.what == kind::custom) return escaped(s.name, f);
  if (s.what == kind::value)
    return "with_value(" + escaped(s.values.empty() ? "" : s.values.front(), f) + ")";
  return kind_of(s);
}

const char* state_of(const seen& s) noexcept {
  if (s.verdict == 0) return "live";
  return s.verdict == static_cast<std::uint64_t>(errc::canceled) ? "canceled" : "deadline exceeded";
}

std::string count(std::size_t n, const char* what) {
  return std::to_string(n) + ' ' + what + (n == 1 ? "" : "s");
}

std::string place(std::string_view file, std::uint32_t line, dump_format f) {
  if (line == 0) return "somewhere";
  if (f == dump_format::dot) file.remove_prefix(file.rfind('/') + 1);  // narrow
  return escaped(file, f) + ':' + std::to_string(line);
}

std::string deadline(const seen& s, const picture& p) {
  if (s.foreign_clock && s.when != time_point::max())
    return "deadline at " + seconds(s.when.time_since_epoch().count()) + " of its own clock";
  return "deadline " + relative(s.when, p.now);
}

// The facts about a context, each a piece of text.
std::vector<std::string> facts(const seen& s, const picture& p, dump_format f) {
  std::vector<std::string> all;
  if (!s.never_ends) all.emplace_back(state_of(s));
  if (s.verdict != 0) {
    if (s.ended_by != nowhere && p.contexts[s.ended_by].id != 0) {
      all.back() += " by " + id(p.contexts[s.ended_by]);
    } else {
      if (s.cause) all.push_back("cause: " + escaped(s.cause.message(), f));
      all.push_back("at " + place(s.ended.file_name(), s.ended.line(), f));
    }
  }
  if (s.timed) all.push_back(deadline(s, p));
  if (!s.values.empty() && s.what != kind::value) {
    std::string values = s.values.size() == 1 ? "value:" : "values:";
    for (const std::string& key : s.values) values += ' ' + escaped(key, f);
    all.push_back(std::move(values));
  }
  if (s.of && s.what != kind::todo) all.push_back(count(s.handles, "handle"));
  if (s.hooks.callbacks > 0) all.push_back(count(s.hooks.callbacks, "cancel_callback"));
  if (s.hooks.functions > 0) all.push_back(count(s.hooks.functions, "after_func"));
  if (s.line != 0) all.push_back("made at " + place(s.file, s.line, f));
  return all;
}

// What is not in the picture, for people.
std::string note(const picture& p) {
  if (p.not_listed > 0) return count(p.not_listed, "context") + " not tracked, for want of memory";
  const seen& top = p.contexts[p.order.front()];
  if (!p.tracked && top.never_ends) {
    return std::string("what hangs under ") + kind_of(top) + " is known with HEED_TRACK=1 only";
  }
  return {};
}

void as_text(const picture& p, sink& out) {
  constexpr std::size_t deepest = 16;
  for (const std::size_t at : p.order) {
    const seen& s = p.contexts[at];
    std::string line(2 * std::min(s.depth, deepest), ' ');
    line += id(s) + ' ' + title(s, dump_format::text);
    const auto named = [&](std::size_t i) {
      return s.parent[i] != nowhere && p.contexts[s.parent[i]].id != 0;
    };
    const std::size_t first = named(0) ? 0 : 1;
    if (s.depth > deepest && named(first)) line += " under " + id(p.contexts[s.parent[first]]);
    if (first == 0 && s.depth > 0 && named(1)) line += " and under " + id(p.contexts[s.parent[1]]);
    const char* between = ": ";
    for (const std::string& fact : facts(s, p, dump_format::text))
      line += std::exchange(between, ", ") + fact;
    out(line += '\n');
  }
  if (const std::string more = note(p); !more.empty()) out("(" + more + ")\n");
}

const char* shape_of(kind k) noexcept {
  switch (k) {
    case kind::todo:
    case kind::root: return "shape=ellipse, style=filled";
    case kind::value: return "shape=note, style=filled";
    case kind::detached: return "shape=box, style=\"filled,dashed\"";
    case kind::cancel: return "shape=box, style=\"filled,rounded\"";
    case kind::deadline: return "shape=box, style=filled, peripheries=2";
    case kind::custom: return "shape=component, style=filled";
    case kind::merge: return "shape=invtrapezium, style=filled";
    case kind::tether: break;
  }
  return "";
}

const char* colors_of(const seen& s) noexcept {
  if (s.verdict == static_cast<std::uint64_t>(errc::canceled))
    return "fillcolor=\"#eceff1\", color=\"#90a4ae\", fontcolor=\"#546e7a\"";
  if (s.verdict != 0) return "fillcolor=\"#fff0e0\", color=\"#e08020\", fontcolor=\"#9c4a00\"";
  if (s.never_ends || s.what == kind::value)
    return "fillcolor=\"#f4f6fb\", color=\"#5c6bc0\", fontcolor=\"#283593\"";
  return "fillcolor=\"#e6f4ea\", color=\"#2e8b57\", fontcolor=\"#14532d\"";
}

void as_dot(const picture& p, sink& out) {
  constexpr auto f = dump_format::dot;
  out("digraph heed {\n"
      "  graph [rankdir=TB, nodesep=0.3, ranksep=0.4, fontname=\"Helvetica\", fontsize=10];\n"
      "  node [fontname=\"Helvetica\", fontsize=10, margin=\"0.14,0.07\"];\n"
      "  edge [color=\"#78909c\", arrowsize=0.6, fontname=\"Helvetica\", fontsize=9, "
      "fontcolor=\"#607d8b\"];\n");
  if (const std::string more = note(p); !more.empty()) out("  label=\"" + escaped(more, f) + "\";\n");
  for (const std::size_t at : p.order) {
    const seen& s = p.contexts[at];
    std::string line = "  " + id(s) + " [" + shape_of(s.what) + ", " + colors_of(s) + ", label=\"" + id(s) +
                       "  " + title(s, f);
    for (const std::string& fact : facts(s, p, f)) {
      if (!fact.starts_with("value")) line += "\\n" + fact;  // these stand at the edge
    }
    out(line += "\"];\n");
    for (const std::size_t up : s.parent) {
      if (up == nowhere || p.contexts[up].id == 0 || s.id == 1) continue;
      line = "  " + id(p.contexts[up]) + " -> " + id(s);
      // A cancel does not pass where it is dashed.
      std::string how = s.what == kind::detached ? "style=dashed" : "";
      if (!s.values.empty() && s.what != kind::value) {
        std::string keys;
        for (const std::string& key : s.values) {
          if (!keys.empty()) keys += "\\n";
          if (keys.size() > enough_keys_in_dot) {
            keys += "...";
            break;
          }
          keys += escaped(key, f);
        }
        how += (how.empty() ? "label=\"" : ", label=\"") + keys + '"';
      }
      if (!how.empty()) line += " [" + how + ']';
      out(line += ";\n");
    }
  }
  out("}\n");
}

std::string quoted(std::string_view text) {
  return '"' + escaped(text, dump_format::json) + '"';
}

std::string json_place(std::string_view file, std::uint32_t line) {
  return "{\"file\": " + quoted(file) + ", \"line\": " + std::to_string(line) + '}';
}

// "1.500", without the unit.
std::string number(std::int64_t ns) {
  std::string text = seconds(ns);
  text.pop_back();
  return text;
}

void as_json(const picture& p, sink& out) {
  out(std::string("{\"tracked\": ") + (p.tracked ? "true" : "false") + ", \"root\": \"n1\", \"contexts\": [");
  const char* between = "\n";
  for (const std::size_t at : p.order) {
    const seen& s = p.contexts[at];
    std::string line = std::exchange(between, ",\n");
    line += " {\"id\": \"" + id(s) + "\", \"parents\": [";
    const char* comma = "";
    for (const std::size_t up : s.parent) {
      if (up == nowhere || p.contexts[up].id == 0 || s.id == 1) continue;
      line += std::exchange(comma, ", ") + ('"' + id(p.contexts[up]) + '"');
    }
    line += std::string("], \"kind\": \"") + kind_of(s) + "\", \"state\": \"" +
            (s.verdict == 0                                            ? "live"
             : s.verdict == static_cast<std::uint64_t>(errc::canceled) ? "canceled"
                                                                       : "deadline_exceeded") +
            "\", \"handles\": " + std::to_string(s.handles) +
            ", \"callbacks\": " + std::to_string(s.hooks.callbacks) +
            ", \"functions\": " + std::to_string(s.hooks.functions) + ", \"values\": [";
    comma = "";
    for (const std::string& key : s.values) line += std::exchange(comma, ", ") + quoted(key);
    line += ']';
    if (s.what == kind::custom) line += ", \"name\": " + quoted(s.name);
    if (s.timed && s.when == time_point::max()) {
      line += ", \"deadline_in_s\": null";
    } else if (s.timed && s.foreign_clock) {
      line += ", \"deadline_at_s\": " + number(s.when.time_since_epoch().count());
    } else if (s.timed) {
      line += ", \"deadline_in_s\": " + number(left(s.when, p.now));
    }
    if (s.verdict != 0) {
      line += ", \"cause\": " + quoted(s.cause ? s.cause.message() : "");
      line += ", \"ended_at\": " + json_place(s.ended.file_name(), s.ended.line());
      if (s.ended_by != nowhere && p.contexts[s.ended_by].id != 0)
        line += ", \"ended_by\": \"" + id(p.contexts[s.ended_by]) + '"';
    }
    if (s.line != 0) line += ", \"made_at\": " + json_place(s.file, s.line);
    out(line += '}');
  }
  out("\n]}\n");
}

}  // namespace

void dump(std::ostream& out, const context& root, dump_format format) {
  switch (format) {
    case dump_format::text:
    case dump_format::dot:
    case dump_format::json: break;
    default: misuse("heed::dump: not a format");
  }
  const picture p = look(root);
  sink to(out);
  switch (format) {
    case dump_format::text: as_text(p, to); break;
    case dump_format::dot: as_dot(p, to); break;
    case dump_format::json: as_json(p, to); break;
  }
  to.flush();
}

}  // namespace heed::inline v0
