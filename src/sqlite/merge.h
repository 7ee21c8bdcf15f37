// Merging: rows of a frame are joined with the records, written once each, recorded and put into the feed.
#pragma once

#include <map>
#include <set>

#include "codec/changeset.h"
#include "sqlite/base_writer.h"
#include "sqlite/context.h"
#include "sqlite/enforcement.h"
#include "sqlite/lost.h"
#include "sqlite/replica.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {

class Merge {
 public:
  // Everything must have been folded. `options` must outlive the merge.
  Merge(Work& work, const ApplyOptions& options);
  ~Merge();

  // Merges all rows of one verified frame.
  Status frame(const codec::ChangesetReader& reader);
  // Settles what is visible, ends the batch, moves the clock. To be called once, after the last frame.
  Status finish();
  sync::ApplyOutcome& outcome() { return outcome_; }
  // Whatever it gets had been taken, and was kept aside only because its table could not be written.
  void admit() { admitted_ = true; }
  // To be told of rows that the caller takes out itself.
  Status left(const Table& table, BytesView key);

 private:
  struct Block;
  void touch(const Table& table);
  Status block(const codec::ChangesetReader& reader, size_t index);
  Status rows_of(const codec::ChangesetReader& reader, size_t index, Table& into,
                 const std::vector<std::vector<uint32_t>>& maps, size_t pass);
  Status leave_unknown_columns(Block& b);
  Status unknown_table(const codec::ChangesetReader& reader, size_t index);
  Status row(Block& b);
  Status wait_for_reach(Block& b, const crdt::RowRecord& theirs);
  Status wait_for_index(Block& b);
  bool is_news(Block& b, const crdt::RowRecord& theirs) const;
  Result<bool> leave_out_foreign(Block& b);
  Result<bool> leave_out_discarded(Block& b);
  Status follow(Block& b);
  // Refused: the row that is there cannot go, and nothing was changed.
  Result<Wrote> write(Block& b, bool was_visible, bool was_known);
  Status show(Block& b, bool from_shadow);
  Result<Wrote> change(Block& b);
  Result<Wrote> hide(Block& b, const crdt::ColumnSet& columns, const std::string& reason);
  Status note_losers(Block& b, const crdt::RowRecord& before, bool was_visible);
  Status flush(Block& b);
  Status refuse(Block& b, Code code, const std::string& reason);
  Status park(Block& b, const std::string& reason, int64_t due_ms);
  Status settle_former();

  Work& work_;
  Context& ctx_;
  const ApplyOptions& options_;
  sync::ApplyOutcome outcome_;
  Enforcement enforcement_;
  Visibility visibility_;
  LostLog lost_;
  crdt::Hlc limit_ = 0;
  crdt::Hlc horizon_ = 0;  // deletions up to there may be forgotten; 0: what the frame's source has is right
  crdt::Hlc newest_ = 0;
  uint32_t origin_ = 0;
  std::vector<uint32_t> site_map_;
  std::vector<uint32_t> ours_;     // the sites that this replica is and was
  std::vector<uint32_t> allowed_;  // whose changes the frame may carry, when not everybody's
  std::vector<uint64_t> touched_tables_;
  bool has_rejections_ = false, has_discarded_ = false;
  bool logged_ = false, admitted_ = false;
  std::set<uint64_t> noted_;                         // tables that are out of reach
  std::map<uint64_t, std::set<Bytes>> former_keys_;  // by table: rows that came under the key it had before
  bool came_known_ = false;                          // a row that might have been a forgotten one
};

}  // namespace rejoin::sqlite
