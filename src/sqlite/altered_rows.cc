#include "sqlite/altered_rows.h"

#include <algorithm>

#include "codec/merged_list.h"
#include "crdt/record.h"
#include "sqlite/columns.h"
#include "sqlite/key_before.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"
#include "sqlite/retyped.h"
#include "sqlite/side_alter.h"
#include "sqlite/track.h"
#include "sqlite/triggers.h"

namespace rejoin::sqlite {
namespace {

const Column* find_column(const std::vector<Column>& columns, const std::string& name) {
  for (const Column& c : columns)
    if (c.present && same_name(c.name, name)) return &c;
  return nullptr;
}

std::string list_of(const char* row, const std::vector<Column>& columns) {
  std::string out;
  for (const Column& c : columns) out += (out.empty() ? "" : ", ") + std::string(row) + quote(c.name);
  return out;
}

std::string log_columns(const Table& t) {
  std::string out = "INSERT INTO main.rejoin_log(tbl, op, bits, ms";
  for (size_t i = 0; i < t.key.size(); ++i) out += ", k" + std::to_string(i);
  return out + ") SELECT " + std::to_string(t.id) + ", ";
}

// So many are compared in one statement: SQLite bounds what one can give back.
constexpr size_t kRetypedColumns = 500;

// Rows that were written here, in the feed.
Status log_own(Work& work, const Table& table, codec::MergedListWriter& news) {
  if (news.empty()) return {};
  REJOIN_ASSIGN(Statement s,
                prepare(work.ctx().db, "INSERT INTO main.rejoin_log(tbl, op, bits, k0) VALUES(?1, ?2, ?3, ?4)"));
  const Bytes blob = news.finish();
  s.bind(1, static_cast<int64_t>(table.id));
  s.bind(2, static_cast<int64_t>(kMerged));
  s.bind(3, static_cast<int64_t>(work.state.site));
  s.bind_blob(4, blob);
  return s.run("logging the rows of an altered table");
}

Result<bool> holds(Context& ctx, const std::string& condition, const OwnedValue* parameter = nullptr) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT " + condition));
  if (parameter) s.bind(1, parameter->ref());
  REJOIN_ASSIGN(bool row, s.step("comparing an altered table"));
  return row && s.integer(0) != 0;
}

}  // namespace

std::string AlteredRows::name_now(const std::string& name) const {
  for (const auto& [from, to] : renamed)
    if (same_name(from, name)) return to;
  return name;
}

// s is a row of the copy, t one of the table. Empty: they cannot be matched any more.
std::string AlteredRows::same_row() const {
  if (other_rows) return "";
  std::string out;
  for (const Column& c : before.key) {
    const std::string now = name_now(c.name);
    if (!find_column(after.key, now) && !find_column(after.columns, now)) return "";
    out += (out.empty() ? "" : " AND ") + ("t." + quote(now) + " = s." + quote(c.name));
  }
  return out;
}

std::string AlteredRows::differs(const std::string& from, const Column& to) const {
  const std::string old = "s." + quote(from), now = "t." + quote(to.name);
  std::string out = "(" + old + " COLLATE BINARY IS NOT " + now;
  if (to.affinity == Affinity::blob) out += " OR typeof(" + old + ") <> typeof(" + now + ")";
  return out + ")";
}

Result<bool> AlteredRows::keeps_keys(Context& ctx, const std::string& from, const std::string& to) const {
  std::string match = "t." + quote(to) + " = s." + quote(from);
  for (const Column& c : before.key)
    if (const std::string now = name_now(c.name); !same_name(c.name, from) && find_column(after.key, now))
      match += " AND t." + quote(now) + " = s." + quote(c.name);
  return holds(ctx, "EXISTS (SELECT 1 FROM " + copy() + " AS s, " + after.quoted() + " AS t WHERE " + match +
                        ") OR NOT EXISTS (SELECT 1 FROM " + copy() + ")");
}

Result<bool> AlteredRows::keeps_values(Context& ctx, const std::string& from, const std::string& to) const {
  const std::string match = same_row();
  const Column* column = find_column(after.columns, to);
  if (match.empty() || !column) return false;
  const std::string pairs = "SELECT 1 FROM " + copy() + " AS s, " + after.quoted() + " AS t WHERE " + match + " AND ";
  return holds(ctx,
               "NOT EXISTS (" + pairs + differs(from, *column) + ") AND EXISTS (" + pairs + "s." + quote(from) +
                   " COLLATE BINARY IS NOT ?1)",
               &column->default_value);
}

