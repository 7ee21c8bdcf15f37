// Deletions are forgotten once everybody knows them, and what was forgotten never comes back: whoever was away for so
// long is told, loses what it only held from before, and keeps what it wrote.
#include <gtest/gtest.h>

#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w)";
const std::string kAll = "SELECT * FROM t ORDER BY id";
constexpr int64_t kDay = int64_t{24} * 3600 * 1000;

class ForgottenDeletions : public ::testing::Test {
 protected:
  ForgottenDeletions() : a("a", kSchema, {"t"}), b("b", kSchema, {"t"}), all{&server.peer(), &a.peer, &b.peer} {}

  void pass(int64_t days) {
    for (Peer* peer : all) peer->clock().advance(days * kDay);
  }
  int64_t records(Peer& p) { return p.number("SELECT count(*) FROM t__rejoin"); }
  int64_t shadows(Peer& p) { return p.number("SELECT count(*) FROM t__rejoin_dead"); }
  int64_t compact(Peer& p, std::optional<int64_t> keep_days = {}) {
    auto gone = p.rejoin().compact(keep_days);
    EXPECT_TRUE(gone.ok()) << gone.error().message;
    return gone.ok() ? *gone : -1;
  }
  void settle() {
    for (int i = 0; i < 2; ++i) a.must_sync(server), b.must_sync(server);
  }
  // All others are away meanwhile.
  void a_deletes_k_and_the_server_forgets_it() {
    a.peer.run("DELETE FROM t WHERE id = 'k'");
    a.must_sync(server);
    pass(40);
    a.must_sync(server), a.must_sync(server);
    compact(server.peer());
  }
  // a and b have k, l and m; then a deletes k while b is away, until it is forgotten everywhere.
  void forget_k_while_b_is_away() {
    a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1), ('m', 'old', 1)");
    settle();
    pass(1);
    a_deletes_k_and_the_server_forgets_it();
    compact(a.peer);
    EXPECT_EQ(records(server.peer()), 2);
    EXPECT_EQ(records(a.peer), 2);
  }
  void expect_same() {
    const std::string truth = server.peer().rows(kAll);
    EXPECT_EQ(difference(a.peer.rows(kAll), truth), "");
    EXPECT_EQ(difference(b.peer.rows(kAll), truth), "");
    for (Peer* peer : all) peer->expect_sound();
  }
  std::string rejections(Peer& p) { return p.rows("SELECT key, code, server FROM rejoin_rejections ORDER BY key"); }

  LoopbackServer server;
  LoopbackDevice a, b;
  std::vector<Peer*> all;
};

TEST_F(ForgottenDeletions, AreKeptUntilEveryDeviceHasThem) {
  a.peer.run("INSERT INTO t VALUES('k', 1, 1), ('l', 1, 1)");
  b.peer.run("INSERT INTO t VALUES('m', 1, 1)");
  settle();
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  a.must_sync(server);
  pass(10);
  // b was there, but did not get it.
  server.peer().run("UPDATE rejoin_device SET last_seen = last_seen + 10 * 86400000 WHERE device = 'b'");
  compact(server.peer(), 5);
  EXPECT_EQ(records(server.peer()), 3);
  settle();
  pass(1);
  settle();
  compact(server.peer(), 5);
  EXPECT_EQ(records(server.peer()), 2);
  EXPECT_EQ(shadows(server.peer()), 0);
  expect_same();
}

TEST_F(ForgottenDeletions, AreKeptForThirtyDaysUnlessTheFileSaysOtherwise) {
  a.peer.run("INSERT INTO t VALUES('k', 1, 1); DELETE FROM t");
  settle();
  settle();
  pass(29);
  settle();
  compact(server.peer());
  EXPECT_EQ(records(server.peer()), 1);
  EXPECT_EQ(a.peer.rows("SELECT id FROM t__rejoin_dead"), "'k'\n");
  pass(2);
  settle();
  compact(server.peer()), compact(a.peer), compact(b.peer);
  for (Peer* peer : all) EXPECT_EQ(records(*peer), 0);
  expect_same();
}

