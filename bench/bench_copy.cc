// What syncing a database is held against: copying its rows with plain SQLite into a new file.
//
//     bench_copy attach SRC DST    INSERT … SELECT through ATTACH, one statement per table
//     bench_copy loop SRC DST      a SELECT on one connection, a prepared INSERT on another, value by value, as a
//     program would
//
// Both make SRC's tables and indexes in DST first and copy in one transaction. Prints JSON: rows, wall and CPU seconds,
// peak memory.
#include <sys/resource.h>
#include <time.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench/support/database.h"

namespace rejoin::bench {
namespace {

std::vector<std::string> column(Database& db, const std::string& sql) {
  std::vector<std::string> out;
  Statement stmt(db, sql);
  while (stmt.next()) out.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(stmt.handle(), 0)));
  return out;
}

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (char c : name) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

int64_t copy_attached(Database& to, const std::string& from, const std::vector<std::string>& tables) {
  to.exec("ATTACH '" + from + "' AS source");
  int64_t rows = 0;
  to.exec("BEGIN");
  for (const std::string& table : tables) {
    to.exec("INSERT INTO main." + quoted(table) + " SELECT * FROM source." + quoted(table));
    rows += sqlite3_changes64(to.handle());
  }
  to.exec("COMMIT");
  return rows;
}

int64_t copy_row_by_row(Database& to, Database& from, const std::vector<std::string>& tables) {
  int64_t rows = 0;
  to.exec("BEGIN");
  for (const std::string& table : tables) {
    Statement select(from, "SELECT * FROM " + quoted(table));
    int columns = sqlite3_column_count(select.handle());
    std::string sql = "INSERT INTO " + quoted(table) + " VALUES(?";
    for (int i = 1; i < columns; ++i) sql += ",?";
    Statement insert(to, sql + ")");
    while (select.next()) {
      for (int i = 0; i < columns; ++i)
        sqlite3_bind_value(insert.handle(), i + 1, sqlite3_column_value(select.handle(), i));
      insert.run();
      ++rows;
    }
  }
  to.exec("COMMIT");
  return rows;
}

double now(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

int main_(int argc, char** argv) {
  std::string way = argc == 4 ? argv[1] : "";
  if (way != "attach" && way != "loop") die("usage: bench_copy attach|loop SRC DST");
  if (fs::exists(argv[3])) die(std::string(argv[3]) + " exists already");
  double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  int64_t rows = 0;
  {
    Database from(argv[2]), to(argv[3]);
    for (const std::string& sql : column(from, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")) {
      to.exec(sql);
    }
    std::vector<std::string> tables =
        column(from, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid");
    rows = way == "attach" ? copy_attached(to, argv[2], tables) : copy_row_by_row(to, from, tables);
  }
  wall = now(CLOCK_MONOTONIC) - wall;
  cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"rows\": %lld, \"wall\": %.4f, \"cpu\": %.4f, \"peak_kb\": %ld}\n", static_cast<long long>(rows), wall,
              cpu, usage.ru_maxrss);
  return 0;
}

}  // namespace
}  // namespace rejoin::bench

int main(int argc, char** argv) { return rejoin::bench::main_(argc, argv); }
