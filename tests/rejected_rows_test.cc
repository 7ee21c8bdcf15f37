// P2, P9: a row that a server refuses says why and what the server has instead; rejoin_discard() takes exactly the
// refused versions back, and nothing else stands still meanwhile. Here with the embedded store.
#include <gtest/gtest.h>

#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER);";

class RejectedRows : public ::testing::Test {
 protected:
  RejectedRows() : a("a", kSchema, {"todos"}), b("b", kSchema, {"todos"}) { server.settings.max_value_bytes = 100; }
  void settle() {
    for (int i = 0; i < 2; ++i) a.must_sync(server), b.must_sync(server);
  }
  // A device that does not know the server's limit yet, so that it is the server who refuses.
  void forget_limit(LoopbackDevice& d) {
    d.peer.run("UPDATE rejoin_peer SET max_value_bytes=NULL, max_frame_bytes=NULL");
  }
  std::string listed(LoopbackDevice& d) {
    return d.peer.rows("SELECT key, code, server FROM rejoin_rejections ORDER BY key");
  }
  std::string all(LoopbackDevice& d) { return d.peer.rows("SELECT * FROM todos ORDER BY id"); }
  int64_t discard(LoopbackDevice& d) {
    auto n = d.peer.rejoin().discard_all();
    EXPECT_TRUE(n.ok()) << (n.ok() ? "" : n.error().message);
    return n.ok() ? *n : -1;
  }
  LoopbackServer server;
  LoopbackDevice a, b;
};

TEST_F(RejectedRows, ARefusedInsertSaysThatTheServerHasNoneAndLeavesTheDevice) {
  a.peer.run("INSERT INTO todos VALUES('big', hex(zeroblob(200)), 1), ('small', 'x', 0)");
  a.must_sync(server);
  EXPECT_EQ(listed(a), "'[\"big\"]'|'too_large'|'null'\n");
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "'small'|'x'|0\n");
  EXPECT_EQ(listed(a), "");
  settle();
  EXPECT_EQ(all(a), "'small'|'x'|0\n");
  EXPECT_EQ(all(b), all(a));
  a.peer.expect_sound(), b.peer.expect_sound();
  EXPECT_EQ(a.must_sync(server).rows_pushed, 0u);
}

TEST(RejectedClaims, ARowThatWaitedForADiscardedRowsValueShowsAtOnce) {
  const std::string schema = "CREATE TABLE users(id TEXT PRIMARY KEY, mail TEXT UNIQUE, bio TEXT)";
  LoopbackServer server;
  server.settings.max_value_bytes = 100;
  LoopbackDevice a("a", schema, {"users"}), b("b", schema, {"users"});
  a.peer.run("INSERT INTO users VALUES('first', 'e@x', hex(zeroblob(200)))");
  a.must_sync(server);
  b.peer.clock().set(a.peer.clock().now_ms() + 1'000);
  b.peer.run("INSERT INTO users VALUES('second', 'e@x', '')");
  b.must_sync(server), a.must_sync(server);
  EXPECT_EQ(a.peer.rows("SELECT id FROM users"), "'first'\n");
  EXPECT_EQ(a.peer.rows("SELECT key FROM rejoin_parked"), "'[\"second\"]'\n");
  ASSERT_TRUE(a.peer.rejoin().discard_all().ok());
  EXPECT_EQ(a.peer.rows("SELECT id FROM users"), "'second'\n");
  a.peer.expect_sound();
}

TEST(RejectedParents, WhatRefersToADiscardedRowWaitsForIt) {
  const std::string schema =
      "PRAGMA foreign_keys = ON; CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT);"
      "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT REFERENCES lists)";
  LoopbackServer server;
  server.settings.max_value_bytes = 100;
  LoopbackDevice a("a", schema, {"lists", "entries"}), b("b", schema, {"lists", "entries"});
  a.peer.run("INSERT INTO lists VALUES('l', hex(zeroblob(200))); INSERT INTO entries VALUES('e', 'l')");
  a.must_sync(server), b.must_sync(server);
  EXPECT_EQ(a.peer.rows("SELECT id FROM entries"), "'e'\n");
  EXPECT_EQ(b.peer.rows("SELECT id FROM entries"), "");
  ASSERT_TRUE(a.peer.rejoin().discard_all().ok());
  for (LoopbackDevice* d : {&a, &b}) {
    EXPECT_EQ(d->peer.rows("SELECT id FROM entries"), "");
    EXPECT_EQ(d->peer.rows("SELECT table_name, key FROM rejoin_parked"), "'entries'|'[\"e\"]'\n");
    EXPECT_EQ(d->peer.rows("PRAGMA foreign_key_check"), "");
  }
  b.peer.run("INSERT INTO lists VALUES('l', 'short')");
  b.must_sync(server), a.must_sync(server);
  for (LoopbackDevice* d : {&a, &b}) {
    EXPECT_EQ(d->peer.rows("SELECT list, name FROM entries JOIN lists ON lists.id = list"), "'l'|'short'\n");
    d->peer.expect_sound();
  }
}

TEST_F(RejectedRows, ARefusedUpdateShowsTheServersRowAndGivesWayToIt) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  EXPECT_EQ(listed(a), "'[\"t\"]'|'too_large'|'{\"id\":\"t\",\"title\":\"short\",\"done\":0}'\n");
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  settle();
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  EXPECT_EQ(all(b), all(a));
  // What is written later is taken.
  a.peer.run("UPDATE todos SET title='later'");
  settle();
  EXPECT_EQ(all(b), "'t'|'later'|0\n");
}