TEST_F(ForgottenDeletions, GoByThemselvesAtTheEndOfASync) {
  a.peer.run("INSERT INTO t VALUES('k', 1, 1), ('l', 1, 1); DELETE FROM t WHERE id = 'k'");
  settle();
  pass(31);
  for (int day = 0; day < 4; ++day) {
    a.peer.run("UPDATE t SET v = v + 1");
    b.peer.run("UPDATE t SET w = w + 1");
    settle();
    pass(1);
  }
  for (Peer* peer : all) EXPECT_EQ(records(*peer), 1);
  expect_same();
}

TEST_F(ForgottenDeletions, AFileOfItsOwnForgetsNothingUntilItIsTold) {
  Peer lone(kSchema, {"t"});
  lone.run("INSERT INTO t VALUES('k', 1, 1); DELETE FROM t");
  lone.clock().advance(400 * kDay);
  compact(lone);
  EXPECT_EQ(records(lone), 1);
  EXPECT_TRUE(lone.restore("t", {sim::Value::text("k")}));
  lone.run("DELETE FROM t");
  lone.clock().advance(8 * kDay);
  compact(lone, 7);
  EXPECT_EQ(records(lone), 0);
  lone.run("INSERT INTO t VALUES('k', 'again', 2)");
  lone.expect_sound();
  EXPECT_EQ(lone.rows(kAll), "'k'|'again'|2\n");
}

TEST_F(ForgottenDeletions, WhatADeviceOnlyHeldFromBeforeLeavesIt) {
  forget_k_while_b_is_away();
  b.must_sync(server);
  EXPECT_EQ(b.peer.rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
  EXPECT_EQ(rejections(b.peer), "");
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
  expect_same();
}

TEST_F(ForgottenDeletions, SoDoesWhatItWroteItself) {
  b.peer.run("INSERT INTO t VALUES('k', 'of b', 1), ('n', 'of b', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  EXPECT_EQ(records(server.peer()), 1);
  b.must_sync(server);
  settle();
  EXPECT_EQ(b.peer.rows("SELECT id FROM t"), "'n'\n");
  expect_same();
}

TEST_F(ForgottenDeletions, WhatADeviceWroteMeanwhileGoesThrough) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  pass(1);
  b.peer.run("INSERT INTO t VALUES('early', 'b', 1)");
  pass(1);
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  pass(1);
  b.peer.run("UPDATE t SET v = 'edited' WHERE id = 'l'");
  a.must_sync(server);
  pass(40);
  b.peer.run("INSERT INTO t VALUES('late', 'b', 1)");
  a.must_sync(server), a.must_sync(server);
  compact(server.peer());
  EXPECT_EQ(records(server.peer()), 1);
  b.must_sync(server);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id, v FROM t ORDER BY id"), "'early'|'b'\n'l'|'edited'\n'late'|'b'\n");
  expect_same();
}

TEST_F(ForgottenDeletions, AnEditOfAForgottenRowIsListedAndDoesNotBringItBack) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  b.peer.run("UPDATE t SET v = 'edited' WHERE id = 'k'");
  b.must_sync(server);
  EXPECT_EQ(rejections(b.peer), "'[\"k\"]'|'before_horizon'|'null'\n");
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id FROM t"), "'l'\n");
  EXPECT_EQ(b.peer.rows("SELECT id, v FROM t ORDER BY id"), "'k'|'edited'\n'l'|'old'\n");
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  settle();
  expect_same();
  EXPECT_EQ(rejections(b.peer), "");
}

TEST_F(ForgottenDeletions, ItsDeletionOfAForgottenRowIsNoNews) {
  forget_k_while_b_is_away();
  b.peer.run("DELETE FROM t WHERE id = 'k'");
  b.must_sync(server);
  settle();
  EXPECT_EQ(rejections(b.peer), "");
  expect_same();
}

