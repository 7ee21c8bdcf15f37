// Opening the database file that a command names, with errors that say what to do.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "sqlite/database.h"

namespace rejoin::cli {

enum class OpenMode {
  read,    // must exist; a file that cannot be written is fine
  write,   // must exist
  create,  // made when missing
};

// Errors: not_found (with files of similar names), corrupt (not a database), read_only, busy.
Result<std::unique_ptr<sqlite::Database>> open_database(const std::string& path, OpenMode mode);

// The engine's error with the file's name in it, and what to do, where its own words leave that out: a locked file, a
// full disk, a file that cannot be written, a database without synced tables.
Error in_file(const std::string& path, const Error& error);
template <class T>
Result<T> in_file(const std::string& path, Result<T> result) {
  if (result.ok()) return result;
  return in_file(path, result.error());
}

// The application's own tables: ordinary ones of `main`, without SQLite's and Rejoin's.
Result<std::vector<std::string>> application_tables(sqlite::Database& database);
Result<uint64_t> count_rows(sqlite::Database& database, const std::string& table);

// The tracked table with this name (ASCII case ignored). Errors: not_tracked or not_found, with the cure and with near
// names.
Result<sqlite::TableInfo> find_tracked(sqlite::Database& database, const std::string& path, const std::string& table);
// The application's table with this name, as it is spelled. Error: not_found with near names.
Result<std::string> find_table(sqlite::Database& database, const std::string& path, const std::string& table);

// A file name as a shell takes it: quoted when it has anything unusual.
std::string shell_word(const std::string& word);

}  // namespace rejoin::cli
