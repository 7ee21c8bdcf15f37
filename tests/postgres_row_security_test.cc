// With --impersonate a device has the rows that its token's role may see, and no others: a row that becomes visible
// arrives whole, one that becomes invisible leaves, and nobody hears of a row that was never theirs.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE members(list text, who text, PRIMARY KEY(list, who));"
    "CREATE TABLE todos(id text PRIMARY KEY, owner text, list text, title text);"
    "CREATE TABLE words(id text PRIMARY KEY, word text);"
    "CREATE FUNCTION caller() RETURNS text LANGUAGE sql STABLE AS $$ SELECT "
    "current_setting('request.jwt.claims', true)::json->>'sub' $$;"
    "ALTER TABLE todos ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY own ON todos TO PUBLIC USING (owner = caller() OR EXISTS (SELECT FROM members m WHERE m.list = "
    "todos.list AND m.who = caller()));"
    "DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['rejoin_runtime', 'app_user', 'app_other'] LOOP IF EXISTS "
    "(SELECT FROM pg_roles WHERE rolname = r) THEN EXECUTE 'DROP OWNED BY ' || r; ELSE EXECUTE 'CREATE ROLE ' || r; "
    "END "
    "IF; END LOOP; END $$;"
    "ALTER ROLE rejoin_runtime LOGIN; GRANT app_user, app_other TO rejoin_runtime;"
    "GRANT SELECT, INSERT, UPDATE, DELETE ON todos, words, members TO rejoin_runtime, app_user;"
    "GRANT SELECT ON words, members TO app_other;"
    "CREATE POLICY server ON todos TO rejoin_runtime USING (true) WITH CHECK (true);";
const std::string kDevice =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, owner TEXT, list TEXT, title TEXT);"
    "CREATE TABLE words(id TEXT PRIMARY KEY, word TEXT);";
const std::vector<std::string> kTables = {"todos", "words"};
const std::string kAll = "SELECT id, owner, title FROM todos ORDER BY id";

class PostgresRowSecurity : public ::testing::Test {
 protected:
  PostgresRowSecurity()
      : world(kSchema, {"public.todos", "public.words"}), ann("ann", kDevice, kTables), bob("bob", kDevice, kTables) {
    EXPECT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
    world.url = world.url.substr(0, world.url.find("user=")) + "user=rejoin_runtime";
    world.as = {true, "", 3'600'000};
    be(ann, "app_user", "ann", 1);
    be(bob, "app_user", "bob", 2);
  }
  static void be(LoopbackDevice& d, const std::string& role, const std::string& sub, uint64_t view) {
    d.caller.who.role = role;
    d.caller.who.claims = "{\"sub\":\"" + sub + "\"}";
    d.caller.who.view = view;
  }
  void settle() {
    for (int i = 0; i < 2; ++i) world.sync(ann), world.sync(bob);
  }
  std::string rows(LoopbackDevice& d) { return d.peer.rows(kAll); }
  // Rows that the device has ever heard of and not forgotten.
  int64_t heard_of(LoopbackDevice& d) { return d.peer.number("SELECT count(*) FROM todos__rejoin"); }
  void write(LoopbackDevice& d, const std::string& sql) {
    d.peer.clock().set(system_clock().now_ms() + 1'000);
    d.peer.run(sql);
  }
  void recheck_at_once() {
    world.as.recheck_ms = 0;
    world.close("main");
  }
  void expect_sound() {
    ann.peer.expect_sound(), bob.peer.expect_sound();
    world.expect_sound();
  }
  PostgresWorld world;
  LoopbackDevice ann, bob;
};

TEST_F(PostgresRowSecurity, ADeviceHasTheRowsThatItsCallerSees) {
  world.sql.run(
      "INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('b', 'bob', NULL, 'his'); INSERT INTO words VALUES('w', "
      "'x')");
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n");
  EXPECT_EQ(rows(bob), "'b'|'bob'|'his'\n");
  EXPECT_EQ(heard_of(ann), 1);
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM words"), 1);
  ann.peer.run("INSERT INTO todos VALUES('c', 'ann', NULL, 'new')");
  world.sql.run("INSERT INTO todos VALUES('d', 'bob', NULL, 'new'); UPDATE todos SET title = 'his own' WHERE id = 'b'");
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n'c'|'ann'|'new'\n");
  EXPECT_EQ(rows(bob), "'b'|'bob'|'his own'\n'd'|'bob'|'new'\n");
  EXPECT_EQ(heard_of(ann), 2);
  EXPECT_EQ(world.sync(ann).rows_pulled, 0u);
  expect_sound();
}

TEST_F(PostgresRowSecurity, ARowThatIsHandedOverLeavesTheOneAndReachesTheOtherWhole) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', 'l', 'milk'), ('k', 'ann', 'l', 'kept')");
  ann.peer.run("INSERT INTO todos VALUES('own', 'ann', NULL, 'of the device')");
  settle();
  EXPECT_EQ(heard_of(ann), 3);
  world.sql.run("UPDATE todos SET owner = 'bob' WHERE id <> 'k'");
  settle();
  EXPECT_EQ(rows(ann), "'k'|'ann'|'kept'\n");
  EXPECT_EQ(heard_of(ann), 1);
  EXPECT_EQ(rows(bob), "'a'|'bob'|'milk'\n'own'|'bob'|'of the device'\n");
  // No deletion: nothing of it travels, and the row comes back whole.
  EXPECT_EQ(world.sync(ann).rows_pushed, 0u);
  bob.peer.run("UPDATE todos SET title = 'by bob' WHERE id = 'own'");
  settle();
  world.sql.run("UPDATE todos SET owner = 'ann' WHERE id <> 'k'");
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'milk'\n'k'|'ann'|'kept'\n'own'|'ann'|'by bob'\n");
  EXPECT_EQ(rows(bob), "");
  expect_sound();
}

