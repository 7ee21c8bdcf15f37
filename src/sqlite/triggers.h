// The capture triggers: plain SQL that appends one row to rejoin_log for every change, and calls no function of ours.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "sqlite/catalog.h"

namespace rejoin::sqlite {

// A table with more columns than this gets one UPDATE OF trigger per chunk of as many.
inline constexpr size_t kUpdateChunk = 8;

// log.bits of an update: first column of the chunk << 8 | one bit per column of the chunk that changed.
inline uint32_t chunk_first(int64_t bits) { return static_cast<uint32_t>(bits >> 8); }
inline uint32_t chunk_mask(int64_t bits) { return static_cast<uint32_t>(bits & 0xff); }

// Name that every capture trigger of a table starts with.
std::string trigger_prefix(uint64_t table_id);
std::vector<std::string> create_triggers(const Table& table);
// Are the capture triggers that exist those that the table needs (as its columns and UNIQUE indexes are now)?
bool has_triggers(const std::set<std::string>& present, const Table& table);
// The names of all capture triggers there are.
Result<std::set<std::string>> capture_triggers(sqlite3* db);
// Drops the capture triggers of this table that exist.
Status drop_triggers(sqlite3* db, uint64_t table_id);

}  // namespace rejoin::sqlite
