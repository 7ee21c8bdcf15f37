// Deletions are forgotten once everybody knows them, and what was forgotten never comes back: whoever was away for so
// long is told, loses what it only held from before, and keeps what it wrote. The same cases with the embedded store
// and with PostgreSQL's; between files: tests/forgotten_deletions_test.cc.
#include <gtest/gtest.h>

#include "tests/support/forgetting_server.h"

namespace rejoin::testing {
namespace {

const std::string kSchema = kForgettingSchema;
const std::string kAll = "SELECT * FROM t ORDER BY id";
constexpr int64_t kDay = int64_t{24} * 3600 * 1000;

class ForgettingConformance : public ::testing::TestWithParam<StoreKind> {
 protected:
  ForgettingConformance()
      : server(ForgettingServer::make(GetParam())),
        a("a", kSchema, {"t"}),
        b("b", kSchema, {"t"}),
        all{&a.peer, &b.peer} {
    server->set_clock(a.peer.clock().now_ms());
  }

  void pass(int64_t days) {
    for (Peer* peer : all) peer->clock().advance(days * kDay);
    server->advance(days * kDay);
  }
  int64_t records(Peer& p) { return p.number("SELECT count(*) FROM t__rejoin"); }
  void compact(Peer& p) { EXPECT_TRUE(p.rejoin().compact({}).ok()); }
  void settle() {
    for (int i = 0; i < 2; ++i) a.must_sync(server->node()), b.must_sync(server->node(1));
  }
  // All others are away meanwhile.
  void a_deletes_k_and_the_server_forgets_it() {
    a.peer.run("DELETE FROM t WHERE id = 'k'");
    a.must_sync(server->node());
    pass(40);
    a.must_sync(server->node()), a.must_sync(server->node());
    server->compact();
  }
  // a and b have k, l and m; then a deletes k while b is away, until it is forgotten everywhere.
  void forget_k_while_b_is_away() {
    a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1), ('m', 'old', 1)");
    settle();
    pass(1);
    a_deletes_k_and_the_server_forgets_it();
    compact(a.peer);
    EXPECT_EQ(server->records(), 2);
    EXPECT_EQ(records(a.peer), 2);
  }
  void expect_same() {
    const std::string truth = server->rows();
    EXPECT_EQ(difference(a.peer.rows(kAll), truth), "");
    EXPECT_EQ(difference(b.peer.rows(kAll), truth), "");
    for (Peer* peer : all) peer->expect_sound();
    server->expect_sound();
  }
  std::string rejections(Peer& p) { return p.rows("SELECT key, code, server FROM rejoin_rejections ORDER BY key"); }

