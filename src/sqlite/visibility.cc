#include "sqlite/visibility.h"

#include <algorithm>
#include <map>
#include <optional>

#include "crdt/key.h"
#include "sqlite/fold.h"
#include "sqlite/key_reader.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"
#include "sqlite/unique_claims.h"

namespace rejoin::sqlite {

struct Visibility::Hidden {
  const Table* table = nullptr;
  Bytes key, scratch;
  crdt::RowRecord record;
  std::vector<OwnedValue> values;  // by column id
  BaseWriter::Row row;             // the same, and the key
  std::string refused;             // why it stays hidden whatever its parents do
  std::string reason;
  bool stood_in = false;  // a stand-in was shown until now
  bool out = false, done = false;
  std::vector<bool> parent_visible;        // by foreign key, as asked once
  std::vector<bool> default_visible;       // likewise, of the parent that a stand-in would refer to
  std::vector<const ForeignKey*> without;  // references that a stand-in leaves out

  crdt::ValueRef value(int at) const {
    return at >= 0 ? row.values[static_cast<size_t>(at)] : row.key[static_cast<size_t>(-1 - at)];
  }
};

namespace {

constexpr int kRounds = 8;

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

Visibility::Visibility(Context& ctx) : ctx_(ctx), enforcement_(ctx) {}
Visibility::~Visibility() = default;

Status Visibility::wrote(const Table& table, BytesView key, const crdt::ColumnSet* columns) {
  const Constraints& c = table.constraints;
  if (columns && columns->intersects(c.referred))
    for (const Constraints::Child& child : c.children) unchecked_.emplace(child.table, child.key);
  if (c.missing.empty() || (columns && !columns->intersects(c.referring))) return {};
  REJOIN_ASSIGN(std::vector<const ForeignKey*> missing, missing_parents(table, key));
  if (!missing.empty()) check_.emplace(table.id, key);
  return {};
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

Result<Visibility::Settled> Visibility::settle(const std::vector<uint64_t>& tables) {
  settled_ = {};
  std::vector<uint64_t> scope = tables;
  for (size_t i = 0; i < scope.size(); ++i)
    if (const Table* t = ctx_.catalog.find(scope[i]))
      for (const Constraints::Child& child : t->constraints.children)
        if (std::find(scope.begin(), scope.end(), child.table) == scope.end()) scope.push_back(child.table);
  for (uint64_t id : scope) REJOIN_TRY(load_hidden(id));
  if (!hidden_.empty() || !check_.empty() || !left_.empty() || !unchecked_.empty()) {
    for (uint64_t id : scope)
      if (const Table* t = ctx_.catalog.find(id); t && !t->constraints.unique.empty()) REJOIN_TRY(settle_unique(*t));
    for (int round = 0; round < kRounds; ++round) {
      REJOIN_TRY(check_parents());
      REJOIN_TRY(choose());
      REJOIN_TRY(show());
      if (check_.empty() && left_.empty() && unchecked_.empty()) break;
    }
  }
  REJOIN_TRY(enforcement_.end());
  hidden_.clear(), by_name_.clear();
  check_.clear(), left_.clear(), unchecked_.clear();
  return settled_;
}

// --- what is hidden now

Status Visibility::load_hidden(uint64_t id) {
  const Table* table = ctx_.catalog.find(id);
  if (!table) return {};
  std::vector<Bytes> keys;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx_.statement("SELECT k FROM main.rejoin_parked WHERE table_name=?1 AND frame IS NULL ORDER BY k"));
    Use use(*s);
    s->bind_text(1, table->name);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading hidden rows"));
      if (!row) break;
      keys.emplace_back(s->blob(0));
    }
  }
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
  Hidden& h = hidden_.emplace_back();
  h.table = &table;
  h.key = key;
  h.record = std::move(*record);
  h.values.resize(table.columns.size());
  h.row.values.resize(table.columns.size());
  for (uint32_t c = 0; c < table.columns.size(); ++c) {
    if (!table.columns[c].present) continue;
    const bool written = !h.record.stamp_of(c).bottom();
    h.values[c] = OwnedValue::of(written ? shadow.value(c) : table.columns[c].default_value.ref());
    h.row.values[c] = h.values[c].ref();
    if (written && BaseWriter::altered_by_affinity(h.row.values[c], table.columns[c].affinity))
      h.refused = "the table would store another value than it was sent (column types differ)";
  }
  shadow.reset();
  by_name_[{table.id, h.key}] = &h;
  if (!crdt::decode_key(h.key, table.key.size(), h.row.key, h.scratch))
    return fail(Code::corrupt, "a key of table \"" + table.name + "\" in the metadata is damaged; run rejoin doctor");
  if (!table.constraints.stand_ins) return {};
  REJOIN_TRY(enforcement_.begin(table));
  const int64_t before = sqlite3_total_changes(ctx_.db);
  REJOIN_TRY(BaseWriter(ctx_, table, enforcement_.triggers()).erase(h.row));
  h.stood_in = sqlite3_total_changes(ctx_.db) != before;
  return {};
}

