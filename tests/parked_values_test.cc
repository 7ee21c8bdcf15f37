// What waits in rejoin_parked is listed with its columns and values, whatever it waits for, and leaves the list when
// the reason goes.
#include <gtest/gtest.h>

#include "tests/support/constrained.h"
#include "tests/support/fault_story.h"
#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

constexpr const char* kList = R"(SELECT table_name, key, columns, "values" FROM rejoin_parked ORDER BY 1, 2)";
constexpr const char* kT = "CREATE TABLE t(id TEXT PRIMARY KEY, v)";

TEST(ParkedValues, OfAnUnknownTableAreThoseThatCame) {
  Peer a("CREATE TABLE u(part TEXT, n INTEGER, w, data, PRIMARY KEY(part, n))", {"u"}), b(kT, {"t"});
  a.run(R"(INSERT INTO u VALUES('x', 1, 'a "word"', x'00ff'), ('y', 2, 1.0, NULL); DELETE FROM u WHERE part = 'y')");
  b.fetch(a);
  const std::string inserted =
      R"('u'|'["x",1]'|'["w","data"]'|'{"part":"x","n":1,"w":"a \"word\"","data":{"blob":"00ff"}}')";
  // A deletion has no values.
  EXPECT_EQ(b.rows(kList), inserted + "\n" + R"('u'|'["y",2]'|'[]'|null)" + "\n");
  EXPECT_EQ(b.rows("SELECT since / 1000 = " + std::to_string(b.clock().now_ms() / 1000) +
                   ", reason GLOB '*does not track*' FROM rejoin_parked"),
            "1|1\n1|1\n");
  // News of one column join what waits of the row.
  a.run("UPDATE u SET w = 2");
  b.fetch(a);
  EXPECT_EQ(b.rows(R"(SELECT columns, "values" FROM rejoin_parked WHERE table_name = 'u' AND key = '["x",1]')"),
            R"('["w","data"]'|'{"part":"x","n":1,"w":2,"data":{"blob":"00ff"}}')"
            "\n");
  b.run("CREATE TABLE u(part TEXT, n INTEGER, w, data, PRIMARY KEY(part, n))");
  b.track("u");
  EXPECT_EQ(b.rows(kList), "");
  EXPECT_EQ(b.rows("SELECT * FROM u"), a.rows("SELECT * FROM u"));
  b.expect_sound();
}

TEST(ParkedValues, OfARowWithUnknownColumnsAreOnlyThoseThatWait) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v, colour TEXT, size)", {"t"}), b(kT, {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 'blue', NULL)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "'1'|1\n");
  EXPECT_EQ(b.rows(kList), R"('t'|'["1"]'|'["colour","size"]'|'{"id":"1","colour":"blue","size":null}')"
                           "\n");
  b.run("ALTER TABLE t ADD COLUMN colour TEXT");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.rows(kList), R"('t'|'["1"]'|'["size"]'|'{"id":"1","size":null}')"
                           "\n");
  b.run("ALTER TABLE t ADD COLUMN size");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.rows(kList), "");
  EXPECT_EQ(b.rows("SELECT * FROM t"), "'1'|1|'blue'|null\n");
}

TEST(ParkedValues, OfARowThatLostAUniqueValueAreItsOwn) {
  Replicas all(2, "CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE, name TEXT, data DEFAULT 7)", {"u"});
  all.at(0, "INSERT INTO u VALUES('a', 'e@x', 'older', 1)");
  all.at(1, "INSERT INTO u VALUES('b', 'e@x', 'younger', x'0a')");
  all.sync({0, 1});
  all.expect(kList, R"('u'|'["b"]'|'["mail","name","data"]'|)"
                    R"('{"id":"b","mail":"e@x","name":"younger","data":{"blob":"0a"}}')"
                    "\n");
  // An edit that comes while it is hidden shows.
  Peer& c = all[0];
  Peer other("CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT, name TEXT, data DEFAULT 7)", {"u"});
  other.clock().set(c.clock().now_ms() + 1000);
  other.fetch(c);
  other.run("UPDATE u SET name = 'edited' WHERE id = 'b'");
  c.fetch(other);
  EXPECT_EQ(c.rows(R"(SELECT json_extract("values", '$.name') FROM rejoin_parked)"), "'edited'\n");
  all.sync({0, 1});
  all.at(0, "DELETE FROM u WHERE id = 'a'");
  all.sync({0, 1});
  all.expect("SELECT count(*) FROM rejoin_parked", "0\n");
  all.expect("SELECT id, name FROM u", "'b'|'edited'\n");
}

