// For people who debug: everything that a changeset says.
#pragma once

#include <string>

#include "base/bytes.h"

namespace rejoin::codec {

// Header, sites, tables and every row, a line for each cell. A frame that is refused gives one line with the reason;
// one whose rows turn out to be damaged says so below the last sound row.
std::string changeset_text(BytesView frame);

// The same as one JSON object, on one line. `error` is there only when something is wrong with the frame.
std::string changeset_json(BytesView frame);

}  // namespace rejoin::codec
