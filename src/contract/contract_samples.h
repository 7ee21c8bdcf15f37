// For tests and fuzz seeds only: contracts to work with.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "contract/contract.h"

namespace rejoin::contract::samples {

inline Column column(std::string name, std::string type = "TEXT", bool not_null = false,
                     std::optional<Literal> literal = {}) {
  return {std::move(name), std::move(type), not_null, std::move(literal)};
}

inline Table todos() {
  Table table;
  table.name = "todos";
  table.key = {"id"};
  table.columns = {column("id", "TEXT", true), column("title", "TEXT", true, Literal(std::string("it's"))),
                   column("done", "INTEGER", true, Literal(int64_t{0})), column("note")};
  return table;
}

// Every kind of table, type and default.
inline Contract everything() {
  Table all;
  all.name = "all \"kinds\" of things; --";
  all.key = {"second", "first"};
  all.without_rowid = all.strict = true;
  all.columns = {column("first", "INT", true), column("second", "TEXT", true),
                 column("any", "ANY", false, Literal(std::monostate())), column("real", "REAL", false, Literal(0.1)),
                 column("blob", "BLOB", false, Literal(Blob{Bytes("\0\xff", 2)}))};
  Table defaults;
  defaults.name = "defaults";
  defaults.key = {"id"};
  defaults.integer_key = true;
  defaults.columns = {
      column("id", "INTEGER"),
      column("least", "BIGINT", false, Literal(std::numeric_limits<int64_t>::min())),
      column("most", "BIGINT", false, Literal(std::numeric_limits<int64_t>::max())),
      column("whole", "DOUBLE PRECISION", false, Literal(2.0)),
      column("tiny", "FLOAT", false, Literal(5e-324)),
      column("large", "FLOAT", false, Literal(1.7976931348623157e308)),
      column("endless", "REAL", false, Literal(-std::numeric_limits<double>::infinity())),
      column("empty", "VARCHAR(255)", false, Literal(std::string())),
      column("text", "DECIMAL(10,2)", false, Literal(std::string("\"a\"\n\\'b'\t\xc3\xa4\xe2\x82\xac"))),
      column("no blob", "", false, Literal(Blob{})),
      column("\xc3\xa4", "TIMESTAMP WITH TIME ZONE")};
  Table plain = todos();
  Table not_alias;
  not_alias.name = "zero";
  not_alias.key = {"n"};
  not_alias.columns = {column("n", "INTEGER")};
  return {{all, defaults, plain, not_alias}};
}

// A random contract that passes check().
class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}
  uint64_t below(uint64_t n) { return random_.u64() % n; }

  std::string name() {
    static constexpr std::string_view kParts[] = {
        "a", "B", " ", "\"", "'", "\\", "\n", "\x01", "\xc3\xa4", "\xf0\x9f\x98\x80", ";", "id", "."};
    std::string out;
    for (uint64_t n = 1 + below(5); n > 0; --n) out += kParts[below(std::size(kParts))];
    return out;
  }
  Literal literal() {
    switch (below(5)) {
      case 0:
        return std::monostate();
      case 1:
        return static_cast<int64_t>(random_.u64());
      case 2: {
        double v;
        do {
          uint64_t bits = random_.u64();
          std::memcpy(&v, &bits, 8);
        } while (v != v);
        return v;
      }
      case 3:
        return name();
      default:
        return Blob{random_.bytes(below(6))};
    }
  }
  Contract contract() {
    Contract out;
    for (uint64_t n = below(5); n > 0; --n) {
      Table table;
      table.name = std::to_string(10 - n) + name();
      table.strict = below(4) == 0;
      table.without_rowid = below(3) == 0;
      for (uint64_t c = 0, columns = 1 + below(8); c < columns; ++c) {
        static constexpr const char* kTypes[] = {"TEXT",    "INT", "REAL",        "BLOB",
                                                 "INTEGER", "",    "VARCHAR(20)", "MY_TYPE(1,2)"};
        Column& added = table.columns.emplace_back();
        added.name = std::to_string(c) + name();
        added.type = kTypes[below(table.strict ? 5 : 8)];
        added.not_null = below(2) == 0;
        if (below(3) == 0) added.default_value = literal();
      }
      for (const Column& c : table.columns)
        if (table.key.empty() || below(4) == 0) table.key.push_back(c.name);
      table.integer_key =
          table.key.size() == 1 && table.columns[0].type == "INTEGER" && !table.without_rowid && below(2) == 0;
      out.tables.push_back(std::move(table));
    }
    return out;
  }

 private:
  SeededRandom random_;
};

}  // namespace rejoin::contract::samples
