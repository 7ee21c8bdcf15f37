#include "postgres/page.h"

#include <algorithm>
#include <bit>
#include <map>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "crdt/key.h"
#include "postgres/base_rows.h"
#include "postgres/capture.h"
#include "postgres/fold.h"
#include "postgres/records.h"
#include "sync/page_place.h"

namespace rejoin::postgres {
namespace {

using codec::Cursor;

// Rows that are read at a time: few at first, then as many as make about kReadBytes. Powers of two: the number is part
// of a statement, and each statement is prepared.
constexpr size_t kFirstRows = 64, kMostRows = 2'048;
constexpr uint64_t kReadBytes = 4 << 20;
// What a device takes of a value, and of a row so that a frame with it is one that it takes.
constexpr uint64_t kMostValueBytes = codec::Limits{}.value_bytes;
constexpr uint64_t kMostRowBytes = codec::Limits{}.frame_bytes / 2;
constexpr size_t kMostTold = 16;  // of a page, in the log

struct Touch {
  bool life = false, whole = false;
  crdt::ColumnSet columns;
  Held was;  // of a pending deletion: what the row held
};
using Touches = std::map<Bytes, Touch>;

// The cells of which a newer value stands in the table than the record knows of.
struct Pending {
  std::map<int64_t, std::map<Bytes, Touch>> tables;
  bool any = false;
};

Result<Pending> read_pending(Work& work) {
  Pending pending;
  REJOIN_ASSIGN(Rows rows,
                work.db().query("SELECT tbl::int8, op::int8, key, columns, was FROM rejoin.outbox WHERE tenant = "
                                "current_setting('rejoin.tenant')" +
                                work.catalog().but_unserved() + " ORDER BY id"));
  std::vector<TextElement> texts;
  for (size_t i = 0; i < rows.size(); ++i) {
    pending.any = true;
    const Table* table = work.catalog().find(rows.integer(i, 0));
    if (!table) continue;
    auto key = captured_key(*table, rows.bytes(i, 2));
    if (!key) continue;
    Touch& touch = pending.tables[table->id][std::move(key->encoded)];
    if (rows.integer(i, 1) == kDeleted && !rows.is_null(i, 4)) {
      // What was known of the row before is sent all the same: nothing else will bring it.
      if (touch.was.empty()) touch.was = read_was(*table, rows.bytes(i, 4));
      continue;
    }
    if (rows.integer(i, 1) != kUpdated || rows.is_null(i, 3) || !read_text_array(rows.bytes(i, 3), texts)) {
      touch.whole = true;
      continue;
    }
    for (const TextElement& t : texts)
      for (uint32_t c = 0; c < table->columns.size(); ++c)
        if (table->columns[c].name == t.text) touch.columns.add(c);
  }
  return pending;
}

// Rows that leave the device count for a page's size too.
constexpr size_t kMostEvicted = 10'000;

// Who reads, and what its device was given before.
struct Reader {
  const Persona& persona;
  uint64_t was = 0;  // the view of earlier pages
  PageNotes& notes;
  std::set<int64_t> left_out;  // tables, to be brought whole when they can be read
  Keys evicted = {};
  size_t evictions = 0;

  bool reads(const Table& table) const { return persona.may_pull(table) && !left_out.contains(table.id); }
};

class PageWriter {
 public:
  // `most_bytes`: a page is full with the row that reaches it.
  PageWriter(Work& work, uint64_t most_bytes, codec::ChangesetWriter& writer, const Pending& pending, Reader& reader)
      : work_(work), most_bytes_(most_bytes), writer_(writer), pending_(pending), reader_(reader) {}

  bool full() const {
    return (writer_.bytes() >= most_bytes_ && writer_.rows() > 0) || reader_.evictions >= kMostEvicted;
  }
  // How many keys to add next.
  size_t at_once() const { return at_once_; }

  // Rows of which every stamp is this site's are left out.
  void skip_site(uint32_t site) { skip_ = site; }

