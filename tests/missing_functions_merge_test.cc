// A connection that lacks a function or a collation of the application's, which an index, a CHECK or a generated column
// uses, merges everything but that table's rows; these wait until a connection has it.
#include <gtest/gtest.h>

#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

void norm(sqlite3_context* c, int, sqlite3_value** v) {
  if (sqlite3_value_type(v[0]) != SQLITE_TEXT) return sqlite3_result_value(c, v[0]);
  std::string text(reinterpret_cast<const char*>(sqlite3_value_text(v[0])));
  for (char& ch : text) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
  sqlite3_result_text(c, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}

int compare(void*, int n, const void* a, int m, const void* b) {
  return sqlite3_strnicmp(static_cast<const char*>(a), static_cast<const char*>(b), n < m ? n : m) != 0
             ? sqlite3_strnicmp(static_cast<const char*>(a), static_cast<const char*>(b), n < m ? n : m)
             : n - m;
}

void give_functions(sqlite3* db) {
  ASSERT_EQ(sqlite3_create_function_v2(db, "norm", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, nullptr,
                                       norm, nullptr, nullptr, nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_create_collation_v2(db, "mine", SQLITE_UTF8, nullptr, compare, nullptr), SQLITE_OK);
}

struct Kind {
  const char* name;
  const char* schema;
};

std::string name_of(const ::testing::TestParamInfo<Kind>& info) { return info.param.name; }

// Connection 0 is the application's, connection 1 lacks everything.
struct File {
  explicit File(const std::string& schema, const std::string& tables = "t,other")
      : peer("", {}, "missing_functions_" + std::to_string(++made) + ".db") {
    give_functions(peer.handle());
    peer.run(schema + "; CREATE TABLE other(id TEXT PRIMARY KEY, v)");
    std::string names = tables;
    for (size_t at = 0; at < names.size();) {
      const size_t end = std::min(names.find(',', at), names.size());
      peer.track(names.substr(at, end - at));
      at = end + 1;
    }
  }
  std::string rows(const std::string& sql, int connection = 0) {
    std::string out = peer.rows(sql, connection);
    std::erase(out, '\'');
    return out;
  }
  void use() { ASSERT_TRUE(peer.rejoin().tables().ok()); }
  static inline int made = 0;
  Peer peer;
};

class MissingFunctions : public ::testing::TestWithParam<Kind> {};

constexpr int64_t kLong = int64_t{90} * 24 * 3600 * 1000;  // ms
constexpr const char* kAll = "SELECT id, v FROM t ORDER BY id";

TEST_P(MissingFunctions, KeepOnlyTheTablesRowsBack) {
  File a(GetParam().schema), b(GetParam().schema);
  a.peer.run("INSERT INTO t(id, v) VALUES('changed', 'One'), ('deleted', 'Two'), ('kept', 'Three')");
  exchange(a.peer, b.peer);
  const std::string before = b.rows(kAll);
  a.peer.run(
      "UPDATE t SET v = 'Four' WHERE id = 'changed'; DELETE FROM t WHERE id = 'deleted';"
      "INSERT INTO t(id, v) VALUES('new', 'Five'); INSERT INTO other VALUES('o', 1)");
  b.peer.run("UPDATE t SET v = 'Six' WHERE id = 'kept'");
  for (int round = 0; round < 3; ++round) {
    b.peer.apply(a.peer.changeset(), 1);
    EXPECT_EQ(b.rows("SELECT id FROM other", 1), "o\n");
    EXPECT_EQ(b.rows("SELECT id, v FROM t NOT INDEXED ORDER BY id", 1), "changed|One\ndeleted|Two\nkept|Six\n");
    EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked ORDER BY 1", 1), "[\"changed\"]\n[\"deleted\"]\n[\"new\"]\n");
    EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_parked WHERE reason LIKE '%lacks%norm%' OR reason LIKE "
                            "'%lacks%mine%'",
                            1),
              3);
  }
  // The application's connection has it: any use of Rejoin does.
  b.use();
  EXPECT_EQ(b.rows(kAll), "changed|Four\nkept|Six\nnew|Five\n");
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_parked"), 0);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_out_of_reach"), 0);
  exchange(a.peer, b.peer);
  EXPECT_EQ(a.rows(kAll), b.rows(kAll));
  a.peer.expect_sound();
  b.peer.expect_sound();
}

