// Three versions of an app at once with PostgreSQL as the store: each device has what its version knows, and the rest
// when it is upgraded. Nothing is lost, nothing is sent again. app_versions_test is about devices and the embedded
// store.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kV1 = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT);";
const std::string kV2 = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b TEXT DEFAULT 'none');";
const std::string kU = "CREATE TABLE u(id TEXT PRIMARY KEY, v TEXT);";
constexpr const char* kT = "SELECT id, a, b FROM t ORDER BY id";

TEST(PostgresAppVersions, InEveryOrderOfUpgrade) {
  for (const std::string order : {"xXY", "xYX", "YxX"}) {
    SCOPED_TRACE(order);
    PostgresWorld world(kV2 + kU, {"public.t", "public.u"});
    LoopbackDevice x("x", kV1, {"t"}), y("y", kV2, {"t"}), z("z", kV2 + kU, {"t", "u"});
    const auto sync_all = [&] {
      for (int round = 0; round < 2; ++round)
        for (LoopbackDevice* d : {&x, &y, &z}) world.sync(*d);
    };
    world.sql.run("INSERT INTO t VALUES('s', 's1', 's2')");
    x.peer.run("INSERT INTO t VALUES('x', 'x1')");
    y.peer.run("INSERT INTO t VALUES('y', 'y1', 'y2')");
    z.peer.run("INSERT INTO t VALUES('z', 'z1', 'z2'); INSERT INTO u VALUES('z', 'z3'), ('gone', 'z4')");
    sync_all();
    z.peer.run("UPDATE t SET b = 'z5' WHERE id IN ('x', 'y'); DELETE FROM u WHERE id = 'gone'");
    x.peer.run("UPDATE t SET a = 'x5' WHERE id IN ('z', 's')");
    sync_all();
    EXPECT_EQ(x.peer.rows("SELECT * FROM t ORDER BY id"), "'s'|'x5'\n'x'|'x1'\n'y'|'y1'\n'z'|'x5'\n");
    int n = 0;
    for (const char step : order) {
      LoopbackDevice& upgraded = step == 'Y' ? y : x;
      if (step == 'x') {
        x.peer.run("ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'none'");
      } else {
        upgraded.peer.run(kU);
        upgraded.peer.track("u");
      }
      const sync::SyncTotals totals = world.sync(upgraded);
      EXPECT_EQ(totals.rows_pushed, 0u);
      EXPECT_EQ(totals.rows_pulled, 0u);
      ++n;
      z.peer.run("UPDATE t SET b = 'step " + std::to_string(n) + "' WHERE id = 'y'");
      world.sql.run("INSERT INTO u VALUES('step " + std::to_string(n) + "', 'v')");
      sync_all();
    }
    const std::string t = "s|x5|s2\nx|x1|z5\ny|y1|step 3\nz|x5|z2\n";
    const std::string u = "step 1|v\nstep 2|v\nstep 3|v\nz|z3\n";
    EXPECT_EQ(world.sql.rows(kT), t);
    EXPECT_EQ(world.sql.rows("SELECT * FROM u ORDER BY id"), u);
    for (LoopbackDevice* d : {&x, &y, &z}) {
      std::string has = d->peer.rows(kT) + d->peer.rows("SELECT * FROM u ORDER BY id");
      std::erase(has, '\'');
      EXPECT_EQ(has, t + u);
      d->peer.expect_sound();
    }
    world.expect_sound();
  }
}

// The server's table lacks what the newest version knows: rows of that are refused one by one, and go up when it is
// there.
TEST(PostgresAppVersions, TheServerIsUpgradedLast) {
  PostgresWorld world(kV1, {"public.t"});
  LoopbackDevice x("x", kV1, {"t"}), z("z", kV2 + kU, {"t", "u"});
  const auto sync_all = [&] {
    for (int round = 0; round < 2; ++round) world.sync(x), world.sync(z);
  };
  x.peer.run("INSERT INTO t VALUES('x', 'x1')");
  z.peer.run("INSERT INTO t VALUES('z', 'z1', 'z2'); INSERT INTO u VALUES('z', 'z3')");
  sync_all();
  EXPECT_EQ(world.sql.rows("SELECT * FROM t ORDER BY id"), "x|x1\nz|z1\n");
  EXPECT_EQ(x.peer.rows("SELECT * FROM t ORDER BY id"), "'x'|'x1'\n'z'|'z1'\n");
  world.sql.run("ALTER TABLE t ADD COLUMN b text; " + kU);
  world.track("public.t");
  world.track("public.u");
  sync_all();
  sync_all();
  EXPECT_EQ(world.sql.rows("SELECT * FROM t WHERE id = 'z'"), "z|z1|z2\n");
  EXPECT_EQ(world.sql.rows("SELECT * FROM u"), "z|z3\n");
  EXPECT_EQ(z.peer.rows("SELECT * FROM rejoin_rejections"), "");
  z.peer.expect_sound();
  world.expect_sound();
}

