#include "tests/support/postgres_statements.h"

#include <algorithm>
#include <array>

namespace rejoin::testing {
namespace {

enum class Kind { text, integer, real, numeric, mail, owner, title };

struct ModelColumn {
  const char* name;
  Kind kind;
  bool written = true;  // by the script
  bool judged = true;
};

const std::vector<ModelColumn>& columns_of(int table) {
  static const std::array<std::vector<ModelColumn>, kModelTables.size()> all{{
      {{"a", Kind::text}, {"b", Kind::integer}, {"c", Kind::real}},
      {{"body", Kind::text}, {"qty", Kind::numeric}},
      {{"email", Kind::mail}, {"name", Kind::text}},
      {{"person", Kind::owner}, {"title", Kind::text}},
      // A title that is NULL becomes the default in PostgreSQL.
      {{"title", Kind::title, true, false},
       {"pages", Kind::integer},
       {"serial", Kind::integer, false, false},
       {"shout", Kind::text, false, false}},
  }};
  return all[static_cast<size_t>(table)];
}

const char* name_of(int table) { return kModelTables[static_cast<size_t>(table)]; }

std::string quoted(const std::string& text) { return "'" + text + "'"; }

std::string literal(Kind kind, int v, bool sql) {
  const std::string number = std::to_string(v);
  switch (kind) {
    case Kind::integer:
      return std::to_string(v - 500);
    case Kind::real:
      return number + ".5";
    case Kind::numeric:
      return v % 2 ? number : number + ".25";
    case Kind::mail:
      return v % 5 == 0 ? "NULL" : quoted("mail" + std::to_string(v % 7));
    case Kind::owner:
      return v % 8 == 0 ? "NULL" : quoted("p" + std::to_string(v % 4));
    case Kind::title:
      if (!sql && v % 7 == 0) return "NULL";
      [[fallthrough]];
    default:
      return quoted((sql ? "sql" : "dev") + number);
  }
}

std::vector<std::string> key_literals(int table, int key) {
  if (table == kLine) return {quoted(key % 2 ? "b" : "a"), std::to_string(key / 2)};
  return {quoted(key_text(table, key))};
}

std::vector<std::string> key_columns(int table) {
  if (table == kLine) return {"doc", "n"};
  return {"id"};
}

// The words of one step.
struct Words {
  const ModelStep& step;
  const std::string tenant;

  bool sql() const { return !tenant.empty(); }
  std::string table() const { return name_of(step.table); }

  std::vector<const ModelColumn*> chosen() const {
    std::vector<const ModelColumn*> out;
    const auto& columns = columns_of(step.table);
    for (size_t c = 0; c < columns.size(); ++c)
      if (columns[c].written && (step.set >> c & 1)) out.push_back(&columns[c]);
    if (out.empty()) out.push_back(&columns[0]);
    return out;
  }
  std::string value(const ModelColumn& c) const { return literal(c.kind, step.v, sql()); }

