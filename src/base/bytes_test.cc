// Varints, fixed integers, hexadecimal, and a reader that hostile bytes cannot lead astray.
#include "base/bytes.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <limits>

namespace rejoin {
namespace {

Bytes varint(uint64_t v) {
  Bytes out;
  put_varint(out, v);
  return out;
}

rc::Gen<uint64_t> any_u64() {
  // All magnitudes, not only the large ones.
  return rc::gen::map(
      rc::gen::pair(rc::gen::arbitrary<uint64_t>(), rc::gen::element(0, 1, 7, 8, 14, 21, 32, 57, 62, 63)),
      [](std::pair<uint64_t, int> p) { return p.first >> p.second; });
}

RC_GTEST_PROP(Bytes, VarintsReadBack, ()) {
  auto v = *any_u64();
  Bytes bytes = varint(v);
  ByteReader in(bytes);
  RC_ASSERT(in.varint() == v);
  RC_ASSERT(in.ok() && in.at_end());
  for (size_t n = 0; n < bytes.size(); ++n) {
    ByteReader cut(BytesView(bytes).substr(0, n));
    RC_ASSERT(cut.varint() == 0u);
    RC_ASSERT(!cut.ok());
  }
}

RC_GTEST_PROP(Bytes, EveryByteStringIsTheOneFormOfItsVarintOrFails, ()) {
  auto bytes = *rc::gen::container<Bytes>(rc::gen::element('\x00', '\x01', '\x02', '\x7f', '\x80', '\x81', '\xff'));
  ByteReader in(bytes);
  uint64_t v = in.varint();
  if (!in.ok()) return;
  RC_ASSERT(varint(v) == bytes.substr(0, bytes.size() - in.left()));
}

TEST(Bytes, VarintForms) {
  EXPECT_EQ(to_hex(varint(0)), "00");
  EXPECT_EQ(to_hex(varint(127)), "7f");
  EXPECT_EQ(to_hex(varint(128)), "8001");
  EXPECT_EQ(to_hex(varint(300)), "ac02");
  EXPECT_EQ(to_hex(varint(~uint64_t{0})), "ffffffffffffffffff01");
  for (const char* hex : {"", "80", "8000", "ff00", "808000", "ffffffffffffffffff02", "ffffffffffffffffff8100",
                          "80808080808080808080", "80808080808080808000"}) {
    Bytes bytes = *from_hex(hex);
    ByteReader in(bytes);
    EXPECT_EQ(in.varint(), 0u) << hex;
    EXPECT_FALSE(in.ok()) << hex;
  }
}

RC_GTEST_PROP(Bytes, ZigzagKeepsSmallNumbersSmallAndReadsBack, ()) {
  auto v = static_cast<int64_t>(*any_u64());
  RC_ASSERT(unzigzag(zigzag(v)) == v);
  RC_ASSERT(zigzag(unzigzag(static_cast<uint64_t>(v))) == static_cast<uint64_t>(v));
  Bytes out;
  put_varint(out, zigzag(v));
  ByteReader in(out);
  RC_ASSERT(in.signed_varint() == v);
}

TEST(Bytes, Zigzag) {
  EXPECT_EQ(zigzag(0), 0u);
  EXPECT_EQ(zigzag(-1), 1u);
  EXPECT_EQ(zigzag(1), 2u);
  EXPECT_EQ(zigzag(std::numeric_limits<int64_t>::max()), ~uint64_t{1});
  EXPECT_EQ(zigzag(std::numeric_limits<int64_t>::min()), ~uint64_t{0});
}

RC_GTEST_PROP(Bytes, BigEndianOrdersAsNumbersDo, ()) {
  auto a = *any_u64(), b = *any_u64();
  Bytes x, y;
  put_be64(x, a), put_be64(y, b);
  RC_ASSERT((x < y) == (a < b));
  RC_ASSERT(load_be64(x.data()) == a);
  ByteReader in(x);
  RC_ASSERT(in.be64() == a);
}

RC_GTEST_PROP(Bytes, HexReadsBack, (const Bytes& bytes)) { RC_ASSERT(from_hex(to_hex(bytes)) == bytes); }

TEST(Bytes, Hex) {
  EXPECT_EQ(to_hex(BytesView("\x00\x7f\xff", 3)), "007fff");
  EXPECT_EQ(from_hex("007FfF"), Bytes("\x00\x7f\xff", 3));
  EXPECT_EQ(from_hex(""), Bytes());
  for (const char* wrong : {"0", "0g", "g0", "0x12", " 00", "00 "}) EXPECT_EQ(from_hex(wrong), std::nullopt) << wrong;
}

TEST(Bytes, AFailureSticksAndNothingIsReadAfterIt) {
  Bytes bytes(
      "\x05"
      "abc",
      4);
  ByteReader in(bytes);
  EXPECT_EQ(in.bytes(), "");  // five are announced, three are there
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.u8(), 0);
  EXPECT_EQ(in.varint(), 0u);
  EXPECT_EQ(in.be64(), 0u);
  EXPECT_EQ(in.take(1), "");
  EXPECT_EQ(in.take(0), "");
  EXPECT_FALSE(in.ok());
}

TEST(Bytes, ReadsInOrder) {
  Bytes out;
  put_u8(out, 0xfe);
  put_bytes(out, "hello");
  put_bytes(out, "");
  put_be64(out, 7);
  ByteReader in(out);
  EXPECT_EQ(in.u8(), 0xfe);
  EXPECT_EQ(in.bytes(), "hello");
  EXPECT_EQ(in.bytes(), "");
  EXPECT_EQ(in.left(), 8u);
  EXPECT_EQ(in.be64(), 7u);
  EXPECT_TRUE(in.ok() && in.at_end());
}

TEST(Bytes, ACountThatTheRestCannotHoldIsRefused) {
  Bytes out;
  put_varint(out, 3);
  out += "abcdef";
  EXPECT_EQ(ByteReader(out).count(2), 3u);
  EXPECT_EQ(ByteReader(out).count(), 3u);
  ByteReader in(out);
  EXPECT_EQ(in.count(3), 0u);
  EXPECT_FALSE(in.ok());
  Bytes huge = varint(~uint64_t{0}) + "abc";
  ByteReader hostile(huge);
  EXPECT_EQ(hostile.take(~uint64_t{0}), "");
  EXPECT_EQ(ByteReader(huge).count(8), 0u);
}

}  // namespace
}  // namespace rejoin