// What waits is passed on as it came.
TEST_P(MissingFunctions, StopNobodyBehind) {
  File a(GetParam().schema), b(GetParam().schema), c(GetParam().schema);
  a.peer.run("INSERT INTO t(id, v) VALUES('1', 'One'), ('2', 'Two')");
  b.peer.apply(a.peer.changeset(), 1);
  c.peer.apply(b.peer.changeset(0, 1));
  EXPECT_EQ(c.rows(kAll), "1|One\n2|Two\n");
  EXPECT_EQ(b.rows("SELECT id FROM t NOT INDEXED", 1), "");
}

// The connection may get them while it is open.
TEST_P(MissingFunctions, AreAskedForEachTime) {
  File a(GetParam().schema), b(GetParam().schema);
  a.peer.run("INSERT INTO t(id, v) VALUES('1', 'One')");
  b.peer.apply(a.peer.changeset(), 1);
  give_functions(b.peer.handle(1));
  b.peer.apply(a.peer.changeset(), 1);
  EXPECT_EQ(b.rows(kAll, 1), "1|One\n");
  b.peer.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(
    Of, MissingFunctions,
    ::testing::Values(
        Kind{"unique_collation", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT COLLATE mine UNIQUE)"},
        Kind{"index_collation", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); CREATE INDEX i ON t(v COLLATE mine)"},
        Kind{"unique_index", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); CREATE UNIQUE INDEX i ON t(norm(v))"},
        Kind{"index", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); CREATE INDEX i ON t(norm(v))"},
        Kind{"partial_index",
             "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); CREATE UNIQUE INDEX i ON t(v) WHERE norm(v) > 'a'"},
        Kind{"check", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))"},
        Kind{"generated", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, g TEXT AS (norm(v)) STORED)"},
        Kind{"with_triggers",
             "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); CREATE INDEX i ON t(norm(v)); CREATE TABLE l(x); CREATE "
             "TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l VALUES(NEW.id); END"},
        Kind{"without_rowid", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad')) WITHOUT ROWID"}),
    name_of);

// Rows that claim one value are decided about where the index works.
TEST(MissingCollation, LeavesClaimsToWhoHasIt) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT COLLATE mine UNIQUE)";
  File a(schema), b(schema);
  a.peer.run("INSERT INTO t VALUES('a', 'Same')");
  b.peer.run("INSERT INTO t VALUES('b', 'sAME')");
  b.peer.apply(a.peer.changeset());
  const std::string shown = b.rows(kAll);
  a.peer.apply(b.peer.changeset());
  EXPECT_EQ(a.rows(kAll), shown);
  // The one that is shown goes, and it is the connection without the collation that hears of it.
  const std::string winner = b.rows("SELECT id FROM t").substr(0, 1);
  a.peer.run("DELETE FROM t WHERE id = '" + winner + "'; INSERT INTO other VALUES('o', 1)");
  b.peer.apply(a.peer.changeset(), 1);
  EXPECT_EQ(b.rows("SELECT id FROM other", 1), "o\n");
  b.use();
  a.peer.seq();
  EXPECT_EQ(b.rows(kAll), a.rows(kAll));
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM t"), 1);
  a.peer.expect_sound();
  b.peer.expect_sound();
}