Status Visibility::hide(const Table& table, BytesView key, const std::string& reason) {
  REJOIN_ASSIGN(auto record, read_record(ctx_, table, key));
  if (!record || !record->visible()) return {};
  BaseWriter::Row row;
  Bytes scratch;
  if (!crdt::decode_key(key, table.key.size(), row.key, scratch)) return {};
  REJOIN_TRY(enforcement_.begin(table));
  BaseWriter writer(ctx_, table, enforcement_.triggers());
  REJOIN_TRY(writer.copy_to_shadow(row));
  REJOIN_TRY(writer.erase(row));
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
    Hidden* hidden;  // nothing: visible
  };
  std::map<std::pair<size_t, Bytes>, std::vector<Member>> claimed;
  std::map<Bytes, std::string> displaced;
  {
    // Temporary triggers, which turn nested writes away, would run even with triggers off.
    REJOIN_TRY(enforcement_.end());
    EnforcementOff off(ctx_.db, true);
    for (Hidden& h : hidden_) {
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

std::string Visibility::lacks(const ForeignKey& f, const Hidden& row) const {
  std::vector<crdt::ValueRef> values;
  for (int at : f.from) values.push_back(row.value(at));
  Bytes key;
  crdt::encode_key(values, key);
  return "its \"" + f.what + "\" refers to a row of \"" + f.parent + "\", " + crdt::key_json(key, values.size()) +
         ", that is not visible here (FOREIGN KEY)";
}

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
        REJOIN_ASSIGN(Statement * s, ctx_.statement(f.children));
        for (size_t i = 0; i < f.to.size(); ++i)
          s->bind(static_cast<int>(i + 1), values.values[static_cast<size_t>(-1 - f.to[i])]);
        REJOIN_TRY(collect(*s, *other));
      }
    }
    for (const auto& name : std::exchange(unchecked_, {})) {
      const Table* table = ctx_.catalog.find(name.first);
      if (!table) continue;
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

Status Visibility::take_back(Hidden& h) {
  REJOIN_TRY(enforcement_.begin(*h.table));
  BaseWriter writer(ctx_, *h.table, enforcement_.triggers());
  if (!h.record.hidden) {
    REJOIN_TRY(writer.copy_to_shadow(h.row));
    h.record.hidden = true;
    REJOIN_TRY(write_record(ctx_, *h.table, h.key, h.record));
    --settled_.shown;
  }
  REJOIN_TRY(writer.erase(h.row));
  h.done = false;
  return left(*h.table, h.key);
}

// The values of the reference, or those that a stand-in has in their place.
Visibility::Reference Visibility::reference(const ForeignKey& f, const Hidden& row, bool stand_in) const {
  Reference out;
  for (int at : f.from) {
    if (!stand_in)
      out.push_back(row.value(at));
    else
      out.push_back(f.to_default ? row.table->columns[static_cast<size_t>(at)].default_value.ref() : crdt::ValueRef());
  }
  return out;
}

Result<bool> Visibility::has_parent(const ForeignKey& f, const Reference& values) {
  REJOIN_ASSIGN(Statement * s, ctx_.statement(f.exists));
  Use use(*s);
  int i = 1;
  for (const crdt::ValueRef& v : values) {
    if (v.type == crdt::ValueType::null) return true;
    s->bind(i++, v);
  }
  return s->step("looking for the row that one refers to");
}

// Is the parent among the rows that are about to be shown?
bool Visibility::shows_with(const ForeignKey& f, const Reference& values) const {
  if (!f.parent_id) return false;
  if (f.to_key) {
    Reference ordered(f.to.size());
    for (size_t i = 0; i < f.to.size(); ++i) ordered[static_cast<size_t>(-1 - f.to[i])] = values[i];
    Bytes key;
    crdt::encode_key(ordered, key);
    const auto at = by_name_.find({f.parent_id, key});
    return at != by_name_.end() && !at->second->out;
  }
  auto same = [&](const Hidden& parent) {
    Bytes a, b;
    for (size_t i = 0; i < values.size(); ++i) {
      crdt::encode_claimed(values[i], crdt::Collation::binary, a);
      crdt::encode_claimed(parent.value(f.to[i]), crdt::Collation::binary, b);
    }
    return a == b;
  };
  return std::any_of(hidden_.begin(), hidden_.end(),
                     [&](const Hidden& p) { return p.table->id == f.parent_id && !p.out && same(p); });
}

// The most rows that can be shown together: all that nothing else keeps hidden, less those that then lack a parent.
Status Visibility::choose() {
  for (Hidden& h : hidden_) {
    if (h.done) continue;
    h.out = !h.refused.empty();
    h.reason = h.refused;
    h.without.clear();
    h.parent_visible.clear();
    h.default_visible.clear();
    for (const ForeignKey& f : h.table->constraints.parents) {
      REJOIN_ASSIGN(bool has, has_parent(f, reference(f, h, false)));
      h.parent_visible.push_back(has);
      bool instead = false;
      if (f.stands_in && !has) {
        REJOIN_ASSIGN(instead, has_parent(f, reference(f, h, true)));
      }
      h.default_visible.push_back(instead);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (Hidden& h : hidden_) {
      if (h.out || h.done) continue;
      for (size_t i = 0; i < h.parent_visible.size() && !h.out; ++i) {
        const ForeignKey& f = h.table->constraints.parents[i];
        if (h.parent_visible[i] || shows_with(f, reference(f, h, false))) continue;
        const bool without = std::find(h.without.begin(), h.without.end(), &f) != h.without.end();
        h.out = !f.stands_in || !(h.default_visible[i] || shows_with(f, reference(f, h, true)));
        if (without && !h.out) continue;
        changed = true;
        h.reason = lacks(f, h);
        if (!h.out) h.without.push_back(&f);
      }
    }
  }
  return {};
}

Status Visibility::show() {
  for (Hidden& h : hidden_) {
    if (h.done) continue;
    const Table& table = *h.table;
    if (!h.out) {
      REJOIN_TRY(enforcement_.begin(table));
      BaseWriter writer(ctx_, table, enforcement_.triggers());
      BaseWriter::Row row = h.row;
      for (const ForeignKey* f : h.without)
        for (int at : f->from) {
          const auto c = static_cast<size_t>(at);
          row.values[c] = f->to_default ? table.columns[c].default_value.ref() : crdt::ValueRef();
        }
      REJOIN_ASSIGN(Wrote wrote, writer.insert(row));
      if (wrote == Wrote::done) {
        h.done = true;
        if (!h.without.empty()) {
          REJOIN_TRY(park_hidden(ctx_, table, h.key, h.reason + "; until then it is shown without"));
          continue;
        }
        REJOIN_TRY(writer.erase_shadow(row));
        h.record.hidden = false;
        REJOIN_TRY(write_record(ctx_, table, h.key, h.record));
        REJOIN_TRY(unpark_hidden(ctx_, table, h.key));
        ++settled_.shown;
        continue;
      }
      h.out = true;
      h.reason = h.refused = writer.reason();
      REJOIN_TRY(left(table, h.key));  // others were shown because it would be
    }
    REJOIN_TRY(park_hidden(ctx_, table, h.key, h.reason));
    if (std::exchange(h.stood_in, false)) REJOIN_TRY(left(table, h.key));
  }
  return {};
}

Status settle_all_hidden(Work& work) {
  Context& ctx = work.ctx();
  std::vector<uint64_t> tables;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT DISTINCT table_name FROM main.rejoin_parked WHERE frame IS NULL"));
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
