#include "sim/shown.h"

#include <algorithm>

namespace rejoin::sim {
namespace {

// One statement at work. A constraint error leaves it half done; the caller forgets it then.
class Running {
 public:
  Running(ShownRows& rows, const TableVersions& versions, bool enforced, const Mistakes& mistakes,
          std::vector<Change>& changes)
      : rows_(rows), versions_(versions), enforced_(enforced), mistakes_(mistakes), changes_(changes) {}

  Outcome run(const Step& step) {
    auto& rows = rows_.at(step.table);
    bool there = rows.count(step.key) > 0;
    Outcome outcome = Outcome::done;
    switch (step.op) {
      case Op::insert:
      case Op::insert_or_ignore:
      case Op::replace:
      case Op::upsert:
      case Op::upsert_nothing:
        outcome = insert(step);
        break;
      case Op::update:
        if (there) outcome = update(step.table, step.key, step.key, step.set, false);
        break;
      case Op::rekey:
      case Op::rekey_or_replace:
        if (there) outcome = update(step.table, step.key, step.to, step.set, step.op == Op::rekey_or_replace);
        break;
      case Op::remove:
        if (there) outcome = remove(step.table, step.key);
        break;
      default:
        for (const Key& key : keys_of(step.table)) {
          if (outcome != Outcome::done || !rows.count(key)) continue;
          outcome = step.op == Op::update_all ? update(step.table, key, key, step.set, false) : remove(step.table, key);
        }
    }
    if (outcome == Outcome::done && enforced_ && orphans()) outcome = Outcome::constraint;
    return outcome;
  }

  Outcome bring_back(int table, const Key& key, const std::vector<Value>& values) {
    const TableSpec& spec = spec_of(table);
    if (!check_holds(spec, values) || !rivals(table, key, key, values).empty()) return Outcome::constraint;
    rows_.at(table)[key] = values;
    return enforced_ && orphans() ? Outcome::constraint : Outcome::done;
  }

 private:
  const TableSpec& spec_of(int table) const { return spec_at(table, versions_); }
  std::vector<Key> keys_of(int table) const {
    std::vector<Key> out;
    for (const auto& [key, row] : rows_.at(table)) out.push_back(key);
    return out;
  }

  // Other rows that hold what this one would.
  std::vector<Key> rivals(int table, const Key& from, const Key& to, const std::vector<Value>& values) const {
    std::vector<Key> out;
    const TableSpec& spec = spec_of(table);
    for (const auto& [key, row] : rows_.at(table)) {
      if (key == from) continue;
      bool rival = key == to;
      for (const UniqueSpec& unique : spec.unique) {
        Key mine = claimed(unique, values, mistakes_);
        rival |= !mine.empty() && mine == claimed(unique, row, mistakes_);
      }
      if (rival) out.push_back(key);
    }
    return out;
  }

  Outcome displace(int table, const std::vector<Key>& keys) {
    for (const Key& key : keys)
      if (rows_.at(table).count(key) && remove(table, key) != Outcome::done) return Outcome::constraint;
    return Outcome::done;
  }

  Outcome insert(const Step& step) {
    const TableSpec& spec = spec_of(step.table);
    auto& rows = rows_.at(step.table);
    std::vector<Value> values;
    for (const ColumnSpec& column : spec.columns)
      values.push_back(column.absent ? Value::null() : column.default_value);
    for (const auto& [column, value] : step.set) values[static_cast<size_t>(column)] = value;
    // DO NOTHING is about other rows only.
    if (!check_holds(spec, values)) return step.op == Op::insert_or_ignore ? Outcome::done : Outcome::constraint;
    // Without columns to set the statement says DO NOTHING about the same key.
    if (step.op == Op::upsert && rows.count(step.key))
      return step.set.empty() ? Outcome::done : update(step.table, step.key, step.key, step.set, false);
    std::vector<Key> others = rivals(step.table, {}, step.key, values);
    if (!others.empty() && step.op != Op::replace)
      return step.op == Op::insert || step.op == Op::upsert ? Outcome::constraint : Outcome::done;
    if (mistakes_.displaced_rows_stay) std::erase_if(others, [&](const Key& key) { return key != step.key; });
    if (displace(step.table, others) != Outcome::done) return Outcome::constraint;
    rows[step.key] = values;
    inserted(step.table, step.key, values);
    return Outcome::done;
  }