TEST_F(PostgresRowSecurity, DeletionsReachThoseWhoHadTheRow) {
  world.sql.run(
      "INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('b', 'bob', NULL, 'his'), ('c', 'bob', NULL, 'c')");
  settle();
  bob.peer.run("DELETE FROM todos WHERE id='c'");
  world.sql.run("DELETE FROM todos WHERE id IN ('a', 'b')");
  settle();
  EXPECT_EQ(rows(ann) + rows(bob), "");
  EXPECT_EQ(heard_of(ann), 1);
  EXPECT_EQ(heard_of(bob), 2);
  // A device that is new sees nothing of what was deleted before.
  LoopbackDevice late("late", kDevice, kTables);
  be(late, "app_user", "cem", 3);
  world.sync(late);
  EXPECT_EQ(heard_of(late), 0);
  expect_sound();
}

TEST_F(PostgresRowSecurity, OtherClaimsMakeOtherRows) {
  world.sql.run(
      "INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('b', 'bob', NULL, 'his'), ('s', 'bob', 'l', 'shared');"
      "INSERT INTO members VALUES('l', 'ann')");
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n's'|'bob'|'shared'\n");
  be(ann, "app_user", "bob", 2);
  world.sync(ann);
  EXPECT_EQ(rows(ann), rows(bob));
  be(ann, "app_user", "ann", 1);
  world.sync(ann);
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n's'|'bob'|'shared'\n");
  EXPECT_EQ(heard_of(ann), 2);
  expect_sound();
}

// A membership is no column of the row: nothing is captured when it changes.
TEST_F(PostgresRowSecurity, AnotherTablesChangeIsNoticedWhenTheTimeHasCome) {
  world.sql.run("INSERT INTO todos SELECT 't' || i, 'bob', 'l' || i % 2, 'x' FROM generate_series(1, 9) i");
  settle();
  EXPECT_EQ(rows(ann), "");
  world.sql.run("INSERT INTO members VALUES('l1', 'ann')");
  settle();
  EXPECT_EQ(rows(ann), "");  // within the hour
  recheck_at_once();
  settle();
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM todos"), 5);
  EXPECT_EQ(heard_of(ann), 5);
  // A second device of hers, too.
  LoopbackDevice tablet("ann's tablet", kDevice, kTables);
  be(tablet, "app_user", "ann", 1);
  world.sync(tablet);
  world.sql.run("UPDATE members SET list = 'l0'");
  settle();
  world.sync(tablet);
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM todos WHERE list = 'l0'"), 4);
  EXPECT_EQ(heard_of(ann), 4);
  EXPECT_EQ(rows(tablet), rows(ann));
  world.sql.run("DELETE FROM members");
  settle();
  EXPECT_EQ(heard_of(ann), 0);
  EXPECT_EQ(bob.peer.number("SELECT count(*) FROM todos"), 9);
  EXPECT_EQ(world.sync(ann).rows_pulled, 0u);
  expect_sound();
}