  // `touches` in key order; null: whole rows. Stops when the page is full; returns how many keys it took. Of a table
  // that cannot be read it takes all and gives none.
  Result<size_t> add(const Table& table, const std::vector<BytesView>& keys, const std::vector<const Touch*>& touches) {
    if (!reader_.reads(table)) return keys.size();
    KeyArrays arrays(table);
    for (BytesView key : keys) REJOIN_TRY(arrays.add(key));
    const bool guarded = reader_.persona.guards(table);
    const size_t first = work_.db().queued();
    send_records(work_, table, keys);
    send_shape(work_, table);
    if (guarded) send_shown(work_, table, keys, reader_.persona.view(), reader_.was);
    if (guarded) reader_.persona.enter_to_read(work_);
    const size_t base_at = work_.db().queued();
    send_select(work_, table, arrays, present_columns(table));
    if (guarded) reader_.persona.leave_read(work_);
    auto answers = work_.db().sync();
    if (!answers.ok()) {
      REJOIN_TRY(reader_.persona.leave_out(work_, table, answers.error(), reader_.notes.failing));
      reader_.left_out.insert(table.id);
      return keys.size();
    }
    const std::vector<Rows> all = std::move(*answers);
    REJOIN_TRY(check_shape(work_, table, all[first + 1]));
    std::vector<StoredRow> stored(keys.size());
    REJOIN_TRY(read_records(work_, table, all[first], stored));
    const Rows& base = all[base_at];
    std::vector<int64_t> at(keys.size(), -1);
    for (size_t i = 0; i < base.size(); ++i) at[static_cast<size_t>(base.integer(i, 0) - 1)] = static_cast<int64_t>(i);
    std::vector<Shown> shown;
    if (guarded) shown = read_shown(all[first + 2], keys.size());
    const uint64_t bytes_before = writer_.bytes();
    for (size_t i = 0; i < keys.size(); ++i) {
      if (full()) return i;
      if (!stored[i].known) continue;
      if (guarded)
        add_guarded(table, keys[i], stored[i], base, at[i], shown[i]);
      else
        add_row(table, keys[i], stored[i], base, at[i], touches.empty() ? nullptr : touches[i]);
    }
    const uint64_t row_bytes = std::max<uint64_t>(1, (writer_.bytes() - bytes_before) / keys.size());
    at_once_ =
        std::bit_floor(std::clamp<size_t>(std::min<uint64_t>(kReadBytes / row_bytes, at_once_ * 4), 1, kMostRows));
    return keys.size();
  }

 private:
  // A row of a table under row-level security, which decides whether it is there. It may be new to the device, whatever
  // has changed of it, so it goes whole. Of one that it was given before, the device hears that it is gone; of others
  // nothing.
  void add_guarded(const Table& table, BytesView key, const StoredRow& row, const Rows& base, int64_t at,
                   const Shown& shown) {
    if (row.record.alive && at >= 0) {
      if (!shown.now) reader_.notes.shown[table.id].emplace_back(key);
      add_row(table, key, row, base, at, nullptr);
      return;
    }
    if (!shown.ever) return;
    if (row.record.alive) {
      if (shown.now) reader_.notes.hidden[table.id].emplace_back(key);
      reader_.evicted[table.id].emplace_back(key);
      ++reader_.evictions;
      return;
    }
    // What it last held may be nothing for this reader.
    StoredRow bare;
    bare.record = row.record;
    add_row(table, key, bare, base, -1, nullptr);
  }

  void add_row(const Table& table, BytesView key, const StoredRow& row, const Rows& base, int64_t at,
               const Touch* touch) {
    const bool whole = !touch || touch->whole;
    bool life = whole || touch->life;
    crdt::ColumnSet send;
    for (const crdt::CellGroup& g : row.record.groups) {
      crdt::ColumnSet part = g.columns;
      if (!whole) part &= touch->columns;
      send |= part;
    }
    for (uint32_t c = 0; c < table.columns.size(); ++c)
      if (!table.columns[c].present) send.remove(c);
    if (!touch && skip_ != kNoSite && all_from_skipped(row.record)) return;
    // What was captured since the fold.
    const Held* was = nullptr;
    if (auto t = pending_.tables.find(table.id); t != pending_.tables.end())
      if (auto p = t->second.find(Bytes(key)); p != t->second.end()) {
        if (p->second.whole)
          send.clear();
        else
          send -= p->second.columns;
        // Under row-level security they may be nothing for this reader.
        if (!p->second.was.empty() && !reader_.persona.guards(table)) was = &p->second.was;
      }
    life = life && !row.record.live.bottom();
    std::vector<crdt::OwnedValue> values;
    if (row.record.alive && at < 0 && !was) {
      // Deleted, and nothing tells what it held: either the entry that says so is pending, or capture was off.
      return;
    }
    crdt::ColumnSet have;
    send.each([&](uint32_t c) {
      if (row.record.alive && was) {
        if (auto value = was->find(c); value != was->end()) values.push_back(value->second), have.add(c);
      } else if (row.record.alive) {
        int column = 1;
        for (uint32_t k = 0; k < c; ++k) column += table.columns[k].present;
        values.push_back(read_value(base, static_cast<size_t>(at), column, table.columns[c].type));
        have.add(c);
      } else if (auto held = row.held.find(c); held != row.held.end()) {
        values.push_back(held->second);
        have.add(c);
      }
    });
    withhold_large(table, key, have, values);
    if (have.empty() && !life) return;
    if (named_ != &table) writer_.begin_table(wire_table(table)), named_ = &table;
    std::vector<crdt::ValueRef> refs;
    for (const auto& v : values) refs.push_back(v.ref());
    writer_.add(key, row.record, have, life, refs);
  }