// The same where a program deletes it, and a connection without the collation folds that.
TEST(MissingCollation, LeavesClaimsThatComeFreeToWhoHasIt) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT COLLATE mine UNIQUE)";
  File a(schema), b(schema);
  a.peer.run("INSERT INTO t VALUES('a', 'Same')");
  b.peer.run("INSERT INTO t VALUES('b', 'sAME')");
  b.peer.apply(a.peer.changeset());
  b.peer.run("DELETE FROM t");
  ASSERT_TRUE(b.peer.rejoin(1).fold().ok());
  EXPECT_EQ(b.rows("SELECT id FROM t NOT INDEXED", 1), "");
  b.use();
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM t"), 1);
  b.peer.expect_sound();
}

constexpr const char* kFamily =
    "CREATE TABLE p(id TEXT PRIMARY KEY, v); "
    "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'), p TEXT REFERENCES p(id)); "
    "CREATE TABLE c(id TEXT PRIMARY KEY, t TEXT REFERENCES t(id))";

// A parent goes all the same; its children follow when they can.
TEST(MissingFunction, OfAChildDoesNotKeepItsParent) {
  File a(kFamily, "p,t,c,other"), b(kFamily, "p,t,c,other");
  a.peer.run(
      "INSERT INTO p VALUES('p', 1), ('q', 1); INSERT INTO t VALUES('t', 'x', 'p'), ('u', 'x', 'q');"
      "INSERT INTO c VALUES('c', 't'), ('d', 'u')");
  exchange(a.peer, b.peer);
  a.peer.run("DELETE FROM p WHERE id = 'p'; INSERT INTO other VALUES('o', 1)");
  b.peer.apply(a.peer.changeset(), 1);
  EXPECT_EQ(b.rows("SELECT id FROM p", 1), "q\n");
  EXPECT_EQ(b.rows("SELECT id FROM other", 1), "o\n");
  EXPECT_EQ(b.rows("SELECT id FROM t", 1), "t\nu\n");
  b.use();
  a.peer.seq();
  for (const char* table : {"p", "t", "c"}) {
    const std::string all = std::string("SELECT id FROM ") + table + " ORDER BY id";
    EXPECT_EQ(b.rows(all), a.rows(all)) << table;
  }
  EXPECT_EQ(b.rows("SELECT id FROM t"), "u\n");
  EXPECT_EQ(b.rows("SELECT id FROM c"), "d\n");
  a.peer.expect_sound(true);
  b.peer.expect_sound(true);
}

// Children of a row that waits wait for it.
TEST(MissingFunction, OfAParentKeepsItsChildrenBack) {
  File a(kFamily, "p,t,c,other"), b(kFamily, "p,t,c,other");
  a.peer.run("INSERT INTO p VALUES('p', 1); INSERT INTO t VALUES('t', 'x', 'p'); INSERT INTO c VALUES('c', 't')");
  b.peer.apply(a.peer.changeset(), 1);
  EXPECT_EQ(b.rows("SELECT id FROM p", 1), "p\n");
  EXPECT_EQ(b.rows("SELECT id FROM t", 1), "");
  EXPECT_EQ(b.rows("SELECT id FROM c", 1), "");
  b.use();
  EXPECT_EQ(b.rows("SELECT id FROM t"), "t\n");
  EXPECT_EQ(b.rows("SELECT id FROM c"), "c\n");
  b.peer.expect_sound();
}

constexpr const char* kChecked = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))";

// A row from before what b has forgotten, which a server has admitted; it waits.
void admit_an_old_row(File& a, File& b) {
  a.peer.run("INSERT INTO t VALUES('old', 'x')");
  const Bytes frame = a.peer.changeset();
  b.peer.clock().advance(kLong);
  b.peer.run("INSERT INTO t VALUES('gone', 'x'); DELETE FROM t");
  b.peer.seq();
  b.peer.clock().advance(kLong);
  b.peer.run("INSERT INTO other VALUES('o', 1)");
  ASSERT_TRUE(b.peer.rejoin().compact(0).ok());
  sqlite::ApplyOptions options;
  options.referee = true;
  ASSERT_TRUE(b.peer.rejoin(1).apply(frame, options).ok());
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_parked", 1), 1);
}

