#include "crdt/value.h"

#include <cstring>

namespace rejoin::crdt {
namespace {

// IEEE 754 totalOrder as an order of integers: the bits are sign and magnitude.
int64_t total_order_key(double v) {
  int64_t bits;
  std::memcpy(&bits, &v, 8);
  return bits ^ static_cast<int64_t>(static_cast<uint64_t>(bits >> 63) >> 1);
}

int sign(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

}  // namespace

bool same_value(const ValueRef& a, const ValueRef& b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case ValueType::null:
      return true;
    case ValueType::integer:
      return a.integer == b.integer;
    case ValueType::real:
      return std::memcmp(&a.real, &b.real, 8) == 0;
    case ValueType::text:
    case ValueType::blob:
      break;
  }
  return a.bytes == b.bytes;
}

int compare_canonical(const ValueRef& a, const ValueRef& b) {
  if (a.type != b.type) return a.type < b.type ? -1 : 1;
  switch (a.type) {
    case ValueType::null:
      return 0;
    case ValueType::integer:
      return sign(a.integer, b.integer);
    case ValueType::real:
      return sign(total_order_key(a.real), total_order_key(b.real));
    case ValueType::text:
    case ValueType::blob:
      break;
  }
  int c = a.bytes.compare(b.bytes);
  return c < 0 ? -1 : c > 0;
}

}  // namespace rejoin::crdt
