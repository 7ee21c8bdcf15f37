// What a token, or the server, lets a device do with each table holds at both stores: reading, writing, which way rows
// go; and a change of it takes rows away or brings them, whole.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT); CREATE TABLE audit(id TEXT PRIMARY KEY, line TEXT);"
    "CREATE TABLE secrets(id TEXT PRIMARY KEY, word TEXT);";
const std::vector<std::string> kTables = {"todos", "audit", "secrets"};

class TableRights : public ::testing::TestWithParam<const char*> {
 protected:
  TableRights() : a("a", kSchema, kTables), b("b", kSchema, kTables) {
    if (std::string(GetParam()) == "postgres")
      world = std::make_unique<PostgresWorld>(
          kSchema, std::vector<std::string>{"public.todos", "public.audit", "public.secrets"});
    else
      embedded = std::make_unique<LoopbackServer>();
  }
  void sync(LoopbackDevice& d) {
    if (world)
      world->sync(d);
    else
      d.must_sync(*embedded);
  }
  void settle() {
    for (int i = 0; i < 2; ++i) sync(a), sync(b);
  }
  // As server/identity.h makes it.
  static void allow(LoopbackDevice& d, const std::vector<std::pair<std::string, sync::TableRight>>& rights) {
    d.caller.who = {};
    for (const auto& [table, right] : rights) d.caller.who.tables.set(table, right);
    if (rights.empty()) return;
    d.caller.who.view = std::hash<std::string>()(d.caller.who.tables.text()) | 1;
  }
  static constexpr sync::TableRight kWrite{true, true}, kRead{true, false}, kNone{false, false}, kPush{false, true};
  std::string ids(LoopbackDevice& d, const std::string& table) {
    return d.peer.rows("SELECT id FROM " + table + " ORDER BY id");
  }
  std::string listed(LoopbackDevice& d) {
    return d.peer.rows("SELECT table_name, key, code FROM rejoin_rejections ORDER BY table_name, key");
  }
  std::unique_ptr<PostgresWorld> world;
  std::unique_ptr<LoopbackServer> embedded;
  LoopbackDevice a, b;
};

TEST_P(TableRights, AWriteThatIsNotAllowedIsRefusedAloneAndGivenUp) {
  a.peer.run("INSERT INTO audit VALUES('old', 'x')");
  settle();
  allow(b, {{"Audit", kRead}, {"secrets", kNone}});
  b.peer.run(
      "INSERT INTO todos VALUES('t', 'x'); INSERT INTO audit VALUES('new', 'x'); DELETE FROM audit WHERE id='old'; "
      "INSERT INTO secrets VALUES('s', 'x')");
  sync(b);
  EXPECT_EQ(listed(b),
            "'audit'|'[\"new\"]'|'forbidden'\n'audit'|'[\"old\"]'|'forbidden'\n'secrets'|'[\"s\"]'|'forbidden'\n");
  EXPECT_EQ(b.peer.rows("SELECT server FROM rejoin_rejections ORDER BY table_name, key"),
            "'null'\n'{\"id\":\"old\",\"line\":\"x\"}'\n'null'\n");
  settle();
  EXPECT_EQ(ids(a, "todos"), "'t'\n");
  EXPECT_EQ(ids(a, "audit"), "'old'\n");
  EXPECT_EQ(ids(a, "secrets"), "");
  EXPECT_EQ(*b.peer.rejoin().discard_all(), 3);
  EXPECT_EQ(ids(b, "audit"), "'old'\n");
  EXPECT_EQ(ids(b, "secrets"), "");
  settle();
  EXPECT_EQ(listed(b), "");
  a.peer.expect_sound(), b.peer.expect_sound();
}