TEST_F(RejectedRows, WhatWasGivenUpIsForgottenWhenTheServerHasLaterVersions) {
  const auto remembered = [&] { return a.peer.number("SELECT count(*) FROM rejoin_discarded"); };
  a.peer.run("INSERT INTO todos VALUES('mine', 'short', 0), ('theirs', 'short', 0), ('other', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200)); INSERT INTO todos VALUES('new', hex(zeroblob(200)), 1)");
  a.must_sync(server);
  const Bytes early = a.peer.changeset();
  EXPECT_EQ(discard(a), 4);
  EXPECT_EQ(remembered(), 4);
  for (LoopbackDevice* d : {&a, &b}) d->peer.clock().advance(1'000);
  // Taken from here; from another device; another column only; the key anew by another device.
  a.peer.run("UPDATE todos SET title='later' WHERE id='mine'");
  b.peer.run("UPDATE todos SET title='later' WHERE id='theirs'; UPDATE todos SET done=5 WHERE id='other'");
  settle();
  EXPECT_EQ(remembered(), 2);
  b.peer.run("INSERT INTO todos VALUES('new', 'of b', 0)");
  settle();
  EXPECT_EQ(remembered(), 1);
  // A copy of what was given up comes from somewhere, and changes nothing.
  const std::string shown = "'mine'|'later'|0\n'new'|'of b'|0\n'other'|'short'|5\n'theirs'|'later'|0\n";
  EXPECT_EQ(all(a), shown);
  a.peer.apply(early);
  EXPECT_EQ(all(a), shown);
  settle();
  EXPECT_EQ(all(a), shown);
  EXPECT_EQ(all(b), shown);
  EXPECT_EQ(listed(a), "");
  a.peer.expect_sound(), b.peer.expect_sound();
}

// The value that the device gets is the one that the server has when it discards, not the one that it had when it
// refused.
TEST_F(RejectedRows, OthersEditsOfTheRowMeanwhileAreNotLost) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.clock().set(a.peer.clock().now_ms() + 5'000);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  EXPECT_EQ(a.peer.rows("SELECT length(title) FROM todos"), "400\n");
  b.peer.run("UPDATE todos SET title='by b', done=7");
  settle();
  EXPECT_EQ(a.peer.rows("SELECT length(title), done FROM todos"), "400|7\n");  // the later write is the device's
  EXPECT_EQ(listed(a), "'[\"t\"]'|'too_large'|'{\"id\":\"t\",\"title\":\"by b\",\"done\":7}'\n");
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "'t'|'by b'|7\n");
  settle();
  EXPECT_EQ(all(a), all(b));
}

