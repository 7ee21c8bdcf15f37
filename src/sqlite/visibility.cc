#include "sqlite/visibility.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "crdt/key.h"
#include "sqlite/fold.h"
#include "sqlite/key_reader.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"
#include "sqlite/retyped.h"
#include "sqlite/unique_claims.h"

namespace rejoin::sqlite {

namespace {

int bind_key(Statement& s, const std::vector<crdt::ValueRef>& key) {
  int at = 1;
  for (const auto& v : key) s.bind(at++, v);
  return at;
}

Result<std::optional<crdt::RowRecord>> read_record(Context& ctx, const Table& table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT rec FROM " + table.records() + " WHERE k=?1"));
  Use use(*s);
  s->bind_blob(1, key);
  REJOIN_ASSIGN(bool row, s->step("reading a record"));
  crdt::RowRecord record;
  if (!row || !crdt::decode_record(s->blob(0), ctx.sites.size(), record)) return std::optional<crdt::RowRecord>();
  return std::optional(std::move(record));
}

Status write_record(Context& ctx, const Table& table, BytesView key, const crdt::RowRecord& record) {
  RecordWriter writer(ctx, table);
  writer.add(key, record);
  return writer.flush();
}

// The values of an encoded key.
struct Key {
  std::vector<crdt::ValueRef> values;
  Bytes scratch;
  Status read(const Table& table, BytesView key) {
    if (crdt::decode_key(key, table.key.size(), values, scratch)) return {};
    return fail(Code::corrupt, "a key of table \"" + table.name + "\" in the metadata is damaged; run rejoin doctor");
  }
};

}  // namespace

Visibility::Visibility(Context& ctx) : ctx_(ctx), enforcement_(ctx), choice_(ctx, enforcement_) {}
Visibility::~Visibility() = default;

Status Visibility::wrote(const Table& table, BytesView key, const crdt::ColumnSet* columns) {
  const Constraints& c = table.constraints;
  if (columns && columns->intersects(c.referred))
    for (const Constraints::Child& child : c.children) unchecked_.emplace(child.table, child.key);
  if (c.missing.empty() || (columns && !columns->intersects(c.referring))) return {};
  REJOIN_ASSIGN(const bool can, reaches(table));
  if (!can) return {};
  REJOIN_ASSIGN(std::vector<const ForeignKey*> missing, missing_parents(table, key));
  if (!missing.empty()) check_.emplace(table.id, key);
  return {};
}

// What is visible of a table that cannot be written is decided by a connection that can.
Result<bool> Visibility::reaches(const Table& table) {
  REJOIN_ASSIGN(const std::string* lacks, out_of_reach(ctx_, table));
  if (!lacks) return true;
  if (noted_.insert(table.id).second) REJOIN_TRY(note_out_of_reach(ctx_, table));
  return false;
}

Status Visibility::stays(const Table& table) {
  ctx_.stuck.insert(table.id);
  return noted_.insert(table.id).second ? note_out_of_reach(ctx_, table) : Status();
}

void Visibility::came(const Table& table) {
  for (size_t i = 0; i < table.constraints.parents.size(); ++i) unchecked_.emplace(table.id, i);
  for (const Constraints::Child& child : table.constraints.children) unchecked_.emplace(child.table, child.key);
}

Status Visibility::left(const Table& table, BytesView key) {
  Key values;
  for (const Constraints::Child& child : table.constraints.children) {
    const Table* other = ctx_.catalog.find(child.table);
    if (!other) continue;
    const ForeignKey& f = other->constraints.parents[child.key];
    if (!f.to_key) {
      unchecked_.emplace(child.table, child.key);
      continue;
    }
    REJOIN_ASSIGN(const bool can, reaches(*other));
    if (!can) continue;
    REJOIN_TRY(values.read(table, key));
    REJOIN_ASSIGN(Statement * s, ctx_.statement(f.children));
    Use use(*s);
    for (size_t i = 0; i < f.to.size(); ++i)
      s->bind(static_cast<int>(i + 1), values.values[static_cast<size_t>(-1 - f.to[i])]);
    REJOIN_ASSIGN(bool any, s->step("looking for rows that refer to one"));
    if (any) left_.emplace(table.id, key);
  }
  return {};
}

Result<std::vector<const ForeignKey*>> Visibility::missing_parents(const Table& table, BytesView key) {
  std::vector<const ForeignKey*> out;
  Key values;
  REJOIN_TRY(values.read(table, key));
  REJOIN_ASSIGN(Statement * s, ctx_.statement(table.constraints.missing));
  Use use(*s);
  bind_key(*s, values.values);
  REJOIN_ASSIGN(bool row, s->step("looking for the rows that one refers to"));
  for (size_t i = 0; row && i < table.constraints.parents.size(); ++i)
    if (s->integer(static_cast<int>(i))) out.push_back(&table.constraints.parents[i]);
  return out;
}

// A trigger that rolls back would take the application's transaction back, which only asked for something.
bool Visibility::waits_for_outside(const Table& table) {
  if (!ctx_.folds_inside || !table.triggers_roll_back) return false;
  ctx_.unsettled.insert(table.id);
  return true;
}

Result<Visibility::Settled> Visibility::settle(const std::vector<uint64_t>& tables) {
  settled_ = {};
  std::vector<uint64_t> scope = tables;
  for (size_t i = 0; i < scope.size(); ++i)
    if (const Table* t = ctx_.catalog.find(scope[i]))
      for (const Constraints::Child& child : t->constraints.children)
        if (std::find(scope.begin(), scope.end(), child.table) == scope.end()) scope.push_back(child.table);
  for (uint64_t id : scope) REJOIN_TRY(load_hidden(id));
  if (!hidden_.empty() || in_doubt()) {
    for (uint64_t id : scope)
      if (const Table* t = ctx_.catalog.find(id); t && !t->constraints.unique.empty()) REJOIN_TRY(settle_unique(*t));
    REJOIN_TRY(settle_references());
  }
  REJOIN_TRY(enforcement_.end());
  hidden_.clear(), by_name_.clear();
  return settled_;
}

// --- what is hidden now

Status Visibility::load_hidden(uint64_t id) {
  const Table* table = ctx_.catalog.find(id);
  if (!table) return {};
  std::vector<Bytes> keys;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx_.statement("SELECT k FROM main.rejoin_aside INDEXED BY rejoin_parked_hidden WHERE table_name=?1 "
                                 "AND frame IS NULL ORDER BY k"));
    Use use(*s);
    s->bind_text(1, table->name);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading hidden rows"));
      if (!row) break;
      keys.emplace_back(s->blob(0));
    }
  }
  if (keys.empty()) return {};
  REJOIN_ASSIGN(const bool can, reaches(*table));
  if (!can) return {};
  if (waits_for_outside(*table)) return {};
  for (const Bytes& key : keys) REJOIN_TRY(load(*table, key));
  return {};
}

