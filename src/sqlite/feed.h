// The change feed: which rows, and which of their columns, the log names after a position.
#pragma once

#include <optional>
#include <vector>

#include "crdt/column_set.h"
#include "sqlite/context.h"
#include "sqlite/pass_on.h"

namespace rejoin::sqlite {

// A row that changed. Repeated mentions are merged.
struct Touch {
  uint64_t prefix = 0;  // first bytes of the key, for sorting
  uint32_t key_at = 0;
  uint32_t key_size = 0;
  bool life = false;       // liveness changed
  bool whole = false;      // the row came alive: everything is to be sent
  bool announced = false;  // because the table was renamed
  bool written = false;    // for any other reason
  bool born = false;       // came alive, for any other reason
  crdt::ColumnSet columns;
};

struct TableTouches {
  Table* table = nullptr;
  Bytes keys;
  std::vector<Touch> touches;  // by ascending key, one per key
  BytesView key(const Touch& t) const { return BytesView(keys).substr(t.key_at, t.key_size); }
};

struct FeedRequest {
  int64_t after = 0;
  int64_t up_to = 0;
  size_t max_entries = ~size_t{0};      // of the log; a merged chunk counts its rows
  bool local_only = false;              // leave out what was merged from other replicas
  std::optional<uint32_t> skip_origin;  // leave out what was merged from this one
  bool parked = false;                  // with rows that are kept aside
};

struct Feed {
  std::vector<TableTouches> tables;  // in order of table id
  int64_t through = 0;               // log position that was reached
  size_t entries = 0;
  std::vector<ParkedRow> parked;
};

Result<Feed> read_feed(Context& ctx, const State& state, const FeedRequest& request);

}  // namespace rejoin::sqlite
