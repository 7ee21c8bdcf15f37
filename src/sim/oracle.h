// The documented semantics once more, naively: one replica as plain maps. It shares no code with the engine: what
// DESIGN.md and docs/algebra.md say about inserts, updates, deletes, restores and merges is written down here a second
// time, as simply as possible.
//
// Stamps. A local write has no stamp until the engine folds it, and the documentation leaves the engine a choice
// (writes of one fold may share a stamp). So the oracle gives every statement a number and the interval of stamps that
// the rules allow:
//   - at least the wall clock of the write, and above everything that the replica knew when it last folded or merged;
//   - at most what giving every row of every statement its own stamp max(ms << 16, last + 1) would give.
// Once the replica's state is observed, the true stamps must lie in their intervals, keep the order of the statements,
// carry the replica's site, and sit on exactly the cells that the statements wrote. From then on they are known and
// everything that follows (every merge, everywhere) must be exactly what the oracle computes from them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/alters.h"
#include "sim/mistakes.h"
#include "sim/shown.h"
#include "sim/state.h"
#include "sim/tables.h"
#include "sim/visible.h"

namespace rejoin::sim {

class Oracle {
 public:
  // `site`: 16 bytes. `enforced`: PRAGMA foreign_keys.
  Oracle(const std::vector<int>& tables, std::string site, Mistakes mistakes, bool enforced = false);

  const std::string& site() const { return site_; }
  void set_site(std::string site) { site_ = std::move(site), changes(); }
  bool rollback_is_ignored() const { return mistakes_.rollback_is_ignored; }
  // The replica has taken a new identity. Its own writes that nobody acknowledged move to the new site, with their
  // times; which ones the engine still takes for unacknowledged (the log may be compacted) is read from `actual`, to be
  // observed afterwards.
  void move_to_site(const std::string& site, const State& actual);
  // From now on writes get versions; the rows that exist get (hlc 1, site).
  void track();

  // --- statements. `now_ms`: the wall clock. `set`: column index and value. Each says what SQLite must answer.
  using Set = std::vector<std::pair<int, Value>>;
  Outcome insert(int table, const Key& key, const Set& set, int64_t now_ms);
  Outcome insert_or_ignore(int table, const Key& key, const Set& set, int64_t now_ms);
  Outcome replace(int table, const Key& key, const Set& set, int64_t now_ms);
  Outcome upsert(int table, const Key& key, const Set& set, int64_t now_ms);
  Outcome update(int table, const Key& key, const Set& set, int64_t now_ms);
  Outcome update_all(int table, const Set& set, int64_t now_ms);
  Outcome rekey(int table, const Key& from, const Key& to, const Set& set, bool replace, int64_t now_ms);
  Outcome remove(int table, const Key& key, int64_t now_ms);
  Outcome remove_all(int table, int64_t now_ms);
  // Any of these on a table with constraints.
  Outcome constrained(const Step& step, int64_t now_ms);
  // refused: no such row, or no values to restore. `changed`: false when it is alive already.
  Outcome restore(int table, const Key& key, int64_t now_ms, bool& changed);

  // --- merging
  // True when the outcome would depend on a stamp that is not known yet: observe first.
  bool ambiguous(const Said& incoming) const;
  // Returns the number of rows of which anything changed that this replica shows.
  size_t merge(const Said& incoming);

  // --- tables with constraints: the engine settles which rows show whenever it has folded or merged.
  void settle();
  // Makes one of TableSpec::late, or drops it. constraint: rows that are shown hold one value.
  Outcome toggle_index(int table, size_t which);
  const std::map<std::pair<int, Key>, Parked>& parked() const { return parked_; }
  // Has it written what was not observed since?
  bool pending() const { return !open_.empty(); }
  bool tracked() const { return tracked_; }

