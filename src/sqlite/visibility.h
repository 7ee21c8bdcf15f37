// Which alive rows the application sees: a function of the merged state, whatever came first (docs/adr/0004).
//
//   - A row whose own values the table refuses (CHECK, NOT NULL, STRICT, types) is hidden.
//   - Of rows that claim one UNIQUE value, all but the first claim's are hidden (crdt/claim.h).
//   - A row whose parent, by a foreign key, is not visible is hidden, whatever PRAGMA foreign_keys says; with ON DELETE
//     SET NULL or SET DEFAULT a stand-in without the reference is shown. Rows that refer to each other show together.
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
#include "sqlite/base_writer.h"
#include "sqlite/enforcement.h"

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

  // After the writes: hides and shows what is to be, of these tables and of those that refer to them. Records must have
  // been written, and must not be read meanwhile.
  struct Settled {
    uint64_t hidden = 0, shown = 0;
  };
  Result<Settled> settle(const std::vector<uint64_t>& tables);

 private:
  struct Hidden;
  using RowName = std::pair<uint64_t, Bytes>;  // table, key
  Status load_hidden(uint64_t table);
  Status load(const Table& table, BytesView key);
  Status hide(const Table& table, BytesView key, const std::string& reason);
  Status settle_unique(const Table& table);
  Result<std::vector<const ForeignKey*>> missing_parents(const Table& table, BytesView key);
  std::string lacks(const ForeignKey& f, const Hidden& row) const;
  Status collect(Statement& s, const Table& table);
  Status check_parents();
  Status take_back(Hidden& h);
  using Reference = std::vector<crdt::ValueRef>;
  Reference reference(const ForeignKey& f, const Hidden& row, bool stand_in) const;
  Result<bool> has_parent(const ForeignKey& f, const Reference& values);
  bool shows_with(const ForeignKey& f, const Reference& values) const;
  Status choose();
  Status show();

  Context& ctx_;
  Enforcement enforcement_;
  std::set<RowName> check_;                          // rows that may lack a parent
  std::set<RowName> left_;                           // parents that others referred to
  std::set<std::pair<uint64_t, size_t>> unchecked_;  // foreign keys of which every row is to be looked at
  std::deque<Hidden> hidden_;
  std::map<RowName, Hidden*> by_name_;
  Settled settled_;
};

// After a change of the schema: looks at all hidden rows again, whatever table they are of. Folds if there are any.
Status settle_all_hidden(Work& work);

}  // namespace rejoin::sqlite