  std::unique_ptr<ForgettingServer> server;
  LoopbackDevice a, b;
  std::vector<Peer*> all;  // of the devices
};

TEST_P(ForgettingConformance, AreKeptUntilEveryDeviceHasThem) {
  a.peer.run("INSERT INTO t VALUES('k', 1, 1), ('l', 1, 1)");
  b.peer.run("INSERT INTO t VALUES('m', 1, 1)");
  settle();
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  a.must_sync(server->node());
  pass(10);
  // b was there, but did not get it.
  server->seen("b");
  server->compact(5);
  EXPECT_EQ(server->records(), 3);
  settle();
  pass(1);
  settle();
  server->compact(5);
  EXPECT_EQ(server->records(), 2);
  expect_same();
}

TEST_P(ForgettingConformance, AreKeptForThirtyDaysUnlessTheFileSaysOtherwise) {
  a.peer.run("INSERT INTO t VALUES('k', 1, 1); DELETE FROM t");
  settle();
  settle();
  pass(29);
  settle();
  server->compact();
  EXPECT_EQ(server->records(), 1);
  EXPECT_EQ(a.peer.rows("SELECT id FROM t__rejoin_dead"), "'k'\n");
  pass(2);
  settle();
  server->compact(), compact(a.peer), compact(b.peer);
  for (Peer* peer : all) EXPECT_EQ(records(*peer), 0);
  EXPECT_EQ(server->records(), 0);
  expect_same();
}

TEST_P(ForgettingConformance, GoByThemselvesAtTheEndOfASync) {
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
  EXPECT_EQ(server->records(), 1);
  expect_same();
}

TEST_P(ForgettingConformance, WhatADeviceOnlyHeldFromBeforeLeavesIt) {
  forget_k_while_b_is_away();
  b.must_sync(server->node());
  EXPECT_EQ(b.peer.rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
  EXPECT_EQ(rejections(b.peer), "");
  settle();
  EXPECT_EQ(server->rows({"id"}), "'l'\n'm'\n");
  expect_same();
}

// It starts over without a place, which would tell.
TEST_P(ForgettingConformance, AreKnownOfADeviceThatTheServerWasToldToForget) {
  forget_k_while_b_is_away();
  server->forget_devices();
  b.peer.run("UPDATE t SET v = 'late' WHERE id IN ('k', 'l')");
  b.must_sync(server->node());
  EXPECT_EQ(b.peer.rows("SELECT key, code FROM rejoin_rejections"), "'[\"k\"]'|'before_horizon'\n");
  EXPECT_EQ(server->records(), 2);
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  settle();
  EXPECT_EQ(server->rows({"id", "v"}), "'l'|'late'\n'm'|'old'\n");
  expect_same();
}

TEST_P(ForgettingConformance, SoDoesWhatItWroteItself) {
  b.peer.run("INSERT INTO t VALUES('k', 'of b', 1), ('n', 'of b', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  EXPECT_EQ(server->records(), 1);
  b.must_sync(server->node());
  settle();
  EXPECT_EQ(b.peer.rows("SELECT id FROM t"), "'n'\n");
  expect_same();
}

TEST_P(ForgettingConformance, WhatADeviceWroteMeanwhileGoesThrough) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  pass(1);
  b.peer.run("INSERT INTO t VALUES('early', 'b', 1)");
  pass(1);
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  pass(1);
  b.peer.run("UPDATE t SET v = 'edited' WHERE id = 'l'");
  a.must_sync(server->node());
  pass(40);
  b.peer.run("INSERT INTO t VALUES('late', 'b', 1)");
  a.must_sync(server->node()), a.must_sync(server->node());
  server->compact();
  EXPECT_EQ(server->records(), 1);
  b.must_sync(server->node());
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
  settle();
  EXPECT_EQ(server->rows({"id", "v"}), "'early'|'b'\n'l'|'edited'\n'late'|'b'\n");
  expect_same();
}

TEST_P(ForgettingConformance, AnEditOfAForgottenRowIsListedAndDoesNotBringItBack) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  b.peer.run("UPDATE t SET v = 'edited' WHERE id = 'k'");
  b.must_sync(server->node());
  EXPECT_EQ(rejections(b.peer), "'[\"k\"]'|'before_horizon'|'null'\n");
  settle();
  EXPECT_EQ(server->rows({"id"}), "'l'\n");
  EXPECT_EQ(b.peer.rows("SELECT id, v FROM t ORDER BY id"), "'k'|'edited'\n'l'|'old'\n");
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  settle();
  expect_same();
  EXPECT_EQ(rejections(b.peer), "");
}

TEST_P(ForgettingConformance, ItsDeletionOfAForgottenRowIsNoNews) {
  forget_k_while_b_is_away();
  b.peer.run("DELETE FROM t WHERE id = 'k'");
  b.must_sync(server->node());
  settle();
  EXPECT_EQ(rejections(b.peer), "");
  expect_same();
}

TEST_P(ForgettingConformance, AForgottenKeyCanBeUsedAgain) {
  forget_k_while_b_is_away();
  b.peer.run("DELETE FROM t WHERE id = 'k'; INSERT INTO t VALUES('k', 'anew', 2)");
  settle();
  EXPECT_EQ(server->rows({"v"}, "id = 'k'"), "'anew'\n");
  expect_same();
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  settle();
  a.peer.run("INSERT INTO t VALUES('k', 'once more', 3)");
  settle();
  EXPECT_EQ(b.peer.rows("SELECT v FROM t WHERE id = 'k'"), "'once more'\n");
  expect_same();
}

TEST_P(ForgettingConformance, AForgottenKeyCanBeInsertedAnewWithPlainSql) {
  forget_k_while_b_is_away();
  server->run("INSERT INTO t VALUES('k', 'by others', '1')");
  b.peer.run("UPDATE t SET v = 'of b' WHERE id = 'm'");
  settle();
  EXPECT_EQ(server->rows({"id", "v"}), "'k'|'by others'\n'l'|'old'\n'm'|'of b'\n");
  EXPECT_EQ(rejections(b.peer), "");
  expect_same();
  server->run("DELETE FROM t WHERE id = 'k'");
  settle();
  EXPECT_EQ(b.peer.rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
  expect_same();
}

TEST_P(ForgettingConformance, ARestoreByADeviceThatStillHasTheRowBringsItBackWhole) {
  a.peer.run("INSERT INTO t VALUES('k', 'of a', 1), ('l', 1, 1)");
  settle();
  b.peer.run("UPDATE t SET w = 'of b' WHERE id = 'k'");
  settle();
  a.peer.run("DELETE FROM t WHERE id = 'k'");
  settle();
  pass(40);
  settle();
  server->compact();
  EXPECT_EQ(server->records(), 1);
  EXPECT_TRUE(b.peer.restore("t", {sim::Value::text("k")}));
  settle();
  EXPECT_EQ(server->rows({"id", "v", "w"}, "id = 'k'"), "'k'|'of a'|'of b'\n");
  EXPECT_EQ(rejections(b.peer), "");
  expect_same();
}

// The server takes a deletion of the row that it had forgotten, and knows nothing else of it.
TEST_P(ForgettingConformance, ARestoreOfARowThatOnlyOthersHaveWrittenBringsItBackWhole) {
  a.peer.run("INSERT INTO t VALUES('k', 'of a', 1), ('l', 1, 1)");
  b.peer.run("INSERT INTO t VALUES('m', 1, 1)");
  settle();
  b.peer.run("DELETE FROM t WHERE id = 'k'");
  settle();
  pass(40);
  settle();
  server->compact();
  EXPECT_EQ(server->records(), 2);
  EXPECT_TRUE(b.peer.restore("t", {sim::Value::text("k")}));
  settle();
  EXPECT_EQ(server->rows({"id", "v", "w"}, "id = 'k'"), "'k'|'of a'|'1'\n");
  EXPECT_EQ(rejections(b.peer), "");
  expect_same();
}

TEST_P(ForgettingConformance, ARestoreAfterADeletionOfAForgottenRowShowsNoDefaultsAtTheServer) {
  for (const bool missed : {false, true}) {
    SCOPED_TRACE(missed ? "it has missed the deletion" : "it deletes the row with the server's knowledge");
    const auto own = ForgettingServer::make(GetParam());
    LoopbackDevice c("c", kSchema, {"t"}), d("d", kSchema, {"t"});
    own->set_clock(c.peer.clock().now_ms());
    auto later = [&](int64_t days) {
      for (Peer* p : {&c.peer, &d.peer}) p->clock().advance(days * kDay);
      own->advance(days * kDay);
    };
    c.peer.run("INSERT INTO t VALUES('k', 'of c', 1), ('l', 1, 1)");
    for (int i = 0; i < 2; ++i) c.must_sync(own->node()), d.must_sync(own->node());
    d.peer.run("UPDATE t SET w = 'of d' WHERE id = 'k'");
    for (int i = 0; i < 2; ++i) d.must_sync(own->node()), c.must_sync(own->node());
    later(1);
    c.peer.run("DELETE FROM t WHERE id = 'k'");
    c.must_sync(own->node());
    if (!missed) d.must_sync(own->node());
    later(40);
    for (int i = 0; i < 2; ++i) {
      c.must_sync(own->node());
      if (!missed) d.must_sync(own->node());
    }
    own->compact();
    ASSERT_EQ(own->records(), 1);
    if (!missed) {
      // Both sites' versions are above the horizon, the row's birth is not.
      ASSERT_TRUE(d.peer.restore("t", {sim::Value::text("k")}));
    }
    d.peer.run("DELETE FROM t WHERE id = 'k'");
    d.must_sync(own->node()), c.must_sync(own->node());
    EXPECT_EQ(own->records(), 2);
    EXPECT_EQ(own->rows({"id"}), "'l'\n");
    // A device that got the deletion alone has nothing to restore.
    LoopbackDevice fresh("fresh", kSchema, {"t"});
    fresh.must_sync(own->node());
    const sim::Value k = sim::Value::text("k");
    auto nothing = fresh.peer.rejoin().restore("t", {k.ref()});
    ASSERT_FALSE(nothing.ok());
    EXPECT_EQ(nothing.error().code, Code::not_found);
    later(1);
    ASSERT_TRUE(d.peer.restore("t", {k}));
    for (int i = 0; i < 2; ++i) d.must_sync(own->node()), c.must_sync(own->node()), fresh.must_sync(own->node());
    EXPECT_EQ(own->rows({"id", "v", "w"}, "id = 'k'"), "'k'|'of c'|'of d'\n");
    own->expect_sound();
    for (Peer* p : {&c.peer, &d.peer, &fresh.peer}) {
      EXPECT_EQ(p->rows("SELECT * FROM t WHERE id = 'k'"), "'k'|'of c'|'of d'\n");
      p->expect_sound();
    }
    EXPECT_EQ(rejections(d.peer), "");
  }
}

TEST_P(ForgettingConformance, ADiscardedEditOfAForgottenRowLeavesNoHalfOfItToRestore) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  b.peer.run("UPDATE t SET v = 'edited' WHERE id = 'k'");
  b.must_sync(server->node());
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  EXPECT_EQ(b.peer.rows("SELECT id FROM t"), "'l'\n");
  const sim::Value k = sim::Value::text("k");
  auto nothing = b.peer.rejoin().restore("t", {k.ref()});
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().code, Code::not_found);
  settle();
  expect_same();
}

