// The capture triggers: plain SQL that appends one row to rejoin_log for every change, and calls no function of ours.
#pragma once

#include <map>
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
// All capture triggers there are: their SQL by their names.
using CaptureTriggers = std::map<std::string, std::string>;
Result<CaptureTriggers> capture_triggers(sqlite3* db);
// Are the capture triggers that exist those that the table needs (as its columns and UNIQUE indexes are now)?
bool has_triggers(const CaptureTriggers& present, const Table& table);
// Is there a UNIQUE index through which an OR REPLACE may displace rows that none of them logs?
bool lacks_suspects(const CaptureTriggers& present, const Table& table);
// What the triggers call the columns, by id: SQLite has kept that right through every RENAME COLUMN. "" where they
// don't tell.
std::vector<std::string> names_in_triggers(const CaptureTriggers& present, const Table& table);
// Drops the capture triggers of this table that exist.
Status drop_triggers(sqlite3* db, uint64_t table_id);

}  // namespace rejoin::sqlite
