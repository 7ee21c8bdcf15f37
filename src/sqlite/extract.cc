#include "sqlite/extract.h"

#include <algorithm>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "crdt/key.h"
#include "sqlite/enforcement.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/key_reader.h"
#include "sqlite/pass_on.h"
#include "sqlite/rejections.h"
#include "sqlite/roomy_cache.h"

namespace rejoin::sqlite {
namespace {

using codec::Cursor;

// So many rows are worth a larger page cache.
constexpr size_t kManyEntries = 8'192;
// A page holds one log entry at least, and a merged one names up to 1,024 rows; above this a scan takes its place.
constexpr uint64_t kMostOfOneEntry = 4 << 20;
// A place in a scan that is no table's.
constexpr uint64_t kBehindTables = uint64_t{1} << 62;

// The token of the batch that holds a position; nothing when no batch does (the log is shorter than that).
Result<std::optional<int64_t>> batch_token(Context& ctx, int64_t position) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT token FROM main.rejoin_batch WHERE last_seq>=?1 ORDER BY last_seq LIMIT 1"));
  Use use(*s);
  s->bind(1, position);
  REJOIN_ASSIGN(bool row, s->step("reading a batch"));
  if (!row) return std::optional<int64_t>();
  return std::optional<int64_t>(s->integer(0));
}

Result<bool> is_batch_end(Context& ctx, int64_t position) {
  if (position == 0) return true;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_batch WHERE last_seq=?1"));
  Use use(*s);
  s->bind(1, position);
  return s->step("reading a batch");
}

// Writes the rows of one table into a frame.
class TableExtract {
 public:
  TableExtract(Work& work, const PageRequest& request, codec::ChangesetWriter& writer, Page& page)
      : ctx_(work.ctx()), site_(work.state.site), request_(request), writer_(writer), page_(page) {}

  Status begin(const Table& table) {
    table_ = &table;
    named_ = false;
    present_.clear();
    for (uint32_t c = 0; c < table.columns.size(); ++c)
      if (table.columns[c].present) present_.add(c);
    if (request_.whole_if_rejected) {
      REJOIN_ASSIGN(rejections_, has_rejections(ctx_));
    }
    REJOIN_ASSIGN(RowReader rows, RowReader::open(ctx_, table, false));
    rows_.emplace(std::move(rows));
    REJOIN_ASSIGN(RowReader shadow, RowReader::open(ctx_, table, true));
    shadow_.emplace(std::move(shadow));
    return {};
  }

  void end() {
    if (rows_) rows_->reset();
    if (shadow_) shadow_->reset();
  }

  // `whole`: everything the record has; else `columns`, and liveness if `life`.
  Status add(BytesView key, BytesView stored, bool whole, bool life, const crdt::ColumnSet* columns) {
    if (!crdt::decode_record(stored, ctx_.sites.size(), record_))
      return fail(Code::corrupt, "the record of a row in \"" + table_->name + "\" is damaged; run rejoin doctor");
    refused_.reset();
    if (rejections_) {
      REJOIN_ASSIGN(refused_, refused_versions(ctx_, table_->name, key));
    }
    const bool rejected = refused_.has_value();
    whole |= rejected;
    life |= whole;
    send_.clear();
    for (const crdt::CellGroup& g : record_.groups) {
      if (!goes(g.stamp)) continue;
      if (whole || !columns) {
        send_ |= g.columns;
      } else {
        crdt::ColumnSet part = g.columns;
        part &= *columns;
        send_ |= part;
      }
    }
    send_ &= present_;
    if (whole && !rejected && skip_site_ != kNoSite && all_from_skipped()) return {};
    life = life && !record_.live.bottom() && (goes(record_.live) || (!record_.birth.bottom() && goes(record_.birth)));
    if (send_.empty() && !life) return {};
    values_.clear();
    if (!send_.empty()) {
      RowReader& reader = record_.visible() ? *rows_ : *shadow_;
      REJOIN_ASSIGN(bool found, reader.find(key));
      if (found) {
        send_.each([&](uint32_t c) { values_.push_back(reader.value(c)); });
      } else {
        send_.clear();  // values that were not kept (keep_deleted is off)
        if (!life) return {};
      }
      if (request_.max_value_bytes != ~uint64_t{0}) {
        REJOIN_ASSIGN(bool complete, leave_out_large(key));
        if (complete && rejected) REJOIN_TRY(release_rejection(ctx_, table_->name, key));
        if (send_.empty() && !life) return {};
      }
    }
    // Its receiver takes neither of other sites' from this one, and would say so where it is news.
    if (request_.only_site && !is_mine_to_tell(record_.birth)) record_.birth = {};
    if (request_.only_site && !is_mine_to_tell(record_.live)) record_.live = {}, record_.alive = false;
    if (!named_) writer_.begin_table(wire_table(*table_)), named_ = true;
    writer_.add(key, record_, send_, life, values_);
    return {};
  }

