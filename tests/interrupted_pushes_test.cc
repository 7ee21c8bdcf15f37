// A push that was cut between the chunks of a large change is completed, whatever becomes of the file and of the chunks
// that wait at the server meanwhile.
#include <gtest/gtest.h>

#include "tests/support/store_device.h"

namespace rejoin::testing {
namespace {

class InterruptedPushes : public ::testing::TestWithParam<StoreKind> {
 protected:
  InterruptedPushes() : world(StoreWorld::make(GetParam(), kStoreTables)), device("device", kStoreSchema, kStoreNames) {
    device.peer.run("INSERT INTO todos VALUES('first', 'x', 0)");
    world->sync(device);
    for (int i = 1; i < kRows; ++i) {
      device.peer.run("INSERT INTO todos VALUES('r" + std::to_string(i) + "', 'title of a row', 0)");
      device.peer.seq();
    }
    device.options.chunk_bytes = 700;
    device.options.attempts = 2;
    device.fault = [](uint64_t exchange) { return exchange >= 2 ? Fault::lose_request : Fault::none; };
    EXPECT_TRUE(device.sync(world->node()).error.has_value());
    device.fault = {};
    EXPECT_EQ(world->kept("staged"), 2);
    EXPECT_EQ(rows_there(), 1);
  }
  int64_t rows_there() { return world->number("SELECT count(*) FROM todos"); }

  static constexpr int kRows = 201;
  std::unique_ptr<StoreWorld> world;
  LoopbackDevice device;
};

// Symptom: chunks that waited counted as sent, and belonged to a site that nobody writes as any more.
TEST_P(InterruptedPushes, OfACopiedFile) {
  ASSERT_TRUE(device.peer.rejoin().take_new_identity().ok());
  world->sync(device);
  EXPECT_EQ(rows_there(), kRows);
}

TEST_P(InterruptedPushes, OfAFileOneOfWhoseTablesIsTrackedAnew) {
  ASSERT_TRUE(device.peer.rejoin().untrack("notes").ok());
  device.peer.track("notes");
  world->sync(device);
  EXPECT_EQ(rows_there(), kRows);
}

// Symptom: every sync from then on ended with `gap`.
TEST_P(InterruptedPushes, OfAFileWhoseChangesOthersBringToo) {
  sqlite::PageRequest want;
  want.max_bytes = 700;
  const auto page = device.peer.rejoin().page(want);
  ASSERT_TRUE(page.ok());
  StoreDevice courier("courier");
  sync::PushRequest request = courier.request(page->frame);
  request.may_relay = true;
  ASSERT_TRUE(courier.push(world->store(), request).ok());
  world->sync(device);
  EXPECT_EQ(rows_there(), kRows);
}

INSTANTIATE_TEST_SUITE_P(Stores, InterruptedPushes, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const ::testing::TestParamInfo<StoreKind>& kind) {
                           return kind.param == StoreKind::embedded ? "Embedded" : "Postgres";
                         });

}  // namespace
}  // namespace rejoin::testing
