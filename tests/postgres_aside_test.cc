// A table that stood aside because of its PRIMARY KEY, and has the earlier one again, has lost nothing meanwhile.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kTables = "CREATE TABLE a(id TEXT PRIMARY KEY, title TEXT); CREATE TABLE b(id TEXT PRIMARY KEY)";
constexpr const char* kAll = "SELECT * FROM a ORDER BY id";

struct World : PostgresWorld {
  World() : PostgresWorld(kTables, {"public.a", "public.b"}) {}
  void aside() { sql.run("ALTER TABLE a DROP CONSTRAINT a_pkey"); }
  void back() { sql.run("ALTER TABLE a ADD PRIMARY KEY(id)"); }
};

// Symptom: who pulled meanwhile never got what others had pushed before; doctor found nothing.
TEST(PostgresAside, WhoPulledMeanwhileGetsWhatWasPushedBefore) {
  for (const bool another_server : {false, true}) {
    World world;
    LoopbackDevice one("one", kTables, {"a", "b"}), two("two", kTables, {"a", "b"}),
        three("three", kTables, {"a", "b"});
    one.peer.run("INSERT INTO a VALUES('1', 'one')");
    world.sync(one);
    world.sync(two);
    one.peer.run("UPDATE a SET title = 'two'; INSERT INTO a VALUES('2', 'new')");
    world.sync(one);
    world.aside();
    one.peer.run("INSERT INTO b VALUES('meanwhile')");
    two.peer.run("INSERT INTO a VALUES('3', 'by two')");
    for (LoopbackDevice* d : {&one, &two, &three}) world.sync(*d);
    for (LoopbackDevice* d : {&one, &two, &three}) world.sync(*d);
    EXPECT_EQ(three.peer.rows("SELECT id FROM b"), "'meanwhile'\n");
    EXPECT_EQ(three.peer.rows(kAll), "");
    EXPECT_EQ(two.peer.rows(kAll), "'1'|'one'\n'3'|'by two'\n");
    world.back();
    if (another_server) world.close("main");
    EXPECT_EQ(*two.peer.rejoin().retry(), 1);
    for (int round = 0; round < 3; ++round)
      for (LoopbackDevice* d : {&two, &one, &three}) world.sync(*d);
    for (LoopbackDevice* d : {&one, &two, &three}) {
      EXPECT_EQ(d->peer.rows(kAll), "'1'|'two'\n'2'|'new'\n'3'|'by two'\n");
      d->peer.expect_sound();
    }
    EXPECT_EQ(world.sql.rows(kAll), "1|two\n2|new\n3|by two\n");
    world.expect_sound();
    // Nobody is given it again.
    world.sync(three);
    EXPECT_EQ(three.exchanges, 1u);
  }
}

// Symptom: what plain SQL wrote meanwhile reached nobody who had the rows already.
TEST(PostgresAside, WhatPlainSqlWroteMeanwhileArrives) {
  for (const bool another_server : {false, true}) {
    World world;
    LoopbackDevice one("one", kTables, {"a", "b"}), fresh("fresh", kTables, {"a", "b"});
    one.peer.run("INSERT INTO a VALUES('1', 'one'), ('2', 'gone')");
    world.sync(one);
    world.aside();
    if (another_server) world.close("main");
    world.sync(one);
    world.sql.run(
        "UPDATE a SET title = 'plain' WHERE id = '1'; DELETE FROM a WHERE id = '2'; INSERT INTO a VALUES('3', "
        "'new'); INSERT INTO b VALUES('b')");
    world.sync(one);
    EXPECT_EQ(one.peer.rows("SELECT id FROM b"), "'b'\n") << "the others go on";
    const uint64_t exchanges = one.exchanges;
    world.sync(one);
    EXPECT_LE(one.exchanges, exchanges) << "what waits is not looked at again and again";
    one.peer.run("INSERT INTO b VALUES('pushed')");
    world.sync(one);
    EXPECT_EQ(one.peer.rows(kAll), "'1'|'one'\n'2'|'gone'\n");
    world.back();
    for (int round = 0; round < 2; ++round) world.sync(one), world.sync(fresh);
    for (LoopbackDevice* d : {&one, &fresh}) {
      EXPECT_EQ(d->peer.rows(kAll), "'1'|'plain'\n'3'|'new'\n");
      d->peer.expect_sound();
    }
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 0);
    world.expect_sound();
  }
}