  Outcome update(int table, const Key& from, const Key& to, const std::vector<std::pair<int, Value>>& set,
                 bool replace) {
    auto& rows = rows_.at(table);
    std::vector<Value> before = rows.at(from), after = before;
    for (const auto& [column, value] : set) after[static_cast<size_t>(column)] = value;
    if (!check_holds(spec_of(table), after)) return Outcome::constraint;
    std::vector<Key> others = rivals(table, from, to, after);
    if (!others.empty() && !replace) return Outcome::constraint;
    if (displace(table, others) != Outcome::done) return Outcome::constraint;
    rows.erase(from);
    rows[to] = after;
    if (from != to) {
      changes_.push_back({Change::removed, table, from, {}});
      inserted(table, to, after);
      return Outcome::done;
    }
    Change change{Change::updated, table, from, {}};
    for (size_t c = 0; c < after.size(); ++c)
      if (!(after[c] == before[c])) change.set.emplace_back(static_cast<int>(c), after[c]);
    if (!change.set.empty()) changes_.push_back(std::move(change));
    return Outcome::done;
  }

  Outcome remove(int table, const Key& key) {
    rows_.at(table).erase(key);
    changes_.push_back({Change::removed, table, key, {}});
    if (!enforced_) return Outcome::done;
    const std::string& label = spec_of(table).label;
    for (auto& [child, rows] : rows_) {
      for (const ReferenceSpec& f : spec_of(child).references) {
        if (f.parent != label) continue;
        for (const Key& k : keys_of(child)) {
          auto at = rows.find(k);
          if (at == rows.end() || !(at->second[static_cast<size_t>(f.column)] == key[0])) continue;
          if (f.on_delete == OnDelete::restrict && !mistakes_.restrict_is_ignored) return Outcome::constraint;
          if (f.on_delete == OnDelete::cascade && !mistakes_.nothing_cascades) {
            if (remove(child, k) != Outcome::done) return Outcome::constraint;
          }
          if (f.on_delete == OnDelete::set_null) {
            at->second[static_cast<size_t>(f.column)] = Value::null();
            changes_.push_back({Change::updated, child, k, {{f.column, Value::null()}}});
          }
        }
      }
    }
    return Outcome::done;
  }

  void inserted(int table, const Key& key, const std::vector<Value>& values) {
    Change change{Change::inserted, table, key, {}};
    for (size_t c = 0; c < values.size(); ++c)
      if (!spec_of(table).columns[c].absent) change.set.emplace_back(static_cast<int>(c), values[c]);
    changes_.push_back(std::move(change));
  }

  // Does a row refer to one that is not there?
  bool orphans() const {
    for (const auto& [table, rows] : rows_) {
      for (const ReferenceSpec& f : spec_of(table).references) {
        const auto& parents = rows_.at(table_index(f.parent));
        for (const auto& [key, row] : rows) {
          const Value& to = row[static_cast<size_t>(f.column)];
          if (!(to == Value::null()) && !parents.count({to})) return true;
        }
      }
    }
    return false;
  }

  ShownRows& rows_;
  const TableVersions& versions_;
  bool enforced_;
  const Mistakes& mistakes_;
  std::vector<Change>& changes_;
};

}  // namespace

Outcome Shown::run(const Step& step, const TableVersions& versions, bool enforced, const Mistakes& mistakes,
                   std::vector<Change>& changes) {
  ShownRows before = rows;
  Outcome outcome = Running(rows, versions, enforced, mistakes, changes).run(step);
  if (outcome != Outcome::done) rows = std::move(before), changes.clear();
  return outcome;
}

Outcome Shown::bring_back(int table, const Key& key, const std::vector<Value>& values, const TableVersions& versions,
                          bool enforced, const Mistakes& mistakes) {
  ShownRows before = rows;
  std::vector<Change> changes;
  Outcome outcome = Running(rows, versions, enforced, mistakes, changes).bring_back(table, key, values);
  if (outcome != Outcome::done) rows = std::move(before);
  return outcome;
}

bool check_holds(const TableSpec& spec, const std::vector<Value>& row) {
  if (spec.low < 0) return true;
  const Value &low = row[static_cast<size_t>(spec.low)], &high = row[static_cast<size_t>(spec.high)];
  return low == Value::null() || high == Value::null() || low.integer <= high.integer;
}

Key claimed(const UniqueSpec& unique, const std::vector<Value>& row, const Mistakes& mistakes) {
  if (unique.where_zero >= 0 && !mistakes.partial_index_has_all &&
      !(row[static_cast<size_t>(unique.where_zero)] == Value::of(int64_t{0})))
    return {};
  Key out;
  for (int column : unique.columns) {
    Value v = row[static_cast<size_t>(column)];
    if (v == Value::null()) return {};
    if (unique.nocase && !mistakes.nocase_is_binary)
      for (char& c : v.bytes)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    out.push_back(std::move(v));
  }
  return out;
}

}  // namespace rejoin::sim