Status Visibility::load(const Table& table, BytesView key) {
  if (by_name_.contains({table.id, Bytes(key)})) return {};
  REJOIN_ASSIGN(auto record, read_record(ctx_, table, key));
  if (!record || !record->alive || !record->hidden) return unpark_hidden(ctx_, table, key);
  REJOIN_ASSIGN(RowReader shadow, RowReader::open(ctx_, table, true));
  REJOIN_ASSIGN(bool found, shadow.find(key));
  if (!found) return {};
  HiddenRow& h = hidden_.emplace_back();
  h.table = &table;
  h.key = key;
  h.record = std::move(*record);
  h.values.resize(table.columns.size());
  h.row.values.resize(table.columns.size());
  crdt::ColumnSet sent;
  for (uint32_t c = 0; c < table.columns.size(); ++c) {
    if (!table.columns[c].present) continue;
    const bool written = !h.record.stamp_of(c).bottom();
    h.values[c] = OwnedValue::of(written ? shadow.value(c) : table.columns[c].default_value.ref());
    h.row.values[c] = h.values[c].ref();
    if (written) sent.add(c);
  }
  shadow.reset();
  if (!fit_columns(table, sent, h.row.values, h.values)) h.refused = kTypesDiffer;
  by_name_[{table.id, h.key}] = &h;
  pending_.push_back(&h);
  if (!crdt::decode_key(h.key, table.key.size(), h.row.key, h.scratch))
    return fail(Code::corrupt, "a key of table \"" + table.name + "\" in the metadata is damaged; run rejoin doctor");
  if (!table.constraints.stand_ins) return {};
  REJOIN_TRY(enforcement_.begin(table));
  const int64_t before = sqlite3_total_changes(ctx_.db);
  REJOIN_ASSIGN(const Wrote wrote, BaseWriter(ctx_, table, enforcement_.triggers()).erase(h.row));
  h.stood_in = wrote == Wrote::done && sqlite3_total_changes(ctx_.db) != before;
  if (wrote == Wrote::refused) return stays(table);
  return {};
}

