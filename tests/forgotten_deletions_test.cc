// What was forgotten as deleted does not come back: between files without a server, through chains of servers, under a
// table's new name. With one server of either store: tests/forgetting_conformance_test.cc.
#include <gtest/gtest.h>

#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w)";
const std::string kAll = "SELECT * FROM t ORDER BY id";
constexpr int64_t kDay = int64_t{24} * 3600 * 1000;

class ForgottenDeletions : public ::testing::Test {
 protected:
  ForgottenDeletions() : a("a", kSchema, {"t"}), all{&server.peer(), &a.peer} {}

  void pass(int64_t days) {
    for (Peer* peer : all) peer->clock().advance(days * kDay);
  }
  int64_t records(Peer& p) { return p.number("SELECT count(*) FROM t__rejoin"); }
  int64_t compact(Peer& p, std::optional<int64_t> keep_days = {}) {
    auto gone = p.rejoin().compact(keep_days);
    EXPECT_TRUE(gone.ok()) << gone.error().message;
    return gone.ok() ? *gone : -1;
  }
  // All others are away meanwhile.
  void a_deletes_k_and_the_server_forgets_it() {
    a.peer.run("DELETE FROM t WHERE id = 'k'");
    a.must_sync(server);
    pass(40);
    a.must_sync(server), a.must_sync(server);
    compact(server.peer());
  }

  LoopbackServer server;
  LoopbackDevice a;
  std::vector<Peer*> all;
};

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

// An older version of the application goes on writing a column that this one has dropped.
TEST_F(ForgottenDeletions, WhatWaitedOfADroppedColumnStayedWithItsDeletedRowForEver) {
  LoopbackDevice b("b", kSchema, {"t"});
  all.push_back(&b.peer);
  ASSERT_TRUE(b.peer.rejoin().alter("ALTER TABLE t DROP COLUMN w").ok());
  a.peer.run("INSERT INTO t VALUES('k', 1, 'w'), ('l', 1, 'w'), ('m', 1, 'w')");
  a.must_sync(server), b.must_sync(server);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_parked"), 3);
  pass(1);
  a.peer.run("DELETE FROM t WHERE id < 'm'");
  a.must_sync(server), b.must_sync(server);
  pass(40);
  for (int i = 0; i < 2; ++i) a.must_sync(server), b.must_sync(server);
  for (Peer* peer : all) compact(*peer);
  EXPECT_EQ(records(b.peer), 1);
  EXPECT_EQ(b.peer.rows("SELECT key FROM rejoin_parked"), "'[\"m\"]'\n");
  // The column comes back for what is alive.
  ASSERT_TRUE(b.peer.rejoin().alter("ALTER TABLE t ADD COLUMN w").ok());
  a.must_sync(server), b.must_sync(server);
  EXPECT_EQ(b.peer.rows(kAll), a.peer.rows(kAll));
  b.peer.expect_sound();
}

// Symptom: it waited until the device wrote something itself.
TEST_F(ForgottenDeletions, WhatWaitsForItsRowIsMergedWhenAServerBringsThat) {
  Peer owner(kSchema, {"t"}), editor(kSchema, {"t"}), device(kSchema, {"t"});
  owner.run("INSERT INTO t VALUES('k', 'v', 'w')");
  editor.fetch(owner);
  editor.run("UPDATE t SET w = 'edited'");
  for (Peer* peer : {&owner, &editor, &device}) peer->clock().advance(kDay);
  device.run("INSERT INTO t VALUES('gone', 1, 1); DELETE FROM t");
  device.clock().advance(2 * kDay);
  EXPECT_GT(compact(device, 1), 0);
  device.apply(editor.changeset());
  EXPECT_EQ(device.number("SELECT count(*) FROM rejoin_parked"), 1);
  sqlite::ApplyOptions options;
  options.referee = true;
  ASSERT_TRUE(device.rejoin().apply(owner.changeset(), options).ok());
  EXPECT_EQ(device.rows(kAll), "'k'|'v'|'edited'\n");
  device.expect_sound();
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
