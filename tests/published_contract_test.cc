// A contract that an administrator gives out: the tenant's store makes it, keeps it, and takes only what adds.
#include <gtest/gtest.h>

#include <thread>

#include "contract/contract.h"
#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

const std::vector<StoreTable> kTables{
    {"todos", "id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0",
     "id text PRIMARY KEY, title text, done bigint DEFAULT 0"},
    {"notes", "a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b)", "a text, b bigint, body bytea, PRIMARY KEY(a, b)"}};

class PublishedContract : public ::testing::TestWithParam<StoreKind> {
 protected:
  PublishedContract() : world(StoreWorld::make(GetParam(), kTables)) {}
  sync::TenantStore& store(size_t node = 0) { return world->store(node); }
  std::unique_ptr<StoreWorld> world;
};

std::string contract_of(const std::string& schema, const std::vector<std::string>& names) {
  Peer peer(schema, names);
  auto json = peer.rejoin().contract_json();
  EXPECT_TRUE(json.ok());
  return json.ok() ? *json : "";
}

Code code_of(const Status& status) { return status.ok() ? Code::ok : status.error().code; }

std::string published_by(sync::TenantStore& store) {
  auto json = store.published_contract();
  EXPECT_TRUE(json.ok());
  return json.ok() ? *json : "?";
}

TEST_P(PublishedContract, APublishedContractIsMadeHereAndKept) {
  EXPECT_EQ(published_by(store()), "");
  const std::string json = contract_of(
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, due TEXT NOT NULL DEFAULT 'soon');"
      "CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b));"
      "CREATE TABLE extra(id TEXT NOT NULL PRIMARY KEY, v TEXT) STRICT",
      {"todos", "notes", "extra"});
  const Status published = store().publish_contract(json);
  ASSERT_TRUE(published.ok()) << published.error().message;
  for (const size_t node : {0, 1}) EXPECT_EQ(published_by(store(node)), json);
  EXPECT_EQ(world->number("SELECT count(*) FROM extra"), 0);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE due IS NULL"), 0);
  ASSERT_TRUE(store().publish_contract(json).ok()) << "again changes nothing";
}

TEST_P(PublishedContract, AContractThatIsNotAdditiveIsNotPublished) {
  const std::string notes = ";CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b))";
  const auto todos = [](const std::string& rest) { return "CREATE TABLE todos(id TEXT PRIMARY KEY, " + rest + ")"; };
  const auto refusal = [&](const std::string& schema, const std::vector<std::string>& tables) {
    const Status done = store().publish_contract(contract_of(schema, tables));
    EXPECT_EQ(code_of(done), Code::schema_refused) << schema;
    return done.ok() ? std::string() : done.error().message;
  };
  // Against what the server has.
  EXPECT_NE(refusal(todos("title TEXT, done INTEGER DEFAULT 0"), {"todos"}).find("\"notes\" was removed"),
            std::string::npos);
  const std::string several = refusal(todos("title TEXT, must TEXT NOT NULL") + notes, {"todos", "notes"});
  EXPECT_NE(several.find("\"done\" of table \"todos\" was removed"), std::string::npos) << several;
  EXPECT_NE(several.find("\"must\" of table \"todos\" was added"), std::string::npos) << several;
  refusal("CREATE TABLE todos(id TEXT, title TEXT, done INTEGER DEFAULT 0, PRIMARY KEY(id, title))" + notes,
          {"todos", "notes"});
  EXPECT_EQ(published_by(store()), "");
  // Against what devices were given, word by word.
  const std::string good = todos("title TEXT, done INTEGER DEFAULT 0") + notes;
  ASSERT_TRUE(store().publish_contract(contract_of(good, {"todos", "notes"})).ok());
  refusal(todos("title TEXT, done INTEGER DEFAULT 1") + notes, {"todos", "notes"});
  refusal(todos("title BLOB, done INTEGER DEFAULT 0") + notes, {"todos", "notes"});
  EXPECT_EQ(published_by(store()), contract_of(good, {"todos", "notes"}));
  EXPECT_EQ(code_of(store().publish_contract("{}")), Code::bad_argument);
}

// Symptom: a contract that PostgreSQL refused in the middle had made what came before, and the mended one was refused
// because it "removed" that.
TEST_P(PublishedContract, ARefusedContractHasMadeNothing) {
  world->run("CREATE VIEW vv AS SELECT 1 AS id");
  const std::string todos = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, due TEXT);",
                    notes = "CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b));",
                    vv = "CREATE TABLE vv(id TEXT PRIMARY KEY);";
  const Status refused = store().publish_contract(
      contract_of("CREATE TABLE aa(id TEXT PRIMARY KEY);" + todos + notes + vv, {"aa", "todos", "notes", "vv"}));
  EXPECT_EQ(code_of(refused), Code::schema_refused);
  EXPECT_NE(refused.error().message.find("vv"), std::string::npos) << refused.error().message;
  EXPECT_EQ(published_by(store()), "");
  world->run("DROP VIEW vv; CREATE TABLE aa(mine integer)");
  const Status mended = store().publish_contract(contract_of(todos + notes + vv, {"todos", "notes", "vv"}));
  ASSERT_TRUE(mended.ok()) << mended.error().message;
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE due IS NULL"), 0);
  EXPECT_EQ(world->number("SELECT count(*) FROM vv"), 0);
  world->expect_sound();
}

