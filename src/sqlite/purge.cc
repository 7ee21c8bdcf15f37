#include "sqlite/purge.h"

#include <algorithm>
#include <optional>
#include <set>

#include "codec/row_frame.h"
#include "crdt/admission.h"
#include "crdt/key.h"
#include "sqlite/base_writer.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

constexpr size_t kMostAtOnce = 16'384;        // bounds memory: rows that are looked at together
constexpr int64_t kRecordsAtOnce = 131'072;   // bounds the time of a transaction: records that one looks at
constexpr size_t kLogEntriesAtOnce = 65'536;  // likewise
constexpr int64_t kLongestDays = 100 * 366;

// Everybody who is known has what the log does not hold any more: then a deletion that it does not name is no news.
// Nobody known: only a file that was told how long to keep deletions forgets any.
Result<bool> everybody_has_the_floor(Work& work, int64_t unseen_before) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT count(*), coalesce(min(has), 0) FROM (SELECT acknowledged AS has FROM "
                              "main.rejoin_device WHERE last_seen>?1 UNION ALL SELECT pushed FROM main.rejoin_peer "
                              "WHERE url NOT GLOB 'replica:*' AND (is_default OR last_sync>?1))"));
  Use use(*s);
  s->bind(1, unseen_before);
  REJOIN_TRY(s->step("reading what others have"));
  if (s->integer(0) > 0) return s->integer(1) >= work.state.floor;
  REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx));
  REJOIN_ASSIGN(auto devices, query_int(ctx.db, "SELECT 1 FROM main.rejoin_device LIMIT 1"));
  return horizon.keep_days >= 0 || devices.has_value();
}

// Pages of a server or another file that wait for the rest of their stream may bring rows that were deleted here since:
// nobody tells a device what it deleted itself, so that must still be known when the rows become visible. The rest of
// what was not heard of for so long is not expected.
Result<bool> pages_wait(Context& ctx, int64_t unseen_before) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT EXISTS (SELECT 1 FROM main.rejoin_stream JOIN main.rejoin_peer ON source=site "
                              "WHERE is_default OR last_sync>?1 OR (last_sync IS NULL AND url NOT GLOB 'replica:*'))"));
  Use use(*s);
  s->bind(1, unseen_before);
  REJOIN_TRY(s->step("looking for pages that wait"));
  return s->integer(0) != 0;
}

// Deleted rows of one table, by key: those of whose stamps none is above the limit.
struct Candidates {
  std::set<Bytes> keys;
  crdt::Hlc newest = 0;
  Bytes last;         // where the look ended
  bool done = false;  // at the table's end
};

Result<Candidates> look(Context& ctx, const Table& table, BytesView after, crdt::Hlc limit, int64_t& records) {
  Candidates out;
  out.last = after;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k, rec FROM " + table.records() + " WHERE k>?1 ORDER BY k"));
  Use use(*s);
  const Bytes from(after);
  s->bind_blob(1, from);
  crdt::RowRecord record;
  while (records > 0 && out.keys.size() < kMostAtOnce) {
    REJOIN_ASSIGN(bool row, s->step("looking for forgotten deletions"));
    if (!row) {
      out.done = true;
      break;
    }
    --records;
    out.last = s->blob(0);
    const BytesView stored = s->blob(1);
    constexpr char kAlive = 1;  // docs/formats-record.md
    if (stored.empty() || (stored[0] & kAlive) || !crdt::decode_record(stored, ctx.sites.size(), record)) continue;
    if (crdt::newest_stamp(record) > limit) continue;
    out.keys.insert(out.last);
  }
  return out;
}

// Rows that the log still names are news to somebody.
Status leave_news(Work& work, const Table& table, std::set<Bytes>& keys) {
  REJOIN_ASSIGN(const int64_t tail, log_tail(work.ctx()));
  FeedRequest request;
  request.after = work.state.floor;
  request.up_to = tail;
  request.max_entries = kLogEntriesAtOnce;
  while (!keys.empty() && request.after < tail) {
    REJOIN_ASSIGN(Feed feed, read_feed(work.ctx(), work.state, request));
    for (const TableTouches& t : feed.tables)
      if (t.table == &table)
        for (const Touch& touch : t.touches) keys.erase(Bytes(t.key(touch)));
    request.after = feed.through;
  }
  return {};
}

// What is kept aside in a frame of this row.
enum class Aside { of_another, old, waits };