// What PostgreSQL fills into rows that are there is for those who have no value: what a device had given the column
// before the server had it wins.
TEST(PostgresAppVersions, AValueFromBeforeTheServerHadTheColumnIsWorthMoreThanItsDefault) {
  PostgresWorld world(kV1, {"public.t"});
  LoopbackDevice x("x", kV1, {"t"}), z("z", kV2, {"t"}), late("late", kV2, {"t"});
  const auto sync_all = [&] {
    for (int round = 0; round < 2; ++round)
      for (LoopbackDevice* d : {&x, &z, &late}) world.sync(*d);
  };
  world.sql.run("INSERT INTO t VALUES('s', 's1')");
  x.peer.run("INSERT INTO t VALUES('x', 'x1')");
  z.peer.run(
      "INSERT INTO t VALUES('own', 'z1', 'z2'), ('plain', 'z1', 'none'), ('null', 'z1', NULL), ('edited', 'z1', 'z2')");
  sync_all();
  late.peer.run("UPDATE t SET b = 'late' WHERE id = 'edited'");
  z.peer.run("CREATE TABLE seen(n); CREATE TRIGGER told AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES(new.id); END");
  sync_all();
  const int64_t told = z.peer.number("SELECT count(*) FROM seen");
  world.sql.run("ALTER TABLE t ADD COLUMN b text DEFAULT 'filled'");
  world.track("public.t");
  sync_all();
  sync_all();
  x.peer.run("ALTER TABLE t ADD COLUMN b TEXT");
  sync_all();
  EXPECT_EQ(world.sql.rows(kT), "edited|z1|late\nnull|z1|null\nown|z1|z2\nplain|z1|none\ns|s1|filled\nx|x1|filled\n");
  for (LoopbackDevice* d : {&x, &z, &late}) {
    std::string has = d->peer.rows(kT);
    std::erase(has, '\'');
    EXPECT_EQ(has, world.sql.rows(kT)) << d->caller.device;
    EXPECT_EQ(d->peer.rows("SELECT key, reason FROM rejoin_rejections"), "");
    EXPECT_EQ(d->peer.number("SELECT count(*) FROM rejoin_parked"), 0);
    d->peer.expect_sound();
  }
  // No value of its own rows has changed there, but the one that the other device wrote, and those that came.
  EXPECT_EQ(z.peer.number("SELECT count(*) FROM seen WHERE n IN ('own', 'plain', 'null')"), 0) << told;
  world.expect_sound();
}

// A write with plain SQL to the new column is later than what the device had written with the row.
TEST(PostgresAppVersions, ALaterWriteOfTheServersToTheNewColumnWins) {
  PostgresWorld world(kV1, {"public.t"});
  LoopbackDevice z("z", kV2, {"t"}), other("other", kV2, {"t"});
  z.peer.run("INSERT INTO t VALUES('one', 'z1', 'z2'), ('two', 'z1', 'z2')");
  world.sync(z);
  EXPECT_EQ(z.peer.number("SELECT count(*) FROM rejoin_rejections"), 2);
  world.sql.run("ALTER TABLE t ADD COLUMN b text DEFAULT 'filled'");
  world.track("public.t");
  world.sql.run("UPDATE t SET b = 'sql' WHERE id = 'one'");
  for (int round = 0; round < 2; ++round) world.sync(z), world.sync(other);
  for (LoopbackDevice* d : {&z, &other}) EXPECT_EQ(d->peer.rows(kT), "'one'|'z1'|'sql'\n'two'|'z1'|'z2'\n");
  EXPECT_EQ(world.sql.rows(kT), "one|z1|sql\ntwo|z1|z2\n");
  z.peer.expect_sound(), other.peer.expect_sound();
  world.expect_sound();
}

// What was refused can still be given up, after it was raised too.
TEST(PostgresAppVersions, AValueForALateColumnCanBeGivenUp) {
  PostgresWorld world(kV1, {"public.t"});
  LoopbackDevice z("z", "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b TEXT, c TEXT);", {"t"});
  z.peer.run("INSERT INTO t VALUES('one', 'z1', 'z2', 'z3')");
  world.sync(z);
  world.sql.run("ALTER TABLE t ADD COLUMN c text");
  world.track("public.t");
  world.sync(z), world.sync(z);
  EXPECT_EQ(world.sql.rows("SELECT id, a, c FROM t"), "one|z1|z3\n");
  EXPECT_EQ(z.peer.number("SELECT count(*) FROM rejoin_rejections"), 1) << "the server still lacks b";
  ASSERT_TRUE(z.peer.rejoin().discard_all().ok());
  world.sync(z), world.sync(z);
  EXPECT_EQ(z.peer.rows("SELECT * FROM t"), "'one'|'z1'|null|'z3'\n");
  z.peer.expect_sound();
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
