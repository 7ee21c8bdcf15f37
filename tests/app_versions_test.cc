// Three versions of an app at once: what an older one does not know is kept aside and passed on, and appears when it is
// upgraded. Nothing is lost, nothing is sent again.
#include <gtest/gtest.h>

#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kV1 = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)";
const std::string kV2 = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b TEXT DEFAULT 'none')";
const std::string kU = "CREATE TABLE u(id TEXT PRIMARY KEY, v TEXT)";
constexpr const char* kT = "SELECT id, a, b FROM t ORDER BY id";

// An app's step to its next version, as apps do it and as rejoin_alter() does.
void to_v2(Peer& p, bool plainly) {
  if (plainly)
    p.run("ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'none'");
  else
    ASSERT_TRUE(p.rejoin().alter("ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'none'").ok());
  ASSERT_TRUE(p.rejoin().fold().ok());
}
void to_v3(Peer& p) {
  p.run(kU);
  p.track("u");
}

// The oldest stands between the others.
void exchange_through(Peer& oldest, Peer& y, Peer& z) {
  for (int round = 0; round < 2; ++round) {
    oldest.fetch(z);
    y.fetch(oldest);
    oldest.fetch(y);
    z.fetch(oldest);
  }
}

TEST(AppVersions, ThroughChangesetsInEveryOrderOfUpgrade) {
  for (const std::string order : {"xXY", "xYX", "YxX"})
    for (const bool plainly : {true, false}) {
      SCOPED_TRACE(order + (plainly ? " plainly" : ""));
      Peer x(kV1, {"t"}), y(kV2, {"t"}), z(kV2 + ";" + kU, {"t", "u"});
      const auto later = [&] {
        for (Peer* p : {&x, &y, &z}) p->clock().advance(1000);
      };
      const auto exchange_all = [&] { exchange_through(x, y, z); };
      x.run("INSERT INTO t VALUES('x', 'x1')");
      y.run("INSERT INTO t VALUES('y', 'y1', 'y2')");
      z.run("INSERT INTO t VALUES('z', 'z1', 'z2'); INSERT INTO u VALUES('z', 'z3'), ('gone', 'z4')");
      exchange_all();
      later();
      z.run("UPDATE t SET b = 'z5' WHERE id IN ('x', 'y'); DELETE FROM u WHERE id = 'gone'");
      x.run("UPDATE t SET a = 'x5' WHERE id = 'z'");
      exchange_all();
      EXPECT_EQ(x.rows("SELECT * FROM t ORDER BY id"), "'x'|'x1'\n'y'|'y1'\n'z'|'x5'\n");
      EXPECT_EQ(y.rows(kT), "'x'|'x1'|'z5'\n'y'|'y1'|'z5'\n'z'|'x5'|'z2'\n");
      EXPECT_EQ(z.rows(kT), y.rows(kT));
      int n = 0;
      for (const char step : order) {
        Peer& upgraded = step == 'Y' ? y : x;
        const int64_t seq = upgraded.seq();
        step == 'x' ? to_v2(x, plainly) : to_v3(upgraded);
        EXPECT_EQ(upgraded.seq(), seq);
        EXPECT_EQ(upgraded.changeset(seq), Bytes());
        later();
        ++n;
        z.run("UPDATE t SET b = 'step " + std::to_string(n) + "' WHERE id = 'y'; INSERT INTO u VALUES('step " +
              std::to_string(n) + "', 'v')");
        exchange_all();
      }
      for (Peer* p : {&x, &y, &z}) {
        EXPECT_EQ(p->rows(kT), "'x'|'x1'|'z5'\n'y'|'y1'|'step 3'\n'z'|'x5'|'z2'\n");
        EXPECT_EQ(p->rows("SELECT * FROM u ORDER BY id"), "'step 1'|'v'\n'step 2'|'v'\n'step 3'|'v'\n'z'|'z3'\n");
        EXPECT_TRUE(p->restore("u", {sim::Value::text("gone")}));
        p->expect_sound();
      }
    }
}

