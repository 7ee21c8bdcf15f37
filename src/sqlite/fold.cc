#include "sqlite/fold.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "crdt/key.h"
#include "crdt/record.h"
#include "sqlite/gone.h"
#include "sqlite/key_changes.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"
#include "sqlite/roomy_cache.h"
#include "sqlite/triggers.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {
namespace {

constexpr size_t kChunkEntries = 65'536;     // bounds a fold's memory at about 6 MB
constexpr size_t kChunkKeyBytes = 16 << 20;  // the same for long keys
constexpr size_t kFlushRows = 2'048;
constexpr int64_t kManyToFold = 32'768;  // so many are worth a larger page cache

struct Entry {
  uint64_t prefix;  // first bytes of the key, big-endian: most comparisons end here
  uint32_t key_at;
  uint32_t key_size;
  uint32_t op;
  int64_t seq;
  int64_t bits;
  crdt::Hlc stamp;
};

struct Chunk {
  Bytes keys;
  std::vector<Entry> entries;
  bool deletes = false;
  BytesView key(const Entry& e) const { return BytesView(keys).substr(e.key_at, e.key_size); }
};

class TableFold {
 public:
  TableFold(Work& work, Table& table, Visibility& visibility)
      : work_(work),
        ctx_(work.ctx()),
        table_(table),
        visibility_(visibility),
        writer_(ctx_, table),
        key_changes_(ctx_, work.state.folded) {}