TEST_F(ForgottenDeletions, AForgottenKeyCanBeUsedAgain) {
  forget_k_while_b_is_away();
  b.peer.run("DELETE FROM t WHERE id = 'k'; INSERT INTO t VALUES('k', 'anew', 2)");
  settle();
  EXPECT_EQ(server.peer().rows("SELECT v FROM t WHERE id = 'k'"), "'anew'\n");
  expect_same();
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  settle();
  a.peer.run("INSERT INTO t VALUES('k', 'once more', 3)");
  settle();
  EXPECT_EQ(b.peer.rows("SELECT v FROM t WHERE id = 'k'"), "'once more'\n");
  expect_same();
}

TEST_F(ForgottenDeletions, ARestoreByADeviceThatStillHasTheRowBringsItBackWhole) {
  a.peer.run("INSERT INTO t VALUES('k', 'of a', 1), ('l', 1, 1)");
  settle();
  b.peer.run("UPDATE t SET w = 'of b' WHERE id = 'k'");
  settle();
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  settle();
  pass(40);
  settle();
  compact(server.peer());
  EXPECT_EQ(records(server.peer()), 1);
  EXPECT_TRUE(b.peer.restore("t", {sim::Value::text("k")}));
  settle();
  EXPECT_EQ(server.peer().rows("SELECT * FROM t WHERE id = 'k'"), "'k'|'of a'|'of b'\n");
  EXPECT_EQ(rejections(b.peer), "");
  expect_same();
}

// The server takes a deletion of the row that it had forgotten, and knows nothing else of it.
TEST_F(ForgottenDeletions, ARestoreAfterADeletionOfAForgottenRowShowsNoDefaultsAtTheServer) {
  for (const bool missed : {false, true}) {
    SCOPED_TRACE(missed ? "it has missed the deletion" : "it deletes the row with the server's knowledge");
    LoopbackServer own;
    LoopbackDevice c("c", kSchema, {"t"}), d("d", kSchema, {"t"});
    auto later = [&](int64_t days) {
      for (Peer* p : {&own.peer(), &c.peer, &d.peer}) p->clock().advance(days * kDay);
    };
    c.peer.run("INSERT INTO t VALUES('k', 'of c', 1), ('l', 1, 1)");
    for (int i = 0; i < 2; ++i) c.must_sync(own), d.must_sync(own);
    d.peer.run("UPDATE t SET w = 'of d' WHERE id = 'k'");
    for (int i = 0; i < 2; ++i) d.must_sync(own), c.must_sync(own);
    later(1);
    c.peer.run("DELETE FROM t WHERE id = 'k'");
    c.must_sync(own);
    if (!missed) d.must_sync(own);
    later(40);
    for (int i = 0; i < 2; ++i) {
      c.must_sync(own);
      if (!missed) d.must_sync(own);
    }
    compact(own.peer());
    ASSERT_EQ(records(own.peer()), 1);
    if (!missed) {
      // Both sites' versions are above the horizon, the row's birth is not.
      ASSERT_TRUE(d.peer.restore("t", {sim::Value::text("k")}));
    }
    d.peer.run("DELETE FROM t WHERE id = 'k'");
    d.must_sync(own), c.must_sync(own);
    EXPECT_EQ(records(own.peer()), 2);
    EXPECT_EQ(own.peer().rows("SELECT id FROM t"), "'l'\n");
    // A device that got the deletion alone has nothing to restore.
    LoopbackDevice fresh("fresh", kSchema, {"t"});
    fresh.must_sync(own);
    const sim::Value k = sim::Value::text("k");
    auto nothing = fresh.peer.rejoin().restore("t", {k.ref()});
    ASSERT_FALSE(nothing.ok());
    EXPECT_EQ(nothing.error().code, Code::not_found);
    later(1);
    ASSERT_TRUE(d.peer.restore("t", {k}));
    for (int i = 0; i < 2; ++i) d.must_sync(own), c.must_sync(own), fresh.must_sync(own);
    for (Peer* p : {&own.peer(), &c.peer, &d.peer, &fresh.peer}) {
      EXPECT_EQ(p->rows("SELECT * FROM t WHERE id = 'k'"), "'k'|'of c'|'of d'\n");
      p->expect_sound();
    }
    EXPECT_EQ(rejections(d.peer), "");
  }
}

