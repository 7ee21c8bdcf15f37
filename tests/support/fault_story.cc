#include "tests/support/fault_story.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sqlite/functions.h"

namespace rejoin::testing {
namespace {

constexpr const char* kTables =
    "CREATE TABLE t(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, note);"
    "CREATE UNIQUE INDEX t_title ON t(title);"
    "CREATE TABLE w(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b)) WITHOUT ROWID;"
    "CREATE TABLE f(id TEXT PRIMARY KEY, text TEXT); CREATE TABLE f_count(n);"
    "INSERT INTO f_count VALUES(0); CREATE TRIGGER f_in AFTER INSERT ON f BEGIN UPDATE f_count SET n = n + 1; END;"
    "SELECT rejoin_track('t'), rejoin_track('w'), rejoin_track('f');";
constexpr const char* kRows =
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO t SELECT 'k' || i, "
    "'title ' || i, i % 2, zeroblob(i) FROM n;"
    "INSERT INTO w SELECT id, done, note FROM t; INSERT INTO f SELECT id, title FROM t LIMIT 10;";
constexpr const char* kWrites =
    "UPDATE t SET title = title || '!' WHERE done; DELETE FROM t WHERE id LIKE 'k3%';"
    "INSERT OR REPLACE INTO t VALUES('new', 'title 2', 1, NULL); UPDATE w SET b = b + 10 WHERE a = 'k7';"
    "DELETE FROM w WHERE a = 'k8'; INSERT INTO f VALUES('more', 'text');";

// Known from before tracking, so that what somebody writes to it later wins, whoever has tracked it when.
constexpr const char* kFamilies =
    "CREATE TABLE p(id TEXT PRIMARY KEY, v); CREATE TABLE c(id TEXT PRIMARY KEY, p TEXT REFERENCES p ON DELETE "
    "CASCADE); CREATE TABLE n(id TEXT PRIMARY KEY, p TEXT REFERENCES p ON DELETE SET NULL, c TEXT REFERENCES c);"
    "INSERT INTO p VALUES('gone', 1), ('stays', 2); INSERT INTO c VALUES('of gone', 'gone'), ('of stays', 'stays');"
    "INSERT INTO n VALUES('n1', 'gone', 'of stays'), ('n2', 'stays', 'of gone');"
    "SELECT rejoin_track('p'), rejoin_track('c'), rejoin_track('n');";
// Two tables get columns, one is new.
constexpr const char* kWanted =
    "CREATE TABLE t(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, note, due TEXT NOT NULL DEFAULT 'soon', "
    "who TEXT); CREATE TABLE f(id TEXT PRIMARY KEY, text TEXT, more INTEGER);"
    "CREATE TABLE lists(id TEXT NOT NULL PRIMARY KEY, name TEXT);"
    "SELECT rejoin_track('t'), rejoin_track('f'), rejoin_track('lists');";

// What a replica has that runs this, as one changeset.
Bytes changes_of(const std::string& sql) {
  sqlite3* db = open_with_rejoin(":memory:");
  EXPECT_EQ(run_sql(db, sql), SQLITE_OK) << sqlite3_errmsg(db);
  Bytes frame;
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(db, "SELECT rejoin_changeset(0)", -1, &s, nullptr);
  if (sqlite3_step(s) == SQLITE_ROW)
    frame.assign(static_cast<const char*>(sqlite3_column_blob(s, 0)), static_cast<size_t>(sqlite3_column_bytes(s, 0)));
  sqlite3_finalize(s);
  sqlite3_close(db);
  return frame;
}

// The tables' rows with versions of other replicas.
Bytes others_changes() {
  return changes_of(std::string(kTables) + kRows + kWrites +
                    "INSERT INTO t SELECT 'x' || id, 'of another ' || id, 3, 'long' || hex(zeroblob(300)) FROM f;");
}

// rejoin_sync() follows the contract of whoever has these tables, and does nothing else: there is no network.
void let_sync_follow(const std::string& schema) {
  static std::string contract;
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  {
    sqlite::Replica replica(db);
    EXPECT_TRUE(sqlite::register_functions(db, replica).ok());
    EXPECT_EQ(run_sql(db, schema), SQLITE_OK) << sqlite3_errmsg(db);
    if (auto json = replica.contract_json(); json.ok()) contract = *json;
  }
  EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
  sqlite::install_sync_function([](sqlite::Replica& device, const sqlite::Connection& to) -> Result<std::string> {
    if (!to.migrate.value_or(false)) return std::string();
    auto made = device.migrate(contract);
    return made.ok() ? Result<std::string>(std::to_string(*made)) : made.error();
  });
}

std::string applied(const Bytes& frame) { return "SELECT rejoin_apply(x'" + to_hex(frame) + "');"; }

FaultStory altered(const std::string& before, const std::string& statement, const std::string& undone) {
  return {statement, before, "SELECT rejoin_alter('" + statement + "')", {}, "SELECT 1 WHERE " + undone};
}

constexpr const char* kFolded = "SELECT folded = (SELECT max(seq) FROM rejoin_log) FROM rejoin_state";

std::string tracked(const std::string& table) {
  return "SELECT (SELECT count(*) FROM rejoin_table WHERE name = '" + table + "') AND (SELECT count(*) FROM " + table +
         "__rejoin) = (SELECT count(*) FROM " + table +
         ") AND (SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '" + table + "') > 2";
}

// Is there a row? In doubt, too. Without memory of C++, of which the next piece may be the one that fails.
bool any_row(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* s = nullptr;
  const bool none = sqlite3_prepare_v2(db, sql.c_str(), -1, &s, nullptr) == SQLITE_OK && sqlite3_step(s) == SQLITE_DONE;
  sqlite3_finalize(s);
  return !none;
}

int append(void* into, int columns, char** values, char**) {
  for (int i = 0; i < columns; ++i) *static_cast<std::string*>(into) += std::string(values[i] ? values[i] : "~") + "|";
  *static_cast<std::string*>(into) += "\n";
  return 0;
}

std::string rows_of(sqlite3* db, const std::string& which) {
  std::string names, out;
  sqlite3_exec(db,
               ("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND " + which +
                " ORDER BY name")
                   .c_str(),
               append, &names, nullptr);
  for (size_t at = 0; at < names.size();) {
    const size_t end = names.find('|', at);
    const std::string name = names.substr(at, end - at);
    at = end + 2;
    std::string columns;
    sqlite3_exec(db,
                 ("SELECT group_concat('quote(\"' || name || '\")') FROM pragma_table_info('" + name + "')").c_str(),
                 append, &columns, nullptr);
    out += "== " + name + "\n";
    sqlite3_exec(db,
                 ("SELECT " + columns.substr(0, columns.find('|')) + " FROM \"" + name + "\" ORDER BY 1, 2").c_str(),
                 append, &out, nullptr);
  }
  return out;
}

}  // namespace

const std::vector<FaultStory>& fault_stories() {
  static const std::vector<FaultStory> all = [] {
    const Bytes frame = others_changes();
    const std::string tables = kTables, rows = tables + kRows;
    std::vector<FaultStory> out;
    out.push_back({"apply", rows + kWrites, "SELECT rejoin_apply(?1)", frame});
    out.push_back({"apply to an empty one", tables, "SELECT rejoin_apply(?1)", frame});
    out.push_back({"fold", rows + kWrites, "SELECT rejoin_seq()", {}, {}, kFolded});
    out.push_back({"changeset", rows + kWrites, "SELECT length(rejoin_changeset(0))", {}, {}, kFolded});
    out.push_back(
        {"changesets", rows, "SELECT sum(length(changeset)) FROM rejoin_changesets(0, 500)", {}, {}, kFolded});
    out.push_back({"track",
                   rows + "CREATE TABLE late(id TEXT PRIMARY KEY, v); INSERT INTO late SELECT id, note FROM t;",
                   "SELECT rejoin_track('late')",
                   {},
                   {},
                   tracked("late")});
    out.push_back({"compact",
                   rows + kWrites,
                   "SELECT rejoin_compact(0)",
                   {},
                   {},
                   "SELECT floor = (SELECT max(seq) FROM rejoin_log) AND floor = folded FROM rejoin_state"});
    out.push_back(altered(rows + kWrites, "ALTER TABLE t ADD COLUMN extra TEXT NOT NULL DEFAULT ''v''",
                          "NOT EXISTS (SELECT 1 FROM pragma_table_info('t') WHERE name = 'extra')"));
    out.push_back(altered(rows + kWrites, "ALTER TABLE t DROP COLUMN note",
                          "EXISTS (SELECT 1 FROM pragma_table_info('t') WHERE name = 'note')"));
    out.push_back(altered(rows + kWrites, "ALTER TABLE t RENAME COLUMN note TO remark",
                          "EXISTS (SELECT 1 FROM pragma_table_info('t') WHERE name = 'note')"));
    out.push_back(
        altered(rows + kWrites, "ALTER TABLE t RENAME TO s", "EXISTS (SELECT 1 FROM pragma_table_info('t'))"));
    out.push_back(altered(rows + kWrites, "CREATE UNIQUE INDEX t_both ON t(title, id)",
                          "NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 't_both')"));
    // What waits has columns that are not here, and comes with them.
    const std::string aside =
        rows + applied(changes_of("CREATE TABLE t(id TEXT PRIMARY KEY, extra, note); SELECT rejoin_track('t');"
                                  "INSERT INTO t VALUES('k1', 'waits', 'came'), ('k2', 'too', NULL)"));
    out.push_back(altered(aside, "ALTER TABLE t ADD COLUMN extra",
                          "NOT EXISTS (SELECT 1 FROM pragma_table_info('t') WHERE name = 'extra')"));
    const std::string begin = "SELECT rejoin_alter_begin('t');", commit = "SELECT rejoin_alter_commit('t');";
    out.push_back({"several statements",
                   rows + kWrites,
                   begin +
                       "UPDATE t SET title = upper(title); DELETE FROM t WHERE id = 'k11';"
                       "CREATE INDEX IF NOT EXISTS t_done ON t(done);" +
                       commit,
                   {}});
    // Once more it is the same table again.
    auto anew = [&](const std::string& key, const std::string& unchanged) {
      return begin +
             "CREATE TABLE fresh(id TEXT, title TEXT, done INTEGER DEFAULT 0, note, more DEFAULT 'm', PRIMARY KEY(" +
             key + ")); INSERT INTO fresh SELECT id, " + unchanged +
             ", done, note, 'm' FROM t; DROP TABLE t; ALTER TABLE fresh RENAME TO t;" + commit;
    };
    out.push_back({"a table made anew", rows + kWrites, anew("id", "upper(title)"), {}});
    out.push_back({"another key", rows + kWrites, anew("done, id", "title"), {}});
    out.push_back({"first track",
                   "CREATE TABLE t(id TEXT PRIMARY KEY, v); INSERT INTO t VALUES(1, 2);",
                   "SELECT rejoin_track('t')",
                   {},
                   {},
                   tracked("t")});
    // A parent goes, of which there is one child more here; another one comes to the child that waits for it.
    const std::string waits = applied(changes_of(std::string(kFamilies) + "INSERT INTO c VALUES('early', 'late')"));
    out.push_back({"apply to parents and children",
                   kFamilies + waits +
                       "INSERT INTO c VALUES('here', 'gone'); INSERT INTO n VALUES('n3', 'gone', "
                       "'here'); UPDATE p SET v = 7 WHERE id = 'stays';",
                   "SELECT rejoin_apply(?1)",
                   changes_of(std::string(kFamilies) + "DELETE FROM p WHERE id = 'gone'; INSERT INTO p VALUES('late', "
                                                       "3); INSERT INTO c VALUES('with it', 'late')")});
    out.push_back(
        {"a column by plain SQL",
         rows + kWrites +
             "ALTER TABLE t ADD COLUMN later DEFAULT 'd'; UPDATE t SET later = id WHERE done; "
             "INSERT INTO t(id, later) VALUES('with it', 'l');",
         "SELECT rejoin_seq()",
         {},
         {},
         "SELECT (" + std::string(kFolded) + ") AND EXISTS (SELECT 1 FROM rejoin_column WHERE name = 'later')"});
    let_sync_follow(kWanted);
    out.push_back({"a server's contract",
                   rows + kWrites + "SELECT rejoin_connect('http://server', NULL, '{\"migrate\":true}');",
                   "SELECT rejoin_sync()",
                   {},
                   {},
                   "SELECT (" + tracked("lists").substr(7) + ") AND (" + kFolded + ")"});
    // Rows of another replica that have titles which are taken show then.
    const std::string waiting =
        rows +
        applied(changes_of(std::string(kTables) + "INSERT INTO t SELECT 'w' || n, 'title ' || n, 0, 'waits' FROM "
                                                  "(SELECT 1 AS n UNION SELECT 2 UNION SELECT 3)"));
    out.push_back(
        altered(waiting, "DROP INDEX t_title", "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 't_title')"));
    return out;
  }();
  return all;
}

sqlite3* open_with_rejoin(const std::string& path, const std::string& vfs) {
  sqlite3* db = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                 vfs.empty() ? nullptr : vfs.c_str());
  if (rc != SQLITE_OK || !sqlite::install(db).ok()) {
    sqlite3_close(db);
    return nullptr;
  }
  return db;
}

