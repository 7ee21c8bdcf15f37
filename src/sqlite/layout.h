// The metadata tables. docs/formats-log.md describes each.
#pragma once

#include "base/result.h"

namespace rejoin::sqlite {

struct Context;

inline constexpr int kFormat = 5;

// log.op
enum LogOp : int {
  kInsert = 1,
  kUpdate = 2,
  kDelete = 3,
  kRestore = 4,
  kSuspect = 5,  // an INSERT OR REPLACE may have displaced this row through another UNIQUE column
  kMerged = 16,  // k0 is a list of rows that a merge (or track) changed; bits is the origin's site index
  kBlank = 17,   // nothing; kept because the newest number must never be handed out twice
  kParked = 18,  // a row was kept aside (rejoin_aside); k0 names it (sqlite/pass_on.h), bits is the origin's site index
};

// Creates the metadata tables, mints the site id.
Status create_layout(Context& ctx);

// Brings the metadata of an older build up to date, inside a transaction that writes.
Status upgrade_layout(Context& ctx, int64_t from);

}  // namespace rejoin::sqlite
