// Values that own their bytes, compared bit for bit and printed as text that reads back exactly.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/value.h"

namespace rejoin::sim {

struct Value {
  crdt::ValueType type = crdt::ValueType::null;
  int64_t integer = 0;
  double real = 0;
  std::string bytes;  // text and blob

  static Value null() { return {}; }
  static Value of(int64_t v) { return {crdt::ValueType::integer, v, 0, {}}; }
  static Value of(double v) { return {crdt::ValueType::real, 0, v, {}}; }
  static Value text(std::string v) { return {crdt::ValueType::text, 0, 0, std::move(v)}; }
  static Value blob(std::string v) { return {crdt::ValueType::blob, 0, 0, std::move(v)}; }
  static Value of(const crdt::ValueRef& v);
  // A view into this value.
  crdt::ValueRef ref() const;
};

// By type, then by value; reals by their bits. An order for maps, nothing more.
int compare(const Value& a, const Value& b);
inline bool operator==(const Value& a, const Value& b) { return compare(a, b) == 0; }
inline bool operator<(const Value& a, const Value& b) { return compare(a, b) < 0; }

using Key = std::vector<Value>;

// null, 42, 0x1.8p+1 (hexadecimal reals; inf and -inf), 'text' with %hh for everything but letters, digits and a few
// signs, x'00ff'. No blanks, commas or equals signs ever occur in it.
std::string print(const Value& value);
// Nothing when malformed.
std::optional<Value> parse_value(std::string_view text);
// The values, joined by '/'.
std::string print(const Key& key);

}  // namespace rejoin::sim