TEST(AppVersions, ThroughAServerInEveryOrderOfUpgrade) {
  for (const std::string order : {"xXY", "xYX", "YxX"}) {
    SCOPED_TRACE(order);
    LoopbackServer server;
    LoopbackDevice x("x", kV1, {"t"}), y("y", kV2, {"t"}), z("z", kV2 + ";" + kU, {"t", "u"});
    const auto sync_all = [&] {
      for (int round = 0; round < 2; ++round)
        for (LoopbackDevice* d : {&x, &y, &z}) {
          d->peer.clock().advance(1000);
          server.peer().clock().set(d->peer.clock().now_ms());
          d->must_sync(server);
        }
    };
    x.peer.run("INSERT INTO t VALUES('x', 'x1')");
    y.peer.run("INSERT INTO t VALUES('y', 'y1', 'y2')");
    z.peer.run("INSERT INTO t VALUES('z', 'z1', 'z2'); INSERT INTO u VALUES('z', 'z3')");
    sync_all();
    z.peer.run("UPDATE t SET b = 'z5' WHERE id IN ('x', 'y')");
    x.peer.run("UPDATE t SET a = 'x5' WHERE id = 'z'");
    sync_all();
    int n = 0;
    for (const char step : order) {
      LoopbackDevice& upgraded = step == 'Y' ? y : x;
      step == 'x' ? to_v2(x.peer, true) : to_v3(upgraded.peer);
      server.peer().clock().set(upgraded.peer.clock().now_ms());
      const sync::SyncTotals totals = upgraded.must_sync(server);
      EXPECT_EQ(totals.rows_pushed, 0u);
      EXPECT_EQ(totals.rows_pulled, 0u);
      ++n;
      z.peer.run("UPDATE t SET b = 'step " + std::to_string(n) + "' WHERE id = 'y'");
      sync_all();
    }
    for (LoopbackDevice* d : {&x, &y, &z}) {
      EXPECT_EQ(d->peer.rows(kT), "'x'|'x1'|'z5'\n'y'|'y1'|'step 3'\n'z'|'x5'|'z2'\n");
      EXPECT_EQ(d->peer.rows("SELECT * FROM u"), "'z'|'z3'\n");
      d->peer.expect_sound();
    }
  }
}

// The second version renames a column, the third the table, and drops a column.
struct Step {
  const char* sql[2];
};
constexpr Step kToRenamedColumn{{"ALTER TABLE t RENAME COLUMN a TO label", ""}};
constexpr Step kToRenamedTable{{"ALTER TABLE t RENAME TO items", "ALTER TABLE items DROP COLUMN b"}};

void upgrade(Peer& p, const Step& step) {
  for (const char* sql : step.sql) {
    if (!*sql) continue;
    ASSERT_TRUE(p.rejoin().alter(sql).ok()) << sql;
  }
  ASSERT_TRUE(p.rejoin().fold().ok());
}