  // In a scan: rows of which every stamp is this site's are left out, it has them.
  void skip_site(uint32_t site) { skip_site_ = site; }
  // In a scan: what this site wrote after `since` goes, as it has lost it; what it wrote before does not.
  void give_back(uint32_t site, crdt::Hlc since) { back_site_ = site, since_ = since; }

 private:
  static constexpr uint32_t kNoSite = ~uint32_t{0};

  bool is_mine_to_tell(crdt::Stamp s) const { return s.site == site_ || s.site == back_site_ || was_refused(s); }
  bool goes(crdt::Stamp s) const {
    if (was_refused(s)) return true;
    if (s.site != back_site_) return !request_.only_site || s.site == site_;
    // The stamp from before tracking is everywhere the same, and says nothing of when the row came.
    return s.hlc > since_ || s.hlc <= crdt::kBeforeTrackingHlc;
  }

  // A part of the row that went back to the server, and was refused: it goes again with the rest.
  bool was_refused(crdt::Stamp s) const {
    if (!refused_ || s.bottom()) return false;
    return s == refused_->live || s == refused_->birth ||
           std::any_of(refused_->groups.begin(), refused_->groups.end(),
                       [&](const crdt::CellGroup& g) { return s == g.stamp; });
  }

  bool all_from_skipped() const {
    auto from_it = [&](crdt::Stamp s) { return s.bottom() || s.site == skip_site_; };
    if (!from_it(record_.live) || !from_it(record_.birth)) return false;
    return std::all_of(record_.groups.begin(), record_.groups.end(),
                       [&](const crdt::CellGroup& g) { return from_it(g.stamp); });
  }

  // Values above the limit stay here, everything else of the row goes. Of a dead row nobody misses them. False when the
  // row was reported.
  Result<bool> leave_out_large(BytesView key) {
    size_t largest = 0, kept = 0, at = 0;
    crdt::ColumnSet large;
    send_.each([&](uint32_t c) {
      const size_t size = values_[at].bytes.size();
      if (size > request_.max_value_bytes)
        large.add(c), largest = std::max(largest, size);
      else
        values_[kept++] = values_[at];
      ++at;
    });
    if (large.empty()) return true;
    values_.resize(kept);
    send_ -= large;
    if (!record_.alive) return true;
    report_large(key, largest);
    return false;
  }

  void report_large(BytesView key, size_t size) {
    sync::RefusedRow row;
    row.table = table_->name;
    row.key = key;
    row.key_json = crdt::key_json(key, table_->key.size());
    row.code = Code::too_large;
    row.reason = "a value of " + std::to_string(size) + " bytes is above the receiver's limit of " +
                 std::to_string(request_.max_value_bytes) + "; shorten it, or raise the limit there";
    page_.too_large.push_back(std::move(row));
  }

