#include "sim/statements.h"

namespace rejoin::sim {
namespace {

std::string join(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const std::string& p : parts) out += (out.empty() ? "" : between) + p;
  return out;
}

}  // namespace

std::pair<std::string, std::vector<Value>> sql_of(const Step& step, const TableSpec& table) {
  std::vector<Value> values;
  auto bind = [&](const Value& v) {
    values.push_back(v);
    return "?" + std::to_string(values.size());
  };
  auto column = [&](int i) { return quoted(table.columns[static_cast<size_t>(i)].name); };
  auto match = [&] {
    std::vector<std::string> parts;
    for (size_t i = 0; i < table.key.size(); ++i) parts.push_back(quoted(table.key[i]) + " = " + bind(step.key[i]));
    return join(parts, " AND ");
  };
  auto insert = [&](const char* verb) {
    std::vector<std::string> names, marks;
    for (size_t i = 0; i < table.key.size(); ++i)
      names.push_back(quoted(table.key[i])), marks.push_back(bind(step.key[i]));
    for (const auto& [c, v] : step.set) names.push_back(column(c)), marks.push_back(bind(v));
    return std::string(verb) + " INTO " + quoted(table.name) + "(" + join(names, ", ") + ") VALUES(" +
           join(marks, ", ") + ")";
  };
  auto assignments = [&] {
    std::vector<std::string> parts;
    for (const auto& [c, v] : step.set) parts.push_back(column(c) + " = " + bind(v));
    if (parts.empty())
      for (const ColumnSpec& c : table.columns)
        if (!c.absent) parts.push_back(quoted(c.name) + " = " + quoted(c.name));
    if (parts.empty()) parts.push_back(quoted(table.key[0]) + " = " + quoted(table.key[0]));
    return join(parts, ", ");
  };
  std::string key_list;
  for (const std::string& k : table.key) key_list += (key_list.empty() ? "" : ", ") + quoted(k);

  std::string sql;
  switch (step.op) {
    case Op::insert:
      sql = insert("INSERT");
      break;
    case Op::insert_or_ignore:
      sql = insert("INSERT OR IGNORE");
      break;
    case Op::replace:
      sql = insert("INSERT OR REPLACE");
      break;
    case Op::upsert: {
      sql = insert("INSERT") + " ON CONFLICT(" + key_list + ") DO ";
      std::vector<std::string> parts;
      for (const auto& [c, v] : step.set) parts.push_back(column(c) + " = excluded." + column(c));
      sql += parts.empty() ? "NOTHING" : "UPDATE SET " + join(parts, ", ");
      break;
    }
    case Op::upsert_nothing:
      sql = insert("INSERT") + " ON CONFLICT DO NOTHING";
      break;
    case Op::update:
      sql = "UPDATE " + quoted(table.name) + " SET " + assignments(), sql += " WHERE " + match();
      break;
    case Op::update_all:
      sql = "UPDATE " + quoted(table.name) + " SET " + assignments();
      break;
    case Op::rekey:
    case Op::rekey_or_replace: {
      std::vector<std::string> parts;
      for (size_t i = 0; i < table.key.size(); ++i) parts.push_back(quoted(table.key[i]) + " = " + bind(step.to[i]));
      for (const auto& [c, v] : step.set) parts.push_back(column(c) + " = " + bind(v));
      sql = std::string(step.op == Op::rekey ? "UPDATE " : "UPDATE OR REPLACE ") + quoted(table.name) + " SET " +
            join(parts, ", ");
      sql += " WHERE " + match();
      break;
    }
    case Op::remove:
      sql = "DELETE FROM " + quoted(table.name) + " WHERE " + match();
      break;
    default:
      sql = "DELETE FROM " + quoted(table.name);
      break;
  }
  return {std::move(sql), std::move(values)};
}

Outcome apply_to(Oracle& model, const Step& step, int64_t now_ms) {
  if (table_specs()[static_cast<size_t>(step.table)].constrained) return model.constrained(step, now_ms);
  switch (step.op) {
    case Op::insert:
      return model.insert(step.table, step.key, step.set, now_ms);
    case Op::insert_or_ignore:
    case Op::upsert_nothing:
      return model.insert_or_ignore(step.table, step.key, step.set, now_ms);
    case Op::replace:
      return model.replace(step.table, step.key, step.set, now_ms);
    case Op::upsert:
      if (step.set.empty()) return model.insert_or_ignore(step.table, step.key, step.set, now_ms);
      return model.upsert(step.table, step.key, step.set, now_ms);
    case Op::update:
      return model.update(step.table, step.key, step.set, now_ms);
    case Op::update_all:
      return model.update_all(step.table, step.set, now_ms);
    case Op::rekey:
      return model.rekey(step.table, step.key, step.to, step.set, false, now_ms);
    case Op::rekey_or_replace:
      return model.rekey(step.table, step.key, step.to, step.set, true, now_ms);
    case Op::remove:
      return model.remove(step.table, step.key, now_ms);
    default:
      return model.remove_all(step.table, now_ms);
  }
}

}  // namespace rejoin::sim
