// A table that a migration dropped or renamed, and made anew: it is not synced any more.
#pragma once

#include <cstdint>
#include <string>

namespace rejoin::cli {

// What happened and what to do. `unsent`: writes that the server did not have then.
std::string not_synced_text(const std::string& table, uint64_t unsent, const std::string& file);

}  // namespace rejoin::cli