Result<bool> AlteredRows::keeps_key_types(Context& ctx) const {
  for (const Column& c : before.key) {
    const auto types = [](const std::string& column, const std::string& table) {
      return "SELECT DISTINCT typeof(" + quote(column) + ") FROM " + table;
    };
    const std::string was = types(c.name, copy()), is = types(name_now(c.name), after.quoted());
    REJOIN_ASSIGN(const bool same, holds(ctx, "EXISTS (" + was + " INTERSECT " + is + ") OR NOT EXISTS (" + was +
                                                  ") OR NOT EXISTS (" + is + ")"));
    if (!same) return false;
  }
  return true;
}

void AlteredRows::map_columns() {
  now_.clear();
  // One whose name another column has got was dropped.
  const auto was_taken = [&](const std::string& name) {
    bool taken = false;
    for (const auto& [from, to] : renamed) {
      if (same_name(from, name)) return false;
      taken |= same_name(to, name);
    }
    return taken;
  };
  for (const Column& c : before.columns)
    now_.push_back(c.present && !was_taken(c.name) ? find_column(after.columns, name_now(c.name)) : nullptr);
}

std::vector<std::string> AlteredRows::new_columns() const {
  std::vector<std::string> out;
  for (const Column& c : after.columns)
    if (std::find(now_.begin(), now_.end(), &c) == now_.end()) out.push_back(c.name);
  return out;
}

// Of rows that were there before: the columns that have another value, in the bits of the capture triggers.
Status AlteredRows::log_updates(Work& work) const {
  Context& ctx = work.ctx();
  const std::string match = same_row();
  const Table* table = ctx.catalog.find(before.id);
  if (!table) return fail(Code::internal, "table \"" + after.name + "\" is not tracked any more");
  const size_t chunk =
      table->columns.size() <= kUpdateChunk ? std::max<size_t>(1, table->columns.size()) : kUpdateChunk;
  for (size_t first = 0; first < table->columns.size(); first += chunk) {
    std::string bits;
    std::vector<const OwnedValue*> defaults;
    for (size_t c = first; c < std::min(first + chunk, table->columns.size()); ++c) {
      const Column* now = c < now_.size() ? now_[c] : nullptr;
      std::string test;
      if (now) {
        const std::string was = "s." + quote(before.columns[c].name), is = "t." + quote(now->name);
        test = "typeof(" + was + ") = typeof(" + is + ") AND " + was + " COLLATE BINARY IS NOT " + is;
      } else if (table->columns[c].present) {
        // A new column: whatever is not its default was written.
        defaults.push_back(&table->columns[c].default_value);
        test = "t." + quote(table->columns[c].name) + " COLLATE BINARY IS NOT ?" + std::to_string(defaults.size());
      } else {
        continue;
      }
      bits += (bits.empty() ? "" : " + ") +
              ("CASE WHEN " + test + " THEN " + std::to_string(1u << (c - first)) + " ELSE 0 END");
    }
    if (bits.empty() || match.empty()) continue;
    REJOIN_ASSIGN(
        Statement s,
        prepare(ctx.db, log_columns(*table) + std::to_string(kUpdate) + ", " + std::to_string(first << 8) + " + (" +
                            bits + "), julianday('now'), " + list_of("t.", after.key) + " FROM " + copy() + " AS s, " +
                            after.quoted() + " AS t WHERE " + match + " AND (" + bits + ") > 0"));
    for (size_t i = 0; i < defaults.size(); ++i) s.bind(static_cast<int>(i + 1), defaults[i]->ref());
    REJOIN_TRY(s.run("logging what was updated while a table was altered"));
  }
  std::vector<uint32_t> some;
  for (uint32_t c = 0; c < now_.size() && !match.empty(); ++c) {
    if (now_[c]) some.push_back(c);
    if (some.size() < kRetypedColumns && c + 1 < now_.size()) continue;
    if (!some.empty()) REJOIN_TRY(log_retyped(work, *table, some));
    some.clear();
  }
  return {};
}

