// What a row must be in the end, from the writes of a script alone. A write has a stamp, which the script knows exactly
// or within bounds; the greatest liveness says whether the row is there, the greatest write of a column what it shows,
// and nothing older than the newest insert does.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace rejoin::testing {

struct ModelRow {
  std::string tenant;
  int table = 0;
  std::string key;
  friend auto operator<=>(const ModelRow&, const ModelRow&) = default;
};

using ModelCells = std::vector<std::string>;  // values as text, by column
using ModelRows = std::map<ModelRow, ModelCells>;

struct ModelWrite {
  enum Kind { insert, remove, restore, update } kind = update;
  ModelRow row;
  std::map<int, std::string> cells;  // by column; of an insert all
  int64_t lo = 0, hi = 0;            // its stamp
  int64_t order = 0;                 // of writes with one stamp the later
  int64_t until = 0;                 // of plain SQL: when its statement was over, as a stamp
  bool before(const ModelWrite& other) const;
};

// What a statement did to the rows that its writer sees. `anew`: rows that were written as new ones, though they were
// there before, or went in between.
std::vector<ModelWrite> writes_between(const ModelRows& before, const ModelRows& after,
                                       const std::set<ModelRow>& anew = {});

class ModelOracle {
 public:
  // The write's place, for stamps that are known later.
  size_t add(ModelWrite write);
  ModelWrite& at(size_t place) { return writes_[place]; }
  size_t size() const { return writes_.size(); }
  // Nobody knows of it any more.
  void forget(size_t place);
  // What is wrong about the row, as it shows (nothing: not there); empty when all is well, or nothing can be said.
  // `judged`: of which columns.
  std::string judge(const ModelRow& row, const ModelCells* shown, const std::vector<bool>& judged) const;
  std::set<ModelRow> rows() const;
  // What was ever written there.
  std::set<std::string> values(const ModelRow& row, int column) const;
  // Every write to the row, for people.
  std::string history(const ModelRow& row) const;

 private:
  std::vector<const ModelWrite*> greatest(const ModelRow& row, const std::set<ModelWrite::Kind>& sorts,
                                          int column) const;
  std::vector<ModelWrite> writes_;
  std::map<ModelRow, std::vector<size_t>> by_row_;
};

}  // namespace rejoin::testing
