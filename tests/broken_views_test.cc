// SQLite lets an application drop a table that a view, a trigger or an index still needs, and never says so. Rejoin
// follows what is altered all the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER, other TEXT);"
    "CREATE TABLE drafts(x); CREATE TABLE log(x)";

struct Broken {
  const char *name, *make, *breaks, *mends;
};
std::ostream& operator<<(std::ostream& out, const Broken& b) { return out << b.name; }

int compare_bytes(void*, int n, const void* a, int m, const void* b) {
  const int c = std::memcmp(a, b, static_cast<size_t>(std::min(n, m)));
  return c ? c : n - m;
}

class ABrokenSchema : public ::testing::TestWithParam<Broken> {
 protected:
  ABrokenSchema() : a(kSchema, {"todos"}), b(kSchema, {"todos"}) {
    a.run("INSERT INTO todos VALUES('1', 'milk', 0, 'o'), ('2', 'gone', 0, 'o'); DELETE FROM todos WHERE id = '2'");
    b.fetch(a);
    collation(compare_bytes);
    a.run(GetParam().make);
  }
  void collation(int (*compare)(void*, int, const void*, int, const void*)) {
    ASSERT_EQ(sqlite3_create_collation(a.handle(), "mine", SQLITE_UTF8, nullptr, compare), SQLITE_OK);
  }
  // After the application's own change, which SQLite would refuse as well.
  void break_it() {
    a.run(GetParam().breaks);
    if (*GetParam().breaks == '\0') collation(nullptr);
  }
  // SQLite 3.37 alters no table beside what is broken, the application's neither.
  static bool refuses() {
    return sqlite3_libversion_number() < 3'038'000 && std::string(GetParam().name) != "collation_of_a_view";
  }
  // Then it is told what is broken, and with that mended all goes on.
  void mend_what_is_told() {
    if (!refuses()) return;
    const Status told = a.rejoin().fold();
    ASSERT_FALSE(told.ok());
    EXPECT_EQ(told.error().code, Code::schema_refused);
    EXPECT_NE(told.error().message.find("(error in "), std::string::npos) << told.error().message;
    a.run(GetParam().mends);
  }
  void expect_synced(const std::string& table, const std::string& column) {
    a.clock().advance(1000);
    a.run("INSERT INTO " + table + "(id, " + column + ") VALUES('3', 'new')");
    ASSERT_TRUE(a.rejoin().restore(table, std::vector{crdt::ValueRef::of_text("2")}).ok());
    EXPECT_EQ(a.rows("SELECT id, " + column + " FROM " + table + " ORDER BY id"),
              "'1'|'milk'\n'2'|'gone'\n'3'|'new'\n");
    b.fetch(a);
    EXPECT_EQ(b.rows("SELECT id, " + column + " FROM " + table + " ORDER BY id"),
              "'1'|'milk'\n'2'|'gone'\n'3'|'new'\n");
  }
  // SQLite's settings are as they were.
  void expect_settings() {
    for (const int setting :
         {SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, SQLITE_DBCONFIG_WRITABLE_SCHEMA, SQLITE_DBCONFIG_DEFENSIVE}) {
      int value = -1;
      ASSERT_EQ(sqlite3_db_config(a.handle(), setting, -1, &value), SQLITE_OK);
      EXPECT_EQ(value, 0) << setting;
    }
  }
  Peer a, b;
};

TEST_P(ABrokenSchema, DoesNotKeepARenamedColumnFromBeingSynced) {
  a.run("ALTER TABLE todos RENAME COLUMN title TO what");
  b.run("ALTER TABLE todos RENAME COLUMN title TO what");
  break_it();
  mend_what_is_told();
  expect_synced("todos", "what");
  expect_settings();
}

TEST_P(ABrokenSchema, DoesNotKeepARenamedTableFromBeingSynced) {
  a.run("ALTER TABLE todos RENAME TO tasks");
  b.run("ALTER TABLE todos RENAME TO tasks");
  break_it();
  if (std::string(GetParam().name) == "collation_of_an_index") mend_what_is_told();  // the others name no table
  expect_synced("tasks", "title");
  expect_settings();
}

