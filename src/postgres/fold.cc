#include "postgres/fold.h"

#include <algorithm>
#include <map>
#include <set>

#include "postgres/base_rows.h"
#include "postgres/capture.h"
#include "postgres/records.h"

namespace rejoin::postgres {
namespace {

constexpr int64_t kChunkEntries = 10'000;

struct Entry {
  int op = 0;
  crdt::Stamp stamp;
  bool all = false;         // columns are not known: any may have changed
  crdt::ColumnSet columns;  // of an update
  Held was;                 // of a delete
};

struct TableEntries {
  std::map<Bytes, std::vector<Entry>> by_key;
  std::set<Bytes> unheld;  // keys that the table cannot hold any more: CapturedKey
};

std::optional<uint32_t> column_id(const Table& table, std::string_view name) {
  for (uint32_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].present && table.columns[c].name == name) return c;
  return std::nullopt;
}

Entry read_entry(const Table& table, const Rows& rows, size_t i) {
  Entry e;
  e.op = static_cast<int>(rows.integer(i, 2));
  std::vector<TextElement> texts;
  if (e.op == kUpdated) {
    e.all = rows.is_null(i, 5) || !read_text_array(rows.bytes(i, 5), texts);
    for (const TextElement& t : texts)
      if (auto c = column_id(table, t.text)) e.columns.add(*c);
  } else if (e.op == kDeleted && !rows.is_null(i, 6)) {
    e.was = read_was(table, rows.bytes(i, 6));
  }
  return e;
}

// `part`: other entries of the same transactions may stand in another chunk.
Status fold_table(Work& work, const Table& table, TableEntries& entries, LogBatch& log, bool part) {
  if (entries.by_key.empty()) return {};
  std::vector<BytesView> keys;
  KeyArrays arrays(table);
  // Deleted and written otherwise within one fold: the table tells what came last, as triggers and cascades are written
  // down before the statement that set them off.
  std::vector<size_t> doubtful;
  for (const auto& entry : entries.by_key) {
    const Bytes& key = entry.first;
    const std::vector<Entry>& list = entry.second;
    const auto deleted = std::count_if(list.begin(), list.end(), [](const Entry& e) { return e.op == kDeleted; });
    const bool lives = list.back().op != kUpdated || deleted > 0;
    // Nor is one that cannot be there, whatever was written last.
    if (entries.unheld.contains(key) || (part ? lives : deleted > 0 && static_cast<size_t>(deleted) < list.size())) {
      REJOIN_TRY(arrays.add(key));
      doubtful.push_back(keys.size());
    }
    keys.push_back(key);
  }
  send_records(work, table, keys);
  if (!doubtful.empty()) send_select(work, table, arrays, {});
  REJOIN_ASSIGN(std::vector<Rows> all, work.db().sync());
  const Rows& present = all.back();
  std::vector<StoredRow> stored(keys.size());
  REJOIN_TRY(read_records(work, table, all[doubtful.empty() ? all.size() - 1 : all.size() - 2], stored));
  std::vector<bool> exists(keys.size(), false);
  if (!doubtful.empty())
    for (size_t i = 0; i < present.size(); ++i) exists[doubtful[static_cast<size_t>(present.integer(i, 0) - 1)]] = true;

  RecordBatch records;
  const auto columns = static_cast<uint32_t>(table.columns.size());
  size_t at = 0;
  for (auto& [key, list] : entries.by_key) {
    StoredRow& row = stored[at];
    // It came and went while the key had another type, and no device has heard of it.
    if (!row.known && entries.unheld.contains(key)) {
      ++at;
      continue;
    }
    const bool in_doubt = std::binary_search(doubtful.begin(), doubtful.end(), at);
    if (!row.known && list.front().op != kInserted) row.record = before_tracking(table);
    bool life = false, whole = false;
    crdt::ColumnSet changed;
    Held last;  // of the newest deletion
    for (Entry& e : list) {
      // Only a row that is there is updated: its insertion was not captured.
      if (e.op == kUpdated && !row.record.alive && !in_doubt) e.op = kInserted;
      switch (e.op) {
        case kInserted:
          row.record.insert(e.stamp, columns);
          drop_absent(table, row.record);
          row.held.clear();
          life = whole = true;
          break;
        case kUpdated:
          if (e.all)
            for (uint32_t c = 0; c < columns; ++c)
              if (table.columns[c].present) e.columns.add(c);
          row.record.write(e.columns, e.stamp);
          changed |= e.columns;
          break;
        case kDeleted:
          row.record.alive = false;
          row.record.live = e.stamp;
          row.held = last = std::move(e.was);
          life = true;
          break;
        default:
          break;
      }
    }
    if (in_doubt && exists[at] != row.record.alive) {
      // It happened the other way round than it was written down.
      const crdt::Stamp stamp = list.back().stamp;
      life = true;
      if (exists[at]) {
        row.record.insert(stamp, columns);
        drop_absent(table, row.record);
        row.held.clear();
        whole = true;
      } else {
        row.record.alive = false;
        row.record.live = stamp;
        row.held = std::move(last);
      }
    }
    crdt::canonicalise(row.record, work.sites());
    records.add(key, row);
    // Of a row that came and went within this fold too: who restores it shows these values.
    log.add(table, Work::kOwnSite, key, life, whole, changed);
    ++at;
  }
  records.send(work, table);
  return {};
}

// Are the tables as the catalog has them? One whose key was changed has no index by which to look for the rows.
Status check_shapes(Work& work, const std::map<int64_t, TableEntries>& tables, std::set<int64_t>& looked_at) {
  std::vector<const Table*> asked;
  const size_t first = work.db().queued();
  for (const auto& entry : tables) {
    if (!looked_at.insert(entry.first).second) continue;
    asked.push_back(work.catalog().find(entry.first));
    send_shape(work, *asked.back());
  }
  if (asked.empty()) return {};
  REJOIN_ASSIGN(const std::vector<Rows> shapes, work.db().sync());
  for (size_t i = 0; i < asked.size(); ++i) REJOIN_TRY(check_shape(work, *asked[i], shapes[first + i]));
  return {};
}

}  // namespace

