// What a Replica holds. For this room's files only.
#pragma once

#include <memory>

#include "contract/contract.h"
#include "sqlite/context.h"
#include "sqlite/parked_vtab.h"
#include "sqlite/replica.h"
#include "sqlite/rows_vtab.h"

namespace rejoin::sqlite {

struct Replica::Impl {
  Impl(sqlite3* db, Clock& clock, Random& random) : ctx(db, clock, random) {
    register_rows_vtab(db);
    register_parked_vtab(db);
  }
  Context ctx;
  std::unique_ptr<LiveConnection> live;  // of rejoin_live()
};

contract::Contract current_contract(Context& ctx);

}  // namespace rejoin::sqlite