TEST(AppVersions, OfRenamesAndADroppedColumnInEveryOrderOfUpgrade) {
  for (const std::string order : {"xXY", "xYX", "YxX"}) {
    SCOPED_TRACE(order);
    Peer x(kV2, {"t"}), y(kV2, {"t"}), z(kV2, {"t"});
    const auto later = [&] {
      for (Peer* p : {&x, &y, &z}) p->clock().advance(1000);
    };
    const auto exchange_all = [&] { exchange_through(x, y, z); };
    x.run("INSERT INTO t VALUES('x', 'x1', 'x2'), ('gone', 'g1', 'g2')");
    exchange_all();
    upgrade(y, kToRenamedColumn);
    upgrade(z, kToRenamedColumn);
    upgrade(z, kToRenamedTable);
    later();
    x.run("INSERT INTO t VALUES('older', 'o1', 'o2'); DELETE FROM t WHERE id = 'gone'");
    y.run("INSERT INTO t VALUES('y', 'y1', 'y2'); UPDATE t SET b = 'y3' WHERE id = 'x'");
    z.run("INSERT INTO items VALUES('z', 'z1')");
    exchange_all();
    // What was written under an older name is understood; under a newer one it waits.
    EXPECT_EQ(x.rows("SELECT id, b FROM t ORDER BY id"), "'older'|'o2'\n'x'|'y3'\n'y'|'y2'\n");
    EXPECT_EQ(y.rows("SELECT * FROM t ORDER BY id"), "'older'|'o1'|'o2'\n'x'|'x1'|'y3'\n'y'|'y1'|'y2'\n");
    EXPECT_EQ(z.rows("SELECT * FROM items ORDER BY id"), "'older'|'o1'\n'x'|'x1'\n'y'|'y1'\n'z'|'z1'\n");
    std::string x_now = "t", y_now = "t";
    int n = 0, x_steps = 0;
    for (const char step : order) {
      Peer& upgraded = step == 'Y' ? y : x;
      const int64_t seq = upgraded.seq();
      upgrade(upgraded, step == 'x' ? kToRenamedColumn : kToRenamedTable);
      if (step == 'x') {
        EXPECT_EQ(upgraded.changeset(seq), Bytes());  // rows of a renamed table are news under its new name
      }
      if (step == 'Y') y_now = "items";
      if (step == 'X') x_now = "items";
      if (step != 'Y') ++x_steps;
      later();
      const std::string text = "'step " + std::to_string(++n) + "'";
      z.run("UPDATE items SET label = " + text + " WHERE id = 'x'");
      y.run("INSERT INTO " + y_now + "(id, label) VALUES('y " + std::to_string(n) + "', " + text + ")");
      x.run("INSERT INTO " + x_now + (x_steps ? "(id, label)" : "(id, a)") + " VALUES('x " + std::to_string(n) + "', " +
            text + ")");
      exchange_all();
    }
    for (Peer* p : {&x, &y, &z}) {
      EXPECT_EQ(p->rows("SELECT * FROM items ORDER BY id"),
                "'older'|'o1'\n'x'|'step 3'\n'x 1'|'step 1'\n'x 2'|'step 2'\n'x 3'|'step 3'\n'y'|'y1'\n'y 1'|'step "
                "1'\n'y 2'|'step 2'\n'y 3'|'step 3'\n'z'|'z1'\n");
      EXPECT_TRUE(p->restore("items", {sim::Value::text("gone")}));
      EXPECT_EQ(p->rows("SELECT * FROM items WHERE id = 'gone'"), "'gone'|'g1'\n");
      // Values of the column that they all have dropped; once for each row.
      EXPECT_EQ(p->rows("SELECT table_name, key FROM rejoin_parked GROUP BY 1, 2 HAVING count(*) > 1"), "");
      p->expect_sound(true);
    }
  }
}

// Symptom: rejoin_parked got an entry for each edit of a column that this version lacks, without end.
TEST(AppVersions, WhatIsKeptAsideOfARowIsOneEntryHoweverOftenItIsEdited) {
  Peer old(kV1, {"t"}), fresh(kV2 + ";" + kU, {"t", "u"}), beyond(kV2 + ";" + kU, {"t", "u"});
  fresh.run("INSERT INTO t VALUES('1', 'a', 'b'); INSERT INTO u VALUES('2', 'v')");
  for (int edit = 0; edit < 5; ++edit) {
    fresh.clock().advance(1000);
    fresh.run("UPDATE t SET b = 'b" + std::to_string(edit) + "'; UPDATE u SET v = 'v" + std::to_string(edit) + "'");
    old.clock().set(fresh.clock().now_ms());
    old.fetch(fresh);
    beyond.fetch(old);
    EXPECT_EQ(beyond.rows(kT), fresh.rows(kT));
    EXPECT_EQ(beyond.rows("SELECT * FROM u"), fresh.rows("SELECT * FROM u"));
  }
  EXPECT_EQ(old.rows("SELECT table_name, key, since FROM rejoin_parked ORDER BY 1"),
            "'t'|'[\"1\"]'|1700000001000\n'u'|'[\"2\"]'|1700000001000\n");
  // What is no news changes nothing.
  const std::string before = old.dump();
  old.apply(fresh.changeset());
  EXPECT_EQ(old.dump(), before);
  to_v2(old, true);
  to_v3(old);
  EXPECT_EQ(old.rows(kT), fresh.rows(kT));
  EXPECT_EQ(old.rows("SELECT * FROM u"), fresh.rows("SELECT * FROM u"));
  old.expect_sound();
}

