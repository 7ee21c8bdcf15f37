// P1, P9: rows that refer to others. A row whose parent is deleted, hidden or not here yet waits, and shows when the
// parent does, whatever PRAGMA foreign_keys says; no merge leaves a reference that leads nowhere.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/constrained.h"

namespace rejoin::testing {
namespace {

std::string lists(const std::string& action = "", bool enforced = true) {
  return std::string("PRAGMA foreign_keys = ") + (enforced ? "ON" : "OFF") +
         "; CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT);"
         "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT DEFAULT 'inbox' REFERENCES lists(id) " +
         action + ", text TEXT)";
}
const std::vector<std::string> kTables = {"lists", "entries"};
constexpr const char* kEntries = "SELECT id, list, text FROM entries ORDER BY id";

TEST(ForeignKeys, AChildThatArrivesBeforeItsParentWaitsForIt) {
  for (bool enforced : {true, false}) {
    Replicas all(3, lists("", enforced), {"entries"});
    for (size_t i = 0; i < 3; ++i) all[i].track("lists");
    all.at(0, "INSERT INTO lists VALUES('l', 'home')");
    all[1].fetch(all[0]);
    all.at(1, "INSERT INTO entries VALUES('e', 'l', 'milk')");
    // Only what 1 wrote itself.
    all[2].apply(all[1].changeset(1));
    EXPECT_EQ(all[2].rows(kEntries), "");
    EXPECT_EQ(
        all[2].rows("SELECT table_name, key, reason FROM rejoin_parked"),
        "'entries'|'[\"e\"]'|'its \"list\" refers to a row of \"lists\", [\"l\"], that is not visible here (FOREIGN "
        "KEY)'\n");
    EXPECT_EQ(all[2].rows("PRAGMA foreign_key_check"), "");
    all[2].fetch(all[0]);
    EXPECT_EQ(all[2].rows(kEntries), "'e'|'l'|'milk'\n");
    all.sync({2, 1, 0});
    all.expect(kEntries, "'e'|'l'|'milk'\n");
    all.expect("SELECT count(*) FROM rejoin_parked", "0\n");
    all.expect_sound();
  }
}

TEST(ForeignKeys, AParentThatIsDeletedWhileAnotherRefersToIt) {
  struct Case {
    const char *action, *shown;
  };
  for (bool enforced : {true, false})
    for (const Case& c :
         {Case{"", ""}, Case{"ON DELETE CASCADE", ""}, Case{"ON DELETE RESTRICT", ""},
          Case{"ON DELETE SET NULL", "'e'|null|'milk'\n"}, Case{"ON DELETE SET DEFAULT", "'e'|'inbox'|'milk'\n"}}) {
      SCOPED_TRACE(std::string(c.action) + (enforced ? ", enforced" : ""));
      tell({.schema = lists(c.action, enforced),
            .tracked = kTables,
            .before = {"INSERT INTO lists VALUES('l', 'home'), ('inbox', 'in')"},
            .apart = {{0, "DELETE FROM lists WHERE id = 'l'"}, {1, "INSERT INTO entries VALUES('e', 'l', 'milk')"}},
            .query = kEntries,
            .rows = c.shown,
            .later = {{0, "INSERT INTO lists VALUES('l', 'again')"}},
            .later_rows = "'e'|'l'|'milk'\n"});
    }
}

TEST(ForeignKeys, TheOriginsCascadesTravelAsItsOwnChangesAndNoneRunsInAMerge) {
  struct Case {
    const char *action, *shown, *back;
  };
  for (const Case& c :
       {Case{"ON DELETE CASCADE", "", ""}, Case{"ON DELETE SET NULL", "'e'|null|'milk'\n", "'e'|null|'milk'\n"},
        Case{"ON DELETE SET DEFAULT", "'e'|'inbox'|'milk'\n", "'e'|'inbox'|'milk'\n"}}) {
    SCOPED_TRACE(c.action);
    tell({.schema = lists(c.action),
          .tracked = kTables,
          .before =
              {"INSERT INTO lists VALUES('l', 'home'), ('inbox', 'in'); INSERT INTO entries VALUES('e', 'l', 'milk')"},
          .apart = {{0, "DELETE FROM lists WHERE id = 'l'"}, {1, "UPDATE lists SET name = 'house' WHERE id = 'l'"}},
          .query = kEntries,
          .rows = c.shown,
          .later = {{1, "INSERT INTO lists VALUES('l', 'again')"}},
          .later_rows = c.back});
  }
}

TEST(ForeignKeys, AStandInCanBeEditedAndDeletedAndRestored) {
  for (bool enforced : {true, false}) {
    Replicas all(2, lists("ON DELETE SET NULL", enforced), kTables);
    all.at(0, "INSERT INTO lists VALUES('l', 'home')");
    all.sync({0, 1});
    all.at(0, "DELETE FROM lists WHERE id = 'l'");
    all.at(1, "INSERT INTO entries VALUES('e', 'l', 'milk')");
    all.sync({0, 1});
    all.expect(kEntries, "'e'|null|'milk'\n");
    EXPECT_NE(all[0].rows("SELECT reason FROM rejoin_parked").find("until then it is shown without"),
              std::string::npos);
    all.at(0, "UPDATE entries SET text = 'oat milk'");
    all.sync({0, 1});
    all.expect(kEntries, "'e'|null|'oat milk'\n");
    all.expect_sound();
    // Its reference is still what it was written as.
    Peer third("CREATE TABLE entries(id TEXT PRIMARY KEY, list, text)", {"entries"});
    third.fetch(all[1]);
    EXPECT_EQ(third.rows(kEntries), "'e'|'l'|'oat milk'\n");
    all.at(1, "DELETE FROM entries");
    all.sync({1, 0});
    all.expect(kEntries, "");
    all.expect("SELECT * FROM entries__rejoin_dead", "'e'|'l'|'oat milk'\n");
    all.expect("SELECT count(*) FROM rejoin_parked", "0\n");
    all.at(1, "INSERT INTO lists VALUES('l', 'again')");
    EXPECT_TRUE(all[1].restore("entries", {sim::Value::text("e")}));
    all.sync({1, 0});
    all.expect(kEntries, "'e'|'l'|'oat milk'\n");
    all.expect_sound();
  }
}

// In one fold: nobody looked in between.
TEST(ForeignKeys, AStandInThatIsEditedAndDeletedAtOnceKeepsTheEdit) {
  Peer p(lists("ON DELETE SET NULL", false), kTables);
  p.run("INSERT INTO entries VALUES('e', 'l', 'milk')");
  ASSERT_TRUE(p.rejoin().fold().ok());
  p.run("UPDATE entries SET text = 'oat milk'; DELETE FROM entries");
  EXPECT_TRUE(p.restore("entries", {sim::Value::text("e")}));
  EXPECT_EQ(p.rows(kEntries), "'e'|null|'oat milk'\n");
  p.run("INSERT INTO lists VALUES('l', 'home')");
  ASSERT_TRUE(p.rejoin().fold().ok());
  EXPECT_EQ(p.rows(kEntries), "'e'|'l'|'oat milk'\n");
  p.expect_sound();
}

TEST(ForeignKeys, AStandInThatIsReplacedAndDeletedAtOnceKeepsTheNewValues) {
  Peer p(lists("ON DELETE SET NULL", false), kTables);
  p.run("INSERT INTO entries VALUES('e', 'l', 'milk')");
  ASSERT_TRUE(p.rejoin().fold().ok());
  p.run("DELETE FROM entries; INSERT INTO entries VALUES('e', NULL, 'bread'); DELETE FROM entries");
  EXPECT_TRUE(p.restore("entries", {sim::Value::text("e")}));
  EXPECT_EQ(p.rows(kEntries), "'e'|null|'bread'\n");
  p.expect_sound();
}

TEST(ForeignKeys, ARowWithoutItsParentFromBeforeTrackingWaitsAtItsWriterToo) {
  for (const bool parent_first : {true, false}) {
    Peer writer(lists("", false) + "; INSERT INTO entries VALUES('e', 'l', 'milk')"), other(lists("", false), kTables);
    for (const size_t i : {size_t{0}, size_t{1}}) writer.track(kTables[parent_first ? i : 1 - i]);
    exchange(writer, other);
    for (Peer* p : {&writer, &other}) {
      EXPECT_EQ(p->rows(kEntries), "");
      EXPECT_EQ(p->rows("SELECT key FROM rejoin_parked"), "'[\"e\"]'\n");
      p->expect_sound(true);
    }
    writer.run("INSERT INTO lists VALUES('l', 'home')");
    exchange(writer, other);
    for (Peer* p : {&writer, &other}) EXPECT_EQ(p->rows(kEntries), "'e'|'l'|'milk'\n");
  }
}

TEST(ForeignKeys, AnEditOfTheReferenceOfAStandInWins) {
  Replicas all(2, lists("ON DELETE SET NULL"), kTables);
  all.at(0, "INSERT INTO lists VALUES('l', 'home'), ('m', 'work')");
  all.sync({0, 1});
  all.at(0, "DELETE FROM lists WHERE id = 'l'");
  all.at(1, "INSERT INTO entries VALUES('e', 'l', 'milk')");
  all.sync({0, 1});
  all.at(0, "UPDATE entries SET list = 'm'");
  all.sync({0, 1});
  all.expect(kEntries, "'e'|'m'|'milk'\n");
  all.expect("SELECT count(*) FROM rejoin_parked", "0\n");
  all.expect_sound();
}

// Columns of one CHECK are written together: what the stand-in shows in place of the reference is none of it.
TEST(ForeignKeys, AnEditOfAStandInLeavesTheReferenceThatItDoesNotShow) {
  const std::string entries =
      "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT REFERENCES lists ON DELETE SET NULL, text INT, CHECK(list "
      "IS "
      "NULL OR text >= 0))";
  const std::string schema = "PRAGMA foreign_keys = ON; CREATE TABLE lists(id TEXT PRIMARY KEY); " + entries;
  Peer a(schema, kTables), b(schema, kTables);
  a.run("INSERT INTO lists VALUES('l')");
  const int64_t before = a.seq();
  a.run("INSERT INTO entries VALUES('e', 'l', 1)");
  b.apply(a.changeset(before));
  EXPECT_EQ(b.rows(kEntries), "'e'|null|1\n");
  b.clock().advance(1000);
  b.run("UPDATE entries SET text = 5");
  a.apply(b.changeset());
  EXPECT_EQ(a.rows(kEntries), "'e'|'l'|5\n");
  EXPECT_EQ(b.rows(kEntries), "'e'|null|5\n");
  b.apply(a.changeset());
  EXPECT_EQ(b.rows(kEntries), "'e'|'l'|5\n");
  for (Peer* p : {&a, &b}) p->expect_sound();
}

TEST(ForeignKeys, ACascadeThatReachesAStandInLeavesTheReferenceThatItDoesNotShow) {
  const std::string cascading = lists("ON DELETE SET DEFAULT ON UPDATE CASCADE");
  for (const char* rename : {"UPDATE lists SET id = 'inbox2' WHERE id = 'inbox'",
                             "UPDATE lists SET id = 'other' WHERE id = 'inbox'; UPDATE lists SET id = 'inbox2' WHERE "
                             "id = 'other'"}) {
    Peer a(cascading, kTables), b(cascading, kTables);
    a.run("INSERT INTO lists VALUES('inbox', 'in')");
    b.fetch(a);
    a.run("INSERT INTO lists VALUES('l', 'home')");
    const int64_t before = a.seq();
    a.run("INSERT INTO entries VALUES('e', 'l', 'milk'), ('f', 'inbox', 'tea')");
    b.apply(a.changeset(before));
    EXPECT_EQ(b.rows(kEntries), "'e'|'inbox'|'milk'\n'f'|'inbox'|'tea'\n");
    b.clock().advance(1000);
    b.run(rename);
    b.run("UPDATE entries SET text = 'oat milk' WHERE id = 'e'");
    a.apply(b.changeset());
    b.apply(a.changeset());
    for (Peer* p : {&a, &b}) {
      EXPECT_EQ(p->rows(kEntries), "'e'|'l'|'oat milk'\n'f'|'inbox2'|'tea'\n") << rename;
      p->expect_sound();
    }
  }
  // What the application itself writes is taken.
  Peer a(cascading, kTables), b(cascading, kTables);
  a.run("INSERT INTO lists VALUES('inbox', 'in'), ('m', 'work')");
  b.fetch(a);
  a.run("INSERT INTO lists VALUES('l', 'home')");
  const int64_t before = a.seq();
  a.run("INSERT INTO entries VALUES('e', 'l', 'milk')");
  b.apply(a.changeset(before));
  b.clock().advance(1000);
  b.run("UPDATE entries SET list = 'm'; UPDATE lists SET id = 'inbox2' WHERE id = 'inbox'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows(kEntries), "'e'|'m'|'milk'\n");
    p->expect_sound();
  }
}

TEST(ForeignKeys, WhatRefersToAHiddenRowIsHiddenToo) {
  // Two lists of one name: the younger is hidden, and its entries with it, until the older one goes.
  tell({.schema = "PRAGMA foreign_keys = ON; CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT UNIQUE);"
                  "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT NOT NULL REFERENCES lists, text TEXT);"
                  "CREATE INDEX entries_list ON entries(list);"
                  "CREATE TABLE notes(id TEXT PRIMARY KEY, entry TEXT REFERENCES entries ON DELETE CASCADE)",
        .tracked = {"notes", "entries", "lists"},
        .apart = {{0, "INSERT INTO lists VALUES('z', 'home'); INSERT INTO entries VALUES('1', 'z', 'tea')"},
                  {1,
                   "INSERT INTO lists VALUES('a', 'home'); INSERT INTO entries VALUES('2', 'a', 'milk');"
                   "INSERT INTO notes VALUES('n', '2')"}},
        .query = "SELECT e.id, n.id FROM entries AS e LEFT JOIN notes AS n ON n.entry = e.id ORDER BY 1",
        .rows = "'1'|null\n",
        .later = {{0, "UPDATE lists SET name = 'house' WHERE id = 'z'"}},
        .later_rows = "'1'|null\n'2'|'n'\n"});
}

TEST(ForeignKeys, SelfReferencesAndCyclesShowTogether) {
  const std::string schema =
      "PRAGMA foreign_keys = ON; CREATE TABLE a(id TEXT PRIMARY KEY, b TEXT REFERENCES b DEFERRABLE INITIALLY "
      "DEFERRED);"
      "CREATE TABLE b(id TEXT PRIMARY KEY, a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED)";
  Replicas all(2, schema, {"a", "b"});
  all.at(0, "BEGIN; INSERT INTO a VALUES('1', '2'); INSERT INTO b VALUES('2', '1'); COMMIT");
  all.sync({1, 0});
  all.expect("SELECT a.id, b.id FROM a JOIN b ON b.a = a.id AND a.b = b.id", "'1'|'2'\n");
  all.expect_sound();
  // Each half alone waits for the other.
  Peer origin(schema, {"a", "b"}), third(schema, {"a", "b"});
  const std::string rows = "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)";
  origin.run("PRAGMA foreign_keys = OFF; INSERT INTO a VALUES('1', '2')");
  third.apply(origin.changeset());
  EXPECT_EQ(third.number(rows), 0);
  const int64_t half = origin.seq();
  origin.run("INSERT INTO b VALUES('2', '1')");
  third.apply(origin.changeset(half));
  EXPECT_EQ(third.number(rows), 2);
  EXPECT_EQ(origin.number(rows), 2);
  third.expect_sound();

  tell({.schema = "PRAGMA foreign_keys = ON; CREATE TABLE tree(id TEXT PRIMARY KEY, up TEXT REFERENCES tree ON DELETE "
                  "CASCADE)",
        .tracked = {"tree"},
        .before = {"INSERT INTO tree VALUES('root', 'root'), ('1', 'root'), ('11', '1'), ('2', 'root')"},
        .apart = {{0, "DELETE FROM tree WHERE id = '1'"}, {1, "INSERT INTO tree VALUES('111', '11'), ('1111', '111')"}},
        .query = "SELECT id FROM tree ORDER BY id",
        .rows = "'2'\n'root'\n",
        .later = {{1, "INSERT INTO tree VALUES('11', '2')"}},
        .later_rows = "'11'\n'111'\n'1111'\n'2'\n'root'\n"});
}

TEST(ForeignKeys, ReferencesToOtherColumnsThanTheKey) {
  tell(
      {.schema = "PRAGMA foreign_keys = ON; CREATE TABLE places(id TEXT PRIMARY KEY, country TEXT, code INTEGER, "
                 "UNIQUE(country, code));"
                 "CREATE TABLE stops(id TEXT PRIMARY KEY, country TEXT, place INTEGER, n,"
                 "  FOREIGN KEY(country, place) REFERENCES places(country, code))",
       .tracked = {"places", "stops"},
       .before = {"INSERT INTO places VALUES('p', 'DE', 1), ('q', 'DE', 2); INSERT INTO stops VALUES('s', 'DE', 2, 0)"},
       .apart = {{0, "UPDATE places SET code = 3 WHERE id = 'p'"}, {1, "UPDATE stops SET place = 1 WHERE id = 's'"}},
       .query = "SELECT * FROM stops",
       .rows = "",
       .later = {{1, "UPDATE places SET code = 1 WHERE id = 'p'"}},
       .later_rows = "'s'|'DE'|1|0\n"});
}

// The parent is found by a UNIQUE column, which moves from row to row, and so does that of the default's parent.
TEST(ForeignKeys, SetDefaultWhereTheReferenceIsToAUniqueColumn) {
  struct Case {
    const char *name, *at_0, *at_1, *at_2, *shown, *later, *later_shown;
  };
  const Case cases[] = {
      {"the parent is deleted, and another row takes its code", "DELETE FROM lists WHERE id = '1'",
       "INSERT INTO entries VALUES('e', 'l', 'milk')", "", "'e'|'inbox'|'milk'\n", "INSERT INTO lists VALUES('7', 'l')",
       "'e'|'l'|'milk'\n"},
      {"the parent gets another code, and its old one back", "UPDATE lists SET code = 'moved' WHERE id = '1'",
       "INSERT INTO entries VALUES('e', 'l', 'milk')", "", "'e'|'inbox'|'milk'\n",
       "UPDATE lists SET code = 'l' WHERE id = '1'", "'e'|'l'|'milk'\n"},
      {"a row takes the code of one that is deleted elsewhere", "DELETE FROM lists WHERE id = '1'",
       "INSERT INTO entries VALUES('e', 'l', 'milk')",
       "UPDATE lists SET code = 'moved' WHERE id = '1'; INSERT INTO lists VALUES('7', 'l')", "'e'|'l'|'milk'\n",
       "DELETE FROM lists WHERE id = '7'", "'e'|'inbox'|'milk'\n"},
      {"the default's parent goes too, and comes back as another row",
       "DELETE FROM lists WHERE id = '1'; DELETE FROM lists WHERE id = '0'",
       "INSERT INTO entries VALUES('e', 'l', 'milk')", "", "", "INSERT INTO lists VALUES('8', 'inbox')",
       "'e'|'inbox'|'milk'\n"},
      {"the default's code goes to another row", "DELETE FROM lists WHERE id = '1'",
       "INSERT INTO entries VALUES('e', 'l', 'milk')",
       "UPDATE lists SET code = 'out' WHERE id = '0'; UPDATE lists SET code = 'inbox' WHERE id = '2'",
       "'e'|'inbox'|'milk'\n", "PRAGMA foreign_keys = OFF; UPDATE lists SET code = 'in' WHERE id = '2'", ""},
      {"two rows want the default's code", "DELETE FROM lists WHERE id = '1'; DELETE FROM lists WHERE id = '0'",
       "INSERT INTO entries VALUES('e', 'l', 'milk')",
       "UPDATE lists SET code = 'out' WHERE id = '0'; UPDATE lists SET code = 'inbox' WHERE id = '2'",
       "'e'|'inbox'|'milk'\n", "PRAGMA foreign_keys = OFF; DELETE FROM lists WHERE id = '2'", ""},
      {"codes change hands", "DELETE FROM lists WHERE id = '1'; INSERT INTO lists VALUES('1', 'x')",
       "INSERT INTO entries VALUES('e', 'l', 'milk'), ('f', 'other', 'tea')",
       "UPDATE lists SET code = 'tmp' WHERE id = '0'; UPDATE lists SET code = 'inbox' WHERE id = '2'; UPDATE lists SET "
       "code = 'other' WHERE id = '0'",
       "'e'|'inbox'|'milk'\n'f'|'other'|'tea'\n", "INSERT INTO lists VALUES('9', 'l')",
       "'e'|'l'|'milk'\n'f'|'other'|'tea'\n"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    tell({.schema = "PRAGMA foreign_keys = ON; CREATE TABLE lists(id TEXT PRIMARY KEY, code TEXT UNIQUE);"
                    "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT DEFAULT 'inbox' REFERENCES lists(code) ON "
                    "DELETE SET DEFAULT, text TEXT)",
          .tracked = kTables,
          .before = {"INSERT INTO lists VALUES('0', 'inbox'), ('1', 'l'), ('2', 'other')"},
          .apart = {{0, c.at_0}, {1, c.at_1}, {2, c.at_2}},
          .query = kEntries,
          .rows = c.shown,
          .later = {{0, c.later}},
          .later_rows = c.later_shown});
  }
}

TEST(ForeignKeys, ALocalWriteThatNobodyEnforcedConvergesToo) {
  tell({.schema = lists("", false),
        .tracked = kTables,
        .before = {"INSERT INTO lists VALUES('l', 'home'); INSERT INTO entries VALUES('e', 'l', 'milk')"},
        .apart = {{0, "DELETE FROM lists"}, {1, "INSERT INTO entries VALUES('f', 'nowhere', 'tea')"}},
        .query = kEntries,
        .rows = "",
        .later = {{1, "INSERT INTO lists VALUES('nowhere', 'x'), ('l', 'y')"}},
        .later_rows = "'e'|'l'|'milk'\n'f'|'nowhere'|'tea'\n"});
}

TEST(ForeignKeys, ARowThatTheTableRefusesLeavesNoneVisibleThatReferToIt) {
  const std::string child = "CREATE TABLE children(id TEXT PRIMARY KEY, parent TEXT REFERENCES parents);";
  for (const char* refusing :
       {"CREATE TABLE parents(id TEXT PRIMARY KEY, n INTEGER CHECK (n < 5));",
        "CREATE TABLE parents(id TEXT PRIMARY KEY, n INTEGER); CREATE TRIGGER refuse BEFORE INSERT ON parents WHEN "
        "NEW.n >= 5 BEGIN SELECT RAISE(ABORT, 'too much'); END;"}) {
    SCOPED_TRACE(refusing);
    Peer origin("CREATE TABLE parents(id TEXT PRIMARY KEY, n INTEGER);" + child, {"parents", "children"});
    Peer strict(refusing + child, {"parents", "children"});
    origin.run("INSERT INTO parents VALUES('p', 9); INSERT INTO children VALUES('c', 'p'), ('d', 'p')");
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(strict.rows("SELECT * FROM children"), "");
      strict.fetch(origin);
      EXPECT_EQ(strict.rows("PRAGMA foreign_key_check"), "");
      EXPECT_EQ(strict.number("SELECT count(*) FROM rejoin_parked"), 3);
      origin.run("UPDATE parents SET n = n + 1");
    }
    strict.expect_sound(true);
    origin.run("UPDATE parents SET n = 1");
    strict.fetch(origin);
    EXPECT_EQ(strict.rows("SELECT * FROM children"), "'c'|'p'\n'd'|'p'\n");
    strict.expect_sound();
  }
}

TEST(ForeignKeys, AChainWhoseFirstRowIsMissingIsHiddenAtOnce) {
  // Without its parent no row passes the CHECK, so there is no stand-in, down to the last.
  const std::string schema =
      "CREATE TABLE nodes(id TEXT PRIMARY KEY, kind TEXT, parent TEXT REFERENCES nodes ON DELETE SET NULL,"
      "  CHECK (parent IS NOT NULL OR kind = 'root'))";
  Peer origin(schema, {"nodes"}), other(schema, {"nodes"});
  origin.run("INSERT INTO nodes VALUES('k00', 'root', NULL)");
  const int64_t root = origin.seq();
  for (int i = 1; i <= 14; ++i) {
    const std::string n = (i < 10 ? "0" : "") + std::to_string(i), up = (i < 11 ? "0" : "") + std::to_string(i - 1);
    origin.run("INSERT INTO nodes VALUES('k" + n + "', 'leaf', 'k" + up + "')");
  }
  other.apply(origin.changeset(root));
  EXPECT_EQ(other.rows("SELECT id FROM nodes"), "");
  EXPECT_EQ(other.number("SELECT count(*) FROM rejoin_parked"), 14);
  other.expect_sound(true);
  other.fetch(origin);
  EXPECT_EQ(other.number("SELECT count(*) FROM nodes"), 15);
  other.expect_sound();
}

TEST(ForeignKeys, OfStandInsThatWantOneUniqueValueTheSameShowsEverywhere) {
  const std::string schema =
      "CREATE TABLE lists(id TEXT PRIMARY KEY);"
      "CREATE TABLE tasks(id TEXT PRIMARY KEY, list TEXT DEFAULT 'inbox' REFERENCES lists ON DELETE SET DEFAULT,"
      "  pos INTEGER, UNIQUE (list, pos))";
  const std::vector<std::string> tables = {"lists", "tasks"};
  const std::string tasks = "SELECT * FROM tasks ORDER BY id",
                    parked = "SELECT key, reason FROM rejoin_parked ORDER BY 1";
  // A row of its own, and then another stand-in.
  for (const char* rival : {"INSERT INTO tasks VALUES('c', 'inbox', 1)", "DELETE FROM lists WHERE id = 'l2'"}) {
    SCOPED_TRACE(rival);
    Peer x(schema, tables), y(schema, tables), deletes(schema, tables), writes(schema, tables);
    x.run(
        "INSERT INTO lists VALUES('inbox'), ('l1'), ('l2');"
        "INSERT INTO tasks VALUES('a', 'l1', 1), ('b', 'l2', 1)");
    for (Peer* peer : {&y, &deletes, &writes}) peer->fetch(x);
    deletes.run("PRAGMA foreign_keys = OFF; DELETE FROM lists WHERE id = 'l1'");
    writes.run(std::string("PRAGMA foreign_keys = OFF; ") + rival);
    x.fetch(deletes), x.fetch(writes);
    y.fetch(writes), y.fetch(deletes);
    const std::string expected = rival[0] == 'I' ? "'b'|'l2'|1\n'c'|'inbox'|1\n" : "'a'|'inbox'|1\n";
    for (int round = 0; round < 2; ++round) {
      EXPECT_EQ(x.rows(tasks), expected);
      EXPECT_EQ(y.rows(tasks), expected);
      EXPECT_EQ(x.rows(parked), y.rows(parked));
      x.fetch(y), y.fetch(x);
    }
    x.expect_sound(true);
  }
}

TEST(ForeignKeys, AReferenceThatMatchesByCollationOrAffinityShowsWithItsParent) {
  struct Case {
    const char *parents, *children, *parent, *child;
    bool matches = true;
  };
  for (const Case& c : {
           Case{"id TEXT PRIMARY KEY, base REFERENCES bases, code TEXT UNIQUE COLLATE NOCASE",
                "id TEXT PRIMARY KEY, up TEXT REFERENCES parents(code)", "'p', 'b', 'Code'", "'c', 'code'"},
           Case{"id TEXT PRIMARY KEY, base REFERENCES bases, code TEXT, low TEXT AS (lower(code)) UNIQUE",
                "id TEXT PRIMARY KEY, up TEXT REFERENCES parents(low) ON DELETE SET NULL", "'p', 'b', 'Code'",
                "'c', 'code'"},
           Case{"id TEXT PRIMARY KEY, base REFERENCES bases", "id TEXT PRIMARY KEY, up INTEGER REFERENCES parents",
                "'1', 'b'", "'c', 1"},
           Case{"id INTEGER PRIMARY KEY, base REFERENCES bases", "id TEXT PRIMARY KEY, up TEXT REFERENCES parents",
                "1, 'b'", "'c', '01'"},
           Case{"id INTEGER PRIMARY KEY, base REFERENCES bases", "id TEXT PRIMARY KEY, up REFERENCES parents", "1, 'b'",
                "'c', '1'"},
           Case{"id TEXT PRIMARY KEY, base REFERENCES bases", "id TEXT PRIMARY KEY, up INTEGER REFERENCES parents",
                "'01', 'b'", "'c', 1", false},
       }) {
    SCOPED_TRACE(c.parents + std::string(c.children));
    const std::string schema = std::string("CREATE TABLE bases(id TEXT PRIMARY KEY); CREATE TABLE parents(") +
                               c.parents + "); CREATE TABLE children(" + c.children + ")";
    Peer origin(schema), other(schema), fresh(schema);
    sqlite::TrackOptions options;
    options.allow_integer_key = true;
    for (Peer* peer : {&origin, &other, &fresh})
      for (const char* table : {"bases", "parents", "children"}) peer->track(table, options);
    origin.run("INSERT INTO bases VALUES('b')");
    const int64_t base = origin.seq();
    origin.run(std::string("PRAGMA foreign_keys = OFF; INSERT INTO parents VALUES(") + c.parent +
               "); INSERT INTO children VALUES(" + c.child + ")");
    other.apply(origin.changeset(base));
    EXPECT_EQ(other.rows("PRAGMA foreign_key_check"), "");
    other.apply(origin.changeset());
    fresh.apply(origin.changeset());
    for (Peer* peer : {&origin, &other, &fresh}) {
      EXPECT_EQ(peer->number("SELECT count(*) FROM parents"), 1);
      EXPECT_EQ(peer->number("SELECT count(*) FROM children WHERE up IS NOT NULL"), c.matches);
      EXPECT_EQ(peer->rows("PRAGMA foreign_key_check"), "");
    }
    origin.run("DELETE FROM parents");
    ASSERT_TRUE(origin.rejoin().fold().ok());
    other.fetch(origin);
    for (Peer* peer : {&origin, &other}) {
      EXPECT_EQ(peer->number("SELECT count(*) FROM children WHERE up IS NOT NULL"), 0);
      EXPECT_EQ(peer->rows("PRAGMA foreign_key_check"), "");
    }
  }
}

TEST(ForeignKeys, ATransactionThatWritesTheChildBeforeItsParentCanUseRejoinInBetween) {
  const std::string schema =
      "PRAGMA foreign_keys = ON; CREATE TABLE lists(id TEXT PRIMARY KEY);"
      "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT REFERENCES lists DEFERRABLE INITIALLY DEFERRED)";
  const std::vector<std::string> tables = {"lists", "entries"};
  Peer origin(schema, tables), peer(schema, tables);
  // 'w' waits for the list that is written below.
  origin.run("PRAGMA foreign_keys = OFF; INSERT INTO entries VALUES('w', 'l')");
  peer.fetch(origin);
  origin.run("INSERT INTO lists VALUES('o')");
  peer.run("BEGIN; INSERT INTO entries VALUES('e', 'l')");
  ASSERT_TRUE(peer.rejoin().fold().ok());
  peer.fetch(origin);
  EXPECT_EQ(peer.rows("SELECT * FROM entries"), "'e'|'l'\n");
  peer.run("INSERT INTO lists VALUES('l')");
  ASSERT_TRUE(peer.rejoin().fold().ok());
  EXPECT_EQ(peer.attempt("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(peer.rejoin().fold().ok());
  EXPECT_EQ(peer.rows("SELECT id FROM entries ORDER BY id"), "'e'\n'w'\n");
  peer.expect_sound();
  // The list is deleted in such a transaction, and with it what refers to it here and elsewhere.
  peer.run("BEGIN; DELETE FROM lists WHERE id = 'l'");
  ASSERT_TRUE(peer.rejoin().fold().ok());
  EXPECT_EQ(peer.attempt("COMMIT"), SQLITE_CONSTRAINT);
  peer.run("DELETE FROM entries WHERE id IN ('e', 'w'); COMMIT");
  ASSERT_TRUE(peer.rejoin().fold().ok());
  origin.fetch(peer);
  peer.fetch(origin);
  for (Peer* p : {&origin, &peer}) {
    EXPECT_EQ(p->rows("SELECT * FROM entries"), "");
    p->expect_sound();
  }
}

// No action of a foreign key runs in a merge, and of a child that is not tracked no other replica can say what became
// of it. docs/sql.md names the trigger that does it.
TEST(ForeignKeys, AnUntrackedChildOfADeletedParentFollowsByATrigger) {
  struct Case {
    const char *action, *trigger, *left;
  };
  for (const Case& c :
       {Case{"ON DELETE CASCADE", "DELETE FROM drafts WHERE list = OLD.id", "'2'|'m'\n"},
        Case{"ON DELETE SET NULL", "UPDATE drafts SET list = NULL WHERE list = OLD.id", "'1'|null\n'2'|'m'\n"}}) {
    SCOPED_TRACE(c.action);
    const std::string schema =
        "PRAGMA foreign_keys = ON; CREATE TABLE lists(id TEXT PRIMARY KEY);"
        "CREATE TABLE drafts(id TEXT PRIMARY KEY, list TEXT REFERENCES lists " +
        std::string(c.action) +
        ");"
        "CREATE TRIGGER lists_gone AFTER DELETE ON lists BEGIN " +
        c.trigger + "; END";
    Peer a(schema, {"lists"}), b(schema, {"lists"});
    a.run("INSERT INTO lists VALUES('l'), ('m')");
    b.fetch(a);
    b.run("INSERT INTO drafts VALUES('1', 'l'), ('2', 'm')");
    a.run("DELETE FROM lists WHERE id = 'l'");
    b.fetch(a);
    EXPECT_EQ(b.rows("SELECT * FROM lists"), "'m'\n");
    EXPECT_EQ(b.rows("SELECT * FROM drafts ORDER BY id"), c.left);
    EXPECT_EQ(b.rows("PRAGMA foreign_key_check"), "");
    b.expect_sound();
  }
}

}  // namespace
}  // namespace rejoin::testing
