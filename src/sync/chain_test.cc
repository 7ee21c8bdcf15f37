// What a store keeps beside a device's chain. The rest of it is tested with stores (tests/store_conformance_test.cc).
#include "sync/chain.h"

#include <gtest/gtest.h>

namespace rejoin::sync {
namespace {

ApplyOutcome outcome() {
  ApplyOutcome out;
  out.rows_seen = 3;
  out.refused.push_back({"t", "k", "[1]", Code::refused, "why", "row"});
  return out;
}

TEST(Chain, AnOutcomeAtRestHasTheNewestStamp) {
  const Bytes at_rest = encode_outcome(outcome(), 77);
  EXPECT_EQ(stamped_through(at_rest), 77u);
  const ApplyOutcome read = decode_outcome(at_rest);
  EXPECT_EQ(read.rows_seen, 3u);
  ASSERT_EQ(read.refused.size(), 1u);
  EXPECT_EQ(read.refused[0].server, "row");
}

TEST(Chain, OneThatAnOlderBuildWroteSaysNothingOfStamps) {
  const Bytes at_rest = encode_outcome(outcome(), 77);
  const Bytes older = at_rest.substr(0, at_rest.size() - 8);
  EXPECT_EQ(stamped_through(older), 0u);
  EXPECT_EQ(decode_outcome(older).refused.size(), 1u);
}

// A chunk that is staged may be one of those that bring back what an earlier restore lost: the rest is not here yet,
// though the clock is above it already.
TEST(Chain, AStagedChunkSaysNothingOfStamps) {
  ApplyOutcome staged = outcome();
  staged.staged = true;
  EXPECT_EQ(stamped_through(encode_outcome(staged, 77)), 0u);
  EXPECT_TRUE(decode_outcome(encode_outcome(staged, 77)).staged);
}

// A longer one is taken for that of a copied file by the builds before.
TEST(Chain, TokensAreAsLongAsTheyAlwaysWere) { EXPECT_EQ(make_chain_token(system_random(), 7).size(), 16u); }

}  // namespace
}  // namespace rejoin::sync
