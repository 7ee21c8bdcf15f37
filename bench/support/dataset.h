// The rows that the benchmarks write: made from a seed, the same on both sides and in every run.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "bench/support/database.h"

namespace rejoin::bench {

// SplitMix64 (Steele, Lea, Flood 2014).
class Seeded {
 public:
  explicit Seeded(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t n) { return next() % n; }

 private:
  uint64_t state_;
};

// A random (version 4) UUID in its canonical text form.
inline std::string make_uuid(Seeded& random) {
  static const char* digits = "0123456789abcdef";
  uint64_t bits[2] = {random.next(), random.next()};
  std::string out;
  out.reserve(36);
  for (int i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) out.push_back('-');
    int nibble = static_cast<int>(bits[i / 16] >> (60 - 4 * (i % 16)) & 15);
    if (i == 12) nibble = 4;
    if (i == 16) nibble = 8 | (nibble & 3);
    out.push_back(digits[nibble]);
  }
  return out;
}

inline std::string make_words(Seeded& random, int count) {
  static const char* words[] = {"call",    "write",  "plan",   "review", "book",    "fix",    "paint",   "order",
                                "email",   "clean",  "draft",  "ship",   "invoice", "garden", "kitchen", "train",
                                "report",  "paper",  "window", "the",    "old",     "new",    "school",  "car",
                                "dentist", "flight", "music",  "team",   "budget",  "milk",   "photos",  "again"};
  std::string out;
  for (int i = 0; i < count; ++i) {
    if (i) out.push_back(' ');
    out += words[random.below(std::size(words))];
  }
  return out;
}

// ---- the table of the issue: (id TEXT PRIMARY KEY uuid, title, done, priority)
// ---------------------------------------------------

struct Todo {
  std::string id, title;
  int64_t done = 0, priority = 0;
};

inline constexpr const char* kTodoTable =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER, priority INTEGER)";

inline std::vector<Todo> make_todos(int64_t count, uint64_t key_seed = 1, uint64_t value_seed = 2) {
  Seeded keys(key_seed), values(value_seed);
  std::vector<Todo> out(static_cast<size_t>(count));
  for (Todo& todo : out) {
    todo.id = make_uuid(keys);
    todo.title = make_words(values, 4);
    todo.done = static_cast<int64_t>(values.below(2));
    todo.priority = static_cast<int64_t>(values.below(10));
  }
  return out;
}

inline void bind(Statement& stmt, const Todo& todo) {
  stmt.bind(1, todo.id);
  stmt.bind(2, todo.title);
  stmt.bind(3, todo.done);
  stmt.bind(4, todo.priority);
}

// An app's own triggers: they keep a count of open todos per priority in a table that is not synced.
inline constexpr const char* kTodoTriggers = R"sql(
  CREATE TABLE open_count(priority INTEGER PRIMARY KEY, n INTEGER NOT NULL);
  INSERT INTO open_count SELECT value, 0 FROM json_each('[0,1,2,3,4,5,6,7,8,9]');
  CREATE TRIGGER todos_count_insert AFTER INSERT ON todos WHEN new.done = 0 BEGIN
    UPDATE open_count SET n = n + 1 WHERE priority = new.priority;
  END;
  CREATE TRIGGER todos_count_update AFTER UPDATE OF done, priority ON todos BEGIN
    UPDATE open_count SET n = n - 1 WHERE priority = old.priority AND old.done = 0;
    UPDATE open_count SET n = n + 1 WHERE priority = new.priority AND new.done = 0;
  END;
  CREATE TRIGGER todos_count_delete AFTER DELETE ON todos WHEN old.done = 0 BEGIN
    UPDATE open_count SET n = n - 1 WHERE priority = old.priority;
  END;
)sql";

// Three indexes, and a full-text index of the titles that the app's triggers keep in step.
inline constexpr const char* kTodoSearch = R"sql(
  CREATE INDEX todos_title ON todos(title);
  CREATE INDEX todos_done ON todos(done, priority);
  CREATE INDEX todos_priority ON todos(priority, title);
  CREATE VIRTUAL TABLE todos_search USING fts5(title, content='todos');
  CREATE TRIGGER todos_search_insert AFTER INSERT ON todos BEGIN
    INSERT INTO todos_search(rowid, title) VALUES(new.rowid, new.title);
  END;
  CREATE TRIGGER todos_search_update AFTER UPDATE ON todos BEGIN
    INSERT INTO todos_search(todos_search, rowid, title) VALUES('delete', old.rowid, old.title);
    INSERT INTO todos_search(rowid, title) VALUES(new.rowid, new.title);
  END;
  CREATE TRIGGER todos_search_delete AFTER DELETE ON todos BEGIN
    INSERT INTO todos_search(todos_search, rowid, title) VALUES('delete', old.rowid, old.title);
  END;
)sql";

