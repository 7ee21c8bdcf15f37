// The one place that includes SQLite. The room is compiled twice: into programs (SQLITE_CORE: calls go straight to
// libsqlite3) and into the loadable extension (calls go through the table that the host hands to the entry point).
#pragma once

#include <sqlite3ext.h>

#ifndef SQLITE_CORE
SQLITE_EXTENSION_INIT3
#endif
