// Versions and canonical values are totally ordered: of two different writes every replica names the same winner.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

#include "crdt/law_generators.h"
#include "crdt/value.h"
#include "crdt/version.h"

namespace rejoin::crdt {
namespace {

int sign(int v) { return (v > 0) - (v < 0); }

// Owns what a ValueRef looks at.
struct AnyValue {
  ValueType type = ValueType::null;
  int64_t integer = 0;
  double real = 0;
  Bytes bytes;
  ValueRef ref() const {
    switch (type) {
      case ValueType::null:
        return ValueRef::of_null();
      case ValueType::integer:
        return ValueRef::of_integer(integer);
      case ValueType::real:
        return ValueRef::of_real(real);
      case ValueType::text:
        return ValueRef::of_text(bytes);
      case ValueType::blob:
        return ValueRef::of_blob(bytes);
    }
    return {};
  }
};
void showValue(const AnyValue& v, std::ostream& out) { out << value_json(v.ref()); }

rc::Gen<double> real() {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  return rc::gen::oneOf(rc::gen::element(0.0, -0.0, 1.0, -1.0, inf, -inf, nan, -nan, 5e-324, -5e-324, 1e300),
                        rc::gen::arbitrary<double>());
}

rc::Gen<AnyValue> value() {
  return rc::gen::build<AnyValue>(
      rc::gen::set(&AnyValue::type, rc::gen::element(ValueType::null, ValueType::integer, ValueType::real,
                                                     ValueType::text, ValueType::blob)),
      rc::gen::set(&AnyValue::integer, rc::gen::oneOf(rc::gen::inRange<int64_t>(-2, 3), rc::gen::arbitrary<int64_t>(),
                                                      rc::gen::element(std::numeric_limits<int64_t>::min(),
                                                                       std::numeric_limits<int64_t>::max()))),
      rc::gen::set(&AnyValue::real, real()),
      rc::gen::set(&AnyValue::bytes, rc::gen::container<Bytes>(rc::gen::element('\0', 'a', '\x7f', '\x80', '\xff'))));
}

RC_GTEST_PROP(TotalOrder, VersionsAreTotallyOrdered, ()) {
  const SiteTable& sites = law::sites();
  auto a = *law::stamp_or_bottom(), b = *law::stamp_or_bottom(), c = *law::stamp_or_bottom();
  RC_ASSERT(compare(a, a, sites) == 0);
  RC_ASSERT(compare(a, b, sites) == -compare(b, a, sites));
  if (compare(a, b, sites) <= 0 && compare(b, c, sites) <= 0) RC_ASSERT(compare(a, c, sites) <= 0);
  RC_ASSERT((compare(a, b, sites) == 0) == (a == b));
}

RC_GTEST_PROP(TotalOrder, VersionsCompareByClockThenBySiteBytes, ()) {
  auto ids = *rc::gen::container<std::vector<Bytes>>(
      2, rc::gen::container<Bytes>(16, rc::gen::element('\0', '\x01', '\x7f', '\x80', '\xff')));
  auto hlc =
      *rc::gen::container<std::vector<Hlc>>(2, rc::gen::oneOf(rc::gen::inRange<Hlc>(1, 4), rc::gen::nonZero<Hlc>()));
  SiteTable sites;
  Stamp a{hlc[0], sites.intern(SiteId::from(ids[0]))}, b{hlc[1], sites.intern(SiteId::from(ids[1]))};
  // std::string compares as unsigned bytes.
  int expected = hlc[0] != hlc[1] ? (hlc[0] < hlc[1] ? -1 : 1) : sign(ids[0].compare(ids[1]));
  RC_ASSERT(compare(a, b, sites) == expected);
}

TEST(TotalOrder, BottomIsBelowEveryWriteWhateverItsSite) {
  for (uint32_t site = 0; site < 3; ++site) {
    EXPECT_LT(compare({}, {1, site}, law::sites()), 0);
    EXPECT_EQ(compare({kBottomHlc, site}, {}, law::sites()), 0);
  }
}

RC_GTEST_PROP(TotalOrder, CanonicalValuesAreTotallyOrdered, ()) {
  auto a = *value(), b = *value(), c = *value();
  int ab = compare_canonical(a.ref(), b.ref());
  RC_ASSERT(compare_canonical(a.ref(), a.ref()) == 0);
  RC_ASSERT(sign(ab) == -sign(compare_canonical(b.ref(), a.ref())));
  if (ab <= 0 && compare_canonical(b.ref(), c.ref()) <= 0) RC_ASSERT(compare_canonical(a.ref(), c.ref()) <= 0);
  RC_ASSERT((ab == 0) == same_value(a.ref(), b.ref()));
  if (a.type != b.type) RC_ASSERT((ab < 0) == (a.type < b.type));
}

TEST(TotalOrder, RealsFollowIeeeTotalOrder) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const double order[] = {-nan, -inf, -1e300, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1e300, inf, nan};
  for (size_t i = 0; i < std::size(order); ++i)
    for (size_t j = 0; j < std::size(order); ++j) {
      EXPECT_EQ(sign(compare_canonical(ValueRef::of_real(order[i]), ValueRef::of_real(order[j]))),
                sign(int(i) - int(j)))
          << order[i] << " " << order[j];
      EXPECT_EQ(same_value(ValueRef::of_real(order[i]), ValueRef::of_real(order[j])), i == j);
    }
}

TEST(TotalOrder, TypesAreNeverEqual) {
  EXPECT_FALSE(same_value(ValueRef::of_integer(1), ValueRef::of_real(1.0)));
  EXPECT_FALSE(same_value(ValueRef::of_text("a"), ValueRef::of_blob("a")));
  EXPECT_FALSE(same_value(ValueRef::of_null(), ValueRef::of_text("")));
  EXPECT_TRUE(same_value(ValueRef::of_null(), ValueRef::of_null()));
  EXPECT_GT(compare_canonical(ValueRef::of_text("\x80"), ValueRef::of_text("\x7f")), 0);
  EXPECT_GT(compare_canonical(ValueRef::of_text(BytesView("a\0", 2)), ValueRef::of_text("a")), 0);
}

}  // namespace
}  // namespace rejoin::crdt
