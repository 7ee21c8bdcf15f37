// Merges the rows of pushed frames into the application's tables, many rows a statement.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>

#include "codec/changeset.h"
#include "postgres/base_rows.h"
#include "postgres/records.h"
#include "postgres/view.h"
#include "sync/store.h"

namespace rejoin::postgres {

struct MergeOptions {
  crdt::SiteId origin;                    // who pushes
  std::optional<crdt::SiteId> only_site;  // cells of other sites are refused
  int64_t now_ms = 0;
  int64_t drift_ms = 0;
  codec::Limits limits;
  bool stale = false;  // from a device that has missed deletions that are forgotten here
  Persona persona;     // as whom the tables are written
};

class Merge {
 public:
  Merge(Work& work, const MergeOptions& options);
  ~Merge();
  // Merges all rows of one verified frame. Errors: clock_ahead, corrupt, and what PostgreSQL reports of itself; rows
  // that it refuses are listed in the outcome, each with its reason.
  Status frame(const codec::ChangesetReader& reader);
  // Tries rows again that waited for others, writes the log. Once, after the last frame.
  Status finish();
  sync::ApplyOutcome& outcome() { return outcome_; }

 private:
  struct Incoming;
  struct Plan;
  using Rows_ = std::span<Incoming*>;
  // What is taken for granted until PostgreSQL says otherwise.
  enum class Hope {
    all,       // rows are as their records say, new ones have none, and nobody else writes them: nothing is locked
    new_rows,  // rows that are told to be new are not looked for
    none,
  };
  enum class Tried { taken, refused, otherwise };
  Status block(const codec::ChangesetReader& reader, size_t index);
  Status merge_in_turn(std::vector<Incoming*> all);
  // What was queued on the presumption that all is as hoped, by the places of its results.
  struct Presumed {
    std::vector<std::pair<const Table*, size_t>> records, shapes;
    size_t waits_at = 0;
  };
  // What a vain attempt leaves as it was.
  struct Held {
    State state;
    bool outbox_waits = false;
    size_t refused = 0;
  };
  Held held() const;
  SqlError undo(const Held& before);
  Hope most_hope(Rows_ rows) const;
  Status merge_rows(Rows_ rows, Hope hope, int round = 0);
  Result<Tried> try_rows(Rows_ rows, Hope hope, std::vector<Incoming*>& again);
  Status read(Rows_ rows, Hope hope, std::vector<Plan>& plans, std::vector<Incoming*>& again);
  bool let_in(Plan& plan, crdt::RowRecord& without_birth, const crdt::RowRecord*& theirs);
  Status join(Plan& plan);
  Status write(std::vector<Plan>& plans, Hope hope, std::vector<Incoming*>& again);
  Status lock_in_turn(std::span<Plan> plans);
  Presumed presume(std::vector<Plan>& plans, const std::set<const Table*>& filled);
  Status move_aside(std::span<Plan> plans);
  Status edit_before_erase(std::vector<Plan>& plans, size_t& results, std::vector<std::pair<size_t, size_t>>& edits);
  void keep(std::vector<Plan>& plans);
  Result<bool> merge_together();
  Result<std::optional<SqlError>> try_together(Rows_ rows);
  void refuse(const Incoming& row, Code code, const std::string& reason);
  void refuse_not_taken(const Incoming& row);
  void refuse_by(const Incoming& row, const SqlError& error);
  void refuse_orphans();
  Status look_for_renamed(const std::string& name);
  std::string why_unknown(const codec::WireTable& wire) const;
  Status refuse_unknown(const codec::ChangesetReader& reader, size_t index);

  Work& work_;
  const MergeOptions& options_;
  sync::ApplyOutcome outcome_;
  std::vector<uint32_t> site_map_;
  uint32_t origin_ = 0;
  crdt::Hlc limit_ = 0;
  LogBatch log_;
  std::vector<std::unique_ptr<Incoming>> waiting_;  // refused for now: what they need may come with later rows
  std::vector<std::unique_ptr<Incoming>> rows_;
  Keys shown_;
  bool last_try_ = false;
  bool aside_ = false;             // rows swap UNIQUE values: they let go of them before they take the new ones
  bool otherwise_ = false;         // Hope::all was in vain
  std::optional<SqlError> fault_;  // what is wrong with a row although PostgreSQL took it
};

}  // namespace rejoin::postgres