Result<Aside> judge(Context& ctx, const Table& table, BytesView frame, crdt::Hlc limit) {
  auto reader = codec::ChangesetReader::open(frame);
  if (!reader.ok()) return Aside::waits;
  REJOIN_ASSIGN(const std::vector<uint32_t> sites, site_map(ctx, *reader));
  auto row = codec::read_row_frame(*reader, sites);
  if (!row.ok() || !*row) return Aside::waits;
  // It may have come under a former key, whose bytes are another row's now.
  if (!names_key(table, (*row)->table.key)) return Aside::of_another;
  return crdt::newest_stamp((*row)->record) <= limit ? Aside::old : Aside::waits;
}

// Entries of rejoin_aside, by the row's key.
using AsideIds = std::vector<std::pair<Bytes, int64_t>>;

// What is listed, or waits for something, stays. But columns that this table lacks, of a row that was deleted since,
// wait for nothing: `with` gets them.
Status leave_listed(Context& ctx, const Table& table, crdt::Hlc limit, std::set<Bytes>& keys, AsideIds& with) {
  // Then any of it may be an insertion that another connection will merge.
  REJOIN_ASSIGN(const bool for_reach, is_noted_out_of_reach(ctx, table.id));
  REJOIN_ASSIGN(const std::vector<std::string> names, names_aside(ctx, table));
  for (const std::string& name : names) {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k, CASE WHEN due IS NULL THEN frame END, id, due=?2 FROM "
                                               "main.rejoin_aside WHERE table_name=?1"));
    Use use(*s);
    s->bind_text(1, name);
    s->bind(2, kAnswered);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading what is kept aside"));
      if (!row) break;
      const auto at = keys.find(Bytes(s->blob(0)));
      if (at == keys.end() || s->integer(3) != 0) continue;
      Aside aside = Aside::waits;
      if (!s->is_null(1) && !for_reach) {
        REJOIN_ASSIGN(aside, judge(ctx, table, s->blob(1), limit));
      }
      if (aside == Aside::old) with.emplace_back(*at, s->integer(2));
      if (aside == Aside::waits) keys.erase(at);
    }
  }
  for (const char* of : {"rejoin_rejections", "rejoin_discarded", "rejoin_evicted"}) {
    REJOIN_ASSIGN(Statement * s, ctx.statement(std::string("SELECT k FROM main.") + of + " WHERE table_name=?1"));
    Use use(*s);
    s->bind_text(1, table.name);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading what is listed"));
      if (!row) break;
      keys.erase(Bytes(s->blob(0)));
    }
  }
  return {};
}

Status erase(Context& ctx, const Table& table, BytesView key) {
  BaseWriter::Row row;
  Bytes scratch;
  if (!crdt::decode_key(key, table.key.size(), row.key, scratch))
    return fail(Code::corrupt, "a key of table \"" + table.name + "\" is damaged; run rejoin doctor");
  REJOIN_TRY(BaseWriter(ctx, table).erase_shadow(row));
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_lost WHERE tbl=?1 AND k=?2"));
    Use use(*s);
    s->bind(1, static_cast<int64_t>(table.id));
    s->bind_blob(2, key);
    REJOIN_TRY(s->run("forgetting a deleted row"));
  }
  REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM " + table.records() + " WHERE k=?1"));
  Use use(*s);
  s->bind_blob(1, key);
  return s->run("forgetting a deleted row");
}

Status forget(Context& ctx, const Table& table, const std::set<Bytes>& keys, crdt::Hlc& newest) {
  for (const Bytes& key : keys) {
    {
      // The row is read again: nothing but what is forgotten raises the horizon.
      REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT rec FROM " + table.records() + " WHERE k=?1"));
      Use use(*s);
      s->bind_blob(1, key);
      crdt::RowRecord record;
      REJOIN_ASSIGN(bool row, s->step("reading a record"));
      if (!row || !crdt::decode_record(s->blob(0), ctx.sites.size(), record)) continue;
      newest = std::max(newest, crdt::newest_stamp(record));
    }
    REJOIN_TRY(erase(ctx, table, key));
  }
  return {};
}

struct Looked {
  int64_t gone = 0;
  bool log_holds = false;  // some that the log still names
};