int run_sql(sqlite3* db, const std::string& sql) { return sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr); }

int run_act(sqlite3* db, const FaultStory& story) {
  if (!story.undone.empty() && !any_row(db, story.undone)) return SQLITE_OK;
  for (const char* sql = story.act.c_str(); *sql;) {
    sqlite3_stmt* s = nullptr;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, &sql);
    if (rc != SQLITE_OK) return rc;
    if (sqlite3_bind_parameter_count(s))
      sqlite3_bind_blob64(s, 1, story.frame.data(), story.frame.size(), SQLITE_STATIC);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    }
    sqlite3_finalize(s);
    if (rc != SQLITE_DONE) return rc;
  }
  return SQLITE_OK;
}

void give_up(sqlite3* db, const FaultStory& story) {
  if (story.act.find("rejoin_alter_begin") != std::string::npos && !sqlite3_get_autocommit(db)) run_sql(db, "ROLLBACK");
}

std::string text_of(sqlite3* db, const std::string& sql) {
  std::string out;
  char* error = nullptr;
  sqlite3_exec(db, sql.c_str(), append, &out, &error);
  if (error) out = std::string("error: ") + error;
  sqlite3_free(error);
  return out.substr(0, out.find_last_not_of("|\n") + 1);
}

bool is_done(sqlite3* db, const FaultStory& story, const std::string& after) {
  return application_rows(db) == after && (story.done.empty() || text_of(db, story.done) == "1");
}