Status Visibility::hide(const Table& table, BytesView key, const std::string& reason) {
  REJOIN_ASSIGN(auto record, read_record(ctx_, table, key));
  if (!record || !record->visible()) return {};
  BaseWriter::Row row;
  Bytes scratch;
  if (!crdt::decode_key(key, table.key.size(), row.key, scratch)) return {};
  // It is visible, and nothing but this tells another connection that it should not be.
  if (waits_for_outside(table)) return note_out_of_reach(ctx_, table);
  REJOIN_TRY(enforcement_.begin(table));
  BaseWriter writer(ctx_, table, enforcement_.triggers());
  REJOIN_TRY(writer.copy_to_shadow(row));
  REJOIN_ASSIGN(const Wrote wrote, writer.erase(row));
  if (wrote == Wrote::refused) {
    REJOIN_TRY(writer.erase_shadow(row));
    return stays(table);
  }
  record->hidden = true;
  REJOIN_TRY(write_record(ctx_, table, key, *record));
  REJOIN_TRY(park_hidden(ctx_, table, key, reason));
  ++settled_.hidden;
  return left(table, key);
}

// --- UNIQUE

Status Visibility::settle_unique(const Table& table) {
  struct Member {
    Bytes key;
    crdt::Stamp version;
    HiddenRow* hidden;  // nothing: visible
  };
  std::map<std::pair<size_t, Bytes>, std::vector<Member>> claimed;
  std::map<Bytes, std::string> displaced;
  {
    // Temporary triggers, which turn nested writes away, would run even with triggers off.
    REJOIN_TRY(enforcement_.end());
    EnforcementOff off(ctx_.db, true);
    for (HiddenRow& h : hidden_) {
      if (h.table != &table || !h.refused.empty()) continue;
      REJOIN_ASSIGN(Trial trial, try_row(ctx_, table, h.row));
      h.refused = trial.refused;
      for (Tuple& tuple : trial.tuples) {
        const UniqueRule& rule = table.constraints.unique[tuple.rule];
        auto version = [&](const crdt::RowRecord& r) {
          return crdt::claim_version(r, rule.columns, rule.key, ctx_.sites);
        };
        std::vector<Member>& members = claimed[{tuple.rule, tuple.bytes}];
        if (members.empty()) {
          REJOIN_ASSIGN(auto key, holder_of(ctx_, table, tuple));
          std::optional<crdt::RowRecord> record;
          if (key) {
            REJOIN_ASSIGN(record, read_record(ctx_, table, *key));
          }
          if (record) members.push_back({*key, version(*record), nullptr});
        }
        members.push_back({h.key, version(h.record), &h});
      }
    }
  }
  for (const auto& group : claimed) {
    const std::vector<Member>& members = group.second;
    auto precedes = [&](const Member& a, const Member& b) {
      return crdt::precedes({a.version, a.key}, {b.version, b.key}, ctx_.sites);
    };
    const Member& first = *std::min_element(members.begin(), members.end(), precedes);
    const std::string reason = "another row, " + crdt::key_json(first.key, table.key.size()) +
                               ", claimed the same value first (UNIQUE " +
                               table.constraints.unique[group.first.first].what + ")";
    for (const Member& m : members) {
      if (&m == &first) continue;
      if (m.hidden)
        m.hidden->refused = reason;
      else
        displaced[m.key] = reason;
    }
  }
  for (const auto& row : displaced) {
    REJOIN_TRY(hide(table, row.first, row.second));
    REJOIN_TRY(load(table, row.first));
    if (auto at = by_name_.find({table.id, row.first}); at != by_name_.end()) at->second->refused = row.second;
  }
  return {};
}

