#include "cli/open.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "contract/contract.h"
#include "sqlite/functions.h"
#include "sqlite/query.h"

namespace rejoin::cli {
namespace {

std::vector<std::string> files_beside(const std::string& path) {
  std::error_code ignored;
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder, ignored))
    if (entry.is_regular_file(ignored)) names.push_back((folder / entry.path().filename()).string());
  return names;
}

bool same_name(std::string_view a, std::string_view b) { return lower_case(a) == lower_case(b); }

// Room that this user has left on the file's disk; nothing when that cannot be known.
std::optional<uint64_t> room_beside(const std::string& path) {
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  struct statvfs info {};
  if (statvfs(folder.empty() ? "." : folder.c_str(), &info) != 0) return std::nullopt;
  return uint64_t{info.f_bavail} * info.f_frsize;
}

// Whoever waits for another program should know it, and be able to stop it.
std::function<bool(int)> tell_of_locks(const std::string& path, int most_ms) {
  static constexpr int kSoon = 1'000;
  return [path, most_ms, told = false](int waited_ms) mutable {
    if (waited_ms >= kSoon)
      Progress::held_up("waiting for another program that writes '" + printable(path) + "', for up to " +
                            duration_text(most_ms) + " each time",
                        !std::exchange(told, true));
    return waited_ms < most_ms && !interrupted();
  };
}

Result<std::unique_ptr<sqlite::Database>> open_checked(const std::string& path,
                                                       const sqlite::DatabaseOptions& options) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, sqlite::Database::open(path, options));
  REJOIN_TRY(sqlite::register_functions(database->handle(), database->replica()));
  return database;
}

}  // namespace

Result<std::unique_ptr<sqlite::Database>> open_database(const std::string& path, OpenMode mode) {
  struct stat info {};
  bool exists = stat(path.c_str(), &info) == 0;
  if (!exists && mode != OpenMode::create)
    return fail(Code::not_found, "there is no file '" + path + "'." + did_you_mean(path, files_beside(path)));
  if (exists && S_ISDIR(info.st_mode))
    return fail(Code::bad_argument, "'" + path + "' is a directory; name an SQLite database file");
  bool writable = !exists || access(path.c_str(), W_OK) == 0;
  if (!writable && mode != OpenMode::read)
    return fail(Code::read_only, "'" + path + "' cannot be written by this user; check its owner and permissions");
  sqlite::DatabaseOptions options;
  options.create = mode == OpenMode::create;
  // A file that holds something keeps the journal mode that its owner chose.
  options.wal = mode == OpenMode::create && (!exists || info.st_size == 0);
  options.read_only = !writable;
  options.while_locked = tell_of_locks(path, options.busy_timeout_ms);
  return in_file(path, open_checked(path, options));
}

Error in_file(const std::string& path, const Error& error) {
  static constexpr uint64_t kHardlyAny = 256 << 10;
  const std::string& said = error.message;
  const std::string name = "'" + path + "'";
  auto says = [&](const char* words) { return said.find(words) != std::string::npos; };
  if (error.code == Code::busy && says("locked") && interrupted())
    return fail(Code::interrupted, "stopped while another program wrote to " + name);
  if (error.code == Code::busy && says("locked"))
    return fail(Code::busy, name + " is locked: another program writes to it; try again when that is done");
  if (error.code == Code::read_only && !says(name.c_str()))
    return fail(Code::read_only, name +
                                     " or its folder cannot be written by this user, which this needs; check owner "
                                     "and permissions");
  if (error.code == Code::disk) {
    std::optional<uint64_t> room = room_beside(path);
    if (room && *room < kHardlyAny)
      return fail(Code::disk,
                  "the disk that holds " + name + " is full (" + bytes_text(*room) + " left); make room and try again");
  }
  if (error.code == Code::not_tracked && says("no tracked tables"))
    return fail(Code::not_tracked,
                path + " has no synced tables; make some: rejoin track " + shell_word(path) + " --all");
  return error;
}

Result<std::vector<std::string>> application_tables(sqlite::Database& database) {
  std::vector<std::string> names;
  REJOIN_TRY(sqlite::query(
      database.handle(),
      "SELECT name FROM pragma_table_list WHERE schema='main' AND type='table' AND name NOT LIKE "
      "'sqlite\\_%' ESCAPE '\\'"
      " AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\' AND name NOT LIKE '%\\_\\_rejoin%' ESCAPE '\\' ORDER BY name",
      {}, [&](sqlite::QueryRow row) {
        names.emplace_back(row[0].bytes);
        return true;
      }));
  return names;
}

Result<uint64_t> count_rows(sqlite::Database& database, const std::string& table) {
  uint64_t rows = 0;
  const auto count = [&](const char* how) {
    return sqlite::query(database.handle(), "SELECT count(*) FROM main." + contract::quote_name(table) + how, {},
                         [&](sqlite::QueryRow row) {
                           rows = static_cast<uint64_t>(row[0].integer);
                           return true;
                         });
  };
  // SQLite counts in the smallest index, which may use a collation that only the application has.
  if (count("").ok()) return rows;
  REJOIN_TRY(count(" NOT INDEXED"));
  return rows;
}

Result<std::string> find_table(sqlite::Database& database, const std::string& path, const std::string& table) {
  REJOIN_ASSIGN(std::vector<std::string> names, application_tables(database));
  for (const std::string& name : names)
    if (same_name(name, table)) return name;
  std::string advice = did_you_mean(table, names);
  if (advice.empty()) {
    for (size_t i = 0; i < names.size() && i < 10; ++i) advice += (i == 0 ? " It has: " : ", ") + names[i];
    if (names.size() > 10) advice += ", …";
    if (names.empty()) advice = " It has no tables.";
  }
  return fail(Code::not_found, "there is no table '" + table + "' in " + path + "." + advice);
}

Result<sqlite::TableInfo> find_tracked(sqlite::Database& database, const std::string& path, const std::string& table) {
  REJOIN_ASSIGN(std::vector<sqlite::TableInfo> tracked, database.replica().tables());
  for (sqlite::TableInfo& info : tracked)
    if (same_name(info.name, table)) return std::move(info);
  REJOIN_ASSIGN(std::string name, find_table(database, path, table));
  return fail(Code::not_tracked, "'" + name + "' is not a synced table; make it one: rejoin track " + shell_word(path) +
                                     " " + shell_word(name));
}

std::string shell_word(const std::string& word) {
  static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:@%,=";
  if (!word.empty() && word[0] != '-' && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

}  // namespace rejoin::cli
