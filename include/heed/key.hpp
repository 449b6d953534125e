// Keys of values, and what lookups see of a context; how a value is kept, and written as text.
#pragma once

#include <heed/export.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

namespace heed::inline v0 {

/// What a key is apart from its type: an address and a name. Use key<T>.
class key_base {
 public:
  key_base(const key_base&) = delete;
  key_base& operator=(const key_base&) = delete;
  /// The name for people, as given to the constructor.
  constexpr const char* name() const noexcept { return name_; }

 protected:
  // Hashed once, here. What the compiler makes has no address yet, so its name is hashed: lookups of one that
  // is not there, where another one of that name is, take longer.
  constexpr explicit key_base(const char* name) noexcept
      : name_(name ? name : ""), bits_(std::is_constant_evaluated() ? bits_of(name_) : bits_of(this)) {}
  ~key_base() = default;

 private:
  friend struct node_head;
  // Three of the bits 2 to 63.
  static constexpr std::uint64_t three_bits(std::uint64_t hash) noexcept {
    hash = (hash ^ hash >> 32) * 0x2545F4914F6CDD1D;
    std::uint64_t bits = 0;
    for (int from = 32; from < 56; from += 8) bits |= std::uint64_t(1) << (2 + (hash >> from) % 62);
    return bits;
  }
  static constexpr std::uint64_t bits_of(const char* name) noexcept {
    if (!__builtin_constant_p(*name)) return 0;  // a name that is not known yet
    std::uint64_t hash = 0xCBF29CE484222325;     // FNV-1a
    for (; *name; ++name) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001B3;
    return three_bits(hash);
  }
  static std::uint64_t bits_of(const key_base* address) noexcept {
    return three_bits(reinterpret_cast<std::uintptr_t>(address));
  }

  const char* name_;
  std::uint64_t bits_;  // what it is in the filters of contexts; 0: not known, perhaps not yet
};

/// Names a value of type T in contexts. Its identity is the object's address; the name is for people.
///
///     inline constexpr heed::key<user> user_key{"user"};     // in a header: the same key in every file
///
/// A key, and the string of its name, must outlive every context made with it: give keys static storage, as
/// above. heed never reads a dead key to find or destroy a value, but to_string() prints its name. A
/// temporary is refused at compile time. Different keys are best given different names: lookups are quicker
/// then, no more.
template <class T>
class key : public key_base {
  static_assert(std::is_object_v<T> && !std::is_array_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "heed::key<T>: T is the type of the stored value: an object type, not const, not an array");

 public:
  constexpr explicit key(const char* name) noexcept : key_base(name) {}
  key(std::nullptr_t) = delete;
  key(const key&) = delete;
};

// What value() sees of a node: enough to find the nearest value, and to tell most misses, without a call.
// What it means, and that the offsets are right, is for src/values.hpp.
struct node_head {
  // The forms of `lookup`, in its lowest bits. With all but the first, the others are a filter: one that is
  // set stands in no key at or above, so that a key that has it is not there.
  static constexpr std::uint64_t form = 0b11;    // 0b00: the address of the nearest head that answers, or 0
  static constexpr std::uint64_t others = 0b01;  // this is not a value
  static constexpr std::uint64_t late = 0b10;    // this is a value, of those with a second filter
  static constexpr std::uint64_t early = 0b11;   // this is a value