// A column without a type holds each form of a number.
bool AlteredRows::loses_type(uint32_t column) const {
  return before.columns[column].affinity != Affinity::blob && now_[column]->affinity == Affinity::blob;
}

// Values of another type than they had. In a column that got another type, the same number is the same value, and any
// other one that SQLite made of the old one was not written by anybody: it is above the old one, so that all replicas
// get it, and below every later write.
Status AlteredRows::log_retyped(Work& work, const Table& table, const std::vector<uint32_t>& columns) const {
  Context& ctx = work.ctx();
  std::string pairs, differ;
  for (const uint32_t c : columns) {
    const std::string was = "s." + quote(before.columns[c].name), is = "t." + quote(now_[c]->name);
    pairs += ", " + was + ", " + is;
    differ += (differ.empty() ? "typeof(" : " OR typeof(") + was + ") <> typeof(" + is + ")";
    if (loses_type(c)) differ += " OR typeof(" + is + ") IN ('integer', 'real', 'text')";
  }
  REJOIN_ASSIGN(Statement rows,
                prepare(ctx.db, "SELECT " + list_of("t.", table.key) + pairs + " FROM " + copy() + " AS s, " +
                                    after.quoted() + " AS t WHERE " + same_row() + " AND (" + differ + ")"));
  REJOIN_ASSIGN(Statement records, prepare(ctx.db, "SELECT rec FROM " + table.records() + " WHERE k=?1"));
  std::string marks;
  for (size_t i = 0; i < table.key.size(); ++i) marks += ", ?" + std::to_string(i + 2);
  REJOIN_ASSIGN(Statement update,
                prepare(ctx.db, log_columns(table) + std::to_string(kUpdate) + ", ?1, julianday('now')" + marks));
  RecordWriter writer(ctx, table);
  codec::MergedListWriter news;
  const auto flush = [&]() -> Status {
    REJOIN_TRY(writer.flush());
    return log_own(work, table, news);
  };
  crdt::RowRecord record;
  Bytes key;
  for (;;) {
    REJOIN_ASSIGN(const bool row, rows.step("comparing an altered table"));
    if (!row) break;
    encode_row_key(rows, 0, table.key.size(), key);
    crdt::ColumnSet converted;
    for (size_t i = 0; i < columns.size(); ++i) {
      const int at = static_cast<int>(table.key.size() + 2 * i);
      const crdt::ValueRef was = rows.value(at), is = rows.value(at + 1);
      if (was.type == is.type) {
        // Others may have the form that it was sent in.
        if (loses_type(columns[i]) && crdt::same_value(was, is) && has_other_form(is)) converted.add(columns[i]);
        continue;
      }
      const Affinity affinity = now_[columns[i]]->affinity;
      if (affinity != before.columns[columns[i]].affinity) {
        if (const std::optional<OwnedValue> same = same_number(was, affinity);
            same && crdt::same_value(same->ref(), is))
          continue;
        if (is_conversion(was, is, affinity)) {
          converted.add(columns[i]);
          continue;
        }
      }
      const uint32_t first = table.columns.size() <= kUpdateChunk ? 0 : columns[i] / kUpdateChunk * kUpdateChunk;
      update.bind(1, static_cast<int64_t>(first) << 8 | int64_t{1} << (columns[i] - first));
      for (size_t k = 0; k < table.key.size(); ++k)
        update.bind(static_cast<int>(k + 2), rows.value(static_cast<int>(k)));
      REJOIN_TRY(update.run("logging what was updated while a table was altered"));
    }
    if (converted.empty()) continue;
    Use use(records);
    records.bind_blob(1, key);
    REJOIN_ASSIGN(const bool known, records.step("reading the record of an altered row"));
    record.reset();
    if (known && !crdt::decode_record(records.blob(0), ctx.sites.size(), record))
      return fail(Code::corrupt, "the record of a row in \"" + before.name + "\" is damaged; run rejoin doctor");
    if (!record.visible()) continue;
    table.constraints.groups.expand(converted);
    crdt::Hlc above = record.birth.hlc;
    converted.each([&](uint32_t c) { above = std::max(above, record.stamp_of(c).hlc); });
    record.write(converted, {above + 1, work.state.site});
    work.state.last = std::max(work.state.last, above + 1);
    crdt::canonicalise(record, ctx.sites);
    writer.add(key, record);
    news.add(key, false, false, converted);
    if (writer.size() >= 1'024) REJOIN_TRY(flush());
  }
  return flush();
}

Status AlteredRows::log_changes(Work& work) const {
  Context& ctx = work.ctx();
  const std::string match = same_row();
  const std::string gone =
      " FROM " + copy() + " AS s WHERE NOT EXISTS (SELECT 1 FROM " + after.quoted() + " AS t WHERE " + match + ")";
  if (before.keep_deleted) {
    std::string into = list_of("", after.key), values = list_of("s.", before.key);
    for (size_t c = 0; c < now_.size(); ++c)
      if (now_[c]) into += ", " + quote(now_[c]->name), values += ", s." + quote(before.columns[c].name);
    REJOIN_TRY(
        exec(ctx.db, "INSERT INTO main." + quote(gone_table(after.name)) + "(" + into + ") SELECT " + values + gone));
  }
  REJOIN_TRY(exec(ctx.db, log_columns(after) + std::to_string(kDelete) + ", NULL, julianday('now'), " +
                              list_of("s.", before.key) + gone));
  REJOIN_TRY(exec(ctx.db, log_columns(after) + std::to_string(kInsert) + ", NULL, julianday('now'), " +
                              list_of("t.", after.key) + " FROM " + after.quoted() +
                              " AS t WHERE NOT EXISTS (SELECT 1 FROM " + copy() + " AS s WHERE " + match + ")"));
  return log_updates(work);
}

// Columns that stay keep their ids; those of the old key that are ordinary ones now get some.
Status AlteredRows::settle_ids(Context& ctx) const {
  REJOIN_ASSIGN(Statement name, prepare(ctx.db, "UPDATE main.rejoin_column SET name=?3 WHERE tbl=?1 AND id=?2"));
  for (size_t c = 0; c < now_.size(); ++c) {
    name.bind(1, static_cast<int64_t>(before.id));
    name.bind(2, static_cast<int64_t>(c));
    name.bind_text(3, now_[c] ? std::string_view(now_[c]->name) : std::string_view());
    REJOIN_TRY(name.run("noting a table's columns"));
  }
  REJOIN_TRY(add_column_ids(ctx, before.id, new_columns(), now_.size()));
  REJOIN_TRY(exec(ctx.db, "DELETE FROM main.rejoin_former WHERE col IS NOT NULL AND tbl=" + std::to_string(before.id)));
  for (size_t c = 0; c < now_.size(); ++c) {
    if (now_[c] || !before.columns[c].present) continue;
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "INSERT INTO main.rejoin_former(tbl, col, name) VALUES(?1, ?2, ?3)"));
    s.bind(1, static_cast<int64_t>(before.id));
    s.bind(2, static_cast<int64_t>(c));
    s.bind_text(3, before.columns[c].name);
    REJOIN_TRY(s.run("noting a dropped column"));
  }
  std::vector<std::string> key;
  for (const Column& c : before.key) key.push_back(c.name);
  return note_key_before(ctx, before.id, key);
}

