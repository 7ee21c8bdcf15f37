// Primary keys as one byte string, whose bytewise order is the order of the records.
//
// One tagged field per key column, in key order:
//   0x10  integer: 8 bytes big-endian with the sign bit flipped
//   0x20  real: 8 bytes big-endian; sign bit flipped for positives, all bits for negatives (orders as numbers do). As
//   SQLite
//         stores keys: -0.0 is written as 0.0, NaN as null
//   0x30  text; 0x40 blob: in a last column the raw bytes up to the end; elsewhere 0x00 is written 0x00 0xff and the
//   field ends
//         with 0x00 0x01
//   0x38  text that is a canonical lower-case UUID, as its 16 bytes, wherever it stands
//   0x08  null (only in damaged data: keys are never null)
// One key has exactly one encoding: decode refuses any other (a UUID spelled as 0x30, for instance).
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "crdt/value.h"

namespace rejoin::crdt {

// Appends the encoding of `values` to `out`.
void encode_key(std::span<const ValueRef> values, Bytes& out);

// The values of an encoded key. Text and blobs are views into `key` where the bytes stand there as they are, else into
// `scratch` (overwritten; must stay as it is while the values are used). False when malformed or not exactly `columns`
// fields; then `values` is unspecified. Does not allocate when `values` and `scratch` are reused.
bool decode_key(BytesView key, size_t columns, std::vector<ValueRef>& values, Bytes& scratch);

// First bytes of an encoded key as a number: keys whose prefixes differ are ordered as these. The tag byte is nearly
// always the same and wastes an eighth, but keys of different types must still sort by it.
inline uint64_t key_prefix(BytesView key) {
  char buffer[8] = {};
  std::memcpy(buffer, key.data(), std::min<size_t>(8, key.size()));
  return load_be64(buffer);
}

// The key as a JSON array, as rejoin_changes shows it: ["5c1e…"], ["DE", 4], blobs as {"blob":"hex"}. `(damaged)` when
// malformed.
std::string key_json(BytesView key, size_t columns);

}  // namespace rejoin::crdt
