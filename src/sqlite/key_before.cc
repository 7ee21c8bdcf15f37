#include "sqlite/key_before.h"

#include <algorithm>

#include "codec/row_frame.h"
#include "crdt/key.h"
#include "sqlite/key_reader.h"
#include "sqlite/parked.h"
#include "sqlite/purge.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {

Status note_key_before(Context& ctx, uint64_t table, const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "INSERT INTO main.rejoin_former(tbl, col, name) VALUES(?1, ?2, ?3)"));
    s.bind(1, static_cast<int64_t>(table));
    s.bind(2, kKeyBefore - static_cast<int64_t>(i));
    s.bind_text(3, names[i]);
    REJOIN_TRY(s.run("noting a table's key"));
  }
  return {};
}

KeyBefore::KeyBefore(Context& ctx, const Table& table) : ctx_(&ctx), table_(&table), names_(table.former_names) {
  names_.push_back(table.name);
}

Result<KeyBefore> KeyBefore::load(Context& ctx, const Table& table) {
  KeyBefore out(ctx, table);
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT name FROM main.rejoin_former WHERE tbl=?1 AND col<=?2 ORDER BY col DESC"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(table.id));
  s->bind(2, kKeyBefore);
  std::vector<Place> places;
  bool all = true;
  for (;;) {
    REJOIN_ASSIGN(const bool row, s->step("reading a table's former key"));
    if (!row) break;
    const std::string& name = out.columns_.emplace_back(s->text(0));
    Place place;
    bool found = false;
    const auto is = [&](const Column& c, int64_t number) {
      bool same = same_name(c.name, name);
      for (const FormerName& f : table.former) same |= f.column == number && same_name(f.name, name);
      return same;
    };
    for (size_t i = 0; i < table.key.size(); ++i)
      if (is(table.key[i], -1 - static_cast<int64_t>(i))) place.in_key = i, found = true;
    for (uint32_t c = 0; c < table.columns.size(); ++c)
      if (table.columns[c].present && is(table.columns[c], c)) place.column = c, found = true;
    all &= found;
    places.push_back(place);
  }
  if (all && !places.empty()) out.places_ = std::move(places);
  return out;
}

bool KeyBefore::is(const std::vector<std::string>& key) const {
  return places_ && std::equal(key.begin(), key.end(), columns_.begin(), columns_.end(),
                               [](const auto& a, const auto& b) { return same_name(a, b); });
}

Result<bool> KeyBefore::waits() const {
  if (!places_) return false;
  for (const std::string& name : names_) {
    REJOIN_ASSIGN(Statement * s, ctx_->statement("SELECT 1 FROM main.rejoin_aside INDEXED BY rejoin_parked_key WHERE "
                                                 "table_name=?1 AND due IS NULL AND frame IS NOT NULL LIMIT 1"));
    Use use(*s);
    s->bind_text(1, name);
    REJOIN_ASSIGN(const bool any, s->step("looking for what waits under a former key"));
    if (any) return true;
  }
  return false;
}

Result<std::set<Bytes>> KeyBefore::waiting() const {
  std::set<Bytes> out;
  for (const std::string& name : names_) {
    REJOIN_ASSIGN(Statement * s, ctx_->statement("SELECT k FROM main.rejoin_aside INDEXED BY rejoin_parked_key WHERE "
                                                 "table_name=?1 AND due IS NULL AND frame IS NOT NULL"));
    Use use(*s);
    s->bind_text(1, name);
    for (;;) {
      REJOIN_ASSIGN(const bool row, s->step("reading what waits under a former key"));
      if (!row) break;
      out.emplace(s->blob(0));
    }
  }
  return out;
}

// The key that the row had; nothing when it has no value in one of that key's columns.
Result<std::optional<Bytes>> KeyBefore::former(BytesView key) const {
  std::vector<crdt::ValueRef> values, old;
  Bytes scratch;
  if (!crdt::decode_key(key, table_->key.size(), values, scratch)) return std::optional<Bytes>();
  std::optional<RowState> state;
  for (const Place& place : *places_) {
    if (place.in_key) {
      old.push_back(values[*place.in_key]);
      continue;
    }
    if (!state) {
      REJOIN_ASSIGN(state, read_row_state(*ctx_, *table_, key));
    }
    const auto value = state->values.find(place.column);
    if (value == state->values.end()) return std::optional<Bytes>();
    old.push_back(value->second.ref());
  }
  Bytes out;
  crdt::encode_key(old, out);
  return std::optional(std::move(out));
}

// The rows that had these keys: the former key and the row's own. Of rows that were deleted only where the row's own
// key tells both.
Result<std::vector<std::pair<Bytes, Bytes>>> KeyBefore::find(const std::set<Bytes>& former_keys) const {
  std::vector<std::pair<Bytes, Bytes>> found;
  if (former_keys.empty()) return found;
  const bool in_key =
      std::all_of(places_->begin(), places_->end(), [](const Place& p) { return p.in_key.has_value(); });
  std::string columns;
  for (const Place& p : *places_)
    columns += quote(p.in_key ? table_->key[*p.in_key].name : table_->columns[p.column].name) + ", ";
  for (const Column& c : table_->key) columns += quote(c.name) + ", ";
  columns.resize(columns.size() - 2);
  REJOIN_ASSIGN(Statement * s, ctx_->statement(in_key ? "SELECT k FROM " + table_->records() + " ORDER BY k"
                                                      : "SELECT " + columns + " FROM " + table_->quoted()));
  Use use(*s);
  Bytes key, old;
  for (;;) {
    REJOIN_ASSIGN(const bool row, s->step("reading the keys of a table"));
    if (!row) return found;
    if (in_key) {
      key = s->blob(0);
      REJOIN_ASSIGN(std::optional<Bytes> told, former(key));
      if (!told) continue;
      old = std::move(*told);
    } else {
      encode_row_key(*s, 0, columns_.size(), old);
      encode_row_key(*s, static_cast<int>(columns_.size()), table_->key.size(), key);
    }
    if (former_keys.contains(old)) found.emplace_back(old, key);
  }
}

