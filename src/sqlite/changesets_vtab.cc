// rejoin_changesets(since, max_bytes): everything after a position as pages of bounded size.
#include <new>

#include "codec/changeset.h"
#include "sqlite/functions.h"
#include "sqlite/impl.h"
#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

constexpr int64_t kDefaultMaxBytes = 1 << 20;

struct Vtab {
  sqlite3_vtab base;
  Replica* replica;
};

struct Cursor {
  sqlite3_vtab_cursor base;
  Replica* replica = nullptr;
  PageRequest request;
  Page page;
  int64_t row = 0;
  bool done = true;
};

int set_error(sqlite3_vtab* vtab, const Error& e) {
  sqlite3_free(vtab->zErrMsg);
  vtab->zErrMsg =
      sqlite3_mprintf("rejoin_changesets: %s [%s]", e.message.c_str(), std::string(code_name(e.code)).c_str());
  return e.code == Code::busy ? SQLITE_BUSY : SQLITE_ERROR;
}

int load_page(Cursor* c) {
  try {
    auto page = c->replica->page(c->request);
    if (!page.ok()) return set_error(c->base.pVtab, page.error());
    c->page = std::move(*page);
    c->request.cursor = c->page.next;
    c->done = c->page.frame.empty();
    return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
}

int best_index(sqlite3_vtab*, sqlite3_index_info* info) {
  int argument[2] = {-1, -1};
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& k = info->aConstraint[i];
    if (k.iColumn < 3 || k.iColumn > 4 || k.op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (!k.usable) return SQLITE_CONSTRAINT;
    argument[k.iColumn - 3] = i;
  }
  int n = 0;
  for (int a : argument) {
    if (a < 0) continue;
    info->aConstraintUsage[a].argvIndex = ++n;
    info->aConstraintUsage[a].omit = 1;
  }
  info->idxNum = (argument[0] >= 0 ? 1 : 0) | (argument[1] >= 0 ? 2 : 0);
  info->estimatedCost = 1e6;
  return SQLITE_OK;
}

int filter(sqlite3_vtab_cursor* base, int given, const char*, int, sqlite3_value** argv) {
  auto* c = reinterpret_cast<Cursor*>(base);
  int at = 0;
  int64_t since = 0, max_bytes = kDefaultMaxBytes;
  if (given & 1) since = sqlite3_value_int64(argv[at++]);
  if (given & 2) max_bytes = sqlite3_value_int64(argv[at++]);
  if (max_bytes <= 0) return set_error(base->pVtab, fail(Code::bad_argument, "max_bytes must be at least 1"));
  try {
    c->request = PageRequest();
    c->request.pass_on = true;
    c->request.max_bytes = static_cast<uint64_t>(max_bytes);
    auto cursor = c->replica->cursor_at(since);
    if (!cursor.ok()) return set_error(base->pVtab, cursor.error());
    c->request.cursor = std::move(*cursor);
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
  c->row = 0;
  return load_page(c);
}

int next(sqlite3_vtab_cursor* base) {
  auto* c = reinterpret_cast<Cursor*>(base);
  ++c->row;
  if (!c->page.more) return c->done = true, SQLITE_OK;
  return load_page(c);
}

int column(sqlite3_vtab_cursor* base, sqlite3_context* out, int i) {
  auto* c = reinterpret_cast<Cursor*>(base);
  if (i == 0) sqlite3_result_blob64(out, c->page.frame.data(), c->page.frame.size(), SQLITE_TRANSIENT);
  if (i == 1) sqlite3_result_int64(out, static_cast<int64_t>(c->page.through));
  if (i == 2) sqlite3_result_int(out, !c->page.more);
  return SQLITE_OK;
}

}  // namespace

int register_changesets_vtab(sqlite3* db, Replica& replica) {
  static sqlite3_module module = [] {
    sqlite3_module m{};
    m.xConnect = [](sqlite3* connection, void* aux, int, const char* const*, sqlite3_vtab** out, char**) {
      int rc = sqlite3_declare_vtab(
          connection, "CREATE TABLE x(changeset BLOB, through INTEGER, final INTEGER, since HIDDEN, max_bytes HIDDEN)");
      if (rc != SQLITE_OK) return rc;
      auto* v = new (std::nothrow) Vtab{};
      if (!v) return SQLITE_NOMEM;
      v->replica = static_cast<Replica*>(aux);
      sqlite3_vtab_config(connection, SQLITE_VTAB_DIRECTONLY);
      *out = &v->base;
      return SQLITE_OK;
    };
    m.xDisconnect = [](sqlite3_vtab* v) { return delete reinterpret_cast<Vtab*>(v), SQLITE_OK; };
    m.xBestIndex = best_index;
    m.xOpen = [](sqlite3_vtab* v, sqlite3_vtab_cursor** out) {
      auto* c = new (std::nothrow) Cursor{};
      if (!c) return SQLITE_NOMEM;
      c->replica = reinterpret_cast<Vtab*>(v)->replica;
      *out = &c->base;
      return SQLITE_OK;
    };
    m.xClose = [](sqlite3_vtab_cursor* c) { return delete reinterpret_cast<Cursor*>(c), SQLITE_OK; };
    m.xFilter = filter;
    m.xNext = next;
    m.xEof = [](sqlite3_vtab_cursor* c) { return static_cast<int>(reinterpret_cast<Cursor*>(c)->done); };
    m.xColumn = column;
    m.xRowid = [](sqlite3_vtab_cursor* c, sqlite3_int64* out) {
      return *out = reinterpret_cast<Cursor*>(c)->row, SQLITE_OK;
    };
    return m;
  }();
  return sqlite3_create_module_v2(db, "rejoin_changesets", &module, &replica, nullptr);
}

}  // namespace rejoin::sqlite