  Status run(Chunk& chunk) {
    auto& entries = chunk.entries;
    std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
      if (a.prefix != b.prefix) return a.prefix < b.prefix;
      int c = chunk.key(a).compare(chunk.key(b));
      return c != 0 ? c < 0 : a.seq < b.seq;
    });
    REJOIN_ASSIGN(auto shadowed, query_int(ctx_.db, "SELECT 1 FROM " + table_.shadow() + " LIMIT 1"));
    shadow_used_ = shadowed.has_value();
    REJOIN_ASSIGN(RecordReader reader, RecordReader::open(ctx_, table_));
    columns_ = static_cast<uint32_t>(table_.columns.size());
    crdt::RowRecord record;
    for (size_t i = 0; i < entries.size();) {
      size_t end = i + 1;
      while (end < entries.size() && entries[end].prefix == entries[i].prefix &&
             chunk.key(entries[end]) == chunk.key(entries[i]))
        ++end;
      REJOIN_TRY(fold_key(chunk, i, end, reader, record));
      i = end;
      if (writer_.size() >= kFlushRows) {
        reader.reset();
        REJOIN_TRY(writer_.flush());
      }
    }
    reader.reset();
    return writer_.flush();
  }

 private:
  Status fold_key(Chunk& chunk, size_t begin, size_t end, RecordReader& reader, crdt::RowRecord& record) {
    BytesView key = chunk.key(chunk.entries[begin]);
    record.reset();
    // An insert stamps everything with more than anything known before, so what was there does not matter.
    if (chunk.entries[begin].op != kInsert) {
      if (end == begin + 1 && chunk.entries[begin].op == kUpdate && chunk_mask(chunk.entries[begin].bits) == 0)
        return {};
      REJOIN_ASSIGN(BytesView stored, reader.find(key));
      if (stored.data() && !crdt::decode_record(stored, ctx_.sites.size(), record))
        return fail(Code::corrupt, "the record of a row in \"" + table_.name + "\" is damaged; run rejoin doctor");
    }
    bool came_alive = false, changed = false, born = false, died = false, stand_in_gone = false;
    crdt::ColumnSet written, of_stand_in;
    for (size_t i = begin; i < end; ++i) {
      const Entry& e = chunk.entries[i];
      crdt::Stamp stamp{e.stamp, work_.state.site};
      switch (e.op) {
        case kInsert:
          record.insert(stamp, columns_);
          drop_absent(record);
          record.hidden = false;
          came_alive = changed = born = true;
          break;
        case kUpdate: {
          uint32_t mask = chunk_mask(e.bits);
          if (!mask) break;
          crdt::ColumnSet set;
          for (uint32_t first = chunk_first(e.bits); mask; mask &= mask - 1)
            set.add(first + static_cast<uint32_t>(std::countr_zero(mask)));
          if (record.hidden && table_.constraints.stand_ins) {
            REJOIN_TRY(leave_out_cascades(key, chunk.entries[begin].seq, set));
            if (set.empty()) break;
            of_stand_in |= set;
          }
          table_.constraints.groups.expand(set);
          record.write(set, stamp);
          written |= set;
          changed = true;
          break;
        }
        case kSuspect: {
          REJOIN_ASSIGN(bool there, exists(key));
          if (there) break;  // it was not displaced, or is back
          [[fallthrough]];
        }
        case kDelete:
          stand_in_gone |= record.hidden;
          record.alive = false;
          record.hidden = false;
          record.live = stamp;
          came_alive = false;
          changed = died = true;
          break;
        case kRestore:
          record.alive = true;
          record.hidden = false;
          record.live = stamp;
          came_alive = changed = true;
          break;
        default:
          break;
      }
    }
    if (changed) {
      crdt::canonicalise(record, ctx_.sites);
      writer_.add(key, record);
    }
    if (table_.constraints.refers_or_is_referred()) {
      add_whole_references(of_stand_in);
      // Of a row that was inserted again since, the values of the later life are kept.
      if (stand_in_gone && !born) REJOIN_TRY(forget_stand_in(key, of_stand_in));
      if (record.hidden && !of_stand_in.empty()) REJOIN_TRY(keep_edit_of_stand_in(key, of_stand_in));
      if (died) REJOIN_TRY(visibility_.left(table_, key));
      if (record.visible() && changed) REJOIN_TRY(visibility_.wrote(table_, key, came_alive ? nullptr : &written));
    }
    // What was kept of an earlier life says nothing about a later one whose values were not kept.
    if (shadow_used_ && (came_alive || (born && !table_.keep_deleted))) return drop_shadow(key);
    return {};
  }

  // Columns that were dropped from the table keep their id but get no cells.
  void drop_absent(crdt::RowRecord& record) {
    for (uint32_t c = 0; c < columns_; ++c)
      if (!table_.columns[c].present && !record.groups.empty()) record.groups[0].columns.remove(c);
  }

  // A row that was shown without its reference was deleted: what is kept of it is what it was, not what was shown, but
  // for the columns that were written before.
  Status forget_stand_in(BytesView key, const crdt::ColumnSet& written) {
    const std::string names = names_of(written);
    if (!names.empty()) {
      REJOIN_ASSIGN(Statement * keep,
                    ctx_.statement("UPDATE " + table_.shadow() + " SET (" + names + ") = (SELECT " + names + " FROM " +
                                   table_.gone() + " WHERE " + table_.key_match() + " ORDER BY " + table_.rowid_name() +
                                   " DESC LIMIT 1) WHERE " + table_.key_match() + " AND EXISTS (SELECT 1 FROM " +
                                   table_.gone() + " WHERE " + table_.key_match() + ")"));
      Use use(*keep);
      REJOIN_TRY(bind_key(*keep, key));
      REJOIN_TRY(keep->run("keeping an edit of a row that was shown without its reference"));
    }
    REJOIN_ASSIGN(Statement * s, ctx_.statement("DELETE FROM " + table_.gone() + " WHERE " + table_.key_match()));
    Use use(*s);
    REJOIN_TRY(bind_key(*s, key));
    return s->run("deleting a row that was shown without its reference");
  }

  // Where a stand-in shows the key of another row in place of its reference and that key was changed, ON UPDATE CASCADE
  // wrote to the stand-in. Of the row's own reference it says nothing.
  Status leave_out_cascades(BytesView key, int64_t seq, crdt::ColumnSet& set) {
    for (const ForeignKey& f : table_.constraints.parents) {
      if (!f.stands_in || !f.to_default || !f.to_key || !named(f, set)) continue;
      REJOIN_ASSIGN(const bool cascade, wrote_cascade(f, key, seq));
      if (cascade)
        for (int at : f.from) set.remove(static_cast<uint32_t>(at));
    }
    return {};
  }

  static bool named(const ForeignKey& f, const crdt::ColumnSet& set) {
    return std::any_of(f.from.begin(), f.from.end(), [&](int at) { return set.has(static_cast<uint32_t>(at)); });
  }

  Result<bool> wrote_cascade(const ForeignKey& f, BytesView key, int64_t seq) {
    const Table* parent = ctx_.catalog.find(f.parent_id);
    if (!parent) return false;
    std::vector<crdt::ValueRef> values(f.from.size());
    for (size_t i = 0; i < f.from.size(); ++i)
      values[static_cast<size_t>(-1 - f.to[i])] = table_.columns[static_cast<size_t>(f.from[i])].default_value.ref();
    Bytes stands_in;
    crdt::encode_key(values, stands_in);
    REJOIN_ASSIGN(const Bytes own, reference(f, table_.shadow(), key));
    if (own == stands_in) return false;  // it is shown with this reference
    REJOIN_ASSIGN(const Bytes now, reference(f, table_.quoted(), key));
    return key_changes_.moved(*parent, seq, stands_in, now);
  }

  // The parent's key, as a row refers to it in one of its two tables; empty when it is not there.
  Result<Bytes> reference(const ForeignKey& f, const std::string& from, BytesView key) {
    std::string names;
    for (int at : f.from) names += (names.empty() ? "" : ", ") + quote(table_.columns[static_cast<size_t>(at)].name);
    REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT " + names + " FROM " + from + " WHERE " + table_.key_match()));
    Use use(*s);
    REJOIN_TRY(bind_key(*s, key));
    REJOIN_ASSIGN(bool there, s->step("reading a row that is shown without its reference"));
    Bytes out;
    if (!there) return out;
    std::vector<crdt::ValueRef> values(f.from.size());
    for (size_t i = 0; i < f.from.size(); ++i)
      values[static_cast<size_t>(-1 - f.to[i])] = s->value(static_cast<int>(i));
    crdt::encode_key(values, out);
    return out;
  }

  // Of a reference that a stand-in leaves out the row takes over all that was written.
  void add_whole_references(crdt::ColumnSet& columns) const {
    for (const ForeignKey& f : table_.constraints.parents)
      if (f.stands_in && named(f, columns))
        for (int at : f.from) columns.add(static_cast<uint32_t>(at));
  }

  std::string names_of(const crdt::ColumnSet& columns) const {
    std::string names;
    columns.each([&](uint32_t c) {
      if (table_.columns[c].present) names += (names.empty() ? "" : ", ") + quote(table_.columns[c].name);
    });
    return names;
  }

  // The application wrote to a stand-in: the hidden row has the new values now. Columns that are only stamped along
  // with those keep their own.
  Status keep_edit_of_stand_in(BytesView key, const crdt::ColumnSet& columns) {
    const std::string names = names_of(columns);
    if (names.empty()) return {};
    REJOIN_ASSIGN(Statement * s, ctx_.statement("UPDATE " + table_.shadow() + " SET (" + names + ") = (SELECT " +
                                                names + " FROM " + table_.quoted() + " WHERE " + table_.key_match() +
                                                ") WHERE " + table_.key_match() + " AND EXISTS (SELECT 1 FROM " +
                                                table_.quoted() + " WHERE " + table_.key_match() + ")"));
    Use use(*s);
    REJOIN_TRY(bind_key(*s, key));
    return s->run("editing a row that is shown without its reference");
  }

  Result<bool> exists(BytesView key) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT 1 FROM " + table_.quoted() + " WHERE " + table_.key_match()));
    Use use(*s);
    REJOIN_TRY(bind_key(*s, key));
    return s->step("looking for a displaced row");
  }

  Status drop_shadow(BytesView key) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement("DELETE FROM " + table_.shadow() + " WHERE " + table_.key_match()));
    Use use(*s);
    REJOIN_TRY(bind_key(*s, key));
    REJOIN_TRY(s->run("forgetting a dead row that lives again"));
    if (sqlite3_changes(ctx_.db) == 0) return {};
    return unpark_hidden(ctx_, table_, key);
  }

  Status bind_key(Statement& s, BytesView key) {
    if (!crdt::decode_key(key, table_.key.size(), key_values_, scratch_))
      return fail(Code::corrupt,
                  "a key of table \"" + table_.name + "\" in the metadata is damaged; run rejoin doctor");
    for (size_t i = 0; i < key_values_.size(); ++i) s.bind(static_cast<int>(i + 1), key_values_[i]);
    return {};
  }

  Work& work_;
  Context& ctx_;
  Table& table_;
  Visibility& visibility_;
  RecordWriter writer_;
  KeyChanges key_changes_;
  uint32_t columns_ = 0;
  bool shadow_used_ = false;
  std::vector<crdt::ValueRef> key_values_;
  Bytes scratch_;
};