TEST_F(PostgresRowSecurity, AnUnsentEditOfARowThatLeavesIsListedAndNotLost) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'milk'), ('b', 'ann', NULL, 'bread')");
  settle();
  world.sql.run("UPDATE todos SET owner = 'bob'");
  write(ann, "UPDATE todos SET title = 'edited offline' WHERE id = 'a'");
  world.sync(ann);
  EXPECT_EQ(rows(ann), "'a'|'ann'|'edited offline'\n");
  EXPECT_EQ(ann.peer.rows("SELECT key, code, server FROM rejoin_rejections"), "'[\"a\"]'|'forbidden'|'null'\n");
  EXPECT_EQ(*ann.peer.rejoin().discard_all(), 1);
  EXPECT_EQ(heard_of(ann), 0);
  settle();
  EXPECT_EQ(rows(bob), "'a'|'bob'|'milk'\n'b'|'bob'|'bread'\n");
  expect_sound();
}

TEST_F(PostgresRowSecurity, GrantsComeAndGo) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'milk'); INSERT INTO words VALUES('w', 'x')");
  be(ann, "app_other", "ann", 5);
  world.sync(ann);
  EXPECT_EQ(rows(ann), "");
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM words"), 1);
  world.sql.run("GRANT SELECT ON todos TO app_other; REVOKE SELECT ON words FROM app_other");
  world.close("main");  // or a few seconds
  world.sync(ann);
  EXPECT_EQ(rows(ann), "'a'|'ann'|'milk'\n");
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM words"), 0);
  world.sql.run("REVOKE SELECT ON todos FROM app_other");
  world.close("main");
  world.sync(ann);
  EXPECT_EQ(heard_of(ann), 0);
  expect_sound();
}

// Rows that were kept while the table was only pushed are those of an earlier view.
TEST_F(PostgresRowSecurity, RowsThatWereKeptWhilePushingLeaveAfterwards) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('g', 'ann', NULL, 'given away')");
  settle();
  ann.caller.who.tables.set("todos", {false, true});
  ann.caller.who.view = 77;
  settle();
  EXPECT_EQ(heard_of(ann), 2);
  world.sql.run("UPDATE todos SET owner = 'bob' WHERE id = 'g'");
  be(ann, "app_user", "ann", 1), ann.caller.who.tables = {};
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n");
  EXPECT_EQ(heard_of(ann), 1);
  expect_sound();
}

// What the server knew of the view is gone: nothing of the other's stays on the device all the same.
TEST_F(PostgresRowSecurity, AViewThatTheServerForgotIsMadeAnew) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('g', 'ann', NULL, 'given away')");
  settle();
  ann.peer.run("INSERT INTO todos VALUES('n', 'ann', NULL, 'not sent yet')");
  world.sql.run("DELETE FROM rejoin.view; DELETE FROM rejoin.shown; UPDATE todos SET owner = 'bob' WHERE id = 'g'");
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n'n'|'ann'|'not sent yet'\n");
  EXPECT_EQ(heard_of(ann), 2);
  EXPECT_EQ(rows(bob), "'g'|'bob'|'given away'\n");
  expect_sound();
}

// Written while the answer is on its way that lets all rows leave but those that come again.
TEST_F(PostgresRowSecurity, ARowThatIsInsertedWhileItsTableIsMadeAnewStays) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('g', 'ann', NULL, 'given away')");
  settle();
  world.sql.run("DELETE FROM rejoin.view; DELETE FROM rejoin.shown; UPDATE todos SET owner = 'bob' WHERE id = 'g'");
  ann.during_response = [&, once = false](uint64_t) mutable {
    if (std::exchange(once, true)) return;
    ann.peer.run("INSERT INTO todos VALUES('n', 'ann', NULL, 'just now')");
    EXPECT_TRUE(ann.peer.rejoin().fold().ok());
  };
  world.sync(ann);
  ann.during_response = nullptr;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n'n'|'ann'|'just now'\n");
    world.sync(ann);
  }
  EXPECT_EQ(world.sql.rows("SELECT id FROM todos WHERE owner = 'ann' ORDER BY id"), "a\nn\n");
  // And leaves when it is to.
  world.sql.run("UPDATE todos SET owner = 'bob' WHERE id = 'n'");
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n");
  expect_sound();
}