// --- foreign keys

Status Visibility::collect(Statement& s, const Table& table) {
  Use use(s);
  Bytes key;
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step("looking for rows that refer to one"));
    if (!row) return {};
    encode_row_key(s, 0, table.key.size(), key);
    check_.emplace(table.id, key);
  }
}

Status Visibility::check_parents() {
  Key values;
  while (!check_.empty() || !left_.empty() || !unchecked_.empty()) {
    for (const RowName& parent : std::exchange(left_, {})) {
      const Table* table = ctx_.catalog.find(parent.first);
      if (!table) continue;
      REJOIN_TRY(values.read(*table, parent.second));
      for (const Constraints::Child& child : table->constraints.children) {
        const Table* other = ctx_.catalog.find(child.table);
        const ForeignKey& f = other->constraints.parents[child.key];
        if (!f.to_key) continue;
        REJOIN_ASSIGN(const bool can, reaches(*other));
        if (!can) continue;
        REJOIN_ASSIGN(Statement * s, ctx_.statement(f.children));
        for (size_t i = 0; i < f.to.size(); ++i)
          s->bind(static_cast<int>(i + 1), values.values[static_cast<size_t>(-1 - f.to[i])]);
        REJOIN_TRY(collect(*s, *other));
      }
    }
    for (const auto& name : std::exchange(unchecked_, {})) {
      const Table* table = ctx_.catalog.find(name.first);
      if (!table) continue;
      REJOIN_ASSIGN(const bool can, reaches(*table));
      if (!can) continue;
      REJOIN_ASSIGN(Statement * s, ctx_.statement(table->constraints.parents[name.second].orphans));
      REJOIN_TRY(collect(*s, *table));
    }
    for (const RowName& row : std::exchange(check_, {})) {
      const Table* table = ctx_.catalog.find(row.first);
      if (!table) continue;
      REJOIN_ASSIGN(std::vector<const ForeignKey*> missing, missing_parents(*table, row.second));
      if (missing.empty()) continue;
      if (auto at = by_name_.find(row); at != by_name_.end() && at->second->done) {
        // It was shown by now, because its parent would be.
        REJOIN_TRY(take_back(*at->second));
        continue;
      }
      REJOIN_TRY(hide(*table, row.second, "FOREIGN KEY"));  // the reason follows
      REJOIN_TRY(load(*table, row.second));
    }
  }
  return {};
}

Status Visibility::take_back(HiddenRow& h) {
  REJOIN_TRY(enforcement_.begin(*h.table));
  BaseWriter writer(ctx_, *h.table, enforcement_.triggers());
  if (!h.record.hidden) REJOIN_TRY(writer.copy_to_shadow(h.row));
  REJOIN_ASSIGN(const Wrote wrote, writer.erase(h.row));
  if (wrote == Wrote::refused) {
    if (!h.record.hidden) REJOIN_TRY(writer.erase_shadow(h.row));
    return stays(*h.table);
  }
  if (!h.record.hidden) {
    h.record.hidden = true;
    REJOIN_TRY(write_record(ctx_, *h.table, h.key, h.record));
    --settled_.shown;
  }
  h.done = false;
  pending_.push_back(&h);
  return left(*h.table, h.key);
}