// Symptom to avoid: rows older than what this file has forgotten would wait for their rows for ever.
TEST(MissingFunction, TakesInOldRowsThatWereAdmitted) {
  File a(kChecked), b(kChecked);
  admit_an_old_row(a, b);
  b.use();
  EXPECT_EQ(b.rows(kAll), "old|x\n");
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_parked"), 0);
}

// Symptom: a connection that lacked the function forgot the deletion, and with it the insertion that waited behind it.
TEST(MissingFunction, ForgetsNoInsertionThatWaits) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))";
  File a(schema), b(schema);
  a.peer.run("INSERT INTO t VALUES('k', 'one'), ('gone', 'two')");
  exchange(a.peer, b.peer);
  b.peer.clock().advance(1000);
  b.peer.run("DELETE FROM t");
  exchange(a.peer, b.peer);
  a.peer.clock().advance(2000);
  a.peer.run("INSERT INTO t VALUES('k', 'again')");
  b.peer.clock().advance(2000);
  b.peer.apply(a.peer.changeset(), 1);
  b.peer.clock().advance(kLong);
  ASSERT_TRUE(b.peer.rejoin(1).compact(0).ok());
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked", 1), "[\"k\"]\n");
  b.use();
  EXPECT_EQ(b.rows(kAll), "k|again\n");
  b.peer.expect_sound();
}

// Symptom: a deletion was forgotten while an edit waited under the table's former name, and the row came back on the
// replica that took it up.
TEST(MissingFunction, ForgetsNoDeletionWhileAnEditWaitsUnderAnotherName) {
  for (const char* name : {"t", "T"}) {
    const std::string columns = "(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'), w)";
    File a("CREATE TABLE " + std::string(name) + columns, std::string(name) + ",other"), b("CREATE TABLE t" + columns);
    a.peer.run("INSERT INTO " + std::string(name) + " VALUES('1', 'x', 0)");
    exchange(a.peer, b.peer);
    if (*name == 't') b.peer.run("ALTER TABLE t RENAME TO renamed");
    const std::string now = *name == 't' ? "renamed" : "t";
    b.peer.clock().advance(1000);
    b.peer.run("DELETE FROM " + now);
    a.peer.clock().advance(2000);
    a.peer.run("UPDATE " + std::string(name) + " SET w = 1");
    b.peer.apply(a.peer.changeset(), 1);
    b.peer.clock().advance(kLong);
    ASSERT_TRUE(b.peer.rejoin().compact(0).ok());
    b.use();
    EXPECT_EQ(b.rows("SELECT id FROM " + now), "") << name;
    b.peer.expect_sound(true);
  }
}

// Symptom: such rows waited for ever when the table had got another name before they were taken up.
TEST(MissingFunction, TakesInOldRowsThatWereAdmittedUnderAFormerName) {
  File a(kChecked), b(kChecked);
  admit_an_old_row(a, b);
  b.peer.run("ALTER TABLE t RENAME TO renamed");
  b.use();
  EXPECT_EQ(b.rows("SELECT id, v FROM renamed"), "old|x\n");
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_parked"), 0);
}

// Symptom: a call that reads took what waited up, and a trigger of the application's rolled its transaction back.
TEST(MissingFunction, TakesNoTransactionOfTheApplicationsBack) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))";
  File a(schema), b(schema + "; CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
  a.peer.run("INSERT INTO t VALUES('1', 'x')");
  b.peer.apply(a.peer.changeset(), 1);
  b.peer.run("BEGIN; INSERT INTO other VALUES('mine', 1)");
  b.use();
  EXPECT_EQ(b.rows(kAll), "");  // it waits for a transaction of its own
  EXPECT_FALSE(sqlite3_get_autocommit(b.peer.handle()));
  b.peer.run("COMMIT");
  b.use();
  EXPECT_EQ(b.rows(kAll), "1|x\n");
  EXPECT_EQ(b.rows("SELECT id FROM other"), "mine\n");
}

