// std::format("{}", ctx), where the standard library has it.
#pragma once

#include <heed/context.hpp>

#if __has_include(<format>)
#include <format>
#endif

#if defined(__cpp_lib_format)
/// Formats a context as its to_string(); takes the options of a string.
template <>
struct std::formatter<heed::context, char> : std::formatter<std::string, char> {
  template <class FormatContext>
  auto format(const heed::context& ctx, FormatContext& out) const {
    return std::formatter<std::string, char>::format(ctx.to_string(), out);
  }
};
/// Formats an error as its message().
template <>
struct std::formatter<heed::error, char> : std::formatter<std::string, char> {
  template <class FormatContext>
  auto format(const heed::error& e, FormatContext& out) const {
    return std::formatter<std::string, char>::format(e ? e.message() : "null", out);
  }
};
#endif