TEST_F(RejectedRows, NewerLocalEditsStay) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  a.peer.run("UPDATE todos SET done=5");
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "'t'|'short'|5\n");
  settle();
  EXPECT_EQ(all(b), "'t'|'short'|5\n");
  EXPECT_EQ(all(a), all(b));
}

TEST_F(RejectedRows, ADeletionByOthersOfARefusedRowIsTakenOver) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  b.peer.run("DELETE FROM todos");
  settle();
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "");
  ASSERT_TRUE(a.peer.restore("todos", {sim::Value::text("t")}));
  settle();
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  EXPECT_EQ(all(b), all(a));
}

// The device itself kept the value back, so the server has never said what it has.
TEST_F(RejectedRows, AValueThatWasNeverSentGivesWayToAFreshPull) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0), ('u', 'other', 0)");
  settle();
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200)) WHERE id='t'");
  a.must_sync(server);
  EXPECT_EQ(listed(a), "'[\"t\"]'|'too_large'|null\n");
  EXPECT_EQ(discard(a), 1);
  a.must_sync(server);
  EXPECT_EQ(all(a), "'t'|'short'|0\n'u'|'other'|0\n");
  settle();
  EXPECT_EQ(all(b), all(a));
}

TEST_F(RejectedRows, WhatWasDiscardedDoesNotComeBackFromAnotherReplica) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  Peer friend_of_a(kSchema, {"todos"});
  friend_of_a.fetch(a.peer);
  a.must_sync(server);
  EXPECT_EQ(discard(a), 1);
  a.peer.fetch(friend_of_a);
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  // Unless the server takes it, from whom ever.
  server.settings.max_value_bytes = 10'000;
  LoopbackDevice relay("r", kSchema, {"todos"});
  relay.caller.may_relay = true;
  relay.peer.fetch(friend_of_a);
  relay.must_sync(server);
  b.must_sync(server);
  EXPECT_EQ(b.peer.rows("SELECT length(title) FROM todos"), "400\n");
}

TEST_F(RejectedRows, TheRestOfWhatWasDiscardedStaysAwayWhenTheServerTakesAPart) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  a.caller.who.tables.set("todos", {true, false});
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200)), done=9");
  Peer friend_of_a(kSchema, {"todos"});
  friend_of_a.fetch(a.peer);
  a.must_sync(server);
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  LoopbackDevice relay("r", kSchema, {"todos"});
  relay.caller.may_relay = true;
  relay.peer.fetch(friend_of_a);
  relay.must_sync(server);
  a.must_sync(server);
  EXPECT_EQ(all(a), "'t'|'short'|9\n");
  a.peer.fetch(friend_of_a);
  EXPECT_EQ(all(a), "'t'|'short'|9\n");
}

// The device retries a row and gives it up while the retry is on its way: the server has the last word.
TEST_F(RejectedRows, ARetryThatIsTakenAfterTheDiscardCounts) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  forget_limit(a);
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  server.settings.max_value_bytes = 10'000;
  ASSERT_EQ(*a.peer.rejoin().retry(), 1);
  forget_limit(a);
  bool discarded = false;
  a.during_response = [&](uint64_t) {
    if (discarded) return;
    EXPECT_EQ(discard(a), 1);
    discarded = true;
  };
  a.must_sync(server);
  a.during_response = {};
  settle();
  EXPECT_EQ(a.peer.rows("SELECT length(title) FROM todos"), "400\n");
  EXPECT_EQ(all(b), all(a));
  EXPECT_EQ(listed(a), "");
}

TEST_F(RejectedRows, OneRowIsDiscardedByItsKey) {
  a.peer.run("INSERT INTO todos VALUES('x', hex(zeroblob(200)), 1), ('y', hex(zeroblob(200)), 1)");
  a.must_sync(server);
  a.peer.run("INSERT INTO todos VALUES('z', 'fine', 0)");
  EXPECT_TRUE(*a.peer.rejoin().discard("todos", {crdt::ValueRef::of_text("x")}));
  EXPECT_FALSE(*a.peer.rejoin().discard("todos", {crdt::ValueRef::of_text("x")}));
  EXPECT_EQ(listed(a), "'[\"y\"]'|'too_large'|'null'\n");
  settle();
  EXPECT_EQ(a.peer.rows("SELECT id FROM todos ORDER BY id"), "'y'\n'z'\n");
  EXPECT_EQ(b.peer.rows("SELECT id FROM todos ORDER BY id"), "'z'\n");
}