// Devices of a server that begins to act as its callers.
TEST_F(PostgresRowSecurity, TurningItOnTakesAwayWhatNobodyMaySee) {
  world.as.on = false;
  ann.caller.who = {}, bob.caller.who = {};
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('b', 'bob', NULL, 'his')");
  settle();
  EXPECT_EQ(rows(ann), rows(bob));
  world.as.on = true;
  world.close("main");
  be(ann, "app_user", "ann", 1), be(bob, "app_user", "bob", 2);
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n");
  EXPECT_EQ(rows(bob), "'b'|'bob'|'his'\n");
  world.as.on = false;
  world.close("main");
  ann.caller.who = {}, bob.caller.who = {};
  settle();
  EXPECT_EQ(rows(ann), "'a'|'ann'|'hers'\n'b'|'bob'|'his'\n");
  EXPECT_EQ(rows(bob), rows(ann));
  expect_sound();
}

// The expression of a policy raises an error for some row, so nobody can say what of the table is to be seen.
TEST_F(PostgresRowSecurity, ATableWhosePolicyFailsIsLeftOutAndComesWholeWhenItIsMended) {
  recheck_at_once();
  const std::string sound = "ALTER POLICY own ON todos USING (owner = caller())";
  const std::string failing = "ALTER POLICY own ON todos USING (owner = caller() AND 1000 / length(title) > 0)";
  world.sql.run(sound);
  world.sql.run(
      "INSERT INTO todos VALUES('a', 'ann', NULL, 'stays'), ('b', 'ann', NULL, 'edited'), ('c', 'ann', NULL, 'goes'), "
      "('d', 'ann', NULL, 'deleted'), ('e', 'bob', NULL, 'comes'); INSERT INTO words VALUES('w', 'before')");
  settle();
  const std::string before = rows(ann);

  world.sql.run(failing);
  world.sql.run(
      "INSERT INTO todos VALUES('f', 'ann', NULL, ''); UPDATE todos SET title = 'better' WHERE id = 'b'; UPDATE todos "
      "SET owner = 'bob' WHERE id = 'c'; DELETE FROM todos WHERE id = 'd'; UPDATE todos SET owner = 'ann' WHERE id = "
      "'e'; INSERT INTO words VALUES('x', 'meanwhile')");
  write(ann, "INSERT INTO words VALUES('y', 'of ann')");
  settle();
  EXPECT_EQ(rows(ann), before);
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM words"), 3);
  EXPECT_EQ(world.sql.rows("SELECT word FROM words WHERE id = 'y'"), "of ann\n");
  // One that begins with it has nothing of the table, and everything else.
  LoopbackDevice tablet("ann's tablet", kDevice, kTables);
  be(tablet, "app_user", "ann", 1);
  world.sync(tablet);
  EXPECT_EQ(rows(tablet), "");
  EXPECT_EQ(tablet.peer.number("SELECT count(*) FROM words"), 3);
  // Further news of both tables, and other claims.
  world.sql.run("UPDATE todos SET title = 'best' WHERE id = 'b'; UPDATE words SET word = 'after' WHERE id = 'w'");
  be(bob, "app_user", "ann", 1);
  settle();
  EXPECT_EQ(rows(ann), before);
  EXPECT_EQ(ann.peer.rows("SELECT word FROM words WHERE id = 'w'"), "'after'\n");
  EXPECT_EQ(bob.peer.rows("SELECT word FROM words WHERE id = 'w'"), "'after'\n");

  world.sql.run(sound);
  settle();
  world.sync(tablet);
  EXPECT_EQ(rows(ann), "'a'|'ann'|'stays'\n'b'|'ann'|'best'\n'e'|'ann'|'comes'\n'f'|'ann'|''\n");
  EXPECT_EQ(heard_of(ann), 5);  // that d was deleted, too
  EXPECT_EQ(heard_of(tablet), 4);
  EXPECT_EQ(rows(tablet), rows(ann));
  EXPECT_EQ(rows(bob), rows(ann));
  // Nothing is left to do.
  for (LoopbackDevice* d : {&ann, &bob, &tablet}) EXPECT_EQ(world.sync(*d).rows_pulled, 0u);
  world.sql.run("UPDATE todos SET title = 'again' WHERE id = 'a'");
  settle();
  EXPECT_EQ(ann.peer.rows("SELECT title FROM todos WHERE id = 'a'"), "'again'\n");
  expect_sound();
}