// Symptom: what a relaying device had kept aside appeared there when it was upgraded, and never at its server.
TEST(AppVersions, WhatARelayKeptAsideReachesItsServerAfterItsUpgrade) {
  LoopbackServer server;
  Peer origin(kV2, {"t"});
  LoopbackDevice relay("relay", kV1, {"t"}), other("other", kV2, {"t"});
  relay.caller.may_relay = true;
  origin.run("INSERT INTO t VALUES('1', 'a', 'b')");
  relay.must_sync(server);
  other.must_sync(server);
  relay.peer.fetch(origin);
  relay.must_sync(server);
  to_v2(relay.peer, false);
  relay.must_sync(server);
  relay.must_sync(server);
  other.must_sync(server);
  EXPECT_EQ(relay.peer.rows(kT), "'1'|'a'|'b'\n");
  EXPECT_EQ(other.peer.rows(kT), "'1'|'a'|'b'\n");
}

// The first read of all that there is, in pages and as one.
TEST(AppVersions, WhatIsKeptAsideIsPassedOnFromTheBeginningToo) {
  Peer old(kV1, {"t"}), fresh(kV2 + ";" + kU, {"t", "u"});
  fresh.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT 'k' || i, i, "
      "'b' || i FROM n; INSERT INTO u SELECT id, b FROM t");
  old.fetch(fresh);
  EXPECT_EQ(old.number("SELECT count(*) FROM rejoin_parked"), 600);
  for (const bool pages : {false, true}) {
    SCOPED_TRACE(pages);
    Peer other(kV2 + ";" + kU, {"t", "u"});
    if (pages) {
      int count = 0;
      sqlite::PageRequest request;
      request.max_bytes = 2'000;
      request.pass_on = true;
      for (;;) {
        auto page = old.rejoin().page(request);
        ASSERT_TRUE(page.ok()) << page.error().message;
        other.apply(page->frame);
        request.cursor = page->next;
        if (++count, !page->more) break;
      }
      EXPECT_GT(count, 5);
    } else {
      other.apply(old.changeset(0));
    }
    EXPECT_EQ(other.rows("SELECT * FROM t ORDER BY id"), fresh.rows("SELECT * FROM t ORDER BY id"));
    EXPECT_EQ(other.rows("SELECT * FROM u ORDER BY id"), fresh.rows("SELECT * FROM u ORDER BY id"));
    other.expect_sound();
  }
}

TEST(AppVersions, WhatIsStillKeptAsideAfterAChangeIsNotSentAgain) {
  Peer old("CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", {"t"}), fresh(kV2, {"t"});
  fresh.run("INSERT INTO t VALUES('1', 'a', 'b')");
  old.fetch(fresh);
  const int64_t seq = old.seq();
  ASSERT_TRUE(old.rejoin().alter("ALTER TABLE t RENAME COLUMN a TO title").ok());
  EXPECT_EQ(old.seq(), seq);
  EXPECT_EQ(old.changeset(seq), Bytes());
  ASSERT_TRUE(old.rejoin().alter("ALTER TABLE t ADD COLUMN b TEXT").ok());
  EXPECT_EQ(old.rows("SELECT * FROM t"), "'1'|'a'|'b'\n");
}

// Several edits that are kept aside travel as one row.
TEST(AppVersions, EditsThatAreKeptAsideAreMergedOnTheWay) {
  Peer old(kV1, {"t"}), fresh(kV2, {"t"}), other(kV2, {"t"});
  fresh.run("INSERT INTO t VALUES('1', 'a', 'b')");
  old.fetch(fresh);
  for (const char* value : {"c", "d", "e"}) {
    fresh.clock().advance(1000);
    fresh.run(std::string("UPDATE t SET b = '") + value + "'");
    old.fetch(fresh);
  }
  other.clock().set(fresh.clock().now_ms());
  EXPECT_EQ(other.apply(old.changeset(0)).rows_seen, 2u);  // t, and what is kept aside of it
  EXPECT_EQ(other.rows("SELECT * FROM t"), "'1'|'a'|'e'\n");
}

}  // namespace
}  // namespace rejoin::testing