TEST(ParkedValues, OfARowWithoutItsParentAreWholeAlsoWhereItIsShownWithoutTheReference) {
  const std::string schema =
      "CREATE TABLE p(id TEXT PRIMARY KEY, v); CREATE TABLE c(id TEXT PRIMARY KEY, p REFERENCES p, w);"
      "CREATE TABLE n(id TEXT PRIMARY KEY, p REFERENCES p ON DELETE SET NULL, w)";
  Replicas all(2, schema, {"p", "c", "n"});
  all.at(0, "INSERT INTO p VALUES('p', 1)");
  all.sync({0, 1});
  all.at(1, "DELETE FROM p");
  all.at(0, "INSERT INTO c VALUES('c', 'p', 2); INSERT INTO n VALUES('n', 'p', 3)");
  all.sync({0, 1});
  all.expect(kList, R"('c'|'["c"]'|'["p","w"]'|'{"id":"c","p":"p","w":2}')"
                    "\n"
                    R"('n'|'["n"]'|'["p","w"]'|'{"id":"n","p":"p","w":3}')"
                    "\n");
  all.expect("SELECT * FROM n", "'n'|null|3\n");
  all.at(1, "INSERT INTO p VALUES('p', 2)");
  all.sync({0, 1});
  all.expect(kList, "");
  all.expect("SELECT * FROM c NATURAL JOIN n", "");
  all.expect("SELECT * FROM n", "'n'|'p'|3\n");
}

TEST(ParkedValues, OfWhatTheTableRefusesAreThoseThatItRefused) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v, w)", {"t"}),
      b("CREATE TABLE t(id TEXT PRIMARY KEY, v INTEGER NOT NULL CHECK(v <> 5), w)", {"t"});
  a.run("INSERT INTO t VALUES('check', 5, 1), ('null', NULL, 2), ('type', '007', 3), ('well', 1, 4)");
  b.fetch(a);
  EXPECT_EQ(b.rows(kList), R"('t'|'["check"]'|'["v","w"]'|'{"id":"check","v":5,"w":1}')"
                           "\n"
                           R"('t'|'["null"]'|'["v","w"]'|'{"id":"null","v":null,"w":2}')"
                           "\n"
                           R"('t'|'["type"]'|'["v","w"]'|'{"id":"type","v":"007","w":3}')"
                           "\n");
  a.run("UPDATE t SET v = 1 WHERE id <> 'null'; DELETE FROM t WHERE id = 'null'");
  b.fetch(a);
  EXPECT_EQ(b.rows(kList), "");
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
}

// What was never written of a hidden row reads as its default, as it would if it were shown.
TEST(ParkedValues, OfAHiddenRowIncludeTheDefaultsOfColumnsThatItNeverGot) {
  Peer a(kT, {"t"}), b("CREATE TABLE t(id TEXT PRIMARY KEY, v NOT NULL, w DEFAULT 'dflt')", {"t"});
  a.run("INSERT INTO t VALUES('1', NULL)");
  b.fetch(a);
  EXPECT_EQ(b.rows(kList), R"('t'|'["1"]'|'["v","w"]'|'{"id":"1","v":null,"w":"dflt"}')"
                           "\n");
  // The names are those of now.
  b.run("ALTER TABLE t RENAME COLUMN w TO x; ALTER TABLE t RENAME TO s");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.rows(kList), R"('s'|'["1"]'|'["v","x"]'|'{"id":"1","v":null,"x":"dflt"}')"
                           "\n");
}

TEST(ParkedValues, OfAStampFromTheFutureAreMergedWhenItsTimeHasCome) {
  Peer a(kT, {"t"}), b(kT, {"t"});
  a.clock().advance(3LL * 24 * 60 * 60 * 1000);
  a.run("INSERT INTO t VALUES('k', 'from the future')");
  b.fetch(a);
  EXPECT_EQ(b.rows(kList), R"('t'|'["k"]'|'["v"]'|'{"id":"k","v":"from the future"}')"
                           "\n");
  b.clock().set(a.clock().now_ms());
  b.apply(a.changeset(0));
  EXPECT_EQ(b.rows(kList), "");
  EXPECT_EQ(b.rows("SELECT * FROM t"), "'k'|'from the future'\n");
}