  std::string key_names() const {
    std::string out = sql() ? "org" : "";
    for (const std::string& name : key_columns(step.table)) out += (out.empty() ? "" : ", ") + name;
    return out;
  }
  std::string key_values(int key) const {
    std::string out = sql() ? quoted(tenant) : "";
    for (const std::string& value : key_literals(step.table, key)) out += (out.empty() ? "" : ", ") + value;
    return out;
  }
  std::string where(int key) const {
    std::string out = sql() ? " WHERE org = " + quoted(tenant) : "";
    const auto names = key_columns(step.table), values = key_literals(step.table, key);
    for (size_t i = 0; i < names.size(); ++i) out += (out.empty() ? " WHERE " : " AND ") + names[i] + " = " + values[i];
    return out;
  }
  std::string everywhere() const { return sql() ? " WHERE org = " + quoted(tenant) : ""; }
  std::string into() const {
    std::string out = "INTO " + table() + "(" + key_names();
    for (const ModelColumn* c : chosen()) out += std::string(", ") + c->name;
    return out + ")";
  }
  std::string tuple(int key) const {
    std::string out = "(" + key_values(key);
    for (const ModelColumn* c : chosen()) out += ", " + value(*c);
    return out + ")";
  }
  std::string assignments(bool excluded = false) const {
    std::string out;
    for (const ModelColumn* c : chosen())
      out += (out.empty() ? "" : ", ") + std::string(c->name) + " = " +
             (excluded ? std::string("excluded.") + c->name : value(*c));
    return out;
  }
};

}  // namespace

std::string key_text(int table, int key) {
  if (table == kLine) return (key % 2 ? "b/" : "a/") + std::to_string(key / 2);
  static const char* kLetters = "klptn";
  return kLetters[table] + std::to_string(key);
}

sim::Key key_values(int table, int key) {
  if (table == kLine) return {sim::Value::text(key % 2 ? "b" : "a"), sim::Value::of(int64_t{key / 2})};
  return {sim::Value::text(key_text(table, key))};
}

std::string key_of_json(std::string_view json) {
  std::string out;
  for (char c : json)
    if (c == ',')
      out += '/';
    else if (c != '[' && c != ']' && c != '"' && c != ' ')
      out += c;
  return out;
}

std::string statement_of(const ModelStep& step, const std::string& tenant, const std::string& other, int version) {
  const Words w{step, tenant};
  const std::string table = w.table();
  switch (step.op) {
    case ModelOp::insert:
      return "INSERT " + w.into() + " VALUES " + w.tuple(step.key);
    case ModelOp::replace:
      return "INSERT OR REPLACE " + w.into() + " VALUES " + w.tuple(step.key);
    case ModelOp::update:
      return "UPDATE " + table + " SET " + w.assignments() + w.where(step.key);
    case ModelOp::remove:
      return "DELETE FROM " + table + w.where(step.key);
    case ModelOp::upsert:
      return "INSERT " + w.into() + " VALUES " + w.tuple(step.key) + " ON CONFLICT (" + w.key_names() +
             ") DO UPDATE SET " + w.assignments(true);
    case ModelOp::rekey: {
      const auto names = key_columns(step.table), values = key_literals(step.table, step.to);
      std::string set;
      for (size_t i = 0; i < names.size(); ++i) set += (i ? ", " : "") + names[i] + " = " + values[i];
      return "UPDATE " + table + " SET " + set + w.where(step.key);
    }
    case ModelOp::shift:
      return "UPDATE line SET n = n " + std::string(step.v % 2 ? "+" : "-") + " 1" + w.everywhere() +
             (w.sql() ? " AND " : " WHERE ") + "doc = " + quoted(step.key % 2 ? "b" : "a");
    case ModelOp::update_all: {
      const ModelColumn& c = columns_of(step.table)[step.table == kPerson ? 1 : 0];
      return "UPDATE " + table + " SET " + c.name + " = " + w.value(c) + w.everywhere();
    }
    case ModelOp::remove_all:
      return "DELETE FROM " + table + w.everywhere();
    case ModelOp::insert_many:
      return "INSERT " + w.into() + " VALUES " + w.tuple(step.key) + ", " + w.tuple(step.key + 1) + ", " +
             w.tuple(step.to + 2) + " ON CONFLICT DO NOTHING";
    case ModelOp::copy: {
      const ModelColumn& c = columns_of(step.table)[0];
      std::string lines;
      for (int key : {step.key, step.key + 1}) {
        std::string text = w.key_values(key) + ", " + w.value(c);
        std::erase_if(text, [](char x) { return x == '\'' || x == ' '; });
        lines += "echo " + text + ";";
      }
      return "COPY " + table + "(" + w.key_names() + ", " + c.name + ") FROM PROGRAM '" + lines +
             "' WITH (FORMAT csv, NULL 'NULL')";
    }
    case ModelOp::merge: {
      if (version < 150000) return "";
      std::string on;
      for (const std::string& name : key_columns(step.table)) on += " AND s." + name + " = t." + name;
      std::string insert = "(" + w.key_names(), values, names = w.key_names();
      for (const ModelColumn* c : w.chosen()) insert += std::string(", ") + c->name, values += ", " + w.value(*c);
      std::string key = "s." + names;
      for (size_t at = 0; (at = key.find(", ", at)) != std::string::npos; at += 4) key.insert(at + 2, "s.");
      std::string rows = "(" + w.key_values(step.key) + ")";
      if (step.to != step.key) rows += ", (" + w.key_values(step.to) + ")";
      return "MERGE INTO " + table + " t USING (VALUES " + rows + ") AS s(" + names + ") ON s.org = t.org" + on +
             (step.v % 4 == 1 ? " WHEN MATCHED THEN DELETE" : " WHEN MATCHED THEN UPDATE SET " + w.assignments()) +
             " WHEN NOT MATCHED THEN INSERT " + insert + ") VALUES (" + key + values + ")";
    }
    case ModelOp::truncate:
      return "TRUNCATE " + table + (step.table == kPerson ? " CASCADE" : "");
    case ModelOp::move:
      return "UPDATE " + table + " SET org = " + quoted(other) + w.where(step.key);
    default:
      return "";
  }
}

std::set<ModelRow> anew(const ModelStep& step, const std::string& tenant, const ModelRows& before,
                        const ModelRows& after) {
  std::set<ModelRow> out;
  if (step.op == ModelOp::replace) {
    const ModelRow row{tenant, step.table, key_text(step.table, step.key)};
    if (before.count(row)) out.insert(row);
  }
  if (step.op == ModelOp::shift)
    for (const auto& [row, cells] : after)
      if (row.tenant == tenant && row.table == kLine && row.key[0] == (step.key % 2 ? 'b' : 'a') && before.count(row))
        out.insert(row);
  return out;
}

std::string device_rows_sql() {
  std::string out;
  for (size_t t = 0; t < kModelTables.size(); ++t) {
    const int table = static_cast<int>(t);
    std::string cells;
    for (const ModelColumn& c : columns_of(table))
      cells += (cells.empty() ? "" : " || '|' || ") + std::string("coalesce(CAST(") + c.name + " AS TEXT), 'null')";
    out += (t ? " UNION ALL SELECT " : "SELECT ") + std::to_string(t) + ", " +
           (table == kLine ? "doc || '/' || n" : "id") + ", " + cells + " FROM " + name_of(table);
  }
  return out;
}

std::string postgres_rows_sql(const std::string& one, const std::string& other) {
  std::string out;
  for (size_t t = 0; t < kModelTables.size(); ++t) {
    const int table = static_cast<int>(t);
    std::string cells;
    for (const ModelColumn& c : columns_of(table))
      cells += (cells.empty() ? "" : " || '|' || ") + std::string("coalesce(") + c.name + "::text, 'null')";
    out += (t ? " UNION ALL SELECT " : "SELECT ") + std::to_string(t) + "::int8, org, " +
           (table == kLine ? "doc || '/' || n" : "id") + ", " + cells + " FROM " + name_of(table) + " WHERE org IN ('" +
           one + "', '" + other + "')";
  }
  return out;
}

ModelCells split_cells(const std::string& text) {
  ModelCells out{""};
  for (char c : text)
    if (c == '|')
      out.emplace_back();
    else
      out.back() += c;
  return out;
}

std::vector<bool> judged_columns(int table) {
  std::vector<bool> out;
  for (const ModelColumn& c : columns_of(table)) out.push_back(c.judged);
  return out;
}

}  // namespace rejoin::testing
