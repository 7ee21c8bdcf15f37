#include "sim/value.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace rejoin::sim {
namespace {

using crdt::ValueType;

uint64_t bits_of(double v) {
  uint64_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

template <class T>
int order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

bool plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::strchr("-_.:!?+*", c);
}

}  // namespace

Value Value::of(const crdt::ValueRef& v) {
  switch (v.type) {
    case ValueType::null:
      return null();
    case ValueType::integer:
      return of(v.integer);
    case ValueType::real:
      return of(v.real);
    case ValueType::text:
      return text(std::string(v.bytes));
    case ValueType::blob:
      return blob(std::string(v.bytes));
  }
  return null();
}

crdt::ValueRef Value::ref() const {
  switch (type) {
    case ValueType::null:
      return crdt::ValueRef::of_null();
    case ValueType::integer:
      return crdt::ValueRef::of_integer(integer);
    case ValueType::real:
      return crdt::ValueRef::of_real(real);
    case ValueType::text:
      return crdt::ValueRef::of_text(bytes);
    case ValueType::blob:
      return crdt::ValueRef::of_blob(bytes);
  }
  return {};
}

int compare(const Value& a, const Value& b) {
  if (a.type != b.type) return order(a.type, b.type);
  switch (a.type) {
    case ValueType::null:
      return 0;
    case ValueType::integer:
      return order(a.integer, b.integer);
    case ValueType::real:
      return order(bits_of(a.real), bits_of(b.real));
    case ValueType::text:
    case ValueType::blob:
      return order(a.bytes, b.bytes);
  }
  return 0;
}

std::string print(const Value& value) {
  char buffer[64];
  switch (value.type) {
    case ValueType::null:
      return "null";
    case ValueType::integer:
      return std::to_string(value.integer);
    case ValueType::real:
      if (std::isinf(value.real)) return value.real > 0 ? "inf" : "-inf";
      std::snprintf(buffer, sizeof buffer, "%a", value.real);
      return buffer;
    case ValueType::text: {
      std::string out = "'";
      for (char c : value.bytes) {
        if (c != '\0' && plain(c)) {
          out += c;
        } else {
          std::snprintf(buffer, sizeof buffer, "%%%02x", static_cast<unsigned char>(c));
          out += buffer;
        }
      }
      return out + "'";
    }
    case ValueType::blob:
      return "x'" + to_hex(value.bytes) + "'";
  }
  return "null";
}

std::optional<Value> parse_value(std::string_view text) {
  if (text == "null") return Value::null();
  if (text == "inf") return Value::of(HUGE_VAL);
  if (text == "-inf") return Value::of(-HUGE_VAL);
  if (text.size() >= 3 && text.substr(0, 2) == "x'" && text.back() == '\'') {
    auto bytes = from_hex(text.substr(2, text.size() - 3));
    if (!bytes) return std::nullopt;
    return Value::blob(*bytes);
  }
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'') {
    std::string out;
    for (size_t i = 1; i + 1 < text.size(); ++i) {
      if (text[i] != '%') {
        if (!plain(text[i])) return std::nullopt;
        out += text[i];
        continue;
      }
      if (i + 3 >= text.size()) return std::nullopt;
      auto byte = from_hex(text.substr(i + 1, 2));
      if (!byte) return std::nullopt;
      out += *byte;
      i += 2;
    }
    return Value::text(out);
  }
  std::string copy(text);
  char* end = nullptr;
  errno = 0;
  if (copy.find_first_of("xX") != std::string::npos) {
    double real = std::strtod(copy.c_str(), &end);
    if (*end || end == copy.c_str()) return std::nullopt;
    return Value::of(real);
  }
  long long integer = std::strtoll(copy.c_str(), &end, 10);
  if (*end || end == copy.c_str() || errno) return std::nullopt;
  return Value::of(static_cast<int64_t>(integer));
}

std::string print(const Key& key) {
  std::string out;
  for (const Value& v : key) {
    if (!out.empty()) out += '/';
    out += print(v);
  }
  return out;
}

}  // namespace rejoin::sim
