// Values of rows that a server took without some of their columns, because it lacked them (schema_refused). When the
// columns are there, what PostgreSQL fills into them is stamped right above the row's birth, so that devices without a
// value get it (postgres/track.cc); a value that was written with the birth itself would lose to it.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Ticks above a row's birth: above what PostgreSQL fills in.
inline constexpr crdt::Hlc kAboveDefaults = 2;

// The columns of listed rows that the server did not take, as far as they were written here with their row, are written
// once more: with the same values, two ticks above the birth. Any later write still wins. Everything must have been
// folded; before news that the server sent with its new columns.
Status raise_late_columns(Work& work);

}  // namespace rejoin::sqlite
