#include "codec/cursor.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <functional>

namespace rejoin::codec {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kScanning = 0x80, kOwn = 0x40, kView = 0x20, kWas = 0x10, kOne = 0x08, kLeftOut = 0x04, kBack = 0x02;
constexpr size_t kCheckBytes = 4;

void put_check(Bytes& out) {
  auto low = static_cast<uint32_t>(XXH3_64bits(out.data(), out.size()));
  for (int shift = 24; shift >= 0; shift -= 8) put_u8(out, static_cast<uint8_t>(low >> shift));
}

}  // namespace

Bytes encode_cursor(const Cursor& cursor) {
  Bytes out;
  put_u8(out, static_cast<uint8_t>(kVersion | (cursor.scanning ? kScanning : 0) | (cursor.own ? kOwn : 0) |
                                   (cursor.view ? kView : 0) | (cursor.was ? kWas : 0) | (cursor.one ? kOne : 0) |
                                   (cursor.left_out.empty() ? 0 : kLeftOut) | (cursor.back ? kBack : 0)));
  put_varint(out, cursor.position);
  put_varint(out, cursor.token);
  put_varint(out, cursor.horizon);
  put_varint(out, cursor.table);
  if (cursor.view) put_varint(out, cursor.view);
  if (cursor.was) put_varint(out, cursor.was);
  if (!cursor.left_out.empty()) put_varint(out, cursor.left_out.size());
  for (uint64_t table : cursor.left_out) put_varint(out, table);
  if (cursor.back) put_varint(out, cursor.back), put_varint(out, cursor.since);
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
  if ((head & ~(kScanning | kOwn | kView | kWas | kOne | kLeftOut | kBack)) != kVersion) return std::nullopt;
  Cursor cursor;
  cursor.scanning = (head & kScanning) != 0;
  cursor.position = reader.varint();
  cursor.token = reader.varint();
  cursor.horizon = reader.varint();
  cursor.table = reader.varint();
  cursor.own = (head & kOwn) != 0;
  if (head & kView) cursor.view = reader.varint();
  if (head & kWas) cursor.was = reader.varint();
  cursor.one = (head & kOne) != 0;
  if (head & kLeftOut) {
    const uint64_t tables = reader.varint();
    if (tables == 0 || tables > reader.left()) return std::nullopt;
    for (uint64_t i = 0; i < tables; ++i) cursor.left_out.push_back(reader.varint());
    if (std::adjacent_find(cursor.left_out.begin(), cursor.left_out.end(), std::greater_equal<>()) !=
        cursor.left_out.end())
      return std::nullopt;
  }
  if (head & kBack) cursor.back = reader.varint(), cursor.since = reader.varint();
  if ((cursor.view != 0) != ((head & kView) != 0) || (cursor.was != 0) != ((head & kWas) != 0) ||
      (cursor.back != 0) != ((head & kBack) != 0))
    return std::nullopt;
  cursor.key = reader.take(reader.left());
  if (!reader.ok()) return std::nullopt;
  return cursor;
}

}  // namespace rejoin::codec