  Context& ctx_;
  uint32_t site_;
  const PageRequest& request_;
  codec::ChangesetWriter& writer_;
  Page& page_;
  const Table* table_ = nullptr;
  bool named_ = false;
  bool rejections_ = false;
  uint32_t skip_site_ = kNoSite;
  uint32_t back_site_ = kNoSite;
  crdt::Hlc since_ = 0;
  crdt::ColumnSet present_, send_;
  std::optional<RowReader> rows_, shadow_;
  crdt::RowRecord record_;
  std::optional<crdt::RowRecord> refused_;  // of it, if it is listed
  std::vector<crdt::ValueRef> values_;
};

// Reads records from (cursor.table, cursor.key) on until the page is full. Returns false when everything has been read.
Result<bool> scan(Work& work, const PageRequest& request, Cursor& cursor, codec::ChangesetWriter& writer, Page& page) {
  Context& ctx = work.ctx();
  RoomyCache cache(ctx.db);
  TableExtract extract(work, request, writer, page);
  const int64_t skipped = request.skip_origin && !cursor.own ? ctx.sites.find(*request.skip_origin) : -1;
  if (cursor.back != 0)
    extract.give_back(static_cast<uint32_t>(cursor.back - 1), cursor.since);
  else if (skipped >= 0)
    extract.skip_site(static_cast<uint32_t>(skipped));
  for (const auto& table : ctx.catalog.tables) {
    if (table->id < cursor.table) continue;
    if (table->id > cursor.table) cursor.table = table->id, cursor.key.clear();
    if (!sync::right_of(request.who, table->name).pull) continue;
    REJOIN_TRY(extract.begin(*table));
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k, rec FROM " + table->records() + " WHERE k>?1 ORDER BY k"));
    Use use(*s);
    Bytes after = cursor.key;
    s->bind_blob(1, after);
    for (;;) {
      if (writer.bytes() >= request.max_bytes && writer.rows() > 0) return extract.end(), true;
      REJOIN_ASSIGN(bool row, s->step("scanning records"));
      if (!row) break;
      BytesView key = s->blob(0);
      REJOIN_TRY(extract.add(key, s->blob(1), true, true, nullptr));
      cursor.key.assign(key);
    }
    extract.end();
    cursor.key.clear();
    ++cursor.table;
  }
  if (!request.pass_on) return false;
  // Behind all tables: what is kept aside.
  if (cursor.table < kBehindTables) cursor.table = kBehindTables, cursor.key.clear();
  return scan_parked(ctx, request.max_bytes, cursor.key, writer);
}

// Rows that the log names after `position`. False when the page came out too large: ask for fewer entries.
Result<bool> follow(Work& work, const PageRequest& request, const FeedRequest& feed_request,
                    codec::ChangesetWriter& writer, Page& page, int64_t& through) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(Feed feed, read_feed(ctx, work.state, feed_request));
  through = feed.through;
  std::optional<RoomyCache> cache;
  if (feed.entries > kManyEntries) cache.emplace(ctx.db);
  TableExtract extract(work, request, writer, page);
  uint64_t too_much = request.max_bytes > ~uint64_t{0} / 4 ? ~uint64_t{0} : request.max_bytes * 2;
  for (const TableTouches& t : feed.tables) {
    if (!sync::right_of(request.who, t.table->name).pull) continue;
    REJOIN_TRY(extract.begin(*t.table));
    REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, *t.table));
    for (const Touch& touch : t.touches) {
      BytesView key = t.key(touch);
      REJOIN_ASSIGN(BytesView stored, records.find(key));
      if (!stored.data()) continue;  // an entry whose row a rolled-back suspect named, or purged
      REJOIN_TRY(extract.add(key, stored, touch.whole, touch.life, &touch.columns));
      if (writer.bytes() > too_much && (feed_request.max_entries > 1 || writer.bytes() > kMostOfOneEntry)) {
        records.reset();
        extract.end();
        return false;
      }
    }
    records.reset();
    extract.end();
  }
  if (!feed.parked.empty()) REJOIN_TRY(write_parked(ctx, feed.parked, writer));
  return writer.bytes() <= too_much || feed_request.max_entries <= 1 || feed.parked.empty();
}

