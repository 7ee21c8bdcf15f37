// For people and JSON: values, keys, stamps and records in readable form.
#pragma once

#include <string>

#include "base/bytes.h"
#include "crdt/record.h"
#include "crdt/value.h"
#include "crdt/version.h"

namespace rejoin::crdt {

// `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, one for each maximal broken part.
std::string json_string(BytesView text);

// A value as a JSON literal: null; 42; reals in the shortest form that reads back to the same bits and never looks like
// an integer (1.0, 1e+300), infinities as 1e999 and -1e999, NaN as null; text as a string; blobs as {"blob":"0aff"}.
std::string value_json(const ValueRef& value);

// "2026-11-21T10:52:03.141Z/7": time in UTC and counter. "never" for bottom.
std::string hlc_text(Hlc hlc);

// hlc_text, a blank, and the first 8 hex digits of the site; "site?" for an index that `sites` does not have.
std::string stamp_text(Stamp stamp, const SiteTable& sites);

// "0-3,7"; "none" when empty.
std::string column_set_text(const ColumnSet& columns);

// One line for the inspector: "alive 2026-…Z/0 5c1e0a77; born then; 0-3 then; 4 2026-…Z/2 91ab03cd". "then" is the
// liveness's stamp.
std::string record_text(const RowRecord& record, const SiteTable& sites);

}  // namespace rejoin::crdt
