#include "crdt/claim.h"

#include <cmath>

#include "base/bytes.h"
#include "crdt/key.h"

namespace rejoin::crdt {
namespace {

bool same_word(std::string_view a, std::string_view upper) {
  if (a.size() != upper.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const char c = a[i] >= 'a' && a[i] <= 'z' ? static_cast<char>(a[i] - 'a' + 'A') : a[i];
    if (c != upper[i]) return false;
  }
  return true;
}

}  // namespace

bool precedes(const Claim& a, const Claim& b, const SiteTable& sites) {
  const int order = compare(a.version, b.version, sites);
  return order != 0 ? order < 0 : a.key < b.key;
}

Stamp claim_version(const RowRecord& record, const ColumnSet& columns, bool key, const SiteTable& sites) {
  Stamp version = key ? record.birth : Stamp{};
  for (const CellGroup& group : record.groups)
    if (group.columns.intersects(columns) && compare(version, group.stamp, sites) < 0) version = group.stamp;
  return version;
}

Collation collation_of(std::string_view name) {
  if (same_word(name, "BINARY")) return Collation::binary;
  if (same_word(name, "NOCASE")) return Collation::nocase;
  return same_word(name, "RTRIM") ? Collation::rtrim : Collation::other;
}

void encode_claimed(const ValueRef& value, Collation collation, Bytes& out) {
  ValueRef v = value;
  if (v.type == ValueType::real && v.real == std::floor(v.real) && v.real >= -0x1p63 && v.real < 0x1p63)
    v = ValueRef::of_integer(static_cast<int64_t>(v.real));
  Bytes folded;
  if (v.type == ValueType::text && collation != Collation::binary) {
    folded = v.bytes;
    if (collation == Collation::nocase)
      for (char& c : folded)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (collation == Collation::rtrim)
      while (!folded.empty() && folded.back() == ' ') folded.pop_back();
    v.bytes = folded;
  }
  Bytes one;
  encode_key(std::span(&v, 1), one);
  put_varint(out, one.size());
  out += one;
}

}  // namespace rejoin::crdt
