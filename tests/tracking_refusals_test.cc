// What cannot be synced is refused at track, by name and with the cure, and nothing is left behind.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

struct Refusal {
  std::string message;
  Code code = Code::ok;
};

Refusal refused(Peer& p, const std::string& table, const sqlite::TrackOptions& options = {}) {
  std::string before = p.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY name");
  Refusal r;
  r.code = p.track_code(table, options, &r.message);
  EXPECT_EQ(p.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY name"), before) << "something was left behind";
  return r;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(TrackingRefusals, NoSuchTable) {
  Peer p;
  Refusal r = refused(p, "nowhere");
  EXPECT_EQ(r.code, Code::not_found);
  EXPECT_TRUE(has(r.message, "nowhere")) << r.message;
}

TEST(TrackingRefusals, Views) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t");
  Refusal r = refused(p, "v");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "view")) << r.message;
}

TEST(TrackingRefusals, VirtualTables) {
  Peer p;
  if (p.attempt("CREATE VIRTUAL TABLE f USING fts5(body)") != SQLITE_OK)
    p.run("CREATE VIRTUAL TABLE f USING rtree(id, a, b)");
  Refusal r = refused(p, "f");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "virtual")) << r.message;
}

TEST(TrackingRefusals, TemporaryTables) {
  Peer p("CREATE TEMP TABLE t(id TEXT PRIMARY KEY)");
  Refusal r = refused(p, "t");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "temporary")) << r.message;
}

TEST(TrackingRefusals, NoPrimaryKey) {
  Peer p("CREATE TABLE t(a, b); CREATE UNIQUE INDEX u ON t(a)");
  Refusal r = refused(p, "t");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "PRIMARY KEY")) << r.message;
}

TEST(TrackingRefusals, AKeyThatIsNullInSomeRow) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY, v); INSERT INTO t VALUES(NULL, 1), ('a', 2), (NULL, 3)");
  Refusal r = refused(p, "t");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "NULL") && has(r.message, "2")) << r.message;
  p.run("UPDATE t SET id = 'k' || v WHERE id IS NULL");
  p.track("t");
}

TEST(TrackingRefusals, KeysWithAnotherCollation) {
  for (const char* schema : {"CREATE TABLE t(id TEXT COLLATE NOCASE PRIMARY KEY, v)",
                             "CREATE TABLE t(a TEXT, b TEXT COLLATE RTRIM, PRIMARY KEY(a, b)) WITHOUT ROWID",
                             "CREATE TABLE t(a TEXT, b TEXT, PRIMARY KEY(a COLLATE NOCASE, b))"}) {
    Peer p(schema);
    Refusal r = refused(p, "t");
    EXPECT_EQ(r.code, Code::untrackable) << schema;
    EXPECT_TRUE(has(r.message, "collation") || has(r.message, "COLLATE")) << r.message;
  }
  Peer fine("CREATE TABLE t(id TEXT COLLATE binary PRIMARY KEY, v TEXT COLLATE NOCASE)", {"t"});
}

TEST(TrackingRefusals, IntegerPrimaryKeyUnlessAllowed) {
  Peer p(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(id INTEGER, v, PRIMARY KEY(id)); CREATE TABLE w(id "
      "INT PRIMARY KEY, v)");
  for (const char* table : {"t", "u"}) {
    Refusal r = refused(p, table);
    EXPECT_EQ(r.code, Code::untrackable);
    EXPECT_TRUE(has(r.message, "allow_integer_key") && has(r.message, "two devices")) << r.message;
    sqlite::TrackOptions options;
    options.allow_integer_key = true;
    p.track(table, options);
  }
  p.track("w");  // INT is no rowid alias
}

TEST(TrackingRefusals, RejoinsAndSqlitesOwnTables) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER)", {"t"});
  p.run("CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO auto DEFAULT VALUES");
  for (const char* table :
       {"rejoin_log", "t__rejoin", "t__rejoin_dead", "t__rejoin_gone", "sqlite_sequence", "sqlite_schema"}) {
    Refusal r = refused(p, table);
    EXPECT_TRUE(r.code == Code::untrackable || r.code == Code::not_found) << table << ": " << r.message;
  }
}

