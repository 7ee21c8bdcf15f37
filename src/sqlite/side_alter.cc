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
  // What cannot be parsed is left as it is only where the schema may be written, which the defensive mode forbids.
  const Setting legacy(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1), open(db, SQLITE_DBCONFIG_DEFENSIVE, 0),
      writable(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1);
  return exec(db, sql);
}

Status check_side_table(sqlite3* db, const std::string& table) {
  REJOIN_TRY(prepare(db, "SELECT * FROM " + table + " LIMIT 0"));
  return {};
}

}  // namespace rejoin::sqlite