// "The server has none" is true no longer once a part of the row got in.
TEST_F(RejectedRows, ARowThatWasTakenLaterStaysWhenItsLargeValueIsGivenUp) {
  a.caller.who.tables.set("todos", {true, false});
  a.peer.run("INSERT INTO todos VALUES('r', 'x', 1)");
  a.must_sync(server);
  EXPECT_EQ(listed(a), "'[\"r\"]'|'forbidden'|'null'\n");
  a.caller.who = {};
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  EXPECT_EQ(listed(a), "'[\"r\"]'|'too_large'|null\n");
  EXPECT_EQ(discard(a), 1);
  settle();
  EXPECT_EQ(all(a), "'r'|null|1\n");
  EXPECT_EQ(all(b), all(a));
}

TEST_F(RejectedRows, AValueThatWasKeptBackIsGivenUpWithTheRefusedRestOfItsRow) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  a.caller.who.tables.set("todos", {true, false});
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200)), done=9");
  a.must_sync(server);
  EXPECT_EQ(listed(a), "'[\"t\"]'|'forbidden'|'{\"id\":\"t\",\"title\":\"short\",\"done\":0}'\n");
  a.must_sync(server);
  EXPECT_EQ(discard(a), 1);
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  a.caller.who = {};
  settle();
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
  EXPECT_EQ(all(b), all(a));
}

TEST_F(RejectedRows, APullThatHasToBeginAnewStillBringsWhatWasGivenUp) {
  a.peer.run("INSERT INTO todos VALUES('t', 'short', 0)");
  settle();
  a.peer.run("UPDATE todos SET title=hex(zeroblob(200))");
  a.must_sync(server);
  EXPECT_EQ(discard(a), 1);
  // Its first page has come.
  a.peer.run("UPDATE rejoin_peer SET pull_all=0");
  ASSERT_TRUE(sqlite::make_device_store(a.peer.rejoin(), a.url)->restart_pull({}).ok());
  a.must_sync(server);
  EXPECT_EQ(all(a), "'t'|'short'|0\n");
}

// What a trigger would write to other synced tables would be pushed, and take others' rows with it.
TEST_F(RejectedRows, TriggersOfTheApplicationDoNotRunWhenARowIsTakenBack) {
  const std::string schema = kSchema + "CREATE TABLE tasks(id TEXT PRIMARY KEY, todo TEXT);";
  LoopbackDevice c("c", schema, {"todos", "tasks"}), d("d", schema, {"todos", "tasks"});
  c.peer.run(
      "INSERT INTO todos VALUES('t', 'short', 0); INSERT INTO tasks VALUES('1', 't'), ('2', 'big');"
      "CREATE TABLE seen(n INTEGER); INSERT INTO seen VALUES(0);"
      "CREATE TRIGGER born AFTER INSERT ON todos BEGIN UPDATE seen SET n=n+1; END;"
      "CREATE TRIGGER died AFTER DELETE ON todos BEGIN DELETE FROM tasks WHERE todo=old.id; END");
  c.must_sync(server);
  forget_limit(c);
  c.peer.run("UPDATE todos SET title=hex(zeroblob(200)); INSERT INTO todos VALUES('big', hex(zeroblob(200)), 1)");
  c.must_sync(server);
  EXPECT_EQ(discard(c), 2);
  EXPECT_EQ(all(c), "'t'|'short'|0\n");
  EXPECT_EQ(c.peer.number("SELECT n FROM seen"), 1);
  EXPECT_EQ(c.must_sync(server).rows_pushed, 0u);
  d.must_sync(server);
  for (LoopbackDevice* device : {&c, &d}) {
    EXPECT_EQ(device->peer.rows("SELECT id FROM tasks ORDER BY id"), "'1'\n'2'\n");
    device->peer.expect_sound();
  }
}

}  // namespace
}  // namespace rejoin::testing
