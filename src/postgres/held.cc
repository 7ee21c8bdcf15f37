#include "postgres/held.h"

#include <bit>

namespace rejoin::postgres {

using crdt::OwnedValue;
using crdt::ValueRef;
using crdt::ValueType;

Bytes encode_held(const Held& held) {
  Bytes out;
  for (const auto& [column, value] : held) {
    put_varint(out, column);
    put_u8(out, static_cast<uint8_t>(value.scalar.type));
    switch (value.scalar.type) {
      case ValueType::null:
        break;
      case ValueType::integer:
        put_varint(out, zigzag(value.scalar.integer));
        break;
      case ValueType::real:
        put_be64(out, std::bit_cast<uint64_t>(value.scalar.real));
        break;
      case ValueType::text:
      case ValueType::blob:
        put_bytes(out, value.bytes);
        break;
    }
  }
  return out;
}

bool decode_held(BytesView in, Held& held) {
  held.clear();
  ByteReader r(in);
  while (r.ok() && !r.at_end()) {
    const uint64_t column = r.varint();
    const uint8_t type = r.u8();
    if (!r.ok() || column >= 32768 || type > static_cast<uint8_t>(ValueType::blob)) return false;
    if (!held.empty() && column <= held.rbegin()->first) return false;
    ValueRef v;
    switch (static_cast<ValueType>(type)) {
      case ValueType::null:
        break;
      case ValueType::integer:
        v = ValueRef::of_integer(r.signed_varint());
        break;
      case ValueType::real:
        v = ValueRef::of_real(std::bit_cast<double>(r.be64()));
        break;
      case ValueType::text:
        v = ValueRef::of_text(r.bytes());
        break;
      case ValueType::blob:
        v = ValueRef::of_blob(r.bytes());
        break;
    }
    held.emplace(static_cast<uint32_t>(column), OwnedValue::of(v));
  }
  return r.ok();
}

}  // namespace rejoin::postgres