TEST_F(PostgresRowSecurity, TheReasonWhyATableIsLeftOutIsTold) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'one'), ('b', 'ann', NULL, '')");
  world.sql.run("ALTER POLICY own ON todos USING (1000 / length(title) > 0)");
  sync::PullRequest request;
  request.device = "ann";
  request.site = crdt::SiteId::from(Bytes(16, 'a'));
  request.who = &ann.caller.who;
  const auto reply = world.server().store().pull(request);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_EQ(reply->left_out.size(), 1u);
  for (const char* part : {"a policy of table public.todos", "the role app_user", "division by zero"})
    EXPECT_NE(reply->left_out[0].message.find(part), std::string::npos) << reply->left_out[0].message;
}

// The row that fails comes late in a table of many pages.
TEST_F(PostgresRowSecurity, ATableThatFailsBetweenItsPagesDoesNotBeginAgainAndAgain) {
  recheck_at_once();
  ann.options.page_bytes = 1024;
  world.sql.run(
      "INSERT INTO todos SELECT 't' || lpad(i::text, 4, '0'), 'ann', NULL, repeat('x', 40) FROM generate_series(1, "
      "300) i; INSERT INTO todos VALUES('z', 'ann', NULL, ''); INSERT INTO words SELECT 'w' || i, 'word' FROM "
      "generate_series(1, 200) i");
  world.sql.run("ALTER POLICY own ON todos USING (owner = caller() AND 1000 / length(title) > 0)");
  world.sync(ann);
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM words"), 200);
  EXPECT_LT(ann.peer.number("SELECT count(*) FROM todos"), 301);
  EXPECT_EQ(world.sync(ann).rows_pulled, 0u);
  world.sql.run("UPDATE todos SET title = 'mended' WHERE id = 'z'");
  EXPECT_EQ(world.sync(ann).rows_pulled, 302u);  // the table once, and what has changed since
  EXPECT_EQ(world.sync(ann).rows_pulled, 0u);
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM todos"), 301);
  EXPECT_EQ(ann.peer.rows("SELECT title FROM todos WHERE id = 'z'"), "'mended'\n");
  expect_sound();
}

TEST_F(PostgresRowSecurity, ManySmallPagesComeToTheSame) {
  ann.options.page_bytes = 1024;
  bob.options.page_bytes = 1024;
  world.sql.run(
      "INSERT INTO todos SELECT 't' || lpad(i::text, 4, '0'), CASE WHEN i % 3 = 0 THEN 'ann' ELSE 'bob' END, NULL, "
      "repeat('x', 40) FROM generate_series(1, 600) i");
  settle();
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM todos"), 200);
  world.sql.run("UPDATE todos SET owner = CASE owner WHEN 'ann' THEN 'bob' ELSE 'ann' END");
  settle();
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM todos"), 400);
  EXPECT_EQ(heard_of(ann), 400);
  EXPECT_EQ(bob.peer.number("SELECT count(*) FROM todos"), 200);
  EXPECT_EQ(heard_of(bob), 200);
  be(ann, "app_user", "bob", 2);
  world.sync(ann);
  EXPECT_EQ(rows(ann), rows(bob));
  EXPECT_EQ(heard_of(ann), 200);
  expect_sound();
}

// What a trigger would write to other synced tables would be pushed, and take others' rows with it.
TEST_F(PostgresRowSecurity, TriggersOfTheApplicationDoNotRunWhenARowLeaves) {
  world.sql.run(
      "INSERT INTO todos VALUES('a', 'ann', NULL, 'hers'), ('b', 'ann', NULL, 'too'); INSERT INTO words VALUES('a', "
      "'of a')");
  settle();
  ann.peer.run("CREATE TRIGGER died AFTER DELETE ON todos BEGIN DELETE FROM words WHERE id = old.id; END");
  world.sql.run("UPDATE todos SET owner = 'bob' WHERE id = 'a'");
  settle();
  EXPECT_EQ(rows(ann), "'b'|'ann'|'too'\n");
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM words"), 1);
  EXPECT_EQ(world.sync(ann).rows_pushed, 0u);
  EXPECT_EQ(bob.peer.number("SELECT count(*) FROM words"), 1);
  expect_sound();
}

TEST_F(PostgresRowSecurity, UnfinishedPagesOfAnotherReplicaDoNotKeepARowFromLeaving) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', NULL, 'hers')");
  settle();
  ann.peer.run("INSERT INTO rejoin_staged(source, frame) VALUES(randomblob(16), x'00')");
  world.sql.run("UPDATE todos SET owner = 'bob'");
  settle();
  EXPECT_EQ(rows(ann), "");
  EXPECT_EQ(rows(bob), "'a'|'bob'|'hers'\n");
}

}  // namespace
}  // namespace rejoin::testing
