// The loadable extension's entry point, under the name that SQLite derives from rejoin.so.
#include <sqlite3ext.h>

#include <exception>

#include "client/sql_live.h"
#include "client/sql_sync.h"
#include "sqlite/functions.h"

SQLITE_EXTENSION_INIT1

extern "C" __attribute__((visibility("default"))) int sqlite3_rejoin_init(sqlite3* db, char** error,
                                                                          const sqlite3_api_routines* api) {
  SQLITE_EXTENSION_INIT2(api);
  try {
    rejoin::client::install_sql_sync();
    rejoin::client::install_sql_live();
    auto status = rejoin::sqlite::install(db);
    if (status.ok()) return SQLITE_OK;
    if (error) *error = sqlite3_mprintf("%s", status.error().message.c_str());
  } catch (const std::exception& e) {
    if (error) *error = sqlite3_mprintf("%s", e.what());
  }
  return SQLITE_ERROR;
}
