// Makes SELECT rejoin_sync() work: puts sync_once behind the hook that `sqlite` leaves open.
#pragma once

namespace rejoin::client {

// Once per process, before the first connection uses it; again is harmless.
void install_sql_sync();

}  // namespace rejoin::client
