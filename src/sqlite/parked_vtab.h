// rejoin_parked: what is kept aside, with columns and values as people read them. They are computed when they are read,
// from the stored change, or from the shadow table of a hidden row.
//
// It reads the database and nothing of the connection's replica: the application's views and triggers may ask for it
// while a merge is under way.
#pragma once

struct sqlite3;

namespace rejoin::sqlite {

void register_parked_vtab(sqlite3* db);

}  // namespace rejoin::sqlite
