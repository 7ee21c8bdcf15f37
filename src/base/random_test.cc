// Randomness that tests can replay, and the system's.
#include "base/random.h"

#include <gtest/gtest.h>

namespace rejoin {
namespace {

TEST(Random, ASeedReplays) {
  SeededRandom a(42), b(42), c(43);
  Bytes first = a.bytes(20);
  EXPECT_EQ(first, b.bytes(20));
  EXPECT_NE(first, c.bytes(20));
  EXPECT_NE(first, a.bytes(20));
  EXPECT_EQ(a.bytes(0), "");
}

TEST(Random, TheGeneratorIsSplitMix64) {
  // The first output for seed 1234567, little-endian, as published with the reference implementation.
  SeededRandom random(1234567);
  Bytes bytes = random.bytes(8);
  uint64_t v;
  std::memcpy(&v, bytes.data(), 8);
  EXPECT_EQ(v, 6457827717110365317u);
}

TEST(Random, TheSystemsGeneratorDiffers) { EXPECT_NE(system_random().bytes(32), system_random().bytes(32)); }

}  // namespace
}  // namespace rejoin