// Symptom: of two contracts pushed at once both were taken, and the later one took back what the other had given out.
TEST_P(PublishedContract, OfTwoThatAreGivenOutAtOnceTheLaterOneMustAddToTheOther) {
  const std::string notes = ";CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b))";
  std::string columns = "title TEXT, done INTEGER DEFAULT 0";
  for (int round = 0; round < 8; ++round) {
    const auto with = [&](const std::string& name) {
      return contract_of("CREATE TABLE todos(id TEXT PRIMARY KEY, " + columns + ", " + name + " TEXT)" + notes,
                         {"todos", "notes"});
    };
    const std::string names[2] = {"x" + std::to_string(round), "y" + std::to_string(round)};
    const std::string offered[2] = {with(names[0]), with(names[1])};
    Status done[2];
    std::thread one([&] { done[1] = store(1).publish_contract(offered[1]); });
    done[0] = store(0).publish_contract(offered[0]);
    one.join();
    const size_t taken = done[0].ok() ? 0 : 1;
    ASSERT_TRUE(done[taken].ok()) << done[taken].error().message;
    ASSERT_NE(code_of(done[1 - taken]), Code::ok);
    EXPECT_EQ(published_by(store()), offered[taken]);
    columns += ", " + names[taken] + " TEXT";
  }
}

// Devices of the contract sync with the server at once.
TEST_P(PublishedContract, ADeviceFollowsIt) {
  const std::string v1 = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)";
  LoopbackDevice device("phone", v1, {"todos"}), other("tablet", v1, {"todos"});
  device.caller.may_schema = other.caller.may_schema = false;
  device.peer.run("INSERT INTO todos VALUES('1', 'milk', 0)");
  world->sync(device);
  world->sync(other);
  const std::string json = contract_of(
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, due TEXT NOT NULL DEFAULT 'soon');"
      "CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b)); CREATE TABLE extra(id TEXT NOT NULL "
      "PRIMARY KEY, v TEXT)",
      {"todos", "notes", "extra"});
  ASSERT_TRUE(store().publish_contract(json).ok());
  auto made = device.peer.rejoin().migrate(json);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(*made, 3);
  EXPECT_EQ(device.peer.rejoin().migrate(json).ok(), true);
  device.peer.run("UPDATE todos SET due = 'today'; INSERT INTO extra VALUES('x', 'v')");
  const sync::SyncTotals totals = world->sync(device);
  EXPECT_EQ(totals.rows_pushed, 2u);
  EXPECT_EQ(totals.rows_refused, 0u);
  // One that does not follow goes on, and has it all when it does.
  other.peer.run("UPDATE todos SET title = 'oat milk'");
  world->sync(other);
  EXPECT_EQ(other.peer.rows("SELECT * FROM todos"), "'1'|'oat milk'|0\n");
  ASSERT_TRUE(other.peer.rejoin().migrate(json).ok());
  EXPECT_EQ(other.peer.rows("SELECT * FROM todos"), "'1'|'oat milk'|0|'today'\n");
  EXPECT_EQ(other.peer.rows("SELECT * FROM extra"), "'x'|'v'\n");
  EXPECT_EQ(world->rows("SELECT title, due FROM todos"), "oat milk|today\n");
  device.peer.expect_sound();
  other.peer.expect_sound();
  world->expect_sound();
}

TEST_P(PublishedContract, WhatIsInTheWayOnADeviceChangesNothingThere) {
  Peer device("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT); CREATE TABLE notes(mine)", {"todos"});
  const std::string json = contract_of(
      "CREATE TABLE notes(a TEXT PRIMARY KEY); CREATE TABLE many(id TEXT PRIMARY KEY); CREATE TABLE todos(id TEXT "
      "PRIMARY KEY, title TEXT, done INTEGER)",
      {"todos", "notes", "many"});
  const std::string before = device.dump();
  auto made = device.rejoin().migrate(json);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, Code::schema_refused);
  EXPECT_EQ(device.dump(), before);
}

TEST_P(PublishedContract, WhatSqliteRefusesOnADeviceIsARefusalThatNamesTheTable) {
  const std::string json = contract_of(
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, loud TEXT); CREATE TABLE many(id TEXT PRIMARY KEY)",
      {"todos", "many"});
  for (const std::string in_the_way :
       {"CREATE VIEW many AS SELECT 1 AS id", "ALTER TABLE todos ADD COLUMN loud TEXT AS (upper(title))"}) {
    Peer device("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
    device.run(in_the_way);
    device.seq();
    const std::string before = device.dump();
    auto made = device.rejoin().migrate(json);
    ASSERT_FALSE(made.ok()) << in_the_way;
    EXPECT_EQ(made.error().code, Code::schema_refused) << made.error().message;
    EXPECT_EQ(device.dump(), before);
  }
}

// Symptom: a table that the app had dropped came back with the next sync; one that it did not sync any more stopped all
// migrations.
TEST_P(PublishedContract, WhatTheAppGaveUpStaysSo) {
  const std::string json = contract_of(
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT); CREATE TABLE notes(a TEXT PRIMARY KEY); CREATE TABLE "
      "many(id "
      "TEXT PRIMARY KEY)",
      {"todos", "notes", "many"});
  LoopbackDevice device("phone",
                        "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT); CREATE TABLE notes(a TEXT PRIMARY KEY)",
                        {"todos", "notes"});
  world->sync(device);
  device.peer.run("DROP TABLE todos");
  ASSERT_TRUE(device.peer.rejoin().untrack("notes").ok());
  auto made = device.peer.rejoin().migrate(json);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(*made, 1);
  EXPECT_EQ(device.peer.rows("SELECT name FROM rejoin_table"), "'many'\n");
  EXPECT_EQ(device.peer.rows("SELECT name FROM sqlite_schema WHERE name = 'todos'"), "");
}

INSTANTIATE_TEST_SUITE_P(Stores, PublishedContract, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& kind) { return kind.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
