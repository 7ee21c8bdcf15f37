// A row's record: all its versions, packed. The state that replicas merge; values live in the application's own table.
//
// The record is a join semilattice (docs/algebra.md): liveness and birth are maxima, every cell is a last-writer-wins
// register, and cells older than the birth are bottom.
#pragma once

#include <span>
#include <vector>

#include "base/bytes.h"
#include "crdt/column_set.h"
#include "crdt/version.h"

namespace rejoin::crdt {

// Columns that carry one stamp.
struct CellGroup {
  ColumnSet columns;
  Stamp stamp;
  friend bool operator==(const CellGroup&, const CellGroup&) = default;
};

struct RowRecord {
  bool alive = false;
  // Local, not part of the state: the row is alive but its values are kept in the shadow table, because the
  // application's table refused them (see rejoin_parked).
  bool hidden = false;
  Stamp live;   // the version of `alive`; bottom: never heard of an insert or a delete
  Stamp birth;  // the version of the newest insert
  // Disjoint, none empty, none bottom, none below birth; ordered by their smallest column. Use canonicalise() after
  // changing them.
  std::vector<CellGroup> groups;

  bool visible() const { return alive && !hidden; }
  // Keeps the vector's memory.
  void reset() { alive = hidden = false, live = birth = Stamp{}, groups.clear(); }
  // The stamp of a column; bottom when never written since birth.
  Stamp stamp_of(uint32_t column) const;
  // Makes this the record of a fresh insert of columns 0..columns-1: nothing of before is left, it is not hidden.
  void insert(Stamp stamp, uint32_t columns);
  // Gives `columns` the stamp, whatever they had; bottom: takes theirs away. The record stays canonical if the stamp is
  // not below birth.
  void write(const ColumnSet& columns, Stamp stamp);
  friend bool operator==(const RowRecord&, const RowRecord&) = default;
};

// Merges groups of one stamp, drops empty and bottom ones and those below birth, orders them. A column that stands in
// several groups keeps its greatest stamp. A bottom liveness is not alive.
void canonicalise(RowRecord& record, const SiteTable& sites);

// What a join did to the record on the left.
struct JoinOutcome {
  bool live_won = false;   // the incoming liveness is greater
  bool birth_won = false;  // the incoming birth is greater
  bool live_lost = false;  // the incoming liveness was present and is smaller
  ColumnSet won;           // columns that now carry the incoming stamp
  ColumnSet lost;          // columns whose incoming stamp was present and is smaller (below a birth counts)
  ColumnSet dropped;       // columns of the left side that fell below the new birth and were not won
  bool changed() const { return live_won || birth_won || !won.empty() || !dropped.empty(); }
  void reset() { live_won = birth_won = live_lost = false, won.clear(), lost.clear(), dropped.clear(); }
};

// mine := mine ⊔ theirs. Both use `sites`. `theirs` may be partial (fewer columns, bottom liveness). Commutative,
// associative, idempotent, monotone. `mine` is canonical before and after, whatever `theirs` is. `hidden` of `mine` is
// left alone. Equal stamps with different liveness: alive wins. Does not allocate when both sides have few groups and
// `mine` and `outcome` are reused.
void join(RowRecord& mine, const RowRecord& theirs, const SiteTable& sites, JoinOutcome& outcome);

// The record with only `columns`, and liveness, birth and `hidden` only if `with_life`.
RowRecord restrict_record(const RowRecord& record, const ColumnSet& columns, bool with_life);

// Is every version in the record one of this site's?
bool only_of_site(const RowRecord& record, uint32_t site);
// What this site wrote of the record: a partial record, whose join with the other sites' parts is the whole.
RowRecord part_of_site(const RowRecord& record, uint32_t site);
// The same of several sites.
bool only_of_sites(const RowRecord& record, std::span<const uint32_t> sites);
RowRecord part_of_sites(const RowRecord& record, std::span<const uint32_t> sites);
// What all the others wrote of it.
RowRecord part_of_others(const RowRecord& record, std::span<const uint32_t> sites);
// The greatest stamp of the record.
Hlc newest_stamp(const RowRecord& record);

// At rest, in <table>__rejoin.rec (docs/formats-record.md has it byte by byte):
//   flags u8: 1 alive, 2 live written, 4 birth written, 8 birth is live, 16 base group, 32 hidden, 64 groups
//   live stamp, birth stamp: the first stamp of a record is be48(ms), varint(counter), varint(site); a later one is
//     varint(zigzag(ms - first ms) << 1 | 1 if the counter is not 0), varint(counter) only then, varint(site)
//   base group: varint n: columns 0..n-1, less those of the groups that follow, carry the birth's stamp. Used whenever
//     that describes the group of the birth's stamp, with n its largest column plus one
//   groups: varint count, then per group a column set and a stamp
//   column set: varint(bits << 1) when all columns are below 63, else varint(words << 1 | 1) and that many varint
//     words, last not zero
//
// Appends to `out`. `record` is canonical.
void encode_record(const RowRecord& record, Bytes& out);
// False for anything that encode_record would not have written (so hostile or damaged bytes are found); `record` is
// unspecified then. Site indexes are only checked against `site_count`.
bool decode_record(BytesView in, size_t site_count, RowRecord& record);

}  // namespace rejoin::crdt