TEST_P(ABrokenSchema, DoesNotKeepAColumnFromBeingDropped) {
  break_it();
  if (refuses()) a.run(GetParam().mends);
  ASSERT_TRUE(a.rejoin().alter_begin("todos").ok());
  a.run(
      "PRAGMA legacy_alter_table = ON; CREATE TABLE fresh(id TEXT PRIMARY KEY, title TEXT, done INTEGER);"
      "INSERT INTO fresh SELECT id, title, done FROM todos; DROP TABLE todos;"
      "PRAGMA writable_schema = ON; ALTER TABLE fresh RENAME TO todos; PRAGMA writable_schema = OFF;"
      "PRAGMA legacy_alter_table = OFF");
  const Status done = a.rejoin().alter_commit("todos");
  ASSERT_TRUE(done.ok()) << done.error().message;
  expect_synced("todos", "title");
  expect_settings();
}

// A defensive connection is one again afterwards.
TEST_P(ABrokenSchema, IsLeftAloneWhereTheSchemaMayNotBeWritten) {
  a.run("ALTER TABLE todos RENAME COLUMN title TO what");
  break_it();
  ASSERT_EQ(sqlite3_db_config(a.handle(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr), SQLITE_OK);
  a.seq();
  int defensive = 0;
  ASSERT_EQ(sqlite3_db_config(a.handle(), SQLITE_DBCONFIG_DEFENSIVE, -1, &defensive), SQLITE_OK);
  EXPECT_EQ(defensive, 1);
  ASSERT_EQ(sqlite3_db_config(a.handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr), SQLITE_OK);
  b.run("ALTER TABLE todos RENAME COLUMN title TO what");
  mend_what_is_told();
  expect_synced("todos", "what");
}

INSTANTIATE_TEST_SUITE_P(
    All, ABrokenSchema,
    ::testing::Values(Broken{"view", "CREATE VIEW v AS SELECT x FROM drafts", "DROP TABLE drafts", "DROP VIEW v"},
                      Broken{"view_of_the_table", "CREATE VIEW v AS SELECT t.id, x FROM drafts, todos AS t",
                             "DROP TABLE drafts", "DROP VIEW v"},
                      Broken{"trigger", "CREATE TRIGGER tr AFTER INSERT ON log BEGIN INSERT INTO drafts VALUES(1); END",
                             "DROP TABLE drafts", "DROP TRIGGER tr"},
                      Broken{"collation_of_an_index", "CREATE INDEX i ON log(x COLLATE mine)", "", "DROP INDEX i"},
                      Broken{"collation_of_a_view", "CREATE VIEW v AS SELECT x FROM log ORDER BY x COLLATE mine", "",
                             ""}),
    [](const ::testing::TestParamInfo<Broken>& broken) { return std::string(broken.param.name); });

TEST(BrokenViews, ARefusedAlterNamesTheViewAndTheCure) {
  Peer a(kSchema, {"todos"});
  a.run("CREATE VIEW dv AS SELECT x FROM drafts; DROP TABLE drafts");
  const Status refused = a.rejoin().alter("ALTER TABLE todos RENAME COLUMN title TO what");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::bad_argument);
  EXPECT_NE(refused.error().message.find("error in view dv"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("drop what it names first"), std::string::npos) << refused.error().message;
  a.run("DROP VIEW dv");
  EXPECT_TRUE(a.rejoin().alter("ALTER TABLE todos RENAME COLUMN title TO what").ok());
  a.expect_sound();
}

void shout(sqlite3_context* c, int, sqlite3_value** v) { sqlite3_result_value(c, v[0]); }

TEST(BrokenViews, TheDoctorGoesOnWhereAnIndexUsesAFunctionThatIsNotHere) {
  const char* file = "doctor_without_a_function.db";
  Peer a(kSchema, {"todos"}, file);
  ASSERT_EQ(sqlite3_create_function(a.handle(), "shout", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, shout, nullptr,
                                    nullptr),
            SQLITE_OK);
  a.run(
      "INSERT INTO todos VALUES('1', 'milk', 0, 'o'); CREATE INDEX i ON todos(shout(title));"
      "CREATE INDEX j ON log(shout(x))");
  EXPECT_EQ(*a.rejoin().doctor(), "[]");
  const auto report = a.rejoin(1).doctor();  // another connection
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_NE(report->find("\"kind\":\"unchecked\",\"table\":\"todos\""), std::string::npos) << *report;
  EXPECT_NE(report->find("\"kind\":\"unchecked\",\"table\":\"log\""), std::string::npos) << *report;
  EXPECT_EQ(report->find("drafts"), std::string::npos) << *report;
  EXPECT_NE(report->find("shout"), std::string::npos) << *report;
  EXPECT_EQ(*a.rejoin().doctor(), "[]");
}

}  // namespace
}  // namespace rejoin::testing
