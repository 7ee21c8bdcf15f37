// A cursor comes back as it was, and a mangled one is refused.
#include "codec/cursor.h"

#include <gtest/gtest.h>
// gtest first
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace rejoin::codec {
namespace {

Cursor some_cursor() { return {true, 300, 0x1122334455667788, 1u << 20, 3, Bytes("k\0y", 3)}; }

RC_GTEST_PROP(CursorRoundTrip, any_cursor_comes_back, ()) {
  Cursor cursor{*rc::gen::arbitrary<bool>(),     *rc::gen::arbitrary<uint64_t>(), *rc::gen::arbitrary<uint64_t>(),
                *rc::gen::arbitrary<uint64_t>(), *rc::gen::arbitrary<uint64_t>(), *rc::gen::arbitrary<std::string>()};
  cursor.view = *rc::gen::arbitrary<uint64_t>();
  cursor.one = *rc::gen::arbitrary<bool>();
  cursor.back = *rc::gen::arbitrary<uint64_t>();
  if (cursor.back != 0) cursor.since = *rc::gen::arbitrary<uint64_t>();
  for (uint64_t id : *rc::gen::arbitrary<std::set<uint64_t>>()) cursor.left_out.push_back(id);
  RC_ASSERT(decode_cursor(encode_cursor(cursor)) == cursor);
}

TEST(CursorRoundTrip, extremes_come_back) {
  Cursor cursor = some_cursor();
  cursor.position = cursor.token = cursor.horizon = cursor.table = ~uint64_t{0};
  EXPECT_EQ(decode_cursor(encode_cursor(cursor)), cursor);
  EXPECT_EQ(decode_cursor(encode_cursor({})), Cursor{});
}

TEST(CursorRoundTrip, nothing_is_the_beginning) { EXPECT_EQ(decode_cursor(""), Cursor{}); }

TEST(CursorRoundTrip, the_bytes_are_these) {
  EXPECT_EQ(to_hex(encode_cursor({false, 300, 5, 0, 0, {}})), "01ac020500004d795b36");
  EXPECT_EQ(to_hex(encode_cursor({true, 1, 2, 3, 4, "k"})), "81010203046bede38fa5");
  Cursor left_out{false, 300, 5, 0, 0, {}};
  left_out.left_out = {3, 200};
  EXPECT_EQ(to_hex(encode_cursor(left_out)), "05ac020500000203c8015ab6735d");
}

TEST(MangledCursor, every_flipped_bit_is_noticed) {
  Bytes good = encode_cursor(some_cursor());
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(decode_cursor(bad)) << bit;
  }
}

TEST(MangledCursor, every_cut_and_every_extension_is_noticed) {
  Cursor cursor = some_cursor();
  cursor.left_out = {3, 200};
  Bytes good = encode_cursor(cursor);
  for (size_t n = 1; n < good.size(); ++n) EXPECT_FALSE(decode_cursor(BytesView(good).substr(0, n))) << n;
  EXPECT_FALSE(decode_cursor(good + '\0'));
  EXPECT_FALSE(decode_cursor("/"));
  EXPECT_FALSE(decode_cursor("a cursor of another kind"));
}

}  // namespace
}  // namespace rejoin::codec