TEST_P(ForgettingConformance, ADeletionThatALaterOneBeatsIsNotListed) {
  LoopbackDevice c("c", kSchema, {"t"});
  all.push_back(&c.peer);
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  c.must_sync(server->node());
  a_deletes_k_and_the_server_forgets_it();
  b.peer.run("DELETE FROM t WHERE id = 'k'");
  pass(1);
  c.peer.run("DELETE FROM t WHERE id = 'k'");
  c.must_sync(server->node());
  b.must_sync(server->node());
  EXPECT_EQ(rejections(b.peer), "");
  settle();
  expect_same();
}

TEST_P(ForgettingConformance, AFreshDeviceWithOldRowsIsNotAffected) {
  forget_k_while_b_is_away();
  LoopbackDevice fresh("fresh", "");
  all.push_back(&fresh.peer);
  fresh.peer.clock().set(1'600'000'000'000);  // years behind, too
  fresh.peer.run(kSchema + ";INSERT INTO t VALUES('before tracking', 1, 1)");
  fresh.peer.track("t");
  fresh.peer.run("INSERT INTO t VALUES('long ago', 1, 1); UPDATE t SET w = 2 WHERE id = 'long ago'");
  fresh.must_sync(server->node());
  EXPECT_EQ(rejections(fresh.peer), "");
  EXPECT_EQ(server->rows({"id", "w"}), "'before tracking'|'1'\n'l'|'1'\n'long ago'|'2'\n'm'|'1'\n");
  settle();
  EXPECT_EQ(fresh.peer.rows(kAll), server->rows());
  fresh.peer.expect_sound();
  expect_same();
}