TEST_F(ForgottenDeletions, ADiscardedEditOfAForgottenRowLeavesNoHalfOfItToRestore) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  b.peer.run("UPDATE t SET v = 'edited' WHERE id = 'k'");
  b.must_sync(server);
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  EXPECT_EQ(b.peer.rows("SELECT id FROM t"), "'l'\n");
  const sim::Value k = sim::Value::text("k");
  auto nothing = b.peer.rejoin().restore("t", {k.ref()});
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().code, Code::not_found);
  settle();
  expect_same();
}

TEST_F(ForgottenDeletions, ADeletionThatALaterOneBeatsIsNotListed) {
  LoopbackDevice c("c", kSchema, {"t"});
  all.push_back(&c.peer);
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  c.must_sync(server);
  a_deletes_k_and_the_server_forgets_it();
  b.peer.run("DELETE FROM t WHERE id = 'k'");
  pass(1);
  c.peer.run("DELETE FROM t WHERE id = 'k'");
  c.must_sync(server);
  b.must_sync(server);
  EXPECT_EQ(rejections(b.peer), "");
  settle();
  expect_same();
}

TEST_F(ForgottenDeletions, AFreshDeviceWithOldRowsIsNotAffected) {
  forget_k_while_b_is_away();
  LoopbackDevice fresh("fresh", "");
  all.push_back(&fresh.peer);
  fresh.peer.clock().set(1'600'000'000'000);  // years behind, too
  fresh.peer.run(kSchema + ";INSERT INTO t VALUES('before tracking', 1, 1)");
  fresh.peer.track("t");
  fresh.peer.run("INSERT INTO t VALUES('long ago', 1, 1); UPDATE t SET w = 2 WHERE id = 'long ago'");
  fresh.must_sync(server);
  EXPECT_EQ(rejections(fresh.peer), "");
  EXPECT_EQ(server.peer().rows("SELECT id, w FROM t ORDER BY id"), "'before tracking'|1\n'l'|1\n'long ago'|2\n'm'|1\n");
  settle();
  EXPECT_EQ(fresh.peer.rows(kAll), server.peer().rows(kAll));
  fresh.peer.expect_sound();
  expect_same();
}

TEST_F(ForgottenDeletions, StartingOverDoesNotBringThemBack) {
  forget_k_while_b_is_away();
  // The server forgets the device, which then sends everything again.
  server.peer().run("DELETE FROM rejoin_device");
  b.must_sync(server);
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
  expect_same();
}

TEST_F(ForgottenDeletions, SoDoesACopyOfTheFile) {
  b.peer.run("INSERT INTO t VALUES('k', 'of b', 1), ('n', 'of b', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  ASSERT_TRUE(b.peer.rejoin().take_new_identity().ok());
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id FROM t"), "'n'\n");
  expect_same();
}

TEST_F(ForgottenDeletions, InSmallPagesAndChunks) {
  a.peer.run(
      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO t SELECT "
      "printf('k%03d', i), i, i FROM n");
  settle();
  pass(1);
  a.peer.run("DELETE FROM t WHERE v % 3 = 0");
  a.must_sync(server);
  pass(40);
  a.must_sync(server), a.must_sync(server);
  compact(server.peer());
  b.options.chunk_bytes = b.options.page_bytes = 1024;
  b.peer.run(
      "UPDATE t SET w = -w WHERE v % 5 = 0; INSERT INTO t SELECT 'b' || i.value, 0, 0 FROM "
      "json_each('[1,2,3,4,5,6,7,8,9]') AS i");
  bool wrote = false;
  b.during_response = [&](uint64_t n) {
    if (n == 6 && !std::exchange(wrote, true)) b.peer.run("UPDATE t SET w = 'late' WHERE id = 'k004'");
  };
  b.must_sync(server);
  settle();
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM t WHERE v % 3 = 0 AND v > 0"), 0);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM t"), 400 - 133 + 9);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 26);  // of 15, 30, …
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  settle();
  expect_same();
}

