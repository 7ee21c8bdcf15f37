#include "sqlite/close_hook.h"

#include <new>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

// Outlives the CloseHook when SQLite still holds the module; freed by the module's destructor.
struct CloseHook::Hook {
  std::function<void()> on_close;
  bool armed = false;
  bool destroyed = false;
};

namespace {

struct Vtab {
  sqlite3_vtab base;
  std::function<void()>* on_close;
  bool* armed;
};

}  // namespace

CloseHook::CloseHook(sqlite3* db, std::function<void()> on_close) : db_(db), hook_(new Hook{std::move(on_close)}) {
  static sqlite3_module module = [] {
    sqlite3_module m{};
    m.iVersion = 1;
    m.xCreate = nullptr;  // eponymous only: nobody can CREATE VIRTUAL TABLE it
    m.xConnect = [](sqlite3* connection, void* aux, int, const char* const*, sqlite3_vtab** out, char**) {
      int rc = sqlite3_declare_vtab(connection, "CREATE TABLE x(unused)");
      if (rc != SQLITE_OK) return rc;
      auto* hook = static_cast<Hook*>(aux);
      auto* v = new (std::nothrow) Vtab{};
      if (!v) return SQLITE_NOMEM;
      v->on_close = &hook->on_close;
      v->armed = &hook->armed;
      hook->armed = true;
      *out = &v->base;
      return SQLITE_OK;
    };
    m.xDisconnect = [](sqlite3_vtab* vtab) {
      auto* v = reinterpret_cast<Vtab*>(vtab);
      *v->armed = false;
      if (*v->on_close) (*v->on_close)();
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
  sqlite3_create_module_v2(db_, "rejoin_close", &module, hook_, [](void* p) {
    auto* hook = static_cast<Hook*>(p);
    // The owner may still point here: it frees the hook then.
    if (hook->destroyed)
      delete hook;
    else
      hook->destroyed = true;
  });
}

void CloseHook::abandon() {
  hook_->on_close = nullptr;
  if (hook_->destroyed)
    delete hook_;
  else
    hook_->destroyed = true;
  hook_ = nullptr;
}

CloseHook::~CloseHook() {
  if (!hook_) return;
  hook_->on_close = nullptr;
  if (hook_->destroyed) {
    delete hook_;
  } else {
    hook_->destroyed = true;  // the module's destructor frees it
    sqlite3_create_module_v2(db_, "rejoin_close", nullptr, nullptr, nullptr);
  }
}

Status CloseHook::arm() {
  if (hook_->armed) return {};
  return exec(db_, "SELECT 1 FROM rejoin_close");
}

}  // namespace rejoin::sqlite
