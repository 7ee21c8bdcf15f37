// What a merge is about to do with one row.
#pragma once

#include <map>
#include <string>

#include "postgres/merge.h"
#include "postgres/records.h"

namespace rejoin::postgres {

// What becomes of one row.
struct Merge::Plan {
  Incoming* row = nullptr;
  bool exists = false;  // in the application's table
  bool looked = false;  // ... and that is not presumed
  std::string place;    // where it lies there
  StoredRow stored;
  crdt::JoinOutcome join;
  bool was_alive = false;
  enum Action { nothing, insert, update, erase } action = nothing;
  crdt::ColumnSet columns;  // to be written
  std::map<uint32_t, crdt::OwnedValue> values;
  std::map<uint32_t, crdt::OwnedValue> before;  // columns_before()
  crdt::ColumnSet echoed;                       // what PostgreSQL stored otherwise
  crdt::ColumnSet kept;                         // what it had before tracking, and nobody wrote
  bool recorded = false;                        // its record is written with the row, before it is known how that went
  bool done = true;
};

}  // namespace rejoin::postgres
