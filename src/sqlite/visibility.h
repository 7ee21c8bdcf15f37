// Which alive rows the application sees: a function of the merged state, whatever came first (docs/adr/0004).
//
//   - A row whose own values the table refuses (CHECK, NOT NULL, STRICT, types) is hidden.
//   - Of rows that claim one UNIQUE value, all but the first claim's are hidden (crdt/claim.h).
//   - A row whose parent, by a foreign key, is not visible is hidden, whatever PRAGMA foreign_keys says; with ON DELETE
//     SET NULL or SET DEFAULT a stand-in without the reference is shown. Rows that refer to each other show together.
//   - Of stand-ins that would hold one UNIQUE value, the one with the smallest key shows; none where another row holds
//   it.
//
// A hidden row's record says so, its values lie in the shadow table, rejoin_parked lists it with the reason. Nothing of
// this makes a stamp, is captured, or travels.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/column_set.h"
#include "sqlite/choice.h"
#include "sqlite/enforcement.h"
#include "sqlite/hidden_row.h"

namespace rejoin::sqlite {

class Visibility {
 public:
  explicit Visibility(Context& ctx);
  ~Visibility();

  // To be told by whoever writes rows, as it happens; of tables without foreign keys nobody need tell.
  // A visible row was written; `columns`: only these, of a row that was there.
  Status wrote(const Table& table, BytesView key, const crdt::ColumnSet* columns);
  // A row is not in the application's table any more.
  Status left(const Table& table, BytesView key);

  // One that should not be could not be taken out: an index's expression fails on it. Another connection tries.
  Status stays(const Table& table);
  // Rows of this table have come and left that nobody told of one by one.
  void came(const Table& table);

  // After the writes: hides and shows what is to be, of these tables and of those that refer to them. Records must have
  // been written, and must not be read meanwhile.
  struct Settled {
    uint64_t hidden = 0, shown = 0;
  };
  Result<Settled> settle(const std::vector<uint64_t>& tables);

 private:
  using RowName = std::pair<uint64_t, Bytes>;  // table, key
  Result<bool> reaches(const Table& table);
  bool waits_for_outside(const Table& table);
  Status load_hidden(uint64_t table);
  Status load(const Table& table, BytesView key);
  Status hide(const Table& table, BytesView key, const std::string& reason);
  Status settle_unique(const Table& table);
  Result<std::vector<const ForeignKey*>> missing_parents(const Table& table, BytesView key);
  Status collect(Statement& s, const Table& table);
  bool in_doubt() const { return !check_.empty() || !left_.empty() || !unchecked_.empty(); }
  Status check_parents();
  Status take_back(HiddenRow& h);
  Status settle_references();
  Status show(bool stand_ins);
  Status put(HiddenRow& h);
  Result<bool> look_again();

  Context& ctx_;
  Enforcement enforcement_;
  std::set<RowName> check_;                          // rows that may lack a parent
  std::set<RowName> left_;                           // parents that others referred to
  std::set<uint64_t> noted_;                         // tables that cannot be written here
  std::set<std::pair<uint64_t, size_t>> unchecked_;  // foreign keys of which every row is to be looked at
  Choice choice_;
  std::deque<HiddenRow> hidden_;
  std::map<RowName, HiddenRow*> by_name_;
  std::vector<HiddenRow*> pending_;  // those of which it is not decided yet
  Settled settled_;
};

// After a change of the schema: looks at all hidden rows again, whatever table they are of. Folds if there are any.
Status settle_all_hidden(Work& work);

}  // namespace rejoin::sqlite