void fill_with(sqlite3* db, const std::string& content) {
  auto* copy = static_cast<unsigned char*>(sqlite3_malloc64(content.size()));
  std::copy(content.begin(), content.end(), copy);
  const auto size = static_cast<sqlite3_int64>(content.size());
  EXPECT_EQ(
      sqlite3_deserialize(db, "main", copy, size, size, SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE),
      SQLITE_OK);
}

std::string everything_in(sqlite3* db) {
  return rows_of(db, "1") + text_of(db, "SELECT name, sql FROM sqlite_schema ORDER BY name");
}
std::string application_rows(sqlite3* db) {
  const std::string which = "name NOT GLOB 'rejoin_*' AND name NOT GLOB '*__rejoin*'";
  return rows_of(db, which) + text_of(db, "SELECT name, sql FROM sqlite_schema WHERE " + which + " ORDER BY name");
}

void expect_whole(sqlite3* db, const std::string& where) {
  EXPECT_EQ(sqlite3_get_autocommit(db), 1) << where << ": a transaction was left open";
  EXPECT_EQ(text_of(db, "PRAGMA integrity_check"), "ok") << where;
  if (text_of(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'rejoin_state'") == "1") {
    EXPECT_EQ(text_of(db, "SELECT rejoin_doctor()"), "[]") << where;
  }
}

}  // namespace rejoin::testing