// Ends because whatever puts something in doubt once more is a row that is refused from then on.
Status Visibility::settle_references() {
  for (;;) {
    REJOIN_TRY(check_parents());
    if (pending_.empty()) return {};
    std::sort(pending_.begin(), pending_.end(), [](const HiddenRow* a, const HiddenRow* b) {
      return a->table != b->table ? a->table->id < b->table->id : a->key < b->key;
    });
    REJOIN_TRY(choice_.run(pending_));
    REJOIN_TRY(show(false));
    if (in_doubt()) continue;
    REJOIN_ASSIGN(const bool found, look_again());
    if (found) continue;
    // Only when all others are shown: a stand-in takes no UNIQUE value from any.
    REJOIN_TRY(show(true));
  }
}

// Shows what was chosen. Stand-ins wait in pending_ until they are asked for.
Status Visibility::show(bool stand_ins) {
  std::vector<const HiddenRow*> gone;
  for (HiddenRow* h : std::exchange(pending_, {})) {
    if (!h->out && h->without.empty() == stand_ins) {
      pending_.push_back(h);
      continue;
    }
    bool counted = std::exchange(h->stood_in, false);
    if (!h->out) {
      REJOIN_TRY(put(*h));
      if (h->done) continue;
      counted = true;
    }
    REJOIN_TRY(park_hidden(ctx_, *h->table, h->key, h->reason));
    if (counted) gone.push_back(h);
  }
  // Others are visible because these were, or would have been.
  for (const HiddenRow* h : gone) REJOIN_TRY(left(*h->table, h->key));
  return {};
}

Status Visibility::put(HiddenRow& h) {
  const Table& table = *h.table;
  REJOIN_TRY(enforcement_.begin(table));
  BaseWriter writer(ctx_, table, enforcement_.triggers());
  const BaseWriter::Row row = h.shown();
  REJOIN_ASSIGN(Wrote wrote, writer.insert(row));
  if (wrote != Wrote::done) {
    h.out = true;
    h.reason = h.refused = writer.reason();
    return {};
  }
  h.done = true;
  if (!h.without.empty()) return park_hidden(ctx_, table, h.key, h.reason + "; until then it is shown without");
  REJOIN_TRY(writer.erase_shadow(row));
  h.record.hidden = false;
  REJOIN_TRY(write_record(ctx_, table, h.key, h.record));
  ++settled_.shown;
  return unpark_hidden(ctx_, table, h.key);
}

// Rows whose parent has come after all, as only SQLite could tell.
Result<bool> Visibility::look_again() {
  bool found = false;
  for (HiddenRow& h : hidden_) {
    if (h.done) continue;
    REJOIN_ASSIGN(const bool has, choice_.found_parent(h));
    if (!has) continue;
    found = true;
    if (std::find(pending_.begin(), pending_.end(), &h) == pending_.end()) pending_.push_back(&h);
  }
  return found;
}

Status settle_all_hidden(Work& work) {
  Context& ctx = work.ctx();
  const Raised inside(ctx.folds_inside, work.is_savepoint());
  std::vector<uint64_t> tables;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT DISTINCT table_name FROM main.rejoin_aside WHERE frame IS NULL"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("looking for hidden rows"));
      if (!row) break;
      if (const Table* table = ctx.catalog.find(s->text(0))) tables.push_back(table->id);
    }
  }
  if (tables.empty()) return {};
  REJOIN_TRY(fold(work));
  REJOIN_TRY(Visibility(ctx).settle(tables));
  return {};
}

}  // namespace rejoin::sqlite
