#include "sqlite/key_before.h"

#include <algorithm>
#include <optional>
#include <set>

#include "codec/row_frame.h"
#include "crdt/key.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

constexpr size_t kNotInKey = ~size_t{0};

// One column of the key of before, as the table has it now.
struct Place {
  size_t in_key = kNotInKey;
  uint32_t column = 0;
};

std::optional<std::vector<Place>> places(const Table& table, const std::vector<std::string>& before) {
  std::vector<Place> out;
  for (const std::string& name : before) {
    Place place;
    bool found = false;
    for (size_t i = 0; i < table.key.size(); ++i)
      if (same_name(table.key[i].name, name)) place.in_key = i, found = true;
    for (uint32_t c = 0; c < table.columns.size(); ++c)
      if (table.columns[c].present && same_name(table.columns[c].name, name)) place.column = c, found = true;
    if (!found) return std::nullopt;
    out.push_back(place);
  }
  return out;
}

class Answers {
 public:
  Answers(Context& ctx, const Table& table, const std::vector<std::string>& before)
      : ctx_(ctx), table_(table), before_(before), places_(places(table, before)) {}

  bool possible() const { return places_.has_value() && !before_.empty(); }

  // The key that the row had; nothing when the row has no value in one of its columns.
  Result<std::optional<Bytes>> old_key(BytesView key) {
    std::vector<crdt::ValueRef> values, old;
    Bytes scratch;
    if (!crdt::decode_key(key, table_.key.size(), values, scratch)) return std::optional<Bytes>();
    std::optional<RowState> state;
    for (const Place& place : *places_) {
      if (place.in_key != kNotInKey) {
        old.push_back(values[place.in_key]);
        continue;
      }
      if (!state) {
        REJOIN_ASSIGN(state, read_row_state(ctx_, table_, key));
      }
      const auto value = state->values.find(place.column);
      if (value == state->values.end()) return std::optional<Bytes>();
      old.push_back(value->second.ref());
    }
    Bytes out;
    crdt::encode_key(old, out);
    return std::optional(std::move(out));
  }

  // Drops what waits under `old` if the row answers it. Without a row: a deletion, of what is not here.
  Status drop(BytesView old, const std::optional<Bytes>& key) {
    std::vector<int64_t> answered;
    {
      REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT id, frame FROM main.rejoin_aside INDEXED BY "
                                                  "rejoin_parked_key WHERE table_name=?1 AND k=?2 AND due IS NULL AND "
                                                  "frame IS NOT NULL"));
      Use use(*s);
      s->bind_text(1, table_.name);
      s->bind_blob(2, old);
      for (;;) {
        REJOIN_ASSIGN(const bool row, s->step("reading what waits under a former key"));
        if (!row) break;
        const Bytes frame(s->blob(1));
        REJOIN_ASSIGN(const bool known, answers(frame, key));
        if (known) answered.push_back(s->integer(0));
      }
    }
    for (const int64_t id : answered) {
      REJOIN_ASSIGN(Statement * s, ctx_.statement("DELETE FROM main.rejoin_aside WHERE id=?1"));
      Use use(*s);
      s->bind(1, id);
      REJOIN_TRY(s->run("dropping what has come with the new key"));
      ++dropped;
    }
    return {};
  }

  uint64_t dropped = 0;

 private:
  Result<bool> answers(BytesView frame, const std::optional<Bytes>& key) {
    auto reader = codec::ChangesetReader::open(frame);
    if (!reader.ok()) return false;
    REJOIN_ASSIGN(const std::vector<uint32_t> sites, site_map(ctx_, *reader));
    auto read = codec::read_row_frame(*reader, sites);
    if (!read.ok() || !*read ||
        !std::equal((*read)->table.key.begin(), (*read)->table.key.end(), before_.begin(), before_.end(),
                    [](const auto& a, const auto& b) { return same_name(a, b); }))
      return false;
    const codec::OneRow& told = **read;
    if (!key) return !told.record.live.bottom() && !told.record.alive;
    REJOIN_ASSIGN(const RowState state, read_row_state(ctx_, table_, *key));
    if (!state.known) return false;
    const auto known = [&](crdt::Stamp stamp, crdt::Stamp here) {
      return stamp.bottom() || (!here.bottom() && crdt::compare(stamp, here, ctx_.sites) <= 0);
    };
    if (!known(told.record.live, state.record.live) || !known(told.record.birth, state.record.birth)) return false;
    std::vector<crdt::ValueRef> key_values;
    Bytes scratch;
    if (!crdt::decode_key(*key, table_.key.size(), key_values, scratch)) return false;
    const std::vector<uint32_t> columns = column_map(table_, told.table);
    bool all = true;
    for (const crdt::CellGroup& group : told.record.groups)
      group.columns.each([&](uint32_t c) {
        if (columns[c] != codec::kNoColumn) {
          const crdt::Stamp here = state.record.stamp_of(columns[c]);
          all = all && (known(group.stamp, here) || known(group.stamp, state.record.birth));
          return;
        }
        // A column of the new key is no register: it says nothing new only if it has the value that the key has.
        bool same = false;
        const auto value = told.values.find(c);
        for (size_t i = 0; i < table_.key.size(); ++i)
          same |= value != told.values.end() && same_name(table_.key[i].name, told.table.columns[c]) &&
                  crdt::same_value(value->second.ref(), key_values[i]);
        all = all && same;
      });
    return all;
  }

  Context& ctx_;
  const Table& table_;
  const std::vector<std::string>& before_;
  const std::optional<std::vector<Place>> places_;
};

}  // namespace

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

