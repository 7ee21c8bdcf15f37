// P2: what a server has refused is not lost when its file is copied or restored: the copy, which has another identity,
// can send it as its own, or give it up. The original may do the same.
#include <gtest/gtest.h>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

const std::vector<StoreTable> kTables{{"todos", "id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0",
                                       "id text PRIMARY KEY, title text, done bigint DEFAULT 0"}};
const std::string kSchema = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0);";
const std::string kTodos = "SELECT id, title, done FROM todos ORDER BY id";
const std::string kServers = "shared|1|0\ntaken|2|5\n";

class RefusedRowsOfCopies : public ::testing::TestWithParam<StoreKind> {
 protected:
  RefusedRowsOfCopies() : world(StoreWorld::make(GetParam(), kTables)), a("a", kSchema, {"todos"}), other("o") {
    other.peer.run(kSchema);
    other.peer.track("todos");
    a.caller.may_schema = other.caller.may_schema = false;
    other.peer.run("INSERT INTO todos VALUES('shared', '1', 0)");
    world->sync(other);
    // Taken, so that not all of what it has was refused.
    a.peer.run("INSERT INTO todos VALUES('taken', '2', 5)");
    world->sync(a);
    a.caller.who.tables.set("todos", {true, false});
    a.peer.run(
        "INSERT INTO todos VALUES('x', 'mine', 0), ('y', 'short-lived', 0), ('z', 'edited', 0);"
        "UPDATE todos SET title = 'A' WHERE id = 'shared'; UPDATE todos SET done = 1 WHERE id = 'taken';"
        "DELETE FROM todos WHERE id = 'y'; UPDATE todos SET done = 2 WHERE id = 'z'");
    world->sync(a);
    EXPECT_EQ(listed(a), 5);
    EXPECT_EQ(world->rows(kTodos), kServers);
  }
  static int64_t listed(LoopbackDevice& d) { return d.peer.number("SELECT count(*) FROM rejoin_rejections"); }
  static void retry(LoopbackDevice& d) { EXPECT_TRUE(d.peer.rejoin().retry().ok()); }
  std::unique_ptr<LoopbackDevice> copy(const std::string& device) {
    auto out = std::make_unique<LoopbackDevice>(device);
    out->caller.may_schema = false;
    out->peer.database().copy_from(a.peer.database());
    return out;
  }
  void expect_same(LoopbackDevice& d) {
    EXPECT_EQ(difference(plain_rows(d.peer, kTodos), world->rows(kTodos)), "");
    EXPECT_EQ(d.peer.rows("SELECT key, code, reason FROM rejoin_rejections"), "");
    d.peer.expect_sound();
    world->expect_sound();
  }

  std::unique_ptr<StoreWorld> world;
  LoopbackDevice a, other;
};

const std::string kAsWritten = "shared|A|0\ntaken|2|1\nx|mine|0\nz|edited|2\n";

class RefusedRowsOfOneCopy : public RefusedRowsOfCopies {
 protected:
  // Found out by its inode, or by the server. As another device, or as the same one.
  void goes_up(const std::string& device, bool by_server, bool retried_before) {
    if (retried_before) retry(a);
    auto b = copy(device);
    const std::string site = b->peer.site();
    if (by_server) {
      retry(a);
      world->sync(a);  // which the copy does not know of
      EXPECT_EQ(listed(a), 5);
      b->peer.run("INSERT INTO todos VALUES('news', 'of b', 0); DELETE FROM todos WHERE id = 'news'");
    } else {
      ASSERT_TRUE(b->peer.rejoin().take_new_identity().ok());
    }
    world->sync(*b);
    if (!by_server || device == "a") {
      EXPECT_NE(b->peer.site(), site);
    }
    retry(*b);
    world->sync(*b);
    EXPECT_EQ(world->rows("SELECT id, title, done FROM todos WHERE id <> 'news' ORDER BY id"), kAsWritten);
    expect_same(*b);
    world->sync(other);
    expect_same(other);
    EXPECT_EQ(world->sync(*b).rows_pushed, 0u);
  }
};

TEST_P(RefusedRowsOfOneCopy, OfAnotherDeviceGoUp) { goes_up("b", false, false); }
TEST_P(RefusedRowsOfOneCopy, OfTheRestoredDeviceGoUp) { goes_up("a", false, false); }
TEST_P(RefusedRowsOfOneCopy, ThatTheServerFoundOutGoUp) { goes_up("a", true, false); }
TEST_P(RefusedRowsOfOneCopy, ThatWereToBeTriedAgainGoUp) { goes_up("b", false, true); }

