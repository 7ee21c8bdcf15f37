#include "sqlite/feed.h"

#include <algorithm>

#include "codec/merged_list.h"
#include "crdt/key.h"
#include "sqlite/layout.h"
#include "sqlite/triggers.h"

namespace rejoin::sqlite {
namespace {

void merge_equal_keys(TableTouches& t) {
  auto before = [&](const Touch& a, const Touch& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : t.key(a) < t.key(b);
  };
  if (!std::is_sorted(t.touches.begin(), t.touches.end(), before))
    std::sort(t.touches.begin(), t.touches.end(), before);
  size_t out = 0;
  for (size_t i = 0; i < t.touches.size(); ++i) {
    if (out > 0 && t.touches[out - 1].prefix == t.touches[i].prefix &&
        t.key(t.touches[out - 1]) == t.key(t.touches[i])) {
      Touch& into = t.touches[out - 1];
      into.life |= t.touches[i].life;
      into.whole |= t.touches[i].whole;
      into.announced |= t.touches[i].announced;
      into.written |= t.touches[i].written;
      into.born |= t.touches[i].born;
      into.columns |= t.touches[i].columns;
    } else {
      if (out != i) t.touches[out] = std::move(t.touches[i]);
      ++out;
    }
  }
  t.touches.resize(out);
}

}  // namespace

Result<Feed> read_feed(Context& ctx, const State& state, const FeedRequest& request) {
  Feed feed;
  feed.through = request.after;
  size_t key_columns = 1;
  for (const auto& t : ctx.catalog.tables) key_columns = std::max(key_columns, t->key.size());
  std::string keys;
  for (size_t i = 0; i < key_columns; ++i) keys += ", k" + std::to_string(i);
  REJOIN_ASSIGN(Statement * log, ctx.statement("SELECT seq, tbl, op, bits" + keys +
                                               " FROM main.rejoin_log WHERE seq>?1 AND seq<=?2 ORDER BY seq"));
  Use use(*log);
  log->bind(1, request.after);
  log->bind(2, request.up_to);
  int64_t last_table = -1;
  TableTouches* into = nullptr;
  std::vector<crdt::ValueRef> values;
  auto add = [&](size_t key_at) -> Touch& {
    Touch& t = into->touches.emplace_back();
    t.key_at = static_cast<uint32_t>(key_at);
    t.key_size = static_cast<uint32_t>(into->keys.size() - key_at);
    t.prefix = crdt::key_prefix(into->key(t));
    return t;
  };
  for (;;) {
    if (feed.entries >= request.max_entries) break;
    REJOIN_ASSIGN(bool row, log->step("reading the log"));
    if (!row) {
      feed.through = request.up_to;
      break;
    }
    feed.through = log->integer(0);
    int64_t op = log->integer(2);
    int64_t table_id = log->integer(1);
    ParkedRow parked;
    if (op == kParked) {
      if (!request.parked) continue;
      ++feed.entries;
      if (!read_parked_entry(log->blob(4), parked))
        return fail(Code::corrupt, "log entry " + std::to_string(feed.through) + " is damaged; run rejoin doctor");
      REJOIN_ASSIGN(const bool waits, still_parked(ctx, parked));
      if (waits) {
        feed.parked.push_back(std::move(parked));
        continue;
      }
      // It has found its place meanwhile, and was not announced again.
      const Table* table = ctx.catalog.find_named(parked.table);
      if (!table) continue;
      table_id = static_cast<int64_t>(table->id);
    }
    if (table_id != last_table || !into) {
      Table* table = ctx.catalog.find(static_cast<uint64_t>(table_id));
      if (!table) continue;
      last_table = table_id;
      auto it =
          std::find_if(feed.tables.begin(), feed.tables.end(), [&](const TableTouches& t) { return t.table == table; });
      if (it == feed.tables.end()) it = feed.tables.insert(it, TableTouches{table, {}, {}});
      into = &*it;
    }
    if (op == kParked) {
      const size_t at = into->keys.size();
      into->keys += parked.key;
      Touch& t = add(at);
      t.whole = t.life = t.written = t.born = true;
      continue;
    }
    if (op == kMerged) {
      auto origin = static_cast<uint32_t>(log->integer(3));
      if ((request.local_only && origin != state.site) || (request.skip_origin && origin == *request.skip_origin)) {
        ++feed.entries;
        continue;
      }
      codec::MergedListReader list(log->blob(4));
      while (list.next()) {
        size_t at = into->keys.size();
        into->keys += list.key;
        Touch& t = add(at);
        t.life = list.life;
        t.whole = list.whole;
        t.announced = list.announced;
        t.written = !list.announced;
        t.born = list.whole && !list.announced;
        t.columns = list.columns;
        ++feed.entries;
      }
      if (!list.ok())
        return fail(Code::corrupt, "log entry " + std::to_string(feed.through) + " is damaged; run rejoin doctor");
      continue;
    }
    if (op < kInsert || op > kSuspect) continue;
    ++feed.entries;
    uint32_t mask = op == kUpdate ? chunk_mask(log->integer(3)) : 0;
    if (op == kUpdate && !mask) continue;
    size_t at = into->keys.size();
    values.resize(into->table->key.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = log->value(4 + static_cast<int>(i));
    crdt::encode_key(values, into->keys);
    Touch& t = add(at);
    t.whole = t.born = op == kInsert || op == kRestore;
    t.written = true;
    t.life = op != kUpdate;
    for (uint32_t first = op == kUpdate ? chunk_first(log->integer(3)) : 0; mask; mask &= mask - 1)
      t.columns.add(first + static_cast<uint32_t>(std::countr_zero(mask)));
    into->table->constraints.groups.expand(t.columns);
  }
  for (TableTouches& t : feed.tables) merge_equal_keys(t);
  std::sort(feed.tables.begin(), feed.tables.end(),
            [](const TableTouches& a, const TableTouches& b) { return a.table->id < b.table->id; });
  return feed;
}

}  // namespace rejoin::sqlite