// ---- a table of 20 columns: the key and 19 others, of which every second is text
// -------------------------------------------------

inline constexpr int kWideColumns = 20;
using WideRow = std::vector<std::variant<std::string, int64_t, double>>;  // [0] is the key

inline std::string wide_table() {
  std::string sql = "CREATE TABLE wide(id TEXT PRIMARY KEY";
  for (int i = 1; i < kWideColumns; ++i) {
    sql += ", c" + std::to_string(i) + (i % 2 ? " TEXT" : i % 4 ? " INTEGER" : " REAL");
  }
  return sql + ")";
}

inline std::vector<WideRow> make_wide(int64_t count, uint64_t key_seed = 11, uint64_t value_seed = 12) {
  Seeded keys(key_seed), values(value_seed);
  std::vector<WideRow> out(static_cast<size_t>(count));
  for (WideRow& row : out) {
    row.reserve(kWideColumns);
    row.emplace_back(make_uuid(keys));
    for (int i = 1; i < kWideColumns; ++i) {
      if (i % 2) {
        row.emplace_back(make_words(values, 2));
      } else if (i % 4) {
        row.emplace_back(static_cast<int64_t>(values.below(1 << (i + 2))));
      } else {
        row.emplace_back(static_cast<double>(values.below(1 << 20)) / 64);
      }
    }
  }
  return out;
}

inline void bind(Statement& stmt, const WideRow& row) {
  for (size_t i = 0; i < row.size(); ++i) {
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
            stmt.bind(static_cast<int>(i + 1), std::string_view(value));
          } else {
            stmt.bind(static_cast<int>(i + 1), value);
          }
        },
        row[i]);
  }
}

// ---- statements that follow from a table's shape
// ---------------------------------------------------------------------------------

struct Shape {
  std::string table, create;
  int columns;
  std::string name(int i) const {
    if (i == 0) return "id";
    if (table == "wide") return "c" + std::to_string(i);
    static const char* todo[] = {"id", "title", "done", "priority"};
    return todo[i];
  }
};
inline Shape todo_shape() { return {"todos", kTodoTable, 4}; }
inline Shape wide_shape() { return {"wide", wide_table(), kWideColumns}; }

inline std::string insert_sql(const Shape& shape) {
  std::string sql = "INSERT INTO " + shape.table + " VALUES(?";
  for (int i = 1; i < shape.columns; ++i) sql += ",?";
  return sql + ")";
}
inline std::string upsert_sql(const Shape& shape) {
  std::string sql = insert_sql(shape) + " ON CONFLICT(id) DO UPDATE SET ";
  for (int i = 1; i < shape.columns; ++i) {
    if (i > 1) sql += ", ";
    sql += shape.name(i) + " = excluded." + shape.name(i);
  }
  return sql;
}

// The bytes of all values: text and blobs by their length, numbers as they are written in decimal.
inline int64_t value_bytes(Database& db, const Shape& shape) {
  std::string sql = "SELECT sum(0";
  for (int i = 0; i < shape.columns; ++i) sql += " + ifnull(length(CAST(" + shape.name(i) + " AS BLOB)), 0)";
  return db.integer(sql + ") FROM " + shape.table);
}

// Ends the program unless the table has exactly the rows that the file `other` has: what was measured must have been
// done.
inline void expect_same_rows(Database& db, const fs::path& other, const Shape& shape) {
  db.exec("ATTACH '" + other.string() + "' AS other");
  std::string mine = "SELECT * FROM main." + shape.table, theirs = "SELECT * FROM other." + shape.table;
  int64_t differ = db.integer("SELECT (SELECT count(*) FROM (" + mine + " EXCEPT " + theirs +
                              ")) + (SELECT count(*) FROM (" + theirs + " EXCEPT " + mine + "))");
  db.exec("DETACH other");
  if (differ) die(shape.table + ": " + std::to_string(differ) + " rows differ from " + other.string());
}

}  // namespace rejoin::bench