Result<Work> begin_export_once(Context& ctx) {
  constexpr const char* kRefusal =
      "changes cannot be exported inside a transaction with uncommitted writes, which may still be rolled back; COMMIT "
      "first";
  if (!sqlite3_get_autocommit(ctx.db) && sqlite3_txn_state(ctx.db, "main") == SQLITE_TXN_WRITE)
    return fail(Code::in_transaction, kRefusal);
  for (int attempt = 0; attempt < 3; ++attempt) {
    {
      REJOIN_ASSIGN(Work work, Work::read(ctx));
      REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
      if (tail <= work.state.folded && ctx.catalog_checked == ctx.catalog_main) return work;
      REJOIN_ASSIGN(const bool may_write, can_write(ctx));
      if (tail <= work.state.folded && !may_write) return work;
      if (!sqlite3_get_autocommit(ctx.db) && work.is_savepoint()) return fail(Code::in_transaction, kRefusal);
      REJOIN_TRY(work.commit());
    }
    REJOIN_ASSIGN(Work work, Work::write(ctx));
    REJOIN_TRY(fold(work));
    if (attempt == 2) return work;  // others write all the time: read under the write lock
    REJOIN_TRY(work.commit());
  }
  return fail(Code::internal, "begin_export");
}

}  // namespace

codec::WireTable wire_table(const Table& table) {
  codec::WireTable wire;
  wire.name = table.name;
  for (const Column& c : table.key) wire.key.push_back(c.name);
  for (const Column& c : table.columns) wire.columns.push_back(c.name);
  return wire;
}

Result<Work> begin_export(Context& ctx) {
  return leaving_rollbacks_out(ctx, [&] { return begin_export_once(ctx); });
}

Result<Bytes> cursor_at_position(Work& work, int64_t position, bool from_whole_batch) {
  REJOIN_ASSIGN(int64_t tail, log_tail(work.ctx()));
  position = std::min(position, tail);
  if (from_whole_batch && position > 0) {
    REJOIN_ASSIGN(Statement * s,
                  work.ctx().statement("SELECT coalesce(max(last_seq), 0) FROM main.rejoin_batch WHERE last_seq<=?1"));
    Use use(*s);
    s->bind(1, position);
    REJOIN_TRY(s->step("reading a batch"));
    position = s->integer(0);
  }
  if (position <= 0) return Bytes();
  REJOIN_ASSIGN(auto token, batch_token(work.ctx(), position));
  Cursor cursor;
  cursor.position = static_cast<uint64_t>(position);
  cursor.token = static_cast<uint64_t>(token.value_or(0));
  return codec::encode_cursor(cursor);
}

Result<sync::PageStart> place_of(Work& work, BytesView cursor) {
  REJOIN_ASSIGN(const int64_t tail, log_tail(work.ctx()));
  return sync::start_page({cursor}, tail, work.state.floor,
                          [&](int64_t position) { return batch_token(work.ctx(), position); });
}

Result<Page> extract_page(Context& ctx, const PageRequest& request) {
  REJOIN_ASSIGN(Work work, begin_export(ctx));
  REJOIN_ASSIGN(Page page, extract_page_in(work, request));
  REJOIN_TRY(work.commit());
  return page;
}

