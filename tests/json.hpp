// A small JSON reader: for tests that hold what heed writes against the grammar (RFC 8259).
#pragma once

#include <cctype>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heed_test {

struct json {
  enum class type { null, boolean, number, string, list, object };
  type is = type::null;
  std::string text;  // of a string; of a number and a boolean as written
  std::vector<json> items;
  std::map<std::string, json> members;

  const json& operator[](const std::string& name) const {
    static const json none;
    const auto at = members.find(name);
    return at == members.end() ? none : at->second;
  }
  bool has(const std::string& name) const { return members.count(name) != 0; }
};

/// Reads one JSON text; strict. Nothing where it is not well formed.
class json_reader {
 public:
  static std::optional<json> read(std::string_view text) {
    json_reader r(text);
    json value;
    if (!r.value(value)) return std::nullopt;
    r.space();
    if (!r.rest_.empty()) return std::nullopt;
    return value;
  }

 private:
  explicit json_reader(std::string_view text) : rest_(text) {}
  void space() {
    while (!rest_.empty() && std::string_view(" \t\r\n").find(rest_[0]) != rest_.npos) rest_.remove_prefix(1);
  }
  bool skip(char c) {
    space();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view w) {
    if (!rest_.starts_with(w)) return false;
    rest_.remove_prefix(w.size());
    return true;
  }
  bool value(json& v) {
    space();
    if (rest_.empty()) return false;
    switch (rest_[0]) {
      case '{': return object(v);
      case '[': return list(v);
      case '"': v.is = json::type::string; return string(v.text);
      case 't': v = {json::type::boolean, "true", {}, {}}; return word("true");
      case 'f': v = {json::type::boolean, "false", {}, {}}; return word("false");
      case 'n': return word("null");
      default: return number(v);
    }
  }
  bool digits() {
    std::size_t n = 0;
    while (n < rest_.size() && std::isdigit(static_cast<unsigned char>(rest_[n]))) ++n;
    rest_.remove_prefix(n);
    return n > 0;
  }
  bool number(json& v) {
    const std::string_view start = rest_;
    v.is = json::type::number;
    if (rest_[0] == '-') rest_.remove_prefix(1);
    if (rest_.starts_with("0")) {
      rest_.remove_prefix(1);
    } else if (!digits()) {
      return false;
    }
    if (rest_.starts_with(".")) {
      rest_.remove_prefix(1);
      if (!digits()) return false;
    }
    v.text = start.substr(0, start.size() - rest_.size());
    return true;
  }
  bool string(std::string& s) {
    if (!skip('"')) return false;
    while (!rest_.empty() && rest_[0] != '"') {
      if (static_cast<unsigned char>(rest_[0]) < 0x20) return false;
      if (rest_[0] == '\\') {
        if (rest_.size() < 2) return false;
        const std::size_t named = std::string_view("\"\\/bfnrt").find(rest_[1]);
        if (named != std::string_view::npos) {
          s += "\"\\/\b\f\n\r\t"[named];
          rest_.remove_prefix(2);
        } else if (rest_[1] == 'u' && rest_.size() >= 6) {
          unsigned code = 0;
          for (const char c : rest_.substr(2, 4)) {
            if (!std::isxdigit(static_cast<unsigned char>(c))) return false;
            code = code * 16 + static_cast<unsigned>(std::isdigit(static_cast<unsigned char>(c))
                                                         ? c - '0'
                                                         : (c | 32) - 'a' + 10);
          }
          if (code >= 0x80) return false;  // heed writes others as they are
          s += static_cast<char>(code);
          rest_.remove_prefix(6);
        } else {
          return false;
        }
        continue;
      }
      s += rest_[0];
      rest_.remove_prefix(1);
    }
    return skip('"');
  }
  bool list(json& v) {
    v.is = json::type::list;
    if (!skip('[')) return false;
    if (skip(']')) return true;
    do {
      if (!value(v.items.emplace_back())) return false;
    } while (skip(','));
    return skip(']');
  }
  bool object(json& v) {
    v.is = json::type::object;
    if (!skip('{')) return false;
    if (skip('}')) return true;
    do {
      std::string name;
      space();
      if (!string(name) || !skip(':') || v.has(name) || !value(v.members[name])) return false;
    } while (skip(','));
    return skip('}');
  }

  std::string_view rest_;
};

}  // namespace heed_test
