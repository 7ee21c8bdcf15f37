// A script's statement as SQL, and as a call of the oracle.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/oracle.h"
#include "sim/script.h"
#include "sim/tables.h"

namespace rejoin::sim {

inline bool is_statement(Op op) { return op <= Op::remove_all; }

// The statement's text with its bound values.
std::pair<std::string, std::vector<Value>> sql_of(const Step& step, const TableSpec& table);
Outcome apply_to(Oracle& model, const Step& step, int64_t now_ms);

}  // namespace rejoin::sim