TEST_P(RefusedRowsOfCopies, AnEditOfOneGoesUpWithTheRow) {
  auto b = copy("b");
  ASSERT_TRUE(b->peer.rejoin().take_new_identity().ok());
  b->peer.run("UPDATE todos SET title = 'later' WHERE id IN ('x', 'shared')");
  world->sync(*b);
  EXPECT_EQ(world->rows("SELECT id, title FROM todos WHERE id IN ('x', 'shared') ORDER BY id"),
            "shared|later\nx|later\n");
  retry(*b);
  world->sync(*b);
  EXPECT_EQ(world->rows(kTodos), "shared|later|0\ntaken|2|1\nx|later|0\nz|edited|2\n");
  expect_same(*b);
}

// Equal versions of both would be the same write; those that moved are later in name only.
TEST_P(RefusedRowsOfCopies, TheOriginalMaySendThemToo) {
  for (const bool original_first : {true, false}) {
    SCOPED_TRACE(original_first);
    auto b = copy(original_first ? "b" : "c");
    ASSERT_TRUE(b->peer.rejoin().take_new_identity().ok());
    a.caller.who = {};
    LoopbackDevice& first = original_first ? a : *b;
    LoopbackDevice& second = original_first ? *b : a;
    retry(first), world->sync(first), world->sync(other);
    other.peer.run("UPDATE todos SET done = done + 10 WHERE id = 'x'; DELETE FROM todos WHERE id = 'z'");
    world->sync(other);
    const std::string truth = world->rows(kTodos);
    retry(second), world->sync(second), world->sync(first), world->sync(other);
    EXPECT_EQ(world->rows(kTodos), truth) << "an older write won";
    for (LoopbackDevice* d : {&a, b.get(), &other}) expect_same(*d);
  }
}

TEST_P(RefusedRowsOfCopies, CanBeGivenUp) {
  for (const bool retried_before : {false, true}) {
    SCOPED_TRACE(retried_before);
    if (retried_before) retry(a);  // it is to go whole
    auto b = copy(retried_before ? "c" : "b");
    b->peer.run("UPDATE todos SET done = 7 WHERE id = 'shared'");
    ASSERT_TRUE(b->peer.rejoin().take_new_identity().ok());
    ASSERT_TRUE(b->peer.rejoin().discard_all().ok());
    world->sync(*b);
    EXPECT_EQ(world->rows(kTodos), "shared|1|7\ntaken|2|5\n");
    expect_same(*b);
  }
}

TEST_P(RefusedRowsOfCopies, AValueThatWasTooLargeGoesUpWhenItFits) {
  a.caller.who = {};
  retry(a);
  world->node().settings.max_value_bytes = 1000;
  world->sync(a);
  EXPECT_EQ(listed(a), 0);
  a.peer.run("INSERT INTO todos VALUES('long', hex(zeroblob(2000)), 1)");
  world->sync(a);
  EXPECT_EQ(listed(a), 1);
  auto b = copy("b");
  ASSERT_TRUE(b->peer.rejoin().take_new_identity().ok());
  world->node().settings.max_value_bytes = 10'000;
  world->sync(*b), world->sync(*b);
  EXPECT_EQ(world->number("SELECT length(title) FROM todos WHERE id = 'long'"), 4000);
  expect_same(*b);
}

// Only PostgreSQL's tables lack columns that a device may not add.
TEST_P(RefusedRowsOfCopies, AValueFromBeforeTheServerHadTheColumnWinsOverItsDefault) {
  if (GetParam() != StoreKind::postgres) return;
  a.caller.who = {};
  retry(a), world->sync(a);
  a.peer.run("ALTER TABLE todos ADD COLUMN late TEXT; INSERT INTO todos VALUES('l', 'late', 0, 'of a')");
  world->sync(a);
  EXPECT_EQ(a.peer.rows("SELECT key, code FROM rejoin_rejections"), "'[\"l\"]'|'schema_refused'\n");
  auto b = copy("b");
  ASSERT_TRUE(b->peer.rejoin().take_new_identity().ok());
  LoopbackDevice owner("owner",
                       "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, late TEXT "
                       "DEFAULT 'none')",
                       {"todos"});
  world->sync(owner);
  for (int i = 0; i < 2; ++i) world->sync(*b);
  EXPECT_EQ(world->rows("SELECT late FROM todos WHERE id = 'l'"), "of a\n");
  EXPECT_EQ(b->peer.rows("SELECT key, code, reason FROM rejoin_rejections"), "");
  world->sync(owner);
  EXPECT_EQ(owner.peer.rows("SELECT late FROM todos WHERE id = 'l'"), "'of a'\n");
  b->peer.expect_sound(), world->expect_sound();
}

const auto kStores = ::testing::Values(StoreKind::embedded, StoreKind::postgres);
std::string name_of(const ::testing::TestParamInfo<StoreKind>& of) {
  return of.param == StoreKind::embedded ? "embedded" : "postgres";
}
INSTANTIATE_TEST_SUITE_P(Stores, RefusedRowsOfCopies, kStores, name_of);
INSTANTIATE_TEST_SUITE_P(Stores, RefusedRowsOfOneCopy, kStores, name_of);

}  // namespace
}  // namespace rejoin::testing
