// UNIQUE values: which of several rows that want one has it. Decided by their versions alone, so that every replica
// decides alike, whatever came first there.
#pragma once

#include "crdt/record.h"
#include "crdt/value.h"

namespace rejoin::crdt {

// What a row brings forward for a UNIQUE value.
struct Claim {
  Stamp version;  // claim_version()
  BytesView key;  // the row's, encoded
};

// Does `a` have the value, and not `b`? The older claim does; of two with one version the smaller key's. A strict total
// order of the claims of different rows.
bool precedes(const Claim& a, const Claim& b, const SiteTable& sites);

// The greatest version of the cells that a UNIQUE index reads: when the row came to claim what it claims. `key`: the
// index reads columns of the primary key too, which are as old as the row's birth.
Stamp claim_version(const RowRecord& record, const ColumnSet& columns, bool key, const SiteTable& sites);

// How an index compares texts. SQLite's own collations; `other` compares no two alike here.
enum class Collation : uint8_t { binary, nocase, rtrim, other };
Collation collation_of(std::string_view name);

// Appends a value of a tuple, so that tuples which an index takes for equal have equal bytes (1 and 1.0, with nocase
// also 'a' and 'A'), and only those.
void encode_claimed(const ValueRef& value, Collation collation, Bytes& out);

}  // namespace rejoin::crdt