  static constexpr bool fits_inside(std::size_t size, std::size_t align) noexcept {
    return size <= sizeof(std::uint32_t) && align <= alignof(std::uint32_t);
  }
  // Of a value made of a V: whether nothing but its bytes is to be kept, and whether it fits inside, too.
  template <class T, class V>
  static constexpr bool is_its_bytes =
      std::is_trivially_copyable_v<T> && std::is_trivially_constructible_v<T, V> && sizeof(T) <= 32 &&
      alignof(T) <= alignof(std::uint64_t);
  template <class T, class V>
  static constexpr bool is_small = is_its_bytes<T, V> && fits_inside(sizeof(T), alignof(T));
  template <class T>
  static std::uint32_t bytes_of(const T& value) noexcept {
    std::uint32_t bytes = 0;
    std::char_traits<char>::copy(reinterpret_cast<char*>(&bytes),
                                 reinterpret_cast<const char*>(std::addressof(value)), sizeof(T));
    return bytes;
  }
  // The same of one that is_its_bytes, in words.
  template <class T>
  struct words {
    explicit words(const T& value) noexcept {
      std::char_traits<char>::copy(reinterpret_cast<char*>(at),
                                   reinterpret_cast<const char*>(std::addressof(value)), sizeof(T));
    }
    std::uint64_t at[(sizeof(T) + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t)] = {};
  };
  static constexpr std::size_t inside = sizeof(std::uint64_t) + sizeof(void*) + 3 * sizeof(std::uint32_t);
  static constexpr std::size_t key_at = inside + sizeof(std::uint32_t);

  // The bits that a key has in a filter; 0: nothing can be told. Of the object, whatever the compiler thinks
  // to know of it: other files, compiled with another name for the key, are to see the same.
  static std::uint64_t bits_of(const key_base& k) noexcept {
    const key_base* object = &k;
    asm("" : "+r"(object));
    return object->bits_;
  }

  // The nearest head that answers; null: none.
  const node_head* answering() const noexcept {
    if (lookup & form) return this;
    return reinterpret_cast<const node_head*>(static_cast<std::uintptr_t>(lookup));
  }
  // Of one that answers. False: no node at or above has a value for it.
  bool may_know(const key_base& k) const noexcept { return (lookup & bits_of(k)) == 0; }
  bool is_value() const noexcept { return (lookup & late) != 0; }
  // Of a value.
  bool is_of(const key_base& k) const noexcept { return at<const key_base*>(key_at) == &k; }
  // The value, of type T.
  template <class T>
  const T* value() const noexcept {
    const std::size_t offset = fits_inside(sizeof(T), alignof(T)) ? inside : at<std::uint32_t>(inside);
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(this) + offset);
  }
  template <class Field>
  Field at(std::size_t offset) const noexcept {
    return *reinterpret_cast<const Field*>(reinterpret_cast<const char*>(this) + offset);
  }

  const std::uint64_t lookup;
};

/// How a value of some type is kept: made by with_value(), of no use elsewhere.
struct value_type {
  std::size_t size;
  std::size_t align;
  void (*destroy)(void* value) noexcept;  // null: nothing is to be done
  std::string (*print)(const void* value);
};

/// The text of a value in context::to_string(): the value itself where there is a common way to write it,
/// its type's name otherwise.
template <class T>
std::string describe_value(const T& value) {
  if constexpr (std::is_null_pointer_v<T>) {
    return "null";
  } else if constexpr (std::is_convertible_v<const T&, std::string>) {
    if constexpr (std::is_pointer_v<T>) {
      if (!value) return "null";
    }
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else if constexpr (requires {
                         { to_string(value) } -> std::convertible_to<std::string>;
                       }) {
    return to_string(value);
  } else if constexpr (requires {
                         { value.to_string() } -> std::convertible_to<std::string>;
                       }) {
    return value.to_string();
  } else if constexpr (requires { std::string(value.data(), value.size()); }) {
    return std::string(value.data(), value.size());  // a string_view, or like one
  } else {
    // "... [with T = name; ...]" or "... [T = name]": the compiler's own spelling of T.
    const std::string text = __PRETTY_FUNCTION__;
    const auto from = text.find("T = ") + 4;
    return text.substr(from, text.find_first_of(";]", from) - from);
  }
}

/// The table of one T. One object per type.
template <class T>
inline constexpr value_type value_type_of = {
    sizeof(T), alignof(T),
    std::is_trivially_destructible_v<T> ? nullptr
                                        : +[](void* value) noexcept { static_cast<T*>(value)->~T(); },
    [](const void* value) { return describe_value(*static_cast<const T*>(value)); }};

}  // namespace heed::inline v0
