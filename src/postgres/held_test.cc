#include "postgres/held.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

namespace rejoin::postgres {
namespace {

using crdt::OwnedValue;
using crdt::ValueRef;

rc::Gen<OwnedValue> any_value() {
  return rc::gen::mapcat(rc::gen::inRange(0, 5), [](int type) -> rc::Gen<OwnedValue> {
    switch (type) {
      case 0:
        return rc::gen::just(OwnedValue());
      case 1:
        return rc::gen::map(rc::gen::arbitrary<int64_t>(),
                            [](int64_t v) { return OwnedValue::of(ValueRef::of_integer(v)); });
      case 2:
        return rc::gen::map(rc::gen::arbitrary<double>(),
                            [](double v) { return OwnedValue::of(ValueRef::of_real(v)); });
      case 3:
        return rc::gen::map(rc::gen::arbitrary<std::string>(),
                            [](const std::string& v) { return OwnedValue::of(ValueRef::of_text(v)); });
      default:
        return rc::gen::map(rc::gen::arbitrary<std::string>(),
                            [](const std::string& v) { return OwnedValue::of(ValueRef::of_blob(v)); });
    }
  });
}

bool same(const Held& a, const Held& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && crdt::same_value(x.second.ref(), y.second.ref());
         });
}

RC_GTEST_PROP(Held, ComesBackAsItWas, ()) {
  Held held;
  for (uint32_t column : *rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange<uint32_t>(0, 32768)))
    held[column] = *any_value();
  Held back;
  RC_ASSERT(decode_held(encode_held(held), back));
  RC_ASSERT(same(held, back));
}

TEST(Held, TheEdgesOfNumbers) {
  Held held;
  held[0] = OwnedValue::of(ValueRef::of_integer(std::numeric_limits<int64_t>::min()));
  held[1] = OwnedValue::of(ValueRef::of_integer(std::numeric_limits<int64_t>::max()));
  held[2] = OwnedValue::of(ValueRef::of_real(-0.0));
  held[3] = OwnedValue::of(ValueRef::of_real(std::numeric_limits<double>::infinity()));
  held[32767] = OwnedValue::of(ValueRef::of_real(std::numeric_limits<double>::denorm_min()));
  Held back;
  ASSERT_TRUE(decode_held(encode_held(held), back));
  EXPECT_TRUE(same(held, back));
  EXPECT_TRUE(std::signbit(back[2].scalar.real));
}

TEST(Held, DamageIsFound) {
  Held held, back;
  held[3] = OwnedValue::of(ValueRef::of_text("text"));
  held[5] = OwnedValue::of(ValueRef::of_integer(300));
  const Bytes good = encode_held(held);
  const Bytes first = encode_held({{3, held[3]}});
  for (size_t n = 1; n < good.size(); ++n)
    EXPECT_EQ(decode_held(BytesView(good).substr(0, n), back), n == first.size()) << n;
  EXPECT_FALSE(decode_held(good + good, back));  // columns do not ascend
  EXPECT_FALSE(decode_held(good + first, back));
  EXPECT_FALSE(decode_held(BytesView("\x03\x05", 2), back));                  // no such type
  EXPECT_FALSE(decode_held(BytesView("\x80\x80\x02\x00", 4), back));          // no such column: 32768
  EXPECT_FALSE(decode_held(BytesView("\x03\x03\xff\xff\xff\x7f", 6), back));  // longer than the rest
  EXPECT_TRUE(decode_held("", back));
  EXPECT_TRUE(back.empty());
}

}  // namespace
}  // namespace rejoin::postgres