// What a trigger needs, a function perhaps, may be here, while it was not where the rows came in.
Status try_triggers_once(Context& ctx) {
  if (ctx.triggers_tried) return {};
  ctx.triggers_tried = true;
  for (const auto& table : ctx.catalog.tables) {
    if (!table->app_triggers) continue;
    REJOIN_ASSIGN(const int64_t hidden, count_hidden(ctx, *table));
    if (hidden > 0) ctx.unsettled.insert(table->id);
  }
  return {};
}

bool misses_parents(sqlite3* db) {
  int now = 0, highest = 0;
  return sqlite3_db_status(db, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &highest, 0) == SQLITE_OK && now != 0;
}

Status settle_visible(Work& work, Visibility& visibility, std::set<uint64_t> touched) {
  Context& ctx = work.ctx();
  if (misses_parents(ctx.db)) {
    ctx.unsettled.merge(touched);
    return {};
  }
  for (uint64_t id : ctx.unsettled)
    if (const Table* table = ctx.catalog.find(id)) visibility.came(*table);
  touched.insert(ctx.unsettled.begin(), ctx.unsettled.end());
  REJOIN_TRY(visibility.settle({touched.begin(), touched.end()}));
  // A transaction around this one can still roll it back.
  if (!work.is_savepoint()) ctx.unsettled.clear();
  return {};
}

}  // namespace