TEST_P(TableRights, RowsOfATableThatMayNotBeReadStayAwayAndComeWholeWhenTheyMay) {
  allow(b, {{"*", kNone}, {"todos", kWrite}});
  a.peer.run(
      "INSERT INTO todos VALUES('t', 'x'); INSERT INTO secrets VALUES('s', 'x'); INSERT INTO audit VALUES('l', 'x')");
  settle();
  a.peer.run("UPDATE secrets SET word='y'");
  settle();
  EXPECT_EQ(ids(b, "todos"), "'t'\n");
  EXPECT_EQ(b.peer.number("SELECT (SELECT count(*) FROM secrets__rejoin) + (SELECT count(*) FROM audit__rejoin)"), 0);
  allow(b, {{"secrets", kRead}, {"audit", kNone}});
  settle();
  EXPECT_EQ(b.peer.rows("SELECT * FROM secrets"), "'s'|'y'\n");
  EXPECT_EQ(ids(b, "audit"), "");
  allow(b, {});
  settle();
  EXPECT_EQ(ids(b, "audit"), "'l'\n");
  a.peer.expect_sound(), b.peer.expect_sound();
}

TEST_P(TableRights, RowsLeaveWhenTheRightIsTakenAwayTheOwnOnesToo) {
  a.peer.run("INSERT INTO secrets VALUES('a', 'x')");
  b.peer.run("INSERT INTO secrets VALUES('b', 'x'); INSERT INTO todos VALUES('t', 'x')");
  settle();
  allow(b, {{"secrets", kNone}});
  b.peer.run("INSERT INTO secrets VALUES('unsent', 'x')");
  settle();
  EXPECT_EQ(ids(b, "secrets"), "'unsent'\n");
  EXPECT_EQ(listed(b), "'secrets'|'[\"unsent\"]'|'forbidden'\n");
  EXPECT_EQ(ids(b, "todos"), "'t'\n");
  // It is no deletion.
  EXPECT_EQ(ids(a, "secrets"), "'a'\n'b'\n");
  // Back again: everything, and what waited is taken.
  allow(b, {});
  settle();
  EXPECT_EQ(ids(b, "secrets"), "'a'\n'b'\n'unsent'\n");
  EXPECT_EQ(ids(a, "secrets"), "'a'\n'b'\n'unsent'\n");
  EXPECT_EQ(listed(b), "");
  a.peer.expect_sound(), b.peer.expect_sound();
}

// A log that devices send and do not get: their own rows stay theirs.
TEST_P(TableRights, ATableThatIsOnlyPushedKeepsTheDevicesOwnRows) {
  a.peer.run("INSERT INTO audit VALUES('of a', 'x')");
  b.peer.run("INSERT INTO audit VALUES('of b', 'x')");
  allow(a, {{"audit", kPush}}), allow(b, {{"audit", kPush}});
  settle();
  EXPECT_EQ(ids(a, "audit"), "'of a'\n");
  EXPECT_EQ(ids(b, "audit"), "'of b'\n");
  LoopbackDevice all("all", kSchema, kTables);
  sync(all);
  EXPECT_EQ(ids(all, "audit"), "'of a'\n'of b'\n");
  a.peer.run("INSERT INTO audit VALUES('more', 'x')");
  settle(), sync(all);
  EXPECT_EQ(ids(all, "audit"), "'more'\n'of a'\n'of b'\n");
  EXPECT_EQ(ids(b, "audit"), "'of b'\n");
}

TEST_P(TableRights, SmallPagesComeToTheSame) {
  b.options.page_bytes = 1024;
  a.peer.run(
      "INSERT INTO secrets SELECT 's' || value, hex(zeroblob(40)) FROM (WITH RECURSIVE s(value) AS (VALUES(1) UNION "
      "ALL "
      "SELECT value + 1 FROM s WHERE value < 300) SELECT * FROM s); INSERT INTO todos SELECT * FROM secrets");
  settle();
  allow(b, {{"secrets", kNone}});
  settle();
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM todos"), 300);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM secrets"), 0);
  allow(b, {{"todos", kNone}});
  settle();
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM todos"), 0);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM secrets"), 300);
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM secrets"), 300);
  b.peer.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(Stores, TableRights, ::testing::Values("embedded", "postgres"),
                         [](const auto& store) { return std::string(store.param); });

}  // namespace
}  // namespace rejoin::testing