Result<Page> extract_page_in(Work& work, const PageRequest& request) {
  Context& ctx = work.ctx();
  Page page;
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  REJOIN_ASSIGN(
      const sync::PageStart start,
      sync::start_page({request.cursor, request.who ? request.who->view : 0, false, request.own, request.behind}, tail,
                       work.state.floor, [&](int64_t position) { return batch_token(ctx, position); }));
  const Cursor& cursor = start.cursor;
  page.restarted = start.restarted;
  if (start.seen_otherwise) {
    // Tables that the reader may not see any more leave it, the others come whole.
    for (const auto& table : ctx.catalog.tables) {
      const sync::TableRight right = sync::right_of(request.who, table->name);
      if (!right.pull && !right.push) page.evicted.push_back({table->name, true, {}});
    }
  }

  codec::FrameInfo info;
  info.source = ctx.sites[work.state.site];
  info.from = start.from;
  // The log may have gone back by one entry since: the pages before still wait for it.
  info.horizon = std::max(static_cast<uint64_t>(tail), cursor.horizon);
  FeedRequest feed;
  feed.local_only = request.only_site.has_value();
  feed.parked = request.pass_on;
  if (request.skip_origin) {
    int64_t origin = ctx.sites.find(*request.skip_origin);
    if (origin >= 0) feed.skip_origin = static_cast<uint32_t>(origin);
  }

  Cursor next = cursor;
  auto finish = [&](codec::ChangesetWriter& writer, uint64_t through) {
    page.rows = writer.rows();
    page.through = through;
    page.next = sync::end_page(next, through, page.more, writer.info());
  };
  if (cursor.scanning) {
    info.starts_batch = start.from_start;
    codec::ChangesetWriter writer(info, ctx.sites);
    REJOIN_ASSIGN(bool more, scan(work, request, next, writer, page));
    uint64_t through = 0;
    if (!more) {
      next.scanning = false;
      next.table = 0;
      next.key.clear();
      through = next.position;
    }
    page.more = more || static_cast<int64_t>(next.position) < tail;
    finish(writer, through);
    // An empty first page of an empty database is no news; the end of a scan is, because it makes the staged pages
    // visible.
    if (page.rows > 0 || !start.from_start || page.more) page.frame = writer.finish();
    return page;
  }

  if (static_cast<int64_t>(cursor.position) >= tail) {
    page.next = request.cursor;
    page.through = cursor.position;
    return page;
  }
  REJOIN_ASSIGN(const bool clean_place, is_batch_end(ctx, static_cast<int64_t>(cursor.position)));
  // Its reader has pages that wait for it: without them it is not to be taken.
  info.starts_batch = clean_place && cursor.horizon == 0;
  feed.after = static_cast<int64_t>(cursor.position);
  feed.up_to = tail;
  // A first guess of 64 bytes a row; a page that comes out too large is read again with fewer entries.
  feed.max_entries =
      request.max_bytes > (~uint64_t{0} >> 8) ? ~size_t{0} : std::max<size_t>(16, request.max_bytes / 64);
  for (;;) {
    codec::ChangesetWriter writer(info, ctx.sites);
    page.too_large.clear();
    int64_t through = 0;
    REJOIN_ASSIGN(bool fits, follow(work, request, feed, writer, page, through));
    if (!fits && feed.max_entries <= 1) {
      // One merged entry names more than a page may hold: the records, which can be read row by row, tell the same.
      PageRequest from_the_start = request;
      Cursor again;
      again.own = cursor.own, again.back = cursor.back, again.since = cursor.since;
      from_the_start.cursor = codec::encode_cursor(again);
      REJOIN_ASSIGN(Page scan_page, extract_page_in(work, from_the_start));
      scan_page.restarted = true;
      return scan_page;
    }
    if (!fits) {
      feed.max_entries = std::max<size_t>(1, feed.max_entries / 4);
      continue;
    }
    next.position = static_cast<uint64_t>(through);
    REJOIN_ASSIGN(auto token, batch_token(ctx, through));
    next.token = static_cast<uint64_t>(token.value_or(0));
    page.more = through < tail;
    finish(writer, static_cast<uint64_t>(through));
    if (page.rows == 0 && info.starts_batch) {
      // Nothing in this stretch (all of it came from the asker): go on where it ends, if that is a clean place to start
      // from and no earlier page waits for its end.
      REJOIN_ASSIGN(bool clean, is_batch_end(ctx, through));
      if (clean && !page.more) return page;
    }
    page.frame = writer.finish();
    return page;
  }
}

}  // namespace rejoin::sqlite
