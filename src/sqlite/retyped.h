// Values whose column has another type elsewhere, or has got one: versions of an application may declare it in
// different ways.
#pragma once

#include <optional>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// The reason where a row waits for it.
inline constexpr const char* kTypesDiffer =
    "the table would store another value than it was sent (column types differ)";

// What a column of this affinity holds in place of a value that it would store as another one
// (BaseWriter::altered_by_affinity), where the two are the same number: 5, 5.0 and '5'. A number has one form in each
// type, so it does not matter through whose columns it came. Nothing: it has none here, as '05' has no number's.
std::optional<OwnedValue> same_number(const crdt::ValueRef& v, Affinity affinity);

// Has the number other forms, of which a column without a type tells one from the other?
bool has_other_form(const crdt::ValueRef& v);

// Is `now` only what SQLite makes of `was` in a column of this affinity?
bool is_conversion(const crdt::ValueRef& was, const crdt::ValueRef& now, Affinity affinity);

// Gives values of `columns` the form that they have in the table; they live in `kept`. False: one has none.
bool fit_columns(const Table& table, const crdt::ColumnSet& columns, std::vector<crdt::ValueRef>& values,
                 std::vector<OwnedValue>& kept);

}  // namespace rejoin::sqlite