  // No device takes larger ones, and a frame that it does not take would come again and again.
  void withhold_large(const Table& table, BytesView key, crdt::ColumnSet& have, std::vector<crdt::OwnedValue>& values) {
    uint64_t bytes = 0;
    for (const auto& v : values) bytes += v.bytes.size();
    if (bytes <= kMostValueBytes) return;
    bytes = 0;
    size_t i = 0, kept = 0;
    crdt::ColumnSet all = have;
    all.each([&](uint32_t c) {
      const uint64_t size = values[i].bytes.size();
      if (size <= kMostValueBytes && bytes + size <= kMostRowBytes) {
        bytes += size;
        if (kept != i) values[kept] = std::move(values[i]);
        ++kept;
      } else {
        have.remove(c);
        if (reader_.notes.withheld.size() < kMostTold)
          reader_.notes.withheld.push_back(fail(
              Code::too_large, "the value of " + std::to_string(size) + " bytes in column \"" + table.columns[c].name +
                                   "\" of " + table.display + " " + crdt::key_json(key, table.key.size()) +
                                   " is not sent: devices take " + std::to_string(kMostValueBytes) +
                                   " bytes of a value, and " + std::to_string(kMostRowBytes) + " of a row"));
      }
      ++i;
    });
    values.resize(kept);
  }

  bool all_from_skipped(const crdt::RowRecord& r) const {
    auto from_it = [&](crdt::Stamp s) { return s.bottom() || s.site == skip_; };
    return from_it(r.live) && from_it(r.birth) &&
           std::all_of(r.groups.begin(), r.groups.end(), [&](const crdt::CellGroup& g) { return from_it(g.stamp); });
  }

