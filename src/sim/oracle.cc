#include "sim/oracle.h"

#include <algorithm>

namespace rejoin::sim {
namespace {

// One row operation may take several log entries (a wide table's update takes one per seven columns), each with a stamp
// of its own.
constexpr uint64_t kEntriesPerRow = 16;

}  // namespace

Oracle::Oracle(const std::vector<int>& tables, std::string site, Mistakes mistakes, bool enforced)
    : site_(std::move(site)), mistakes_(mistakes), enforced_(enforced) {
  for (int t : tables) {
    tables_[t];
    if (spec(t).constrained) shown_.rows[t];
  }
}

void Oracle::track() {
  changes();
  tracked_ = true;
  Open first{{1, site_}, 0};
  for (auto& [table, rows] : tables_) {
    std::erase_if(rows, [](const auto& entry) { return !entry.second.alive; });
    for (auto& [key, row] : rows) {
      row.life = row.birth = first;
      for (auto& [column, cell] : row.cells) cell.version = first;
    }
  }
  open_.clear();
  low_ = high_ = 1;
}

void Oracle::move_to_site(const std::string& site, const State& actual) {
  changes();
  auto move = [&](Open& open, const Version& now) {
    // Written and compacted by the other file, and never observed there.
    if (open.write && now.site == site_) (void)learn(open, now, "");
    if (open.write == 0 && open.version.site == site_ && now == Version{open.version.hlc, site}) open.version = now;
  };
  for (auto& [table, rows] : tables_) {
    auto actual_rows = actual.find(table);
    if (actual_rows == actual.end()) continue;
    for (auto& [key, row] : rows) {
      auto at = actual_rows->second.find(key);
      if (at == actual_rows->second.end()) continue;
      move(row.life, at->second.life);
      move(row.birth, at->second.birth);
      for (auto& [column, cell] : row.cells)
        if (auto c = at->second.cells.find(column); c != at->second.cells.end()) move(cell.version, c->second.version);
      // What others wrote at the instant of the birth moves with it instead of falling behind it.
      if (row.birth.write != 0) continue;
      const Version birth = row.birth.version;
      auto lift = [&birth](Open& open) {
        if (open.write == 0 && open.version < birth) open.version = birth;
      };
      lift(row.life);
      for (auto& [column, cell] : row.cells) lift(cell.version);
    }
  }
  site_ = site;
}

Oracle::OpenRow* Oracle::alive_row(int table, const Key& key) {
  Rows& rows = tables_.at(table);
  auto at = rows.find(key);
  return at != rows.end() && at->second.alive ? &at->second : nullptr;
}

Oracle::Open Oracle::stamp(int64_t now_ms, uint64_t rows) {
  changes();
  uint64_t wall = now_ms > 0 ? static_cast<uint64_t>(now_ms) << 16 : 0;
  low_ = std::max(wall, low_);
  Interval interval{low_, 0};
  high_ = std::max(wall, high_) + rows * kEntriesPerRow;
  interval.high = high_;
  uint64_t write = next_write_++;
  open_[write] = interval;
  return {{0, site_}, write};
}

bool Oracle::same(const Value& a, const Value& b) const {
  if (mistakes_.type_is_not_compared && a.type == crdt::ValueType::integer && b.type == crdt::ValueType::real)
    return static_cast<double>(a.integer) == b.real;
  return a == b;
}

void Oracle::write_insert(int table, const Key& key, const Set& set, Open stamp) {
  OpenRow& row = tables_.at(table)[key];
  row.alive = row.kept = true;
  row.life = row.birth = stamp;
  row.cells.clear();
  for (size_t c = 0; c < spec(table).columns.size(); ++c)
    if (!spec(table).columns[c].absent) row.cells[static_cast<int>(c)] = {stamp, spec(table).columns[c].default_value};
  for (const auto& [column, value] : set) row.cells[column].value = value;
}

bool Oracle::write_update(OpenRow& row, int table, const Set& set, Open stamp) {
  bool changed = false;
  for (const auto& [column, value] : set) {
    auto at = row.cells.find(column);
    const Value& before =
        at == row.cells.end() ? spec(table).columns[static_cast<size_t>(column)].default_value : at->second.value;
    if (same(before, value) && !mistakes_.unchanged_columns_are_stamped) continue;
    changed = true;
    row.cells[column] = {stamp, value};
  }
  if (!changed) return false;
  if (mistakes_.update_revives) row.life = stamp;
  if (mistakes_.update_stamps_all_columns)
    for (auto& [column, cell] : row.cells) cell.version = stamp;
  return true;
}

Outcome Oracle::insert(int table, const Key& key, const Set& set, int64_t now_ms) {
  if (alive_row(table, key)) return Outcome::constraint;
  write_insert(table, key, set, stamp(now_ms, 1));
  return Outcome::done;
}

Outcome Oracle::insert_or_ignore(int table, const Key& key, const Set& set, int64_t now_ms) {
  if (!alive_row(table, key)) write_insert(table, key, set, stamp(now_ms, 1));
  return Outcome::done;
}

Outcome Oracle::replace(int table, const Key& key, const Set& set, int64_t now_ms) {
  if (alive_row(table, key) && mistakes_.replace_is_an_update) return update(table, key, set, now_ms);
  write_insert(table, key, set, stamp(now_ms, 2));
  return Outcome::done;
}

Outcome Oracle::upsert(int table, const Key& key, const Set& set, int64_t now_ms) {
  if (alive_row(table, key) && !mistakes_.upsert_is_an_insert) return update(table, key, set, now_ms);
  write_insert(table, key, set, stamp(now_ms, 1));
  return Outcome::done;
}

Outcome Oracle::update(int table, const Key& key, const Set& set, int64_t now_ms) {
  OpenRow* row = alive_row(table, key);
  if (!row) return Outcome::done;
  uint64_t low = low_;
  // A write that changes nothing has no stamp; whether it moves the clock is nobody's business.
  if (!write_update(*row, table, set, stamp(now_ms, 1))) low_ = low;
  return Outcome::done;
}

Outcome Oracle::update_all(int table, const Set& set, int64_t now_ms) {
  Rows& rows = tables_.at(table);
  uint64_t low = low_;
  bool changed = false;
  Open now = stamp(now_ms, rows.size());
  for (auto& [key, row] : rows)
    if (row.alive) changed |= write_update(row, table, set, now);
  if (!changed) low_ = low;
  return Outcome::done;
}

Outcome Oracle::rekey(int table, const Key& from, const Key& to, const Set& set, bool replace, int64_t now_ms) {
  OpenRow* row = alive_row(table, from);
  if (!row) return Outcome::done;
  if (from == to) return update(table, from, set, now_ms);
  if (alive_row(table, to) && !replace) return Outcome::constraint;
  Set all;
  for (size_t c = 0; c < spec(table).columns.size(); ++c) {
    auto at = row->cells.find(static_cast<int>(c));
    if (at != row->cells.end() && !spec(table).columns[c].absent)
      all.emplace_back(static_cast<int>(c), at->second.value);
  }
  all.insert(all.end(), set.begin(), set.end());
  OpenRow old = *row;
  row->alive = false;
  // Delete and insert may share one log entry, and so one stamp.
  Open now = stamp(now_ms, 3);
  row->life = now;
  write_insert(table, to, all, now);
  if (mistakes_.key_change_keeps_versions)
    for (auto& [column, cell] : tables_.at(table)[to].cells) cell.version = old.cells[column].version;
  return Outcome::done;
}

Outcome Oracle::remove(int table, const Key& key, int64_t now_ms) {
  if (OpenRow* row = alive_row(table, key)) row->alive = false, row->life = stamp(now_ms, 1);
  return Outcome::done;
}

Outcome Oracle::remove_all(int table, int64_t now_ms) {
  Rows& rows = tables_.at(table);
  if (std::none_of(rows.begin(), rows.end(), [](const auto& entry) { return entry.second.alive; }))
    return Outcome::done;
  Open now = stamp(now_ms, rows.size());
  for (auto& [key, row] : rows)
    if (row.alive) row.alive = false, row.life = now;
  return Outcome::done;
}

Outcome Oracle::restore(int table, const Key& key, int64_t now_ms, bool& changed) {
  changed = false;
  Rows& rows = tables_.at(table);
  auto at = rows.find(key);
  if (at == rows.end() || none(at->second.life)) return Outcome::refused;
  OpenRow& row = at->second;
  if (row.alive) return Outcome::done;
  // Without the values of its last life there is nothing to bring back.
  const std::vector<ColumnSpec>& columns = spec(table).columns;
  const bool has_values = std::any_of(columns.begin(), columns.end(), [](const ColumnSpec& c) { return !c.absent; });
  // A value may have come before its column.
  const bool kept = row.kept || std::any_of(row.cells.begin(), row.cells.end(), [&](const auto& cell) {
                      return !columns[static_cast<size_t>(cell.first)].absent;
                    });
  if (none(row.birth) || (has_values && !kept)) return Outcome::refused;
  if (spec(table).constrained &&
      shown_.bring_back(table, key, values_of(table, row), versions_, enforced_, mistakes_) != Outcome::done)
    return Outcome::refused;
  row.alive = changed = true;
  row.life = stamp(now_ms, 1);
  if (mistakes_.restore_is_an_insert) {
    row.birth = row.life;
    for (auto& [column, cell] : row.cells) cell.version = row.life;
  }
  return Outcome::done;
}

int Oracle::order(const Open& mine, const Version& theirs) const {
  if (mine.write) {
    const Interval& interval = open_.at(mine.write);
    if (theirs.hlc < interval.low) return 1;
    if (theirs.hlc > interval.high) return -1;
    unknown_ = true;
    return 0;
  }
  if (mine.version == theirs) return 0;
  if (mistakes_.site_does_not_break_ties && mine.version.hlc == theirs.hlc) return 1;
  return mine.version < theirs ? -1 : 1;
}

bool Oracle::ambiguous(const Said& incoming) const {
  unknown_ = false;
  for (const auto& [table, rows] : incoming.rows)
    if (comes_in({table, incoming.names.at(table)}) && ambiguous(table, rows)) return true;
  for (const auto& [name, rows] : incoming.aside)
    if (comes_in(name) && ambiguous(name.first, rows)) return true;
  return false;
}

bool Oracle::ambiguous(int table, const std::map<Key, Row>& incoming) const {
  auto known = tables_.find(table);
  if (known == tables_.end()) return false;
  for (const auto& [key, theirs] : incoming) {
    auto at = known->second.find(key);
    if (at == known->second.end()) continue;
    const OpenRow& mine = at->second;
    // Any stamp of theirs may have to be compared with any of mine (a cell with a birth, for instance).
    std::vector<Version> stamps = {theirs.life, theirs.birth};
    for (const auto& [column, cell] : theirs.cells) stamps.push_back(cell.version);
    for (const Version& v : stamps) {
      order(mine.life, v), order(mine.birth, v);
      for (const auto& [column, cell] : mine.cells) order(cell.version, v);
    }
  }
  return unknown_;
}

size_t Oracle::merge(const Said& incoming) {
  size_t changed = 0;
  for (const auto& [table, rows] : incoming.rows) changed += hear({table, incoming.names.at(table)}, rows);
  for (const auto& [name, rows] : incoming.aside) changed += hear(name, rows);
  return changed;
}

size_t Oracle::merge(int table, const std::map<Key, Row>& incoming) {
  changes();
  size_t changed_rows = 0;
  auto heard = [&](const Version& v) {
    // Later writes are stamped above everything merged.
    low_ = std::max(low_, v.hlc + 1), high_ = std::max(high_, v.hlc + 1);
  };
  for (const auto& [key, theirs] : incoming) {
    OpenRow& mine = tables_.at(table)[key];
    bool changed = false;
    heard(theirs.life), heard(theirs.birth);
    int life = order(mine.life, theirs.life);
    if (mistakes_.older_write_wins && mine.life.version.hlc && theirs.life.hlc) life = -life;
    if (mistakes_.delete_always_wins && theirs.life.hlc && mine.alive != theirs.alive) life = theirs.alive ? 1 : -1;
    if (life < 0) mine.life = {theirs.life, 0}, mine.alive = theirs.alive, changed = true;
    if (order(mine.birth, theirs.birth) < 0) mine.birth = {theirs.birth, 0}, changed = true;
    for (const auto& [named, cell] : theirs.cells) {
      const int column = mistakes_.former_names_are_forgotten ? named : home_of(table, spec(table).version, named);
      heard(cell.version);
      if (mistakes_.unknown_columns_are_lost && spec(table).columns[static_cast<size_t>(column)].absent) continue;
      if (mistakes_.edits_of_the_dead_are_lost && !mine.alive && mine.life.version.hlc) continue;
      auto at = mine.cells.find(column);
      int known = at == mine.cells.end() ? -1 : order(at->second.version, cell.version);
      if (mistakes_.older_write_wins && at != mine.cells.end()) known = -known;
      // One version with two values is damage; then the larger value wins, everywhere.
      if (known == 0 && crdt::compare_canonical(at->second.value.ref(), cell.value.ref()) < 0) known = -1;
      // A cell from before the row's birth says nothing about this life.
      if (known < 0 && order(mine.birth, cell.version) > 0 && !mistakes_.cells_survive_a_new_birth) continue;
      if (known >= 0) continue;
      mine.cells[column] = {{cell.version, 0}, cell.value};
      const bool present = !spec(table).columns[static_cast<size_t>(column)].absent;
      changed |= present, mine.kept |= present;
    }
    mine.kept |= mine.alive;
    if (!mistakes_.cells_survive_a_new_birth && mine.birth.write == 0) {
      const Version& birth = mine.birth.version;
      std::erase_if(mine.cells, [&](const auto& entry) { return order(entry.second.version, birth) < 0; });
    }
    changed_rows += changed;
  }
  return changed_rows;
}

std::vector<std::pair<int, Key>> Oracle::forget() {
  changes();
  std::vector<std::pair<int, Key>> gone;
  for (auto& [table, rows] : tables_) {
    for (const auto& [key, row] : rows)
      if (!row.alive) gone.emplace_back(table, key);
    if (!mistakes_.nothing_is_forgotten) std::erase_if(rows, [](const auto& entry) { return !entry.second.alive; });
  }
  return gone;
}

std::vector<Value> Oracle::values_of(int table, const OpenRow& row) const {
  std::vector<Value> values;
  for (const ColumnSpec& column : spec(table).columns) values.push_back(column.default_value);
  for (const auto& [column, cell] : row.cells) values[static_cast<size_t>(column)] = cell.value;
  for (size_t c = 0; c < values.size(); ++c)
    if (spec(table).columns[c].absent) values[c] = Value::null();
  return values;
}

std::map<Key, std::vector<Value>> Oracle::visible(int table) const {
  if (spec(table).constrained) return shown_.rows.at(table);
  std::map<Key, std::vector<Value>> out;
  for (const auto& [key, row] : tables_.at(table))
    if (row.alive) out[key] = values_of(table, row);
  return out;
}

std::string Oracle::learn(Open& open, const Version& actual, const std::string& what) {
  if (open.write == 0) {
    if (open.version == actual) return "";
    return what + ": has version " + print(actual) + ", should have " + print(open.version);
  }
  if (actual.hlc == 0) return what + ": a local write left no version";
  if (actual.site != site_) return what + ": a local write has the version " + print(actual) + " of another site";
  Interval& interval = open_.at(open.write);
  if (actual.hlc < interval.low || actual.hlc > interval.high) {
    return what + ": the stamp " + print(actual) + " of a local write lies outside " +
           print(Version{interval.low, site_}) + " to " + print(Version{interval.high, site_});
  }
  interval.least = std::min(interval.least, actual.hlc);
  interval.most = std::max(interval.most, actual.hlc);
  open = {actual, 0};
  return "";
}

std::string Oracle::observe(const Said& said) {
  changes();
  const State& actual = said.rows;
  std::string wrong;
  auto check = [&](std::string problem) {
    if (wrong.empty()) wrong = std::move(problem);
  };
  for (auto& [table, rows] : tables_) {
    static const std::map<Key, Row> nothing;
    auto found = actual.find(table);
    const std::map<Key, Row>& actual_rows = found == actual.end() ? nothing : found->second;
    for (const auto& [key, row] : actual_rows)
      if (!rows.count(key)) check(spec(table).label + " " + print(key) + ": a row that nobody wrote: " + print(row));
    for (auto& [key, row] : rows) {
      std::string what = spec(table).label + " " + print(key);
      auto at = actual_rows.find(key);
      if (at == actual_rows.end()) {
        // Edits of columns that were dropped since, of a row that never came, are told to nobody.
        const auto told = [&columns = spec(table).columns](const auto& cell) {
          return !columns[static_cast<size_t>(cell.first)].absent;
        };
        if (none(row.life) && none(row.birth) && std::none_of(row.cells.begin(), row.cells.end(), told)) continue;
        check(what + ": the replica knows nothing of this row");
        continue;
      }
      const Row& real = at->second;
      if (real.alive != row.alive) check(what + ": is " + (real.alive ? "alive" : "dead") + ", should be the opposite");
      bool inserted = row.life.write && row.life.write == row.birth.write;
      check(learn(row.life, real.life, what + " liveness"));
      check(learn(row.birth, real.birth, what + " birth"));
      if (inserted && real.life != real.birth && row.alive)
        check(what + ": one insert gave two stamps, " + print(real.life) + " and " + print(real.birth));
      for (const auto& [column, cell] : real.cells)
        if (!row.cells.count(column))
          check(what + ": column " + std::to_string(column) + " should not be written: " + print(cell.version));
      for (auto& [column, cell] : row.cells) {
        if (spec(table).columns[static_cast<size_t>(column)].absent) continue;
        std::string name = what + " column " + std::to_string(column);
        auto c = real.cells.find(column);
        if (c == real.cells.end()) {
          check(name + ": is missing");
          continue;
        }
        check(learn(cell.version, c->second.version, name));
        if (c->second.value != cell.value)
          check(name + ": is " + print(c->second.value) + ", should be " + print(cell.value));
      }
    }
  }
  check(check_aside(said.aside, true));
  // Stamps follow the order of the statements.
  uint64_t before = 0;
  for (const auto& [write, interval] : open_) {
    if (interval.most == 0) continue;  // overwritten before anyone saw it
    if (interval.least < before)
      check("stamps do not keep the order of the writes: " + std::to_string(before) + " came before " +
            std::to_string(interval.least));
    before = std::max(before, interval.most);
  }
  if (!wrong.empty()) return wrong;
  open_.clear();
  for (const auto& [table, rows] : tables_)
    for (const auto& [key, row] : rows) {
      low_ = std::max(low_, std::max(row.life.version.hlc, row.birth.version.hlc) + 1);
      for (const auto& [column, cell] : row.cells) low_ = std::max(low_, cell.version.version.hlc + 1);
    }
  high_ = std::max(high_, low_);
  return "";
}

std::string Oracle::check_frame(const Said& frame) {
  State known = state();
  for (const auto& [table, rows] : frame.rows) {
    for (const auto& [key, row] : rows) {
      std::string what = "a changeset's row " + spec(table).label + " " + print(key);
      auto at = known[table].find(key);
      if (at == known[table].end()) return what + " does not exist at its source";
      const Row& mine = at->second;
      if (row.life.hlc && (row.life != mine.life || row.alive != mine.alive || row.birth != mine.birth))
        return what + ": liveness or birth differs from its source: " + print(row) + ", source: " + print(mine);
      for (const auto& [column, cell] : row.cells) {
        auto c = mine.cells.find(column);
        if (c == mine.cells.end() || !(c->second == cell))
          return what + ": column " + std::to_string(column) + " differs from its source: " + print(row) +
                 ", source: " + print(mine);
      }
    }
  }
  return check_aside(frame.aside, false);
}

State Oracle::state() const {
  State out;
  for (const auto& [table, rows] : tables_) {
    for (const auto& [key, row] : rows) {
      Row& plain = out[table][key];
      plain = {row.alive, row.life.version, row.birth.version, {}};
      for (const auto& [column, cell] : row.cells)
        if (!spec(table).columns[static_cast<size_t>(column)].absent)
          plain.cells[column] = {cell.version.version, cell.value};
    }
  }
  return out;
}

}  // namespace rejoin::sim
