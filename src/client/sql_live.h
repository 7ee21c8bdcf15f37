// Makes SELECT rejoin_live() work: a thread with a connection of its own to the same file, which keeps it in sync until
// the application's connection closes.
#pragma once

namespace rejoin::client {

// Once per process, before the first connection uses it; again is harmless.
void install_sql_live();

}  // namespace rejoin::client
