// Times as people read them, for every 64-bit number of milliseconds.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdio>
#include <limits>

#include "base/clock.h"

namespace rejoin {
namespace {

TEST(Iso8601, KnownTimes) {
  EXPECT_EQ(iso8601(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(iso8601(1'763'722'323'141), "2025-11-21T10:52:03.141Z");
  EXPECT_EQ(iso8601(951'782'400'000), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(iso8601(951'868'799'999), "2000-02-29T23:59:59.999Z");
  EXPECT_EQ(iso8601(4'107'542'400'000), "2100-03-01T00:00:00.000Z");
  EXPECT_EQ(iso8601(253'402'300'799'999), "9999-12-31T23:59:59.999Z");
}

TEST(Iso8601, TimesBefore1970) {
  EXPECT_EQ(iso8601(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(iso8601(-86'400'000), "1969-12-31T00:00:00.000Z");
  EXPECT_EQ(iso8601(-86'400'001), "1969-12-30T23:59:59.999Z");
  EXPECT_EQ(iso8601(-62'167'219'200'000), "0000-01-01T00:00:00.000Z");
  EXPECT_EQ(iso8601(-62'167'219'200'001), "-001-12-31T23:59:59.999Z");
}

TEST(Iso8601, Extremes) {
  EXPECT_EQ(iso8601(253'402'300'800'000), "10000-01-01T00:00:00.000Z");
  EXPECT_EQ(iso8601(std::numeric_limits<int64_t>::max()), "292278994-08-17T07:12:55.807Z");
  EXPECT_EQ(iso8601(std::numeric_limits<int64_t>::min()), "-292275055-05-16T16:47:04.192Z");
}

RC_GTEST_PROP(Iso8601, OrdersAsTimeDoes, ()) {
  auto a = *rc::gen::resize(1000, rc::gen::inRange<int64_t>(-62'167'219'200'000, 253'402'300'800'000));
  auto b = *rc::gen::map(rc::gen::arbitrary<int32_t>(), [a](int32_t d) { return a + d; });
  RC_PRE(b > -62'167'219'200'000 && b < 253'402'300'800'000);
  RC_ASSERT(iso8601(a).size() == 24u);
  RC_ASSERT((iso8601(a) < iso8601(b)) == (a < b));
}

TEST(FakeClock, SaysWhatItIsTold) {
  FakeClock clock(5);
  EXPECT_EQ(clock.now_ms(), 5);
  clock.advance(-7);
  EXPECT_EQ(clock.now_ms(), -2);
  clock.set(9);
  EXPECT_EQ(clock.now_ms(), 9);
}

}  // namespace
}  // namespace rejoin
