// The words of a script's steps, in SQLite's SQL and in PostgreSQL's, and how rows are read for comparison.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "sim/value.h"
#include "tests/support/postgres_oracle.h"
#include "tests/support/postgres_script.h"

namespace rejoin::testing {

// One statement; empty when the step is none. `tenant`: empty for a device. `version`: of PostgreSQL, as 150004.
std::string statement_of(const ModelStep& step, const std::string& tenant, const std::string& other, int version);
// The rows that the statement wrote as new ones, whether they were there before or not.
std::set<ModelRow> anew(const ModelStep& step, const std::string& tenant, const ModelRows& before,
                        const ModelRows& after);
std::string key_text(int table, int key);
sim::Key key_values(int table, int key);
// As rejoin_rejections has it.
std::string key_of_json(std::string_view json);

// Queries for all rows: table, (tenant,) key, cells.
std::string device_rows_sql();
std::string postgres_rows_sql(const std::string& one, const std::string& other);
ModelCells split_cells(const std::string& text);
// Columns that hold what was written there; PostgreSQL fills in others.
std::vector<bool> judged_columns(int table);

}  // namespace rejoin::testing