TEST(TrackingRefusals, ColumnsThatTakeEveryNameOfTheRowNumber) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY, rowid, OID, _rowid_)");
  Refusal r = refused(p, "t");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "_rowid_")) << r.message;
}

TEST(TrackingRefusals, ANameInTheWay) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY); CREATE TABLE t__rejoin(x)");
  Refusal r = refused(p, "t");
  EXPECT_EQ(r.code, Code::untrackable);
  EXPECT_TRUE(has(r.message, "t__rejoin")) << r.message;
}

TEST(TrackingRefusals, MalformedOptions) {
  for (const char* json : {"", "1", "[]", "null", "{", "{\"allow_integer_key\":1}", "{\"allow_integer_key\":\"true\"}",
                           "{\"keep_deleted\":null}", "{\"unknown\":true}", "{\"allow_integer_key\":true}x",
                           "{\"allow_integer_key\":true,\"allow_integer_key\":false,}"}) {
    auto options = sqlite::parse_track_options(json);
    ASSERT_FALSE(options.ok()) << json;
    EXPECT_EQ(options.error().code, Code::bad_argument) << json;
  }
  auto options = sqlite::parse_track_options("{\"allow_integer_key\":true, \"keep_deleted\":false}");
  ASSERT_TRUE(options.ok());
  EXPECT_TRUE(options->allow_integer_key);
  EXPECT_EQ(options->keep_deleted, false);
  auto none = sqlite::parse_track_options("{}");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->allow_integer_key);
  EXPECT_EQ(none->keep_deleted, std::nullopt);
}

TEST(TrackingRefusals, ANullKeyIsRefusedAtWrite) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY, v); CREATE TABLE pair(a TEXT, b TEXT, v, PRIMARY KEY(a, b))",
         {"t", "pair"});
  p.run("INSERT INTO t VALUES('a', 1); INSERT INTO pair VALUES('a', 'b', 1)");
  for (const char* sql : {"INSERT INTO t VALUES(NULL, 1)", "INSERT INTO t(v) VALUES(1)", "UPDATE t SET id = NULL",
                          "INSERT OR REPLACE INTO t VALUES(NULL, 2)", "INSERT INTO pair VALUES('x', NULL, 1)",
                          "UPDATE pair SET a = NULL"}) {
    for (int connection : {0, 2}) {
      EXPECT_EQ(p.attempt(sql, connection), SQLITE_CONSTRAINT) << sql;
      EXPECT_TRUE(has(p.database().last_error(connection), "NULL")) << p.database().last_error(connection);
    }
  }
  EXPECT_EQ(p.rows("SELECT * FROM t"), "'a'|1\n");
  EXPECT_EQ(p.rows("SELECT * FROM pair"), "'a'|'b'|1\n");
  p.expect_sound();
}

TEST(TrackingRefusals, CallsOnTablesThatAreNotTracked) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY); CREATE TABLE u(id TEXT PRIMARY KEY)");
  crdt::ValueRef key = crdt::ValueRef::of_text("a");
  auto untouched = p.rejoin().changeset(0);
  if (!untouched.ok()) {
    EXPECT_EQ(untouched.error().code, Code::not_tracked);
  }
  p.track("t");
  auto restored = p.rejoin().restore("u", {key});
  ASSERT_FALSE(restored.ok());
  EXPECT_EQ(restored.error().code, Code::not_tracked);
  auto explained = p.rejoin().explain("u", {key});
  ASSERT_FALSE(explained.ok());
  EXPECT_EQ(explained.error().code, Code::not_tracked);
  Status untracked = p.rejoin().untrack("u");
  ASSERT_FALSE(untracked.ok());
  EXPECT_EQ(untracked.error().code, Code::not_tracked);
  // As many values as the key has columns.
  auto many = p.rejoin().restore("t", {key, key});
  ASSERT_FALSE(many.ok());
  EXPECT_EQ(many.error().code, Code::bad_argument);
}

TEST(TrackingRefusals, AReadOnlyDatabase) {
  Peer p("CREATE TABLE t(id TEXT PRIMARY KEY)");
  p.run("PRAGMA query_only = ON");
  Refusal r = refused(p, "t");
  EXPECT_EQ(r.code, Code::read_only) << r.message;
}

}  // namespace
}  // namespace rejoin::testing
