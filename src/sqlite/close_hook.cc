#include "sqlite/close_hook.h"

#include <new>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

// Shared by its owner, by the module and by the table: SQLite drops the last two in either order, at once or later.
struct CloseHook::Hook {
  std::function<void()> on_close;
  bool armed = false;
};

CloseHook::CloseHook(sqlite3* db, std::function<void()> on_close)
    : db_(db), hook_(std::make_shared<Hook>(Hook{std::move(on_close)})) {
  struct Vtab {
    sqlite3_vtab base;
    std::shared_ptr<Hook> hook;
  };
  static sqlite3_module module = [] {
    sqlite3_module m{};
    m.iVersion = 1;
    m.xCreate = nullptr;  // eponymous only: nobody can CREATE VIRTUAL TABLE it
    m.xConnect = [](sqlite3* connection, void* aux, int, const char* const*, sqlite3_vtab** out, char**) {
      int rc = sqlite3_declare_vtab(connection, "CREATE TABLE x(unused)");
      if (rc != SQLITE_OK) return rc;
      auto* v = new (std::nothrow) Vtab{{}, *static_cast<std::shared_ptr<Hook>*>(aux)};
      if (!v) return SQLITE_NOMEM;
      v->hook->armed = true;
      *out = &v->base;
      return SQLITE_OK;
    };
    m.xDisconnect = [](sqlite3_vtab* vtab) {
      auto* v = reinterpret_cast<Vtab*>(vtab);
      v->hook->armed = false;
      if (v->hook->on_close) v->hook->on_close();
      delete v;
      return SQLITE_OK;
    };
    m.xBestIndex = [](sqlite3_vtab*, sqlite3_index_info*) { return SQLITE_OK; };
    m.xOpen = [](sqlite3_vtab*, sqlite3_vtab_cursor** out) {
      *out = new (std::nothrow) sqlite3_vtab_cursor{};
      return *out ? SQLITE_OK : SQLITE_NOMEM;
    };
    m.xClose = [](sqlite3_vtab_cursor* c) {
      delete c;
      return SQLITE_OK;
    };
    m.xFilter = [](sqlite3_vtab_cursor*, int, const char*, int, sqlite3_value**) { return SQLITE_OK; };
    m.xNext = [](sqlite3_vtab_cursor*) { return SQLITE_OK; };
    m.xEof = [](sqlite3_vtab_cursor*) { return 1; };
    m.xColumn = [](sqlite3_vtab_cursor*, sqlite3_context*, int) { return SQLITE_OK; };
    m.xRowid = [](sqlite3_vtab_cursor*, sqlite3_int64* out) {
      *out = 0;
      return SQLITE_OK;
    };
    return m;
  }();
  sqlite3_create_module_v2(db_, "rejoin_close", &module, new std::shared_ptr<Hook>(hook_),
                           [](void* p) { delete static_cast<std::shared_ptr<Hook>*>(p); });
}

void CloseHook::abandon() {
  hook_->on_close = nullptr;
  hook_.reset();
}

CloseHook::~CloseHook() {
  if (!hook_) return;
  hook_->on_close = nullptr;
  sqlite3_create_module_v2(db_, "rejoin_close", nullptr, nullptr, nullptr);
}

Status CloseHook::arm() {
  if (hook_->armed) return {};
  return exec(db_, "SELECT 1 FROM rejoin_close");
}

}  // namespace rejoin::sqlite
