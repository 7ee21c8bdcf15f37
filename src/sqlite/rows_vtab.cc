#include "sqlite/rows_vtab.h"

#include <new>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

namespace {

struct Cursor {
  sqlite3_vtab_cursor base;
  const RecordRows* rows;
  size_t at;
};

int rows_disconnect(sqlite3_vtab* vtab) {
  delete vtab;
  return SQLITE_OK;
}

int rows_best_index(sqlite3_vtab*, sqlite3_index_info* info) {
  info->estimatedCost = 1000;
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& c = info->aConstraint[i];
    if (c.usable && c.iColumn == 2 && c.op == SQLITE_INDEX_CONSTRAINT_EQ) {
      info->aConstraintUsage[i].argvIndex = 1;
      info->aConstraintUsage[i].omit = 1;
      info->idxNum = 1;
    }
  }
  return SQLITE_OK;
}

int rows_open(sqlite3_vtab*, sqlite3_vtab_cursor** out) {
  auto* c = new (std::nothrow) Cursor{};
  if (!c) return SQLITE_NOMEM;
  *out = &c->base;
  return SQLITE_OK;
}

int rows_close(sqlite3_vtab_cursor* c) {
  delete reinterpret_cast<Cursor*>(c);
  return SQLITE_OK;
}

int rows_filter(sqlite3_vtab_cursor* base, int with_pointer, const char*, int, sqlite3_value** argv) {
  auto* c = reinterpret_cast<Cursor*>(base);
  c->rows = with_pointer ? static_cast<const RecordRows*>(sqlite3_value_pointer(argv[0], kRowsPointerType)) : nullptr;
  c->at = 0;
  return SQLITE_OK;
}

int rows_next(sqlite3_vtab_cursor* base) {
  ++reinterpret_cast<Cursor*>(base)->at;
  return SQLITE_OK;
}

int rows_eof(sqlite3_vtab_cursor* base) {
  auto* c = reinterpret_cast<Cursor*>(base);
  return !c->rows || c->at >= c->rows->rows.size();
}

int rows_column(sqlite3_vtab_cursor* base, sqlite3_context* out, int column) {
  auto* c = reinterpret_cast<Cursor*>(base);
  if (column > 1) return SQLITE_OK;
  BytesView v = column == 0 ? c->rows->key(c->at) : c->rows->record(c->at);
  sqlite3_result_blob64(out, v.data(), v.size(), SQLITE_STATIC);
  return SQLITE_OK;
}

int rows_rowid(sqlite3_vtab_cursor* base, sqlite3_int64* out) {
  *out = static_cast<sqlite3_int64>(reinterpret_cast<Cursor*>(base)->at);
  return SQLITE_OK;
}

}  // namespace

void register_rows_vtab(sqlite3* db) {
  static sqlite3_module module = [] {
    sqlite3_module m{};
    m.iVersion = 1;
    m.xCreate = nullptr;  // eponymous only: nobody can CREATE VIRTUAL TABLE it
    m.xConnect = [](sqlite3* connection, void*, int, const char* const*, sqlite3_vtab** out, char**) {
      int rc = sqlite3_declare_vtab(connection, "CREATE TABLE x(k BLOB, rec BLOB, source HIDDEN)");
      if (rc != SQLITE_OK) return rc;
      *out = new (std::nothrow) sqlite3_vtab{};
      return *out ? SQLITE_OK : SQLITE_NOMEM;
    };
    m.xBestIndex = rows_best_index;
    m.xDisconnect = rows_disconnect;
    m.xOpen = rows_open;
    m.xClose = rows_close;
    m.xFilter = rows_filter;
    m.xNext = rows_next;
    m.xEof = rows_eof;
    m.xColumn = rows_column;
    m.xRowid = rows_rowid;
    return m;
  }();
  sqlite3_create_module_v2(db, "rejoin_rows", &module, nullptr, nullptr);
}

}  // namespace rejoin::sqlite