// Symptom: until the server was restarted it looked for each row by the earlier key, which has no index any more, and
// every request of the tenant ran out of time.
TEST(PostgresAside, AKeyThatChangesWithManyRowsStopsNoOtherTable) {
  World world;
  LoopbackDevice one("one", kTables, {"a", "b"});
  one.peer.run("INSERT INTO a VALUES('1', 'one')");
  world.sync(one);
  world.sql.run(
      "BEGIN; ALTER TABLE a DROP CONSTRAINT a_pkey; INSERT INTO a SELECT i::text, 'x' FROM generate_series(2, 15000) "
      "AS i; ALTER TABLE a ADD PRIMARY KEY(title, id); COMMIT");
  one.peer.run("INSERT INTO b VALUES('b')");
  world.sync(one);
  EXPECT_EQ(world.sql.rows("SELECT id FROM b"), "b\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 14'999) << "it waits until the table is back";
  world.sql.run("ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY(id)");
  world.sync(one);
  world.sync(one);
  EXPECT_EQ(one.peer.number("SELECT count(*) FROM a"), 15'000);
  world.expect_sound();
}

// Symptom: one sync brought one of them, and said that there was nothing more.
TEST(PostgresAside, SeveralTablesComeBackTogether) {
  World world;
  LoopbackDevice one("one", kTables, {"a", "b"}), two("two", kTables, {"a", "b"});
  one.peer.run("INSERT INTO a VALUES('1', 'one'); INSERT INTO b VALUES('1')");
  world.sync(one);
  world.aside();
  world.sql.run("ALTER TABLE b DROP CONSTRAINT b_pkey");
  world.sync(two);
  world.back();
  world.sql.run("ALTER TABLE b ADD PRIMARY KEY(id)");
  world.sync(two);
  EXPECT_EQ(two.peer.rows(kAll), "'1'|'one'\n");
  EXPECT_EQ(two.peer.rows("SELECT id FROM b"), "'1'\n");
  world.expect_sound();
}

// Symptom: when the table had the earlier key again, every sync of every device failed for ever, for what had been
// written under keys that it cannot hold; doctor found nothing.
void writes_under_keys_that_it_cannot_hold(bool one_transaction) {
  struct Case {
    const char *type, *away, *unheld;
  };
  const char* const text = "ALTER TABLE a ALTER id TYPE text USING id::text; ALTER TABLE a ADD PRIMARY KEY(id)";
  const char* const none = "ALTER TABLE a ALTER id DROP NOT NULL";
  const std::vector<Case> cases = {{"integer", text, "'draft'"}, {"integer", text, "'3000000000'"},
                                   {"uuid", text, "'draft'"},    {"date", text, "'2026-02-30'"},
                                   {"integer", none, "NULL"},    {"timestamptz", text, "'2026-13-01 00:00:00+00'"},
                                   {"text", none, "NULL"}};
  std::string tables = "CREATE TABLE b(id TEXT PRIMARY KEY);", away, writes, back;
  std::vector<std::string> tracked = {"public.b"};
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const std::string name = "a" + std::to_string(i), type = c.type;
    const auto of = [&](std::string sql) {
      for (size_t at = 0; (at = sql.find("TABLE a ", at)) != std::string::npos; ++at)
        sql.replace(at, 8, "TABLE " + name + " ");
      return sql + ";";
    };
    tables += "CREATE TABLE " + name + "(id " + type + " PRIMARY KEY, title text);";
    tracked.push_back("public." + name);
    away += "ALTER TABLE " + name + " DROP CONSTRAINT " + name + "_pkey;" + of(c.away);
    writes += "INSERT INTO " + name + " VALUES(" + c.unheld + ", 'x'); UPDATE " + name +
              " SET title = 'y'; DELETE FROM " + name + ";";
    back += of("ALTER TABLE a DROP CONSTRAINT IF EXISTS " + name + "_pkey; ALTER TABLE a ALTER id TYPE " + type +
               " USING id::" + type + "; ALTER TABLE a ADD PRIMARY KEY(id)");
  }
  PostgresWorld world(tables, tracked);
  LoopbackDevice one("one", "CREATE TABLE b(id TEXT PRIMARY KEY)", {"b"});
  one.peer.run("INSERT INTO b VALUES('before')");
  world.sync(one);
  if (one_transaction) {
    world.sql.run("BEGIN;" + away + writes + back + "COMMIT");
  } else {
    world.sql.run(away);
    world.sql.run(writes);
    const auto told = postgres::doctor(world.sql.connection());
    ASSERT_TRUE(told.ok()) << told.error().message;
    ASSERT_EQ(told->size(), cases.size());
    for (const std::string& finding : *told)
      EXPECT_NE(finding.find("3 captured writes wait until it is served"), std::string::npos) << finding;
    world.sync(one);
    world.sql.run(back);
  }
  for (const bool renewed : {false, true}) {
    if (renewed) world.close("main");
    one.peer.run("INSERT INTO b VALUES('" + std::string(renewed ? "renewed" : "back") + "')");
    world.sync(one);
  }
  EXPECT_EQ(world.sql.rows("SELECT id FROM b ORDER BY id"), "back\nbefore\nrenewed\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 0);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.record"), 3) << "nobody ever had the others";
  for (const std::string& table : tracked) EXPECT_EQ(world.track(table).rows, 0);
  world.expect_sound();
}

