#include "sqlite/side_alter.h"

namespace rejoin::sqlite {
namespace {

// A setting of the connection, for a scope.
class Setting {
 public:
  Setting(sqlite3* db, int which, int value) : db_(db), which_(which) {
    if (sqlite3_db_config(db_, which_, -1, &before_) != SQLITE_OK) before_ = -1;  // a SQLite that lacks it
    if (before_ >= 0) sqlite3_db_config(db_, which_, value, nullptr);
  }
  ~Setting() {
    if (before_ >= 0) sqlite3_db_config(db_, which_, before_, nullptr);
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  sqlite3* db_;
  int which_;
  int before_ = -1;
};

}  // namespace

Status alter_side_table(sqlite3* db, const std::string& sql) {
  // Where the schema may be written SQLite takes one that it could not read to its end, as an interrupt stopped it, for
  // whole: it is read before, and read anew after.
  REJOIN_TRY(exec(db, "SELECT 1 FROM main.sqlite_schema LIMIT 1"));
  {
    // What cannot be parsed is left as it is only there, which the defensive mode forbids.
    const Setting legacy(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1), open(db, SQLITE_DBCONFIG_DEFENSIVE, 0),
        writable(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1);
    const Status altered = exec(db, sql);
    const Status reset = exec(db, "PRAGMA writable_schema=RESET");
    if (altered.ok()) return reset;
    // SQLite 3.37 tests the whole schema here, too, and does not always say what is wrong with it.
    const std::string& said = altered.error().message;
    if (said.find("SQL logic error") == std::string::npos && said.find(": error in ") == std::string::npos)
      return altered;
  }
  const Setting legacy(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0);
  const Status again = exec(db, sql);
  if (again.ok() || !std::string_view(sqlite3_errmsg(db)).starts_with("error in ")) return again;
  return fail(Code::schema_refused,
              std::string("SQLite ") + sqlite3_libversion() +
                  " alters no table beside what does not work in the schema (" + sqlite3_errmsg(db) +
                  "), so Rejoin's own cannot follow; nothing was changed. Mend or drop what it names, or use a "
                  "connection that has the functions and collations which that needs, or a newer SQLite");
}

Status check_side_table(sqlite3* db, const std::string& table) {
  REJOIN_TRY(prepare(db, "SELECT * FROM " + table + " LIMIT 0"));
  return {};
}

}  // namespace rejoin::sqlite