Result<std::vector<std::string>> key_before(Context& ctx, const Table& table) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT name FROM main.rejoin_former WHERE tbl=?1 AND col<=?2 ORDER BY col DESC"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(table.id));
  s->bind(2, kKeyBefore);
  std::vector<std::string> out;
  for (;;) {
    REJOIN_ASSIGN(const bool row, s->step("reading a table's former key"));
    if (!row) return out;
    out.emplace_back(s->text(0));
  }
}

Result<uint64_t> drop_answered(Context& ctx, const Table& table, const std::vector<std::string>& before,
                               const std::vector<Bytes>& keys) {
  Answers answers(ctx, table, before);
  if (!answers.possible()) return uint64_t{0};
  for (const Bytes& key : keys) {
    REJOIN_ASSIGN(const std::optional<Bytes> old, answers.old_key(key));
    if (old) REJOIN_TRY(answers.drop(*old, key));
  }
  return answers.dropped;
}

Result<uint64_t> drop_answered_by_any(Context& ctx, const Table& table, const std::vector<std::string>& before) {
  Answers answers(ctx, table, before);
  if (!answers.possible()) return uint64_t{0};
  std::set<Bytes> waiting;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k FROM main.rejoin_aside INDEXED BY rejoin_parked_key WHERE "
                                               "table_name=?1 AND due IS NULL AND frame IS NOT NULL"));
    Use use(*s);
    s->bind_text(1, table.name);
    for (;;) {
      REJOIN_ASSIGN(const bool row, s->step("reading what waits under a former key"));
      if (!row) break;
      waiting.emplace(s->blob(0));
    }
  }
  std::vector<std::pair<Bytes, Bytes>> found;  // by the key of before, and the row's
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k FROM " + table.records() + " ORDER BY k"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(const bool row, s->step("reading the keys of a table"));
      if (!row) break;
      const Bytes key(s->blob(0));
      REJOIN_ASSIGN(std::optional<Bytes> old, answers.old_key(key));
      if (old && waiting.contains(*old)) found.emplace_back(std::move(*old), key);
    }
  }
  for (const auto& [old, key] : found) {
    REJOIN_TRY(answers.drop(old, key));
    waiting.erase(old);
  }
  for (const Bytes& old : waiting) REJOIN_TRY(answers.drop(old, {}));
  return answers.dropped;
}

}  // namespace rejoin::sqlite
