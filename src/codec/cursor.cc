#include "codec/cursor.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace rejoin::codec {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kScanning = 0x80;
constexpr size_t kCheckBytes = 4;

void put_check(Bytes& out) {
  auto low = static_cast<uint32_t>(XXH3_64bits(out.data(), out.size()));
  for (int shift = 24; shift >= 0; shift -= 8) put_u8(out, static_cast<uint8_t>(low >> shift));
}

}  // namespace

Bytes encode_cursor(const Cursor& cursor) {
  Bytes out;
  put_u8(out, kVersion | (cursor.scanning ? kScanning : 0));
  put_varint(out, cursor.position);
  put_varint(out, cursor.token);
  put_varint(out, cursor.horizon);
  put_varint(out, cursor.table);
  out.append(cursor.key);
  put_check(out);
  return out;
}

std::optional<Cursor> decode_cursor(BytesView in) {
  if (in.empty()) return Cursor{};
  if (in.size() < kCheckBytes) return std::nullopt;
  Bytes body(in.substr(0, in.size() - kCheckBytes)), again = body;
  put_check(again);
  if (again != in) return std::nullopt;
  ByteReader reader(body);
  uint8_t head = reader.u8();
  if ((head & ~kScanning) != kVersion) return std::nullopt;
  Cursor cursor;
  cursor.scanning = (head & kScanning) != 0;
  cursor.position = reader.varint();
  cursor.token = reader.varint();
  cursor.horizon = reader.varint();
  cursor.table = reader.varint();
  cursor.key = reader.take(reader.left());
  if (!reader.ok()) return std::nullopt;
  return cursor;
}

}  // namespace rejoin::codec
