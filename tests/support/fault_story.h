// What the sweeps over allocations and file operations do with a database: one operation at a time, through the SQL
// functions, on a file or in memory, with every kind of row in it.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "sqlite/api.h"

namespace rejoin::testing {

struct FaultStory {
  std::string name;
  std::string before;  // SQL that makes the database
  std::string act;     // statements; ?1 is `frame`
  Bytes frame;
  std::string undone = {};  // a query: has it a row, the statements are still to be run
  std::string done = {};    // a query: 1 when they have done it all, where what the application sees is as before
};
inline constexpr size_t kFaultStories = 21;
// Without the last, which drops an index. Until it has, nothing can be ready that would roll back without memory
// (Transaction::guard).
inline constexpr size_t kMemoryFaultStories = kFaultStories - 1;
const std::vector<FaultStory>& fault_stories();  // so many

// Opens a database with Rejoin's functions.
sqlite3* open_with_rejoin(const std::string& path, const std::string& vfs = "");
// Runs statements; SQLite's code.
int run_sql(sqlite3* db, const std::string& sql);
// Runs the story's statements to their end; SQLite's code of the first that fails.
int run_act(sqlite3* db, const FaultStory& story);
// Afterwards, where one failed: rolls back the transaction that the statements themselves began.
void give_up(sqlite3* db, const FaultStory& story);
// The first column of the first row.
std::string text_of(sqlite3* db, const std::string& sql);
// Has the story's act been done, all of it? `after`: what the application sees then.
bool is_done(sqlite3* db, const FaultStory& story, const std::string& after);
// Puts a serialized database into one in memory.
void fill_with(sqlite3* db, const std::string& content);
// Every row of every table but the virtual ones, and how everything is declared.
std::string everything_in(sqlite3* db);
// What an application sees: the tables that are not Rejoin's, and how they and their indexes are declared.
std::string application_rows(sqlite3* db);
// integrity_check and rejoin_doctor() find nothing, no transaction is open.
void expect_whole(sqlite3* db, const std::string& where);

}  // namespace rejoin::testing