TEST(ParkedValues, OfAKeyThatTheTableWouldStoreInAnotherWayAreListed) {
  Peer a("CREATE TABLE t(id BLOB PRIMARY KEY, v)", {"t"}), b(kT, {"t"});
  a.run("INSERT INTO t VALUES(1, 'one')");
  b.fetch(a);
  EXPECT_EQ(b.rows(kList), R"('t'|'[1]'|'["v"]'|'{"id":1,"v":"one"}')"
                           "\n");
}

TEST(ParkedValues, OfARowOlderThanForgottenDeletionsAreListed) {
  constexpr int64_t kDay = 24 * 60 * 60 * 1000;
  Peer x(kT, {"t"}), y(kT, {"t"});
  x.run("INSERT INTO t VALUES('k', 1)");
  exchange(x, y);
  x.run("DELETE FROM t");
  for (Peer* p : {&x, &y}) p->clock().advance(2 * kDay);
  ASSERT_TRUE(x.rejoin().compact(1).ok());
  y.run("UPDATE t SET v = 2");
  x.apply(y.changeset(0));
  EXPECT_EQ(x.rows(kList), R"('t'|'["k"]'|'["v"]'|'{"id":"k","v":2}')"
                           "\n");
  x.run("INSERT INTO t VALUES('k', 'anew')");
  ASSERT_TRUE(x.rejoin().fold().ok());
  EXPECT_EQ(x.rows(kList), "");
}

TEST(ParkedValues, AreReadByViewsTriggersAndWithoutTracking) {
  Peer none;
  none.rejoin();
  EXPECT_EQ(none.rows("SELECT * FROM rejoin_parked"), "");
  Peer a(kT, {"t"}), b("CREATE TABLE t(id TEXT PRIMARY KEY, v NOT NULL); CREATE TABLE seen(n)", {"t"});
  b.run(
      "CREATE VIEW waiting AS SELECT key, \"values\" AS what FROM rejoin_parked;"
      "CREATE TRIGGER look AFTER INSERT ON t BEGIN INSERT INTO seen SELECT count(what) FROM waiting; END");
  a.run("INSERT INTO t VALUES('1', NULL), ('2', 2)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM waiting"), R"('["1"]'|'{"id":"1","v":null}')"
                                             "\n");
  a.run("INSERT INTO t VALUES('3', 3)");
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT max(n) FROM seen"), 1);
  b.expect_sound(true);
}

TEST(ParkedValues, AConnectionWithoutTheExtensionReadsTheStoredTable) {
  const std::string path = scratch_folder() + "/parked_plain.db";
  remove(path.c_str());
  sqlite3* with = open_with_rejoin(path);
  ASSERT_EQ(run_sql(with, "CREATE TABLE t(id TEXT PRIMARY KEY, v NOT NULL); SELECT rejoin_track('t')"), SQLITE_OK);
  Peer a(kT, {"t"});
  a.run("INSERT INTO t VALUES('1', NULL)");
  sqlite3_stmt* apply = nullptr;
  const Bytes frame = a.changeset(0);
  ASSERT_EQ(sqlite3_prepare_v2(with, "SELECT rejoin_apply(?1)", -1, &apply, nullptr), SQLITE_OK);
  sqlite3_bind_blob64(apply, 1, frame.data(), frame.size(), SQLITE_STATIC);
  EXPECT_EQ(sqlite3_step(apply), SQLITE_ROW);
  sqlite3_finalize(apply);
  EXPECT_EQ(text_of(with, "SELECT \"values\" FROM rejoin_parked"), R"({"id":"1","v":null})");
  sqlite3* without = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &without), SQLITE_OK);
  EXPECT_EQ(text_of(without, "SELECT table_name, key, reason FROM rejoin_aside"),
            "t|[\"1\"]|NOT NULL constraint failed: t.v");
  for (sqlite3* db : {with, without}) EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

}  // namespace
}  // namespace rejoin::testing