// A file that was handed around: nobody's word counts more, so it is kept aside and listed.
TEST_F(ForgottenDeletions, BetweenFilesAnOldRowIsParked) {
  Peer x(kSchema, {"t"}), y(kSchema, {"t"});
  x.run("INSERT INTO t VALUES('k', 1, 1), ('l', 1, 1)");
  exchange(x, y);
  x.clock().advance(kDay);
  x.run("DELETE FROM t WHERE id = 'k'");
  x.clock().advance(2 * kDay);
  compact(x, 1);
  EXPECT_EQ(records(x), 1);
  x.apply(y.changeset(0));
  EXPECT_EQ(x.rows("SELECT id FROM t"), "'l'\n");
  EXPECT_EQ(x.number("SELECT count(*) FROM rejoin_parked WHERE reason LIKE '%forgotten%'"), 1);
  x.apply(y.changeset(0));
  EXPECT_EQ(x.number("SELECT count(*) FROM rejoin_parked"), 1);
  // What y writes after the horizon goes through.
  y.clock().set(x.clock().now_ms());
  y.run(
      "INSERT INTO t VALUES('n', 1, 1); UPDATE t SET v = 2 WHERE id = 'l'; DELETE FROM t WHERE id = 'k'; INSERT INTO "
      "t VALUES('k', 'anew', 1)");
  x.apply(y.changeset(0));
  EXPECT_EQ(x.rows(kAll), y.rows(kAll));
  x.expect_sound();
}

TEST_F(ForgottenDeletions, BetweenFilesARestoreAfterAnotherDeletionBringsTheWholeRow) {
  Peer x(kSchema, {"t"}), y(kSchema, {"t"});
  x.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 1, 1)");
  exchange(x, y);
  x.run("DELETE FROM t WHERE id = 'k'");
  for (Peer* p : {&x, &y}) p->clock().advance(2 * kDay);
  compact(x, 1);
  EXPECT_EQ(records(x), 1);
  y.run("DELETE FROM t WHERE id = 'k'");
  x.apply(y.changeset(0));
  EXPECT_EQ(records(x), 2);
  y.clock().advance(kDay);
  EXPECT_TRUE(y.restore("t", {sim::Value::text("k")}));
  exchange(x, y);
  for (Peer* p : {&x, &y}) {
    EXPECT_EQ(p->rows(kAll), "'k'|'old'|1\n'l'|1|1\n");
    p->expect_sound();
  }
}

TEST_F(ForgottenDeletions, ParkedRowsDoNotPileUpAndLeaveTheListWhenTheRowIsInsertedAnew) {
  for (bool here : {true, false}) {
    Peer x(kSchema, {"t"}), y(kSchema, {"t"}), fresh(kSchema, {"t"});
    x.run("INSERT INTO t VALUES('k', 1, 1), ('l', 1, 1)");
    exchange(x, y);
    x.run("DELETE FROM t WHERE id = 'k'");
    for (Peer* p : {&x, &y, &fresh}) p->clock().advance(2 * kDay);
    compact(x, 1);
    for (int i = 2; i <= 6; ++i) {
      y.run("UPDATE t SET v = " + std::to_string(i) + " WHERE id = 'k'");
      x.apply(y.changeset(0));
      EXPECT_EQ(x.number("SELECT count(*) FROM rejoin_parked"), 1);
    }
    const std::string before = x.rows("SELECT * FROM rejoin_parked");
    x.apply(y.changeset(0));
    EXPECT_EQ(x.rows("SELECT * FROM rejoin_parked"), before);
    // Who parks it knows that it may have been deleted.
    fresh.apply(x.changeset(0));
    EXPECT_EQ(fresh.rows(kAll), "'l'|1|1\n");
    // Then somebody inserts it anew.
    Peer& who = here ? x : fresh;
    who.clock().advance(1000);
    who.run("INSERT INTO t VALUES('k', 'anew', 'anew')");
    if (here)
      ASSERT_TRUE(x.rejoin().fold().ok());
    else
      x.apply(fresh.changeset(0));
    EXPECT_EQ(x.rows(kAll), "'k'|'anew'|'anew'\n'l'|1|1\n");
    EXPECT_EQ(x.number("SELECT count(*) FROM rejoin_parked"), 0);
    exchange(x, y);
    fresh.apply(x.changeset(0));
    for (Peer* p : {&x, &y, &fresh}) {
      EXPECT_EQ(p->rows(kAll), "'k'|'anew'|'anew'\n'l'|1|1\n");
      p->expect_sound();
    }
  }
}