  static constexpr uint32_t kNoSite = ~uint32_t{0};
  Work& work_;
  const uint64_t most_bytes_;
  codec::ChangesetWriter& writer_;
  const Pending& pending_;
  Reader& reader_;
  size_t at_once_ = kFirstRows;
  const Table* named_ = nullptr;
  uint32_t skip_ = kNoSite;
};

// The token of the batch that holds a position.
Result<std::optional<int64_t>> batch_token(Work& work, int64_t position) {
  REJOIN_ASSIGN(Rows rows,
                work.db().query("SELECT token FROM rejoin.log WHERE tenant = $1::integer AND seq >= $2 ORDER "
                                "BY seq LIMIT 1",
                                Params().integer(work.state.id).integer(position)));
  if (rows.empty()) return std::optional<int64_t>();
  return std::optional<int64_t>(rows.integer(0, 0));
}

// Is a position the end of a batch?
Result<bool> is_batch_end(Work& work, int64_t position) {
  if (position == 0) return true;
  REJOIN_ASSIGN(Rows rows,
                work.db().query("SELECT token FROM rejoin.log WHERE tenant = $1::integer AND seq >= $2 ORDER "
                                "BY seq LIMIT 2",
                                Params().integer(work.state.id).integer(position)));
  return rows.size() < 2 || rows.integer(0, 0) != rows.integer(1, 0);
}

// Records from (cursor.table, cursor.key) on, until the page is full. True when more are left.
Result<bool> scan(Work& work, Reader& reader, Cursor& cursor, PageWriter& page) {
  for (const Table& table : work.catalog().unserved)
    if (const auto id = static_cast<uint64_t>(table.id); cursor.one ? id == cursor.table : id >= cursor.table)
      reader.left_out.insert(table.id);
  for (const Table& table : work.catalog().tables) {
    const auto id = static_cast<uint64_t>(table.id);
    if (id < cursor.table || (cursor.one && id != cursor.table)) continue;
    if (id > cursor.table) cursor.table = id, cursor.key.clear();
    for (;;) {
      if (!reader.reads(table)) break;
      if (page.full()) return true;
      const size_t limit = page.at_once();
      REJOIN_ASSIGN(
          Rows rows,
          work.db().query("SELECT k FROM rejoin.record WHERE tenant = $1::integer AND tbl = $2::integer AND k > "
                          "$3 ORDER BY k LIMIT " +
                              std::to_string(limit),
                          Params().integer(work.state.id).integer(table.id).bytea(cursor.key)));
      if (rows.empty()) break;
      std::vector<BytesView> keys;
      for (size_t i = 0; i < rows.size(); ++i) keys.push_back(rows.bytes(i, 0));
      REJOIN_ASSIGN(size_t taken, page.add(table, keys, {}));
      if (taken > 0) cursor.key = keys[taken - 1];
      if (taken < keys.size()) return true;
      if (rows.size() < limit) break;
    }
    cursor.key.clear();
    ++cursor.table;
    if (cursor.one) break;
  }
  return false;
}

// What a page brings of the log.
struct Followed {
  bool too_large = false;  // ask for fewer entries
  int64_t through = 0;     // all up to here
  Bytes key;               // and of the entry behind it the rows up to this key
};

// Rows that the log names after the reader's place. A single entry that makes too large a page is read in parts.
Result<Followed> follow(Work& work, Reader& reader, const Cursor& place, size_t most, int64_t skip_origin,
                        PageWriter& page) {
  std::map<int64_t, Touches> tables;
  size_t entries = 0;
  Followed out;
  const auto after = static_cast<int64_t>(place.position);
  out.through = after;
  while (entries < most) {
    const size_t lists = std::min<size_t>(64, most);
    REJOIN_ASSIGN(Rows rows,
                  work.db().query("SELECT seq, tbl::int8, origin::int8, entries FROM rejoin.log WHERE tenant = "
                                  "$1::integer AND seq > $2 ORDER BY seq LIMIT " +
                                      std::to_string(lists),
                                  Params().integer(work.state.id).integer(out.through)));
    size_t i = 0;
    for (; i < rows.size() && entries < most; ++i) {
      out.through = rows.integer(i, 0);
      const Table* table = work.catalog().find(rows.integer(i, 1));
      if (!table && rows.integer(i, 2) != skip_origin && work.catalog().find_unserved(rows.integer(i, 1)))
        reader.left_out.insert(rows.integer(i, 1));
      if (!table || rows.integer(i, 2) == skip_origin || !reader.reads(*table)) {
        ++entries;
        continue;
      }
      const bool in_part = out.through == after + 1 && !place.key.empty();
      codec::MergedListReader list(rows.bytes(i, 3));
      while (list.next()) {
        ++entries;
        if (in_part && list.key <= place.key) continue;
        Touch& touch = tables[table->id][Bytes(list.key)];
        touch.life |= list.life;
        touch.whole |= list.whole;
        touch.columns |= list.columns;
      }
      if (!list.ok())
        return fail(Code::corrupt, "log entry " + std::to_string(out.through) + " of tenant " + work.tenant().name +
                                       " is damaged; run rejoin pg doctor");
    }
    if (i == rows.size() && rows.size() < lists) {
      out.through = work.state.tail;
      break;
    }
  }
  for (auto& [id, touches] : tables) {
    const Table& table = *work.catalog().find(id);
    std::vector<BytesView> keys;
    std::vector<const Touch*> each;
    BytesView last = place.key;
    for (auto touch = touches.begin(); touch != touches.end();) {
      keys.clear(), each.clear();
      for (; touch != touches.end() && keys.size() < page.at_once(); ++touch)
        keys.push_back(touch->first), each.push_back(&touch->second);
      REJOIN_ASSIGN(const size_t taken, page.add(table, keys, each));
      if (taken > 0) last = keys[taken - 1];
      if (taken == keys.size()) continue;
      out.too_large = most > 1;
      // One entry, of one table.
      --out.through;
      out.key = last;
      return out;
    }
  }
  return out;
}

}  // namespace

codec::WireTable wire_table(const Table& table) {
  codec::WireTable wire;
  wire.name = table.name;
  for (const Column& c : table.key) wire.key.push_back(c.name);
  for (const Column& c : table.columns) wire.columns.push_back(c.name);
  return wire;
}

Result<sync::PullReply> read_page(Work& work, const Persona& persona, const sync::PullRequest& request,
                                  PageNotes& notes, const std::set<int64_t>& readable, bool behind) {
  sync::PullReply reply;
  const int64_t tail = work.state.tail;
  REJOIN_ASSIGN(Pending pending, read_pending(work));

  bool view_lost = false;
  if (persona.on()) {
    REJOIN_ASSIGN(const bool view_is_known, is_known(work, persona.view()));
    notes.new_view = view_lost = !view_is_known;  // forgotten, or lost with a backup
    notes.whole = notes_all(work.catalog(), persona);
  }
  const bool own =
      request.own || (request.pushing ? request.known : request.unpushed && work.sites().find(request.site) >= 0);
  // Who is given what is noted, so nothing is left out.
  REJOIN_ASSIGN(const sync::PageStart start,
                sync::start_page({request.cursor, persona.view(), view_lost, own || persona.on(), behind}, tail,
                                 work.state.floor, [&](int64_t position) { return batch_token(work, position); }));
  Cursor cursor = start.cursor;
  reply.restarted = start.restarted;
  if (start.from_start) cursor.was = start.seen_otherwise ? start.place.view : persona.view();
  // Nothing of these arrives or leaves, whatever the reason for a new beginning.
  std::set<int64_t> left_out;
  std::set<int64_t> comes_back = readable;
  for (const uint64_t of : start.place.left_out) {
    const auto id = static_cast<int64_t>(of);
    const Table* table = work.catalog().find(id);
    if (!table ? work.catalog().find_unserved(id) == nullptr : !persona.may_pull(*table)) continue;
    if (table && !persona.guards(*table)) {
      // It stood aside. A scan of everything brings it anyway.
      if (start.from_start) continue;
      comes_back.insert(id);
    }
    left_out.insert(id);
  }
  if (start.seen_otherwise) {
    // Another role, other claims, grants or rights than when the last page was read: what the device may not see any
    // more leaves it, the rest comes whole. What the device has is noted under its earlier view; if that is not so, all
    // of it leaves but what comes again. So it does when the view changes in the middle of a change.
    bool noted = !start.place.scanning || start.place.was == start.place.view;
    if (noted && persona.on()) {
      REJOIN_ASSIGN(noted, is_noted(work, start.place.view));
    }
    for (const Table& table : work.catalog().tables)
      if (persona.may_pull(table) ? persona.guards(table) && !noted && !left_out.contains(table.id)
                                  : !persona.push_only(table))
        reply.evicted.push_back({table.name, true, {}});
  }

  // The pages name every row that there is.
  if (work.state.horizon != 0 && start.from_start && (behind || (request.own && request.cursor.empty())))
    for (const Table& table : work.catalog().tables)
      if (persona.may_pull(table) && !left_out.contains(table.id))
        reply.evicted.push_back({table.name, true, {}, work.state.horizon});

  const auto back = std::find_if(left_out.begin(), left_out.end(),
                                 [&](int64_t id) { return comes_back.contains(id) && work.catalog().find(id); });
  if (back != left_out.end() && !cursor.scanning && cursor.key.empty()) {
    cursor.scanning = cursor.one = cursor.own = true;
    cursor.was = cursor.view;
    cursor.table = static_cast<uint64_t>(*back);
    const Table& table = *work.catalog().find(*back);
    // What it was given under a view is long ago: all of it leaves but what comes now. Of others leave rows whose
    // deletion was forgotten meanwhile.
    if (persona.guards(table))
      reply.evicted.push_back({table.name, true, {}});
    else if (work.state.horizon != 0)
      reply.evicted.push_back({table.name, true, {}, work.state.horizon});
    left_out.erase(back);
  }

  codec::FrameInfo info;
  info.source = work.sites()[Work::kOwnSite];
  info.from = start.from;
  // What was left out comes with the next position: until then the page waits at its receiver.
  info.horizon = std::max(static_cast<uint64_t>(tail) + (pending.any ? 1 : 0), cursor.horizon);
  const int64_t skip_origin = work.sites().find(request.site);

  Reader reader{persona, cursor.scanning ? cursor.was : cursor.view, notes, std::move(left_out)};
  auto tell_evicted = [&] {
    for (auto& [id, keys] : reader.evicted)
      reply.evicted.push_back({work.catalog().find(id)->name, false, std::move(keys)});
  };

  Cursor next = cursor;
  auto finish = [&](codec::ChangesetWriter& writer, uint64_t through) {
    next.left_out.assign(reader.left_out.begin(), reader.left_out.end());
    reply.rows = writer.rows();
    reply.next_cursor = sync::end_page(next, through, reply.more, writer.info());
  };
  if (cursor.scanning) {
    info.starts_batch = start.from_start;
    if (cursor.one && !start.place.scanning) {
      REJOIN_ASSIGN(const bool clean_place, is_batch_end(work, static_cast<int64_t>(cursor.position)));
      info.starts_batch = clean_place && cursor.horizon == 0;
    }
    codec::ChangesetWriter writer(info, work.sites());
    PageWriter page(work, request.max_bytes, writer, pending, reader);
    if (skip_origin >= 0 && !cursor.own) page.skip_site(static_cast<uint32_t>(skip_origin));
    REJOIN_ASSIGN(bool more, scan(work, reader, next, page));
    tell_evicted();
    uint64_t through = 0;
    if (!more) {
      next.scanning = false;
      next.table = 0;
      next.key.clear();
      next.one = false;
      next.was = 0;
      through = next.position;
    }
    const bool another = std::any_of(reader.left_out.begin(), reader.left_out.end(),
                                     [&](int64_t id) { return comes_back.contains(id) && work.catalog().find(id); });
    reply.more = more || another || static_cast<int64_t>(next.position) < tail || pending.any;
    finish(writer, through);
    if (reply.rows > 0 || !start.from_start || more) reply.frame = writer.finish();
    return reply;
  }

  if (static_cast<int64_t>(cursor.position) >= tail) {
    reply.next_cursor = request.cursor;
    reply.more = pending.any && cursor.horizon > static_cast<uint64_t>(tail);
    return reply;
  }
  REJOIN_ASSIGN(const bool clean_place, is_batch_end(work, static_cast<int64_t>(cursor.position)));
  // Its reader may have pages that wait for it: without them it is not to be taken.
  info.starts_batch = clean_place && cursor.key.empty() && cursor.horizon == 0;
  // A first guess of 64 bytes a row; a page that comes out too large is read again with fewer entries.
  size_t most = cursor.key.empty() ? std::clamp<size_t>(request.max_bytes / 64, 16, 100'000) : 1;
  for (;;) {
    codec::ChangesetWriter writer(info, work.sites());
    notes.shown.clear(), notes.hidden.clear(), notes.withheld.clear(), reader.evicted.clear(), reader.evictions = 0;
    PageWriter page(work, request.max_bytes > ~uint64_t{0} / 4 ? ~uint64_t{0} : request.max_bytes * 2, writer, pending,
                    reader);
    REJOIN_ASSIGN(const Followed followed, follow(work, reader, cursor, most, skip_origin, page));
    if (followed.too_large) {
      // It stopped at twice what was asked for, which tells how many rows make a page.
      const auto fitted = static_cast<size_t>(writer.rows() + reader.evictions) / 2;
      most = std::clamp<size_t>(fitted, 1, std::max<size_t>(1, most / 4));
      continue;
    }
    const int64_t through = followed.through;
    next.key = followed.key;
    tell_evicted();
    next.position = static_cast<uint64_t>(through);
    REJOIN_ASSIGN(auto token, batch_token(work, through));
    next.token = static_cast<uint64_t>(token.value_or(0));
    reply.more = through < tail || pending.any;
    finish(writer, static_cast<uint64_t>(through));
    if (reply.rows == 0 && info.starts_batch && !pending.any) {
      // Nothing in this stretch (all of it came from the asker).
      REJOIN_ASSIGN(bool clean, is_batch_end(work, through));
      if (clean && !reply.more) return reply;
    }
    reply.frame = writer.finish();
    return reply;
  }
}

}  // namespace rejoin::postgres
