// A device that only asked, and got nothing because nothing was new in either direction, counted as gone after 30 days,
// and what it had not read by then could be compacted away.
#include <gtest/gtest.h>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

class IdleDevice : public ::testing::TestWithParam<StoreKind> {};

TEST_P(IdleDevice, IsSeen) {
  auto world =
      StoreWorld::make(GetParam(), {{"todos", "id TEXT PRIMARY KEY, title TEXT", "id text PRIMARY KEY, title text"}});
  LoopbackDevice device("a", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
  device.peer.run("INSERT INTO todos VALUES('k', 'milk')");
  world->sync(device);
  world->sync(device);
  world->age_device("a");
  auto seen = [&] {
    auto devices = world->admin()->devices();
    EXPECT_TRUE(devices.ok() && devices->size() == 1);
    return devices.ok() && devices->size() == 1 ? devices->front().last_seen_ms : -1;
  };
  ASSERT_EQ(seen(), 0);
  const sync::SyncTotals idle = world->sync(device);
  EXPECT_EQ(idle.rows_pushed + idle.rows_pulled, 0u);
  const int64_t first = seen();
  EXPECT_GT(first, 1'600'000'000'000);
  // Once a day is enough: an idle poll writes nothing.
  world->sync(device);
  EXPECT_EQ(seen(), first);
}

INSTANTIATE_TEST_SUITE_P(Stores, IdleDevice, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& kind) { return kind.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