// An edit is taken without its row, whose insert may be on its way. It must not vouch for the row.
TEST_F(ForgottenDeletions, AnEditThatCameAloneDoesNotLetTheForgottenRowIn) {
  Peer x(kSchema, {"t"}), y(kSchema, {"t"});
  x.run("INSERT INTO t VALUES('k', 1, 1)");
  y.fetch(x);
  y.run("DELETE FROM t");
  y.clock().advance(kDay);
  x.clock().advance(2 * kDay);
  compact(y, 0);
  EXPECT_EQ(records(y), 0);
  const int64_t before = x.seq();
  x.run("UPDATE t SET v = 2");
  y.apply(x.changeset(before));
  EXPECT_EQ(y.rows(kAll), "");
  y.apply(x.changeset(0));
  EXPECT_EQ(y.rows(kAll), "");
  EXPECT_EQ(y.number("SELECT count(*) FROM rejoin_parked"), 1);
  y.expect_sound(true);
  y.apply(x.changeset(before));  // what is here already is nothing to refuse
  EXPECT_EQ(y.number("SELECT count(*) FROM rejoin_parked"), 1);
  // Its deletion is known again when it comes.
  x.run("DELETE FROM t");
  y.apply(x.changeset(0));
  x.run("INSERT INTO t VALUES('k', 3, 3)");
  y.apply(x.changeset(0));
  EXPECT_EQ(y.rows(kAll), "'k'|3|3\n");
}

// A device that got the row in a file edits it: the server takes that, for the insert may be on its way.
TEST_F(ForgottenDeletions, AStaleEditIsListedAlsoWhereOthersEditsCameBefore) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  LoopbackDevice c("c", kSchema, {"t"});
  all.push_back(&c.peer);
  c.peer.fetch(b.peer);
  pass(1);
  a_deletes_k_and_the_server_forgets_it();
  EXPECT_EQ(records(server.peer()), 1);
  c.peer.run("UPDATE t SET w = 'of c' WHERE id = 'k'");
  c.must_sync(server);
  b.peer.run("UPDATE t SET v = 'of b' WHERE id = 'k'");
  b.must_sync(server);
  EXPECT_EQ(rejections(b.peer), "'[\"k\"]'|'before_horizon'|'null'\n");
  EXPECT_EQ(server.peer().rows("SELECT id FROM t"), "'l'\n");
}

// A server's file that is itself a device of another server passes the news on that rows were forgotten there.
TEST_F(ForgottenDeletions, ThroughAChainOfServers) {
  LoopbackDevice edge("edge", kSchema, {"t"});
  all.push_back(&edge.peer);
  edge.caller.may_relay = true;
  LoopbackServer local(sqlite::make_tenant_store(edge.peer.rejoin()));
  LoopbackDevice leaf("leaf", kSchema, {"t"});
  all.push_back(&leaf.peer), all.push_back(&local.peer());
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  a.must_sync(server);
  edge.must_sync(server);
  leaf.must_sync(local), leaf.must_sync(local);
  EXPECT_EQ(leaf.peer.rows(kAll), a.peer.rows(kAll));
  a_deletes_k_and_the_server_forgets_it();
  EXPECT_EQ(records(server.peer()), 1);
  edge.must_sync(server);
  leaf.must_sync(local), leaf.must_sync(local);
  edge.must_sync(server);
  for (LoopbackDevice* device : {&edge, &leaf}) {
    EXPECT_EQ(device->peer.rows("SELECT id FROM t"), "'l'\n");
    device->peer.expect_sound();
  }
  EXPECT_EQ(server.peer().rows("SELECT id FROM t"), "'l'\n");
}

