// Stamps, the site table, and the clock of a fold.
#include "crdt/version.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "crdt/law_generators.h"

namespace rejoin::crdt {
namespace {

SiteId site_of(uint8_t first, uint8_t last = 0) {
  SiteId id;
  id.bytes[0] = static_cast<char>(first), id.bytes[15] = static_cast<char>(last);
  return id;
}

TEST(Version, MillisecondsAreTheUpper48Bits) {
  EXPECT_EQ(hlc_of_ms(1), 0x10000u);
  EXPECT_EQ(hlc_of_ms(1'700'000'000'123), 1'700'000'000'123u << 16);
  EXPECT_EQ(ms_of_hlc(hlc_of_ms(1'700'000'000'123) + 65535), 1'700'000'000'123);
}

TEST(Version, ClocksOutsideTheRangeAreClamped) {
  EXPECT_EQ(hlc_of_ms(0), kBottomHlc);
  EXPECT_EQ(hlc_of_ms(-1), kBottomHlc);
  EXPECT_EQ(hlc_of_ms(std::numeric_limits<int64_t>::min()), kBottomHlc);
  const Hlc greatest = 0x7fff'ffff'ffff'0000;  // still positive as SQLite's signed integer
  EXPECT_EQ(hlc_of_ms((int64_t{1} << 47) - 1), greatest);
  EXPECT_EQ(hlc_of_ms(int64_t{1} << 47), greatest);
  EXPECT_EQ(hlc_of_ms(std::numeric_limits<int64_t>::max()), greatest);
}

RC_GTEST_PROP(Version, HlcOfMsNeverFalls, (int64_t a, int64_t b)) {
  RC_ASSERT((a <= b) == (hlc_of_ms(a) <= hlc_of_ms(b)) || hlc_of_ms(a) == hlc_of_ms(b));
}

TEST(Version, SitesAreNumberedInOrderOfFirstMeeting) {
  SiteTable sites;
  EXPECT_EQ(sites.find(site_of(9)), -1);
  EXPECT_EQ(sites.intern(site_of(9)), 0u);
  EXPECT_EQ(sites.intern(site_of(3)), 1u);
  EXPECT_EQ(sites.intern(site_of(9)), 0u);
  EXPECT_EQ(sites.intern(site_of(9, 1)), 2u);
  EXPECT_EQ(sites.size(), 3u);
  EXPECT_EQ(sites.find(site_of(3)), 1);
  EXPECT_TRUE(sites[2] == site_of(9, 1));
  EXPECT_TRUE(sites.contains(2));
  EXPECT_FALSE(sites.contains(3));
}

RC_GTEST_PROP(FoldClock, IsTheRunningMaximum, (const std::vector<int64_t>& clock, uint32_t before)) {
  FoldClock fold(before);
  Hlc floor = std::max<Hlc>(before, kBeforeTrackingHlc) + 1, running = floor;
  for (int64_t ms : clock) {
    running = std::max(running, hlc_of_ms(ms));
    RC_ASSERT(fold.stamp(ms) == running);
    RC_ASSERT(fold.last() == running);
  }
}

TEST(FoldClock, GivesNothingBelowOrAtWhatCameBefore) {
  FoldClock fold(hlc_of_ms(5000) + 7);
  EXPECT_EQ(fold.last(), hlc_of_ms(5000) + 7);
  EXPECT_EQ(fold.stamp(4000), hlc_of_ms(5000) + 8);  // the clock went back
  EXPECT_EQ(fold.stamp(5000), hlc_of_ms(5000) + 8);
  EXPECT_EQ(fold.stamp(5001), hlc_of_ms(5001));
  EXPECT_EQ(fold.stamp(4000), hlc_of_ms(5001));
  EXPECT_EQ(fold.last(), hlc_of_ms(5001));
}

TEST(FoldClock, AClockAt1970DoesNotGiveTheStampOfRowsBeforeTracking) {
  FoldClock fold(kBottomHlc);
  EXPECT_GT(fold.stamp(0), kBeforeTrackingHlc);
  EXPECT_GT(FoldClock(kBottomHlc).stamp(-5), kBeforeTrackingHlc);
}

TEST(FoldClock, AFoldWithoutEntriesLeavesLastAlone) { EXPECT_EQ(FoldClock(42).last(), 42u); }

}  // namespace
}  // namespace rejoin::crdt
