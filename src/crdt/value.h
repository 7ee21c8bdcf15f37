// A cell's value as SQLite knows it, as a view: nothing here owns memory.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace rejoin::crdt {

enum class ValueType : uint8_t { null = 0, integer = 1, real = 2, text = 3, blob = 4 };

// The bytes of text and blob belong to whoever made the view (a SQLite row, a changeset) and live as long as that says.
struct ValueRef {
  ValueType type = ValueType::null;
  union {
    int64_t integer = 0;
    double real;
  };
  BytesView bytes;

  static ValueRef of_null() { return {}; }
  static ValueRef of_integer(int64_t v) {
    ValueRef r;
    r.type = ValueType::integer, r.integer = v;
    return r;
  }
  static ValueRef of_real(double v) {
    ValueRef r;
    r.type = ValueType::real, r.real = v;
    return r;
  }
  static ValueRef of_text(BytesView v) {
    ValueRef r;
    r.type = ValueType::text, r.bytes = v;
    return r;
  }
  static ValueRef of_blob(BytesView v) {
    ValueRef r;
    r.type = ValueType::blob, r.bytes = v;
    return r;
  }
};

// A value that owns its bytes.
struct OwnedValue {
  ValueRef scalar;
  Bytes bytes;
  static OwnedValue of(const ValueRef& v) { return {v, Bytes(v.bytes)}; }
  // Lives as long as this does, unmoved.
  ValueRef ref() const {
    ValueRef r = scalar;
    r.bytes = bytes;
    return r;
  }
};

// Same type and same value; reals by their bits, so that -0.0 and 0.0 differ and a NaN equals itself.
bool same_value(const ValueRef& a, const ValueRef& b);

// The canonical total order that decides between different values of one version (damage or forgery only): by type,
// then integers by value, reals by IEEE 754 totalOrder, text and blobs bytewise. <0, 0, >0.
int compare_canonical(const ValueRef& a, const ValueRef& b);

}  // namespace rejoin::crdt