TEST(PostgresAside, WritesUnderKeysThatItCannotHoldStopNobody) { writes_under_keys_that_it_cannot_hold(false); }
TEST(PostgresAside, NorDoThoseOfOneTransaction) { writes_under_keys_that_it_cannot_hold(true); }

// What was a row before is deleted for everybody, also when the table can hold its key no more.
TEST(PostgresAside, ARowWhoseKeyItCannotHoldAnyMoreIsDeletedEverywhere) {
  const std::string tables = "CREATE TABLE a(id INT PRIMARY KEY NOT NULL, title TEXT)";
  PostgresWorld world("CREATE TABLE a(id bigint PRIMARY KEY, title text)", {"public.a"});
  LoopbackDevice one("one", tables, {"a"}), fresh("fresh", tables, {"a"});
  one.peer.run("INSERT INTO a VALUES(3000000000, 'large'), (3000000001, 'larger'), (1, 'stays')");
  world.sync(one);
  world.sql.run(
      "BEGIN; UPDATE a SET title = 'last' WHERE id = 3000000000; DELETE FROM a WHERE id > 1; ALTER TABLE a "
      "ALTER id TYPE integer; COMMIT");
  for (int round = 0; round < 2; ++round) world.sync(one), world.sync(fresh);
  EXPECT_EQ(one.peer.rows(kAll), "1|'stays'\n");
  EXPECT_EQ(fresh.peer.rows(kAll), "1|'stays'\n");
  world.expect_sound();
}

// A deletion that was pushed before, and forgotten meanwhile.
TEST(PostgresAside, ADeletionThatWasForgottenMeanwhileLeavesNoRow) {
  World world;
  LoopbackDevice one("one", kTables, {"a", "b"}), two("two", kTables, {"a", "b"});
  one.peer.run("INSERT INTO a VALUES('1', 'one'), ('2', 'gone')");
  world.sync(one);
  world.sync(two);
  one.peer.run("DELETE FROM a WHERE id = '2'");
  world.sync(one);
  world.aside();
  one.peer.run("INSERT INTO b VALUES('meanwhile')");
  for (int round = 0; round < 2; ++round) world.sync(one), world.sync(two);
  world.back();
  world.sync(one);
  postgres::CompactRequest request;
  request.keep_days = 0;
  const auto compacted = postgres::compact(world.sql.connection(), request, system_clock(), system_random(), {});
  ASSERT_TRUE(compacted.ok()) << compacted.error().message;
  two.peer.run("INSERT INTO a VALUES('3', 'unsent')");
  for (int round = 0; round < 2; ++round) world.sync(two), world.sync(one);
  EXPECT_EQ(two.peer.rows(kAll), "'1'|'one'\n'3'|'unsent'\n");
  EXPECT_EQ(one.peer.rows(kAll), "'1'|'one'\n'3'|'unsent'\n");
  two.peer.expect_sound();
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