TEST_P(ForgettingConformance, StartingOverDoesNotBringThemBack) {
  forget_k_while_b_is_away();
  // The server forgets the device, which then sends everything again.
  server->forget_devices();
  b.must_sync(server->node());
  settle();
  EXPECT_EQ(server->rows({"id"}), "'l'\n'm'\n");
  expect_same();
}

TEST_P(ForgettingConformance, SoDoesACopyOfTheFile) {
  b.peer.run("INSERT INTO t VALUES('k', 'of b', 1), ('n', 'of b', 1)");
  settle();
  a_deletes_k_and_the_server_forgets_it();
  ASSERT_TRUE(b.peer.rejoin().take_new_identity().ok());
  settle();
  EXPECT_EQ(server->rows({"id"}), "'n'\n");
  expect_same();
}

// An application may ship a database that is tracked and has rows. Its first pull is from the beginning, and tells of
// nothing that is not there.
TEST_P(ForgettingConformance, ARowOfTheDatabaseThatAllBeganWithStayedOnTheDeviceThatCameLate) {
  a.peer.run("INSERT INTO t VALUES('k', 'of all', 1), ('l', 'of all', 1), ('m', 'of all', 1)");
  LoopbackDevice fresh("fresh", ""), folded("folded", "");
  fresh.peer.database().copy_from(a.peer.database());
  a.peer.seq();
  folded.peer.database().copy_from(a.peer.database());
  for (LoopbackDevice* late : {&fresh, &folded}) all.push_back(&late->peer);
  settle();
  a_deletes_k_and_the_server_forgets_it();
  folded.peer.run("UPDATE t SET v = 'edited' WHERE id = 'm'");
  for (LoopbackDevice* late : {&fresh, &folded}) {
    late->must_sync(server->node());
    EXPECT_EQ(late->peer.rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
    EXPECT_EQ(rejections(late->peer), "");
  }
  settle();
  fresh.must_sync(server->node());
  for (LoopbackDevice* late : {&fresh, &folded}) EXPECT_EQ(late->peer.rows(kAll), server->rows());
  EXPECT_EQ(server->rows({"id", "v"}), "'l'|'of all'\n'm'|'edited'\n");
  expect_same();
}

TEST_P(ForgettingConformance, InSmallPagesAndChunks) {
  a.peer.run(
      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO t SELECT "
      "printf('k%03d', i), i, i FROM n");
  settle();
  pass(1);
  a.peer.run("DELETE FROM t WHERE v % 3 = 0");
  a.must_sync(server->node());
  pass(40);
  a.must_sync(server->node()), a.must_sync(server->node());
  server->compact();
  b.options.chunk_bytes = b.options.page_bytes = 1024;
  b.peer.run(
      "UPDATE t SET w = -w WHERE v % 5 = 0; INSERT INTO t SELECT 'b' || i.value, 0, 0 FROM "
      "json_each('[1,2,3,4,5,6,7,8,9]') AS i");
  bool wrote = false;
  b.during_response = [&](uint64_t n) {
    if (n == 6 && !std::exchange(wrote, true)) b.peer.run("UPDATE t SET w = 'late' WHERE id = 'k004'");
  };
  b.must_sync(server->node());
  settle();
  EXPECT_EQ(server->rows({"id"}, "CAST(v AS integer) % 3 = 0 AND CAST(v AS integer) > 0"), "");
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM t WHERE v % 3 <> 0 OR v = 0"), 400 - 133 + 9);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 26);  // of 15, 30, …
  ASSERT_TRUE(b.peer.rejoin().discard_all().ok());
  settle();
  expect_same();
}

TEST_P(ForgettingConformance, WhoWasAwayLosesATableThatItMayNotReadAnyMore) {
  forget_k_while_b_is_away();
  b.caller.who.tables.set("t", {false, false});
  b.caller.who.view = 1;
  b.must_sync(server->node());
  EXPECT_EQ(b.peer.rows(kAll), "");
  b.caller.who = {};
  settle();
  EXPECT_EQ(b.peer.rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
  expect_same();
}

// A device that got the row in a file edits it: the server takes that, for the insert may be on its way.
TEST_P(ForgettingConformance, AStaleEditIsListedAlsoWhereOthersEditsCameBefore) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1), ('l', 'old', 1)");
  settle();
  LoopbackDevice c("c", kSchema, {"t"});
  all.push_back(&c.peer);
  c.peer.fetch(b.peer);
  pass(1);
  a_deletes_k_and_the_server_forgets_it();
  EXPECT_EQ(server->records(), 1);
  c.peer.run("UPDATE t SET w = 'of c' WHERE id = 'k'");
  c.must_sync(server->node());
  b.peer.run("UPDATE t SET v = 'of b' WHERE id = 'k'");
  b.must_sync(server->node());
  EXPECT_EQ(rejections(b.peer), "'[\"k\"]'|'before_horizon'|'null'\n");
  EXPECT_EQ(server->rows({"id"}), "'l'\n");
}

TEST_P(ForgettingConformance, LogAndRecordsStayBoundedByWhatIsAlive) {
  a.peer.run("INSERT INTO t VALUES('alive', 0, 0)");
  int64_t log = 0, kept = 0;
  for (int day = 0; day < 70; ++day) {
    a.peer.run("INSERT INTO t SELECT 'day " + std::to_string(day) +
               "-' || i.value, 1, 1 FROM json_each('[1,2,3,4,5,6,7,8]') AS i; UPDATE t SET v = v + 1 WHERE id = "
               "'alive'; DELETE FROM t WHERE id <> 'alive'");
    settle();
    pass(1);
    if (day < 45) continue;
    for (Peer* peer : all) {
      compact(*peer);
      log = std::max(log, peer->number("SELECT count(*) FROM rejoin_log"));
      kept = std::max(kept, records(*peer));
    }
    server->compact();
    log = std::max(log, server->kept("log"));
    kept = std::max(kept, server->records());
  }
  EXPECT_LE(log, 20);       // of a day
  EXPECT_LE(kept, 8 * 32);  // of a month
  expect_same();
}

INSTANTIATE_TEST_SUITE_P(Stores, ForgettingConformance, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& of) { return of.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