  // --- tables that change
  const TableVersions& versions() const { return versions_; }
  const TableSpec& spec(int table) const { return spec_at(table, versions_); }
  // The next change of the table. All stamps must be known.
  void alter(int table);
  // What rejoin_alter_begin copies, and whatever statements make of it until rejoin_alter_commit.
  struct Altering {
    int table;
    TableVersion version;  // changes of the table that were made meanwhile are counted
    std::map<Key, std::vector<Value>> before, rows;
  };
  Altering begin(int table) const;
  // The table's next change: a column comes or goes.
  void alter(Altering& altering) const;
  Outcome write(Altering& altering, const Step& step) const;
  // The difference is written, all at once.
  void commit(const Altering& altering, int64_t now_ms);

  // --- deletions that everybody has heard of. All stamps must be known.
  // Forgets the rows that are not alive, and returns them.
  std::vector<std::pair<int, Key>> forget();

  // --- looking
  // The rows that a SELECT shows, in key order: key and every column.
  std::map<Key, std::vector<Value>> visible(int table) const;
  // Compares the replica's whole state with the model and learns the stamps of local writes. Empty when all is well,
  // else what is not.
  std::string observe(const Said& actual);
  // Is everything in `frame` known here, exactly so? Call observe() first. Empty when all is well.
  std::string check_frame(const Said& frame);
  // Everything known of the columns that are here, once all stamps are (after observe()).
  State state() const;
  // The greatest stamp ever seen here.
  uint64_t newest() const { return low_; }
  // Another number whenever anything here may have changed, in whatever copy of it.
  uint64_t revision() const { return revision_; }

 private:
  // A version whose stamp may still be open: `write` is then the number of the statement.
  struct Open {
    Version version;
    uint64_t write = 0;
  };
  static bool none(const Open& open) { return open.write == 0 && open.version.hlc == 0; }
  struct OpenCell {
    Open version;
    Value value;
  };
  struct OpenRow {
    bool alive = false;
    bool kept = false;  // it was alive here once, or a value of it came
    Open life, birth;
    std::map<int, OpenCell> cells;
  };
  struct Interval {
    uint64_t low, high;                       // allowed
    uint64_t least = ~uint64_t{0}, most = 0;  // seen
  };
  using Rows = std::map<Key, OpenRow>;
  void changes() {
    static uint64_t last;
    revision_ = ++last;
  }

  OpenRow* alive_row(int table, const Key& key);
  Open stamp(int64_t now_ms, uint64_t rows);
  void write_insert(int table, const Key& key, const Set& set, Open stamp);
  // False when no column really changed.
  bool write_update(OpenRow& row, int table, const Set& set, Open stamp);
  bool same(const Value& a, const Value& b) const;
  std::vector<Value> values_of(int table, const OpenRow& row) const;
  // -1, 0, 1; unknown_ is set when it cannot be said.
  int order(const Open& mine, const Version& theirs) const;
  // Of one table, by its own name or a former one.
  bool ambiguous(int table, const std::map<Key, Row>& incoming) const;
  size_t merge(int table, const std::map<Key, Row>& incoming);
  // Is what comes by this name, with its key, merged?
  bool comes_in(TableName name) const {
    return name.second >= spec(name.first).key_number && name.second <= spec(name.first).name_number;
  }
  // By any name: one that the table has not got yet makes it wait.
  size_t hear(TableName name, const std::map<Key, Row>& incoming);
  // Is what is kept aside for columns and names that are not here what was heard of them? `whole`: and is nothing left
  // out?
  std::string check_aside(const NamedState& aside, bool whole);
  std::string check_later(TableName name, const std::map<Key, Row>& rows, bool whole) const;
  std::string learn(Open& open, const Version& actual, const std::string& what);

  std::map<int, Rows> tables_;
  TableVersions versions_;
  NamedState later_;  // rows that came under names which their tables have not got yet
  std::string site_;
  Mistakes mistakes_;
  Shown shown_;  // of the tables with constraints
  std::map<std::pair<int, Key>, Parked> parked_;
  bool enforced_ = false;
  bool tracked_ = false;
  uint64_t next_write_ = 1;
  uint64_t low_ = 1, high_ = 1;  // of the last stamp given
  std::map<uint64_t, Interval> open_;
  uint64_t revision_ = 0;
  mutable bool unknown_ = false;
};

}  // namespace rejoin::sim