int64_t ms_of_julianday(double jd) {
  double ms = std::round((jd - 2440587.5) * 86'400'000.0);
  if (!(ms > -9e15)) return 0;
  return ms < 9e15 ? static_cast<int64_t>(ms) : int64_t{9'000'000'000'000'000};
}

Result<int64_t> log_tail(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT max(seq) FROM main.rejoin_log"));
  Use use(*s);
  REJOIN_ASSIGN(bool row, s->step("reading the log's tail"));
  return row ? s->integer(0) : 0;
}

Status end_batch(Context& ctx, int64_t last_seq, int64_t origin_site) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("INSERT OR REPLACE INTO main.rejoin_batch(last_seq, token, origin) VALUES(?1, ?2, ?3)"));
  Use use(*s);
  s->bind(1, last_seq);
  s->bind(2, static_cast<int64_t>(ctx.random.u64() >> 1 | 1));
  s->bind(3, origin_site);
  return s->run("ending a batch");
}

namespace {

Status fold_log(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_TRY(try_triggers_once(ctx));
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  if (tail <= work.state.folded) {
    if (ctx.unsettled.empty()) return {};
    Visibility visibility(ctx);
    return settle_visible(work, visibility, {});
  }
  std::optional<RoomyCache> cache;
  if (tail - work.state.folded >= kManyToFold) cache.emplace(ctx.db);
  size_t key_columns = 1;
  for (const auto& t : ctx.catalog.tables) key_columns = std::max(key_columns, t->key.size());
  std::string keys;
  for (size_t i = 0; i < key_columns; ++i) keys += ", k" + std::to_string(i);
  REJOIN_ASSIGN(Statement * log, ctx.statement("SELECT seq, tbl, op, bits, ms" + keys +
                                               " FROM main.rejoin_log WHERE seq>?1 ORDER BY seq LIMIT ?2"));

  crdt::Hlc base = work.state.last + 1;
  crdt::Hlc stamp = base;
  double last_jd = 0;
  std::vector<crdt::ValueRef> values;
  Bytes key;
  std::vector<std::pair<Table*, Chunk>> chunks;
  Visibility visibility(ctx);
  while (work.state.folded < tail) {
    for (auto& [t, c] : chunks) c.keys.clear(), c.entries.clear();
    bool any = false;
    size_t key_bytes = 0;
    int64_t last_seq = work.state.folded;
    int64_t last_table = -1;
    size_t slot = 0;
    {
      Use use(*log);
      log->bind(1, work.state.folded);
      log->bind(2, static_cast<int64_t>(kChunkEntries));
      for (;;) {
        REJOIN_ASSIGN(bool row, log->step("reading the log"));
        if (!row || key_bytes >= kChunkKeyBytes) break;
        last_seq = log->integer(0);
        int64_t op = log->integer(2);
        if (op < kInsert || op > kSuspect) continue;
        int64_t table_id = log->integer(1);
        if (table_id != last_table) {
          Table* table = ctx.catalog.find(static_cast<uint64_t>(table_id));
          if (!table) continue;
          last_table = table_id;
          for (slot = 0; slot < chunks.size() && chunks[slot].first != table; ++slot) {
          }
          if (slot == chunks.size()) chunks.emplace_back(table, Chunk());
        }
        double jd = sqlite3_column_double(log->get(), 4);
        if (jd != last_jd) {
          last_jd = jd;
          stamp = std::max(stamp, crdt::hlc_of_ms(ms_of_julianday(jd)));
        }
        auto& [table, chunk] = chunks[slot];
        size_t at = chunk.keys.size();
        if (table->key.size() == 1) {
          crdt::ValueRef v = log->value(5);
          crdt::encode_key(std::span(&v, 1), chunk.keys);
        } else {
          values.resize(table->key.size());
          for (size_t i = 0; i < values.size(); ++i) values[i] = log->value(5 + static_cast<int>(i));
          crdt::encode_key(values, chunk.keys);
        }
        chunk.deletes |= op == kDelete || op == kSuspect;
        Entry e;
        e.key_at = static_cast<uint32_t>(at);
        e.key_size = static_cast<uint32_t>(chunk.keys.size() - at);
        key_bytes += e.key_size;
        e.prefix = crdt::key_prefix(chunk.key(e));
        e.seq = last_seq;
        any = true;
        e.op = static_cast<uint32_t>(op);
        e.bits = log->integer(3);
        e.stamp = stamp;
        chunk.entries.push_back(e);
      }
    }
    if (last_seq == work.state.folded) break;
    for (auto& [table, chunk] : chunks)
      if (!chunk.entries.empty()) REJOIN_TRY(TableFold(work, *table, visibility).run(chunk));
    work.state.folded = last_seq;
    if (any) work.state.last = std::max(work.state.last, stamp);
  }
  REJOIN_TRY(end_batch(ctx, work.state.folded, work.state.site));
  std::set<uint64_t> touched;
  for (const auto& [table, chunk] : chunks) {
    if (chunk.deletes) REJOIN_TRY(shelve_gone(ctx, *table));
    touched.insert(table->id);
  }
  REJOIN_TRY(settle_visible(work, visibility, std::move(touched)));
  REJOIN_TRY(work.save());
  return replay_known(work);
}

}  // namespace

Status fold(Work& work) {
  Context& ctx = work.ctx();
  if (ctx.taking_up) return fold_log(work);
  const Raised inside(ctx.folds_inside, work.is_savepoint());
  REJOIN_ASSIGN(std::vector<uint64_t> back, back_in_reach(ctx));
  // Triggers may roll back, and are not to be left out: a transaction of our own takes these up.
  if (ctx.folds_inside)
    std::erase_if(back, [&](uint64_t id) {
      const Table* table = ctx.catalog.find(id);
      return table && table->app_triggers;
    });
  ctx.unsettled.insert(back.begin(), back.end());
  REJOIN_TRY(fold_log(work));
  // Inside a transaction whose deferred references are open nothing was decided: the next fold does it.
  if (back.empty() || misses_parents(ctx.db)) return {};
  const Raised taking_up(ctx.taking_up, true);
  for (const uint64_t id : back) REJOIN_TRY(replay_parked_of(work, id));
  return forget_out_of_reach(ctx, back);
}

}  // namespace rejoin::sqlite