// Symptom: inside a transaction of the application's it did so without the table's triggers.
TEST(MissingFunction, LeavesTablesWithTriggersToATransactionOfItsOwn) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))";
  for (const std::string trigger :
       {"TEMP TRIGGER g AFTER INSERT ON main.t BEGIN INSERT INTO l VALUES(NEW.id); SELECT RAISE(ROLLBACK, 'no') WHERE "
        "NEW.v = 'boom'; END",
        "TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l VALUES(NEW.id); END; CREATE TRIGGER h AFTER INSERT ON l "
        "BEGIN SELECT RAISE(ROLLBACK, 'no') WHERE NEW.x = 'boom'; END",
        "TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l VALUES(NEW.id); SELECT RAISE(IGNORE) WHERE NEW.v = 'boom'; "
        "END"}) {
    File a(schema), b(schema + "; CREATE TABLE l(x); CREATE " + trigger);
    a.peer.run("INSERT INTO t VALUES('boom', 'boom'), ('1', 'x')");
    b.peer.apply(a.peer.changeset(), 1);
    b.peer.run("BEGIN; INSERT INTO other VALUES('mine', 1)");
    b.use();
    EXPECT_EQ(b.rows(kAll), "") << trigger;
    b.peer.run("COMMIT");
    EXPECT_EQ(b.rows("SELECT id FROM other"), "mine\n") << trigger;
    b.use();
    EXPECT_EQ(b.rows("SELECT id FROM t WHERE id = '1'"), "1\n") << trigger;
    b.peer.expect_sound(true);
  }
}

// By itself it does so with the application's triggers, unless they do roll back.
TEST(MissingFunction, TakesUpWithTheApplicationsTriggers) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))";
  for (const std::string value : {"x", "boom"}) {
    File a(schema), b(schema +
                      "; CREATE TABLE l(x); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l VALUES(NEW.id); "
                      "SELECT RAISE(ROLLBACK, 'no') WHERE NEW.v = 'boom'; END");
    a.peer.run("INSERT INTO t VALUES('1', '" + value + "')");
    b.peer.apply(a.peer.changeset(), 1);
    b.use();
    EXPECT_EQ(b.rows(kAll), "1|" + value + "\n");
    EXPECT_EQ(b.rows("SELECT x FROM l"), value == "x" ? "1\n" : "");
  }
}

// Symptom: taken up while references of the application's transaction were open, nothing was decided, then or later.
TEST(MissingFunction, LeavesNothingUndecidedBehindOpenReferences) {
  const std::string schema =
      "CREATE TABLE p(id TEXT PRIMARY KEY); CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'), p TEXT "
      "REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)";
  File a(schema, "p,t"), b(schema, "p,t");
  a.peer.run("INSERT INTO p VALUES('x'); INSERT INTO t VALUES('c', 'v', 'x')");
  exchange(a.peer, b.peer);
  a.peer.clock().advance(1000);
  a.peer.run("DELETE FROM p");
  b.peer.apply(a.peer.changeset(), 1);
  b.peer.run("PRAGMA foreign_keys=ON; BEGIN; INSERT INTO t VALUES('new', 'v', 'y')");
  b.use();
  b.peer.run("INSERT INTO p VALUES('y'); COMMIT");
  // As another connection would find it.
  b.peer.database().close(0);
  give_functions(b.peer.handle());
  b.use();
  EXPECT_EQ(b.rows("SELECT id FROM t"), "new\n");
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked"), "[\"c\"]\n");
  EXPECT_EQ(b.rows("PRAGMA foreign_key_check"), "");
}

