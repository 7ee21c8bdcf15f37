// Which rows the application sees: docs/adr/0004 once more, naively, as a function of everything that a replica knows.
#pragma once

#include <map>

#include "sim/shown.h"
#include "sim/state.h"

namespace rejoin::sim {

// Why a row that is alive is not shown as it is.
enum class Parked { check, unique, foreign_key, stand_in };
std::string_view parked_name(Parked parked);

struct Visible {
  ShownRows rows;
  std::map<std::pair<int, Key>, Parked> parked;
};

// Of tables with constraints.
Visible visible_rows(const State& state, const std::vector<int>& tables, const TableVersions& versions,
                     const Mistakes& mistakes);

}  // namespace rejoin::sim
