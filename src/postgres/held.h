// The values of a row that is not visible (dead, or not born here yet): rejoin.record.held.
#pragma once

#include <map>

#include "base/bytes.h"
#include "crdt/value.h"

namespace rejoin::postgres {

// By column id. At rest: per value a varint column, u8 type (crdt::ValueType), then nothing, a zigzag varint, 8 bytes
// big-endian, or a length and bytes; columns ascending.
using Held = std::map<uint32_t, crdt::OwnedValue>;

Bytes encode_held(const Held& held);
// False when damaged.
bool decode_held(BytesView in, Held& held);

}  // namespace rejoin::postgres