// A step through one table. False: at its end.
Result<bool> step(Work& work, const Table& table, Bytes& place, crdt::Hlc limit, int64_t& records, Looked& looked) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(Candidates found, look(ctx, table, place, limit, records));
  place = found.last;
  const size_t before = found.keys.size();
  REJOIN_TRY(leave_news(work, table, found.keys));
  looked.log_holds |= found.keys.size() < before;
  AsideIds with;
  if (!found.keys.empty()) REJOIN_TRY(leave_listed(ctx, table, limit, found.keys, with));
  if (!found.keys.empty()) {
    crdt::Hlc newest = 0;
    REJOIN_TRY(forget(ctx, table, found.keys, newest));
    for (const auto& [key, id] : with) {
      if (!found.keys.contains(key)) continue;
      REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_aside WHERE id=?1"));
      Use use(*s);
      s->bind(1, id);
      REJOIN_TRY(s->run("forgetting what is kept aside of a deleted row"));
    }
    looked.gone += static_cast<int64_t>(found.keys.size());
    // Readers that stand before the floor may have missed them; a device that was not seen for long comes from there.
    REJOIN_TRY(raise_horizon(ctx, newest, work.state.floor));
    REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_device SET acknowledged=-1 WHERE acknowledged<?1"));
    Use use(*s);
    s->bind(1, work.state.floor);
    REJOIN_TRY(s->run("noting who missed deletions"));
  }
  return !found.done;
}

// From `place` on, which it moves, through about so many records. False: at the end of all.
Result<bool> walk(Work& work, PurgePlace& place, crdt::Hlc limit, int64_t records, Looked& looked) {
  for (const auto& table : work.ctx().catalog.tables) {
    const auto id = static_cast<int64_t>(table->id);
    if (id < place.table) continue;
    if (id > place.table) place = {id, {}};
    bool more = true;
    while (more && records > 0) {
      REJOIN_ASSIGN(more, step(work, *table, place.key, limit, records, looked));
    }
    if (more) return true;
    place = {id + 1, {}};
  }
  place = {};
  return false;
}

crdt::Hlc limit_of(int64_t before_ms) {
  // All of that millisecond.
  return before_ms > 0 ? crdt::hlc_of_ms(before_ms) | 0xffff : 0;
}

Result<std::optional<crdt::Hlc>> may_purge(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const int64_t keep, keep_ms(ctx));
  const int64_t before = ctx.clock.now_ms() - keep;
  if (work.state.folded < work.state.floor) return std::optional<crdt::Hlc>();
  REJOIN_ASSIGN(const bool known, everybody_has_the_floor(work, before));
  if (!known) return std::optional<crdt::Hlc>();
  REJOIN_ASSIGN(const bool wait, pages_wait(ctx, before));
  if (wait) return std::optional<crdt::Hlc>();
  return std::optional(limit_of(before));
}

}  // namespace

Result<int64_t> keep_ms(Context& ctx) {
  REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx));
  return (horizon.keep_days >= 0 ? horizon.keep_days : kKeepDays) * kDayMs;
}

Status set_keep_days(Context& ctx, int64_t days) {
  if (days < 0 || days > kLongestDays)
    return fail(Code::bad_argument, "keep_days is a number of days from 0 to " + std::to_string(kLongestDays));
  REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_state SET keep_days=?1"));
  Use use(*s);
  s->bind(1, days);
  return s->run("noting how long deletions are kept");
}

Result<bool> purge_some(Work& work, PurgePlace& place, int64_t& forgotten) {
  REJOIN_ASSIGN(const std::optional<crdt::Hlc> limit, may_purge(work));
  if (!limit) return false;
  Looked looked;
  REJOIN_ASSIGN(const bool more, walk(work, place, *limit, kRecordsAtOnce, looked));
  forgotten += looked.gone;
  return more;
}

Result<bool> purge_a_little(Work& work, int64_t records) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx));
  const int64_t now = ctx.clock.now_ms();
  if (now >= horizon.looked_ms && now < horizon.looked_ms + kDayMs) return false;
  REJOIN_ASSIGN(const std::optional<crdt::Hlc> limit, may_purge(work));
  if (!limit) return false;
  PurgePlace place;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT look_table, look_key FROM main.rejoin_state"));
    Use use(*s);
    REJOIN_TRY(s->step("reading where the look stands"));
    place = {s->integer(0), Bytes(s->blob(1))};
  }
  Looked looked;
  REJOIN_ASSIGN(const bool more, walk(work, place, *limit, records, looked));
  REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_state SET look_table=?1, look_key=?2, looked=?3"));
  Use use(*s);
  s->bind(1, place.table);
  s->bind_blob(2, place.key);
  s->bind(3, more ? horizon.looked_ms : now);
  REJOIN_TRY(s->run("noting where the look stands"));
  return looked.log_holds;
}

}  // namespace rejoin::sqlite