Result<bool> KeyBefore::answers(const codec::OneRow& told, BytesView key) const {
  REJOIN_ASSIGN(const RowState state, read_row_state(*ctx_, *table_, key));
  if (!state.known) return false;
  const auto known = [&](crdt::Stamp stamp, crdt::Stamp here) {
    return stamp.bottom() || (!here.bottom() && crdt::compare(stamp, here, ctx_->sites) <= 0);
  };
  if (!known(told.record.live, state.record.live) || !known(told.record.birth, state.record.birth)) return false;
  std::vector<crdt::ValueRef> key_values;
  Bytes scratch;
  if (!crdt::decode_key(key, table_->key.size(), key_values, scratch)) return false;
  const std::vector<uint32_t> columns = column_map(*table_, told.table);
  bool all = true;
  for (const crdt::CellGroup& group : told.record.groups)
    group.columns.each([&](uint32_t c) {
      if (columns[c] != codec::kNoColumn) {
        const crdt::Stamp here = state.record.stamp_of(columns[c]);
        all = all && (known(group.stamp, here) || known(group.stamp, state.record.birth));
        return;
      }
      // Of a column that was dropped it says nothing any more.
      for (const FormerName& f : table_->former)
        if (f.column >= 0 && !table_->columns[static_cast<size_t>(f.column)].present &&
            same_name(f.name, told.table.columns[c]))
          return;
      // A column of the new key is no register: it says nothing new only if it has the value that the key has.
      bool same = false;
      const auto value = told.values.find(c);
      for (size_t i = 0; i < table_->key.size(); ++i)
        same |= value != told.values.end() && same_name(table_->key[i].name, told.table.columns[c]) &&
                crdt::same_value(value->second.ref(), key_values[i]);
      all = all && same;
    });
  return all;
}

Result<uint64_t> KeyBefore::settle_one(const std::string& name, BytesView former_key, BytesView key) const {
  std::vector<int64_t> known;
  {
    REJOIN_ASSIGN(Statement * s, ctx_->statement("SELECT id, frame FROM main.rejoin_aside INDEXED BY "
                                                 "rejoin_parked_key WHERE table_name=?1 AND k=?2 AND due IS NULL AND "
                                                 "frame IS NOT NULL"));
    Use use(*s);
    s->bind_text(1, name);
    s->bind_blob(2, former_key);
    for (;;) {
      REJOIN_ASSIGN(const bool row, s->step("reading what waits under a former key"));
      if (!row) break;
      const Bytes frame(s->blob(1));
      auto reader = codec::ChangesetReader::open(frame);
      if (!reader.ok()) continue;  // damaged on disk: it stays, and stops nothing else
      REJOIN_ASSIGN(const std::vector<uint32_t> sites, site_map(*ctx_, *reader));
      auto told = codec::read_row_frame(*reader, sites);
      if (!told.ok() || !*told) continue;
      if (!is((*told)->table.key)) continue;
      REJOIN_ASSIGN(const bool answered, answers(**told, key));
      if (answered) known.push_back(s->integer(0));
    }
  }
  for (const int64_t id : known) {
    REJOIN_ASSIGN(Statement * s, ctx_->statement("UPDATE main.rejoin_aside SET due=?2, since=?3 WHERE id=?1"));
    Use use(*s);
    s->bind(1, id);
    s->bind(2, kAnswered);
    s->bind(3, ctx_->clock.now_ms());
    REJOIN_TRY(s->run("settling what has come with the new key"));
  }
  return known.size();
}

Status KeyBefore::settle(const std::vector<Bytes>& keys) const {
  for (const Bytes& key : keys) {
    REJOIN_ASSIGN(const std::optional<Bytes> old, former(key));
    if (!old) continue;
    for (const std::string& name : names_) REJOIN_TRY(settle_one(name, *old, key));
  }
  return {};
}

Result<uint64_t> KeyBefore::settle_former(const std::set<Bytes>& former_keys) const {
  uint64_t settled = 0;
  REJOIN_ASSIGN(const auto found, find(former_keys));
  for (const auto& [former_key, key] : found)
    for (const std::string& name : names_) {
      REJOIN_ASSIGN(const uint64_t some, settle_one(name, former_key, key));
      settled += some;
    }
  return settled;
}

Status KeyBefore::settle_all() const {
  REJOIN_ASSIGN(const std::set<Bytes> listed, waiting());
  REJOIN_TRY(settle_former(listed));
  return {};
}

Status settle_former_keys(Context& ctx) {
  for (const auto& table : ctx.catalog.tables) {
    REJOIN_ASSIGN(const KeyBefore former, KeyBefore::load(ctx, *table));
    REJOIN_ASSIGN(const bool waits, former.waits());
    if (waits) REJOIN_TRY(former.settle_all());
  }
  REJOIN_ASSIGN(const int64_t keep, keep_ms(ctx));
  REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_aside INDEXED BY rejoin_parked_due WHERE due=?1 "
                                             "AND since<?2"));
  Use use(*s);
  s->bind(1, kAnswered);
  s->bind(2, ctx.clock.now_ms() - keep);
  return s->run("forgetting what came under a former key");
}

}  // namespace rejoin::sqlite