std::optional<CapturedKey> captured_key(const Table& table, BytesView key) {
  std::vector<TextElement> texts;
  if (!read_text_array(key, texts) || texts.size() != table.key.size()) return std::nullopt;
  CapturedKey out;
  for (size_t i = 0; i < texts.size(); ++i) {
    const Type& type = table.key[i].type;
    if (texts[i].null) return std::nullopt;
    out.held &= holds_key(type, value_of(type, texts[i].text).ref());
  }
  out.encoded = encode_text_key(table, texts);
  return out;
}

Held read_was(const Table& table, BytesView was) {
  Held out;
  std::vector<TextElement> texts;
  if (!read_text_array(was, texts)) return out;
  for (size_t k = 0; k + 1 < texts.size(); k += 2)
    if (auto c = column_id(table, texts[k].text))
      out.emplace(*c, texts[k + 1].null ? crdt::OwnedValue() : value_of(table.columns[*c].type, texts[k + 1].text));
  return out;
}

Status fold(Work& work) {
  Connection& db = work.db();
  db.send(
      std::string("DECLARE rejoin_fold NO SCROLL CURSOR FOR SELECT id, tbl::int8, op::int8, ms, key, columns, was FROM "
                  "rejoin.outbox WHERE tenant = current_setting('rejoin.tenant')") +
      work.catalog().but_unserved() + " ORDER BY id");
  // The query is the cursor's: one snapshot, so that a batch is a union of whole transactions.
  crdt::FoldClock clock(work.state.last);
  LogBatch log;
  bool any = false, part = false;
  std::set<int64_t> looked_at;
  for (;;) {
    db.send("FETCH " + std::to_string(kChunkEntries) + " FROM rejoin_fold");
    REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
    const Rows& rows = all.back();
    if (rows.empty()) break;
    any = true;
    part |= rows.size() == kChunkEntries;
    std::map<int64_t, TableEntries> tables;
    Array done = Array::integers();
    for (size_t i = 0; i < rows.size(); ++i) {
      done.add(rows.integer(i, 0));
      const Table* table = work.catalog().find(rows.integer(i, 1));
      if (!table || table->key.empty()) continue;  // untracked since
      // Also where nothing comes of it: that is judged by the types that the catalog has, which is looked at below.
      TableEntries& entries = tables[table->id];
      auto key = captured_key(*table, rows.bytes(i, 4));
      if (!key) continue;
      if (key->encoded.size() > kMostKeyBytes) continue;  // no record can be kept of it; rejoin pg doctor counts it
      Entry e = read_entry(*table, rows, i);
      e.stamp = {clock.stamp(rows.integer(i, 3)), Work::kOwnSite};
      if (!key->held) entries.unheld.insert(key->encoded);
      entries.by_key[std::move(key->encoded)].push_back(std::move(e));
    }
    REJOIN_TRY(check_shapes(work, tables, looked_at));
    db.send("DELETE FROM rejoin.outbox WHERE id = ANY($1::bigint[])", Params().array(done));
    for (auto& [id, entries] : tables) REJOIN_TRY(fold_table(work, *work.catalog().find(id), entries, log, part));
    log.send_full(work);
  }
  db.send("CLOSE rejoin_fold");
  if (any) {
    work.state.last = std::max(work.state.last, clock.last());
    // Pages that were read while these entries waited count on the log to go on, even when nothing came of them.
    if (log.empty()) log.add_nothing();
    log.send(work);
  }
  work.outbox_waits = false;
  return {};
}

}  // namespace rejoin::postgres