// Under its new name a server knows no row of a renamed table: all are announced, and refused for their age.
TEST_F(ForgottenDeletions, RenamingTheTableDoesNotBringThemBack) {
  const std::string rename = "ALTER TABLE t RENAME TO u", rows = "SELECT id, v FROM u ORDER BY id";
  for (bool first : {true, false}) {
    SCOPED_TRACE(first ? "whoever knows the deletion renames first" : "whoever was away renames first");
    LoopbackServer own;
    LoopbackDevice d("d", kSchema, {"t"}), e("e", kSchema, {"t"});
    auto later = [&](int64_t days) {
      for (Peer* p : {&own.peer(), &d.peer, &e.peer}) p->clock().advance(days * kDay);
    };
    e.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1), ('m', 'old', 1), ('n', 'old', 1)");
    for (int i = 0; i < 2; ++i) e.must_sync(own), d.must_sync(own);
    later(1);
    e.peer.run("DELETE FROM t WHERE id IN ('k', 'm')");
    e.must_sync(own);
    later(40);
    e.must_sync(own), e.must_sync(own);
    compact(own.peer());
    ASSERT_EQ(records(own.peer()), 2);
    d.peer.clock().advance(1);  // later than what e writes anew
    d.peer.run("UPDATE t SET v = 'edited' WHERE id IN ('m', 'n')");
    for (LoopbackDevice* device : first ? std::vector{&e, &d} : std::vector{&d, &e}) {
      ASSERT_TRUE(device->peer.rejoin().alter(rename).ok());
      for (int i = 0; i < 3; ++i) device->must_sync(own);
    }
    for (int i = 0; i < 2; ++i) d.must_sync(own), e.must_sync(own);
    EXPECT_EQ(own.peer().rows(rows), "'l'|'old'\n'n'|'edited'\n");
    EXPECT_EQ(e.peer.rows(rows), "'l'|'old'\n'n'|'edited'\n");
    // The edit of a row that is gone is listed.
    EXPECT_EQ(d.peer.rows(rows), "'l'|'old'\n'm'|'edited'\n'n'|'edited'\n");
    EXPECT_EQ(d.peer.rows("SELECT key, code FROM rejoin_rejections"), "'[\"m\"]'|'before_horizon'\n");
    for (Peer* p : {&own.peer(), &d.peer, &e.peer}) p->expect_sound();
  }
}

TEST_F(ForgottenDeletions, LogAndRecordsStayBoundedByWhatIsAlive) {
  a.peer.run("INSERT INTO t VALUES('alive', 0, 0)");
  int64_t log = 0, kept = 0;
  for (int day = 0; day < 100; ++day) {
    a.peer.run("INSERT INTO t SELECT 'day " + std::to_string(day) +
               "-' || i.value, 1, 1 FROM json_each('[1,2,3,4,5,6,7,8]') AS i; UPDATE t SET v = v + 1 WHERE id = "
               "'alive'; DELETE FROM t WHERE id <> 'alive'");
    settle();
    pass(1);
    if (day < 60) continue;
    for (Peer* peer : all) {
      compact(*peer);
      log = std::max(log, peer->number("SELECT count(*) FROM rejoin_log"));
      kept = std::max(kept, records(*peer));
    }
  }
  EXPECT_LE(log, 20);       // of a day
  EXPECT_LE(kept, 8 * 32);  // of a month
  expect_same();
}

TEST_F(ForgottenDeletions, TheSettingMustMakeSense) {
  for (int64_t days : {int64_t{-1}, INT64_MAX}) {
    auto gone = a.peer.rejoin().compact(days);
    ASSERT_FALSE(gone.ok());
    EXPECT_EQ(gone.error().code, Code::bad_argument);
  }
}

}  // namespace
}  // namespace rejoin::testing
