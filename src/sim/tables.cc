#include "sim/tables.h"

#include <cmath>
#include <limits>

namespace rejoin::sim {
namespace {

Key one(Value v) { return {std::move(v)}; }
Value text(std::string_view v) { return Value::text(std::string(v)); }

constexpr const char* kUuids[] = {"018f2f6e-7b1c-7abc-8def-0123456789ab", "018f2f6e-7b1c-7abc-8def-0123456789ac",
                                  "ffffffff-ffff-4fff-bfff-ffffffffffff"};

TableSpec items() {
  return {"items",
          "items",
          "CREATE TABLE items(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, priority REAL, data)",
          {"id"},
          {{"title", Kind::text, {}},
           {"done", Kind::integer, Value::of(int64_t{0})},
           {"priority", Kind::real, {}},
           {"data", Kind::any, {}}},
          {one(text(kUuids[0])), one(text(kUuids[1])), one(text(kUuids[2])),
           // Looks like the first, but is another key: only lower case is packed.
           one(text("018F2F6E-7B1C-7ABC-8DEF-0123456789AB")), one(text("k"))},
          false};
}

TableSpec order_lines() {
  return {"order_lines",
          "order lines",
          "CREATE TABLE \"order lines\"(\"a b\", \"select\" TEXT, \"n°\" INTEGER, \"naïve ☃\" TEXT DEFAULT 'it''s', "
          "\"x\"\"y\" BLOB, PRIMARY KEY(\"select\", \"n°\")) WITHOUT ROWID",
          {"select", "n°"},
          {{"a b", Kind::any, {}}, {"naïve ☃", Kind::text, text("it's")}, {"x\"y", Kind::any, {}}},
          {{text("DE"), Value::of(int64_t{1})},
           {text("DE"), Value::of(int64_t{-1})},
           {text(std::string_view("D\0E", 3)), Value::of(std::numeric_limits<int64_t>::max())},
           {text(""), Value::of(std::numeric_limits<int64_t>::min())}},
          false};
}

TableSpec loose() {
  return {"loose",
          "loose",
          "CREATE TABLE loose(k TEXT NOT NULL PRIMARY KEY, a, b DEFAULT 7, c DEFAULT x'00ff', d DEFAULT -1.5, "
          "e NOT NULL DEFAULT 'e')",
          {"k"},
          {{"a", Kind::any, {}},
           {"b", Kind::any, Value::of(int64_t{7})},
           {"c", Kind::any, Value::blob(std::string("\0\xff", 2))},
           {"d", Kind::any, Value::of(-1.5)},
           {"e", Kind::any_not_null, text("e")}},
          {one(text("")), one(text("a")), one(text("b")), one(text(kUuids[0])), one(text(std::string_view("a\0b", 3)))},
          false};
}

TableSpec numbered() {
  return {"numbered",
          "numbered",
          "CREATE TABLE numbered(id INTEGER PRIMARY KEY, v INTEGER, w TEXT)",
          {"id"},
          {{"v", Kind::integer, {}}, {"w", Kind::text, {}}},
          {one(Value::of(int64_t{0})), one(Value::of(int64_t{1})), one(Value::of(int64_t{-1})),
           one(Value::of(std::numeric_limits<int64_t>::max())), one(Value::of(std::numeric_limits<int64_t>::min()))},
          true};
}

TableSpec strict() {
  return {"strict",
          "strict",
          "CREATE TABLE strict(id BLOB PRIMARY KEY NOT NULL, i INT, r REAL, t TEXT, a ANY, n INT NOT NULL DEFAULT 3) "
          "STRICT",
          {"id"},
          {{"i", Kind::integer_strict, {}},
           {"r", Kind::real_strict, {}},
           {"t", Kind::text_strict, {}},
           {"a", Kind::any, {}},
           {"n", Kind::any_not_null, Value::of(int64_t{3})}},
          {one(Value::blob("")), one(Value::blob(std::string("\0", 1))), one(Value::blob("\xff\xfe")),
           one(Value::blob("id"))},
          false};
}

TableSpec generated() {
  return {"generated",
          "generated",
          "CREATE TABLE generated(g TEXT AS (coalesce(a, '-') || b) STORED, id TEXT PRIMARY KEY, a INTEGER, "
          "v AS (a IS NULL) VIRTUAL, b TEXT DEFAULT 'b', c)",
          {"id"},
          {{"a", Kind::integer, {}}, {"b", Kind::text, text("b")}, {"c", Kind::any, {}}},
          {one(text("1")), one(text("2")), one(text("3"))},
          false};
}

TableSpec wide() {
  TableSpec spec{"wide", "wide", "CREATE TABLE wide(id TEXT PRIMARY KEY", {"id"}, {}, {}, false};
  for (int i = 0; i < 75; ++i) {
    std::string name = "c" + std::to_string(i);
    spec.create += ", " + name;
    if (i % 10 == 3) spec.create += " DEFAULT " + std::to_string(i);
    spec.columns.push_back({name, Kind::any, i % 10 == 3 ? Value::of(static_cast<int64_t>(i)) : Value::null()});
  }
  spec.create += ")";
  spec.keys = {one(text("w1")), one(text("w2")), one(text(kUuids[1]))};
  return spec;
}

TableSpec measured() {
  return {"measured",
          "measured",
          "CREATE TABLE measured(v TEXT, r REAL NOT NULL, b NOT NULL, w, PRIMARY KEY(b, r DESC))",
          {"b", "r"},
          {{"v", Kind::text, {}}, {"w", Kind::any, {}}},
          {{Value::blob(std::string("\0\1", 2)), Value::of(1.5)},
           {Value::blob(std::string("\0\1", 2)), Value::of(-1.5)},
           {text(kUuids[0]), Value::of(HUGE_VAL)},
           {Value::of(int64_t{7}), Value::of(1e-310)},
           {Value::of(7.5), Value::of(-1e300)}},
          false};
}

TableSpec pairs() {
  return {"pairs",
          "pairs",
          "CREATE TABLE pairs(a TEXT, b TEXT, PRIMARY KEY(b, a)) WITHOUT ROWID",
          {"b", "a"},
          {},
          {{text("x"), text("y")}, {text("y"), text("x")}, {text(std::string_view("\0", 1)), text("")}},
          false};
}

}  // namespace

const std::vector<TableSpec>& table_specs() {
  static const std::vector<TableSpec> specs = [] {
    std::vector<TableSpec> all = {items(),     order_lines(), loose(),    numbered(), strict(),
                                  generated(), wide(),        measured(), pairs()};
    for (TableSpec& spec : altered_tables()) all.push_back(std::move(spec));
    for (TableSpec& spec : constrained_tables()) all.push_back(std::move(spec));
    for (TableSpec& spec : altered_constrained_tables()) all.push_back(std::move(spec));
    return all;
  }();
  return specs;
}

int table_index(std::string_view label) {
  const auto& specs = table_specs();
  for (size_t i = 0; i < specs.size(); ++i)
    if (specs[i].label == label) return static_cast<int>(i);
  return -1;
}

const char* const kNewInKey = "me";

Key key_now(const TableSpec& spec, const Key& key) {
  if (spec.key_from.empty()) return key;
  Key out;
  for (int from : spec.key_from) out.push_back(from < 0 ? Value::text(kNewInKey) : key[static_cast<size_t>(from)]);
  return out;
}

std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace rejoin::sim