TEST(MissingFunction, IsNamedByWhatCannotWait) {
  File a("CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'))");
  a.peer.run("INSERT INTO t VALUES('1', 'x'); DELETE FROM t");
  const std::vector<crdt::ValueRef> key = {crdt::ValueRef::of_text("1")};
  const auto refused = a.peer.rejoin(1).restore("t", key);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unsupported);
  EXPECT_NE(refused.error().message.find("norm"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(a.peer.restore("t", {sim::Value::of(crdt::ValueRef::of_text("1"))}));
}

constexpr const char* kEverything =
    "CREATE TABLE p(id TEXT PRIMARY KEY, v TEXT); "
    "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT CHECK(norm(v) <> 'bad'), p TEXT REFERENCES p(id)); "
    "CREATE TABLE s(id TEXT PRIMARY KEY, v TEXT, t TEXT REFERENCES t(id) ON DELETE SET NULL); "
    "CREATE UNIQUE INDEX u ON t(norm(v)); CREATE INDEX i ON s(v COLLATE mine)";

std::string random_write(std::mt19937& random) {
  const auto pick = [&](std::vector<std::string> of) { return of[random() % of.size()]; };
  const std::string table = pick({"p", "t", "s"}), id = pick({"'1'", "'2'", "'3'"});
  const std::string value = pick({"'One'", "'oNE'", "'Two'", "NULL", "'x'"});
  const std::string parent = pick({"'1'", "'2'", "'3'", "NULL"});
  switch (random() % 4) {
    case 0:
      return "DELETE FROM " + table + " WHERE id = " + id;
    case 1:
      return "UPDATE OR IGNORE " + table + " SET v = " + value + " WHERE id = " + id;
    case 2:
      if (table != "p")
        return "UPDATE OR IGNORE " + table + " SET " + (table == "t" ? "p" : "t") + " = " + parent +
               " WHERE id = " + id;
      [[fallthrough]];
    default:
      return "INSERT OR IGNORE INTO " + table + " VALUES(" + id + ", " + value + (table == "p" ? "" : ", " + parent) +
             ")";
  }
}

// Whichever connection hears of what, in the end all show the same.
TEST(MissingFunction, ChangesNothingInTheEnd) {
  const std::vector<std::string> tables = {"p", "t", "s", "other"};
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    File a(kEverything, "p,t,s,other"), b(kEverything, "p,t,s,other"), c(kEverything, "p,t,s,other");
    std::vector<Peer*> peers = {&a.peer, &b.peer, &c.peer};
    for (int step = 0; step < 30; ++step) {
      Peer& one = *peers[random() % 3];
      Peer& other = *peers[random() % 3];
      one.clock().advance(1);
      if (random() % 2 == 0) {
        one.attempt(random_write(random));
      } else if (&one != &other) {
        const Bytes frame = other.changeset(0, static_cast<int>(random() % 2));
        if (!frame.empty()) one.apply(frame, static_cast<int>(random() % 2));
      }
      if (random() % 8 == 0) {
        ASSERT_TRUE(one.rejoin(1).fold().ok());
      }
    }
    for (int round = 0; round < 3; ++round)
      for (Peer* one : peers)
        for (Peer* other : peers)
          if (const Bytes frame = other->changeset(); one != other && !frame.empty()) one->apply(frame);
    for (File* file : {&a, &b, &c}) file->use(), file->peer.expect_sound(true);
    for (const std::string& table : tables)
      for (File* file : {&b, &c}) {
        const std::string all = "SELECT * FROM " + table + " ORDER BY id";
        ASSERT_EQ(file->rows(all), a.rows(all)) << table;
      }
    const std::string parked = "SELECT table_name, key, reason FROM rejoin_parked ORDER BY 1, 2";
    for (File* file : {&b, &c}) ASSERT_EQ(file->rows(parked), a.rows(parked));
  }
}

}  // namespace
}  // namespace rejoin::testing