Status AlteredRows::carry_records(Work& work, const Table& table) const {
  Context& ctx = work.ctx();
  const std::string match = same_row();
  // What belonged to the key was written when the row was.
  crdt::ColumnSet kept, from_key;
  for (uint32_t c = 0; c < table.columns.size(); ++c) {
    if (c < now_.size() && now_[c]) kept.add(c);
    for (const Column& k : before.key)
      if (table.columns[c].present && same_name(table.columns[c].name, name_now(k.name))) from_key.add(c);
  }
  REJOIN_ASSIGN(Statement rows,
                prepare(ctx.db, "SELECT " + list_of("t.", table.key) + ", " + list_of("s.", before.key) + " FROM " +
                                    after.quoted() + " AS t LEFT JOIN " + copy() + " AS s ON " +
                                    (match.empty() ? "0" : match) + " ORDER BY " + list_of("t.", table.key)));
  REJOIN_ASSIGN(Statement old,
                prepare(ctx.db, "SELECT rec FROM main." + quote(table.name + "__rejoin_before") + " WHERE k=?1"));
  std::string marks;
  for (size_t i = 0; i < table.key.size(); ++i) marks += ", ?" + std::to_string(i + 1);
  REJOIN_ASSIGN(Statement insert,
                prepare(ctx.db, log_columns(table) + std::to_string(kInsert) + ", NULL, julianday('now')" + marks));
  RecordWriter writer(ctx, table);
  crdt::RowRecord record;
  Bytes key, old_key;
  for (;;) {
    REJOIN_ASSIGN(bool row, rows.step("reading rows with a new key"));
    if (!row) break;
    bool known = false;
    if (const int at = static_cast<int>(table.key.size()); !rows.is_null(at)) {
      encode_row_key(rows, at, before.key.size(), old_key);
      Use use(old);
      old.bind_blob(1, old_key);
      REJOIN_ASSIGN(known, old.step("reading the record of a row with a new key"));
      record.reset();
      if (known && !crdt::decode_record(old.blob(0), ctx.sites.size(), record))
        return fail(Code::corrupt, "the record of a row in \"" + before.name + "\" is damaged; run rejoin doctor");
      known = known && record.visible();
    }
    if (!known) {
      for (size_t i = 0; i < table.key.size(); ++i)
        insert.bind(static_cast<int>(i + 1), rows.value(static_cast<int>(i)));
      REJOIN_TRY(insert.run("logging a row with a new key"));
      continue;
    }
    for (crdt::CellGroup& g : record.groups) g.columns &= kept;
    record.groups.push_back({from_key, record.birth});
    crdt::canonicalise(record, ctx.sites);
    encode_row_key(rows, 0, table.key.size(), key);
    writer.add(key, record);
    if (writer.size() >= 2'048) REJOIN_TRY(writer.flush());
  }
  return writer.flush();
}

Status AlteredRows::log_new_key(Work& work) const {
  Context& ctx = work.ctx();
  const std::string number = std::to_string(before.id);
  REJOIN_ASSIGN(const int64_t hidden, count_hidden(ctx, before));
  if (hidden)
    return fail(Code::bad_argument, "table \"" + before.name + "\" has " + std::to_string(hidden) +
                                        " row(s) that wait in rejoin_parked and would be lost with the old key; make "
                                        "room for them first, or ROLLBACK");
  const std::string records = "main." + quote(records_table(after.name)), old = after.name + "__rejoin_before";
  ctx.statements.clear();
  REJOIN_TRY(alter_side_table(ctx.db, "ALTER TABLE " + records + " RENAME TO " + quote(old)));
  for (const std::string& side : {shadow_table(after.name), gone_table(after.name)})
    REJOIN_TRY(exec(ctx.db, "DROP TABLE main." + quote(side)));
  REJOIN_TRY(settle_ids(ctx));
  for (const std::string& sql : {
           "DELETE FROM main.rejoin_log WHERE tbl=" + number + " AND seq<(SELECT max(seq) FROM main.rejoin_log)",
           "UPDATE main.rejoin_log SET tbl=0, op=" + std::to_string(kBlank) +
               ", bits=NULL, k0=NULL WHERE tbl=" + number,
           "DELETE FROM main.rejoin_lost WHERE tbl=" + number,
           "DELETE FROM main.rejoin_rejections WHERE table_name=" + quote_text(after.name),
           "DELETE FROM main.rejoin_evicted WHERE table_name=" + quote_text(after.name),
           "DELETE FROM main.rejoin_discarded WHERE table_name=" + quote_text(after.name),
       })
    REJOIN_TRY(exec(ctx.db, sql));
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  Table* found = ctx.catalog.find(before.id);
  if (!found) return fail(Code::internal, "table \"" + after.name + "\" is not tracked any more");
  const Table table = *found;
  REJOIN_TRY(widen_log(ctx, table.key.size()));
  REJOIN_TRY(create_side_tables(ctx, table));
  REJOIN_TRY(carry_records(work, table));
  REJOIN_TRY(announce_rows(work, table));
  REJOIN_TRY(renew_triggers(ctx, before.id));
  REJOIN_TRY(log_updates(work));
  ctx.statements.clear();
  return exec(ctx.db, "DROP TABLE main." + quote(old));
}

}  // namespace rejoin::sqlite
