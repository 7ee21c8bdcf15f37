// rejoin_changes: the current version of every cell, readable. One line per cell; a row without cells (dead, or all
// key) has one line with a NULL column_name that tells its liveness.
#include <memory>
#include <new>
#include <unordered_map>

#include "codec/merged_list.h"
#include "crdt/key.h"
#include "sqlite/explain.h"
#include "sqlite/functions.h"
#include "sqlite/impl.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"
#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

struct Vtab {
  sqlite3_vtab base;
  Replica* replica;
};

struct Cursor {
  sqlite3_vtab_cursor base;
  Replica* replica = nullptr;
  std::string only_table;
  std::vector<Table> tables;  // copies: the catalog may be read again meanwhile
  std::vector<crdt::SiteId> sites;
  size_t table_at = 0;
  Statement records;
  std::unordered_map<std::string, int64_t> newest;  // encoded key to log position
  std::string key, key_text;
  crdt::RowRecord record;
  Statement row[2];  // visible, shadow
  bool row_found = false;
  Statement* row_from = nullptr;
  std::vector<int> column_at;
  std::vector<uint32_t> columns;  // of the current row, to be shown
  size_t column = 0;
  int64_t rowid = 0;
  bool done = false;
};

int set_error(sqlite3_vtab* vtab, const Error& e) {
  sqlite3_free(vtab->zErrMsg);
  vtab->zErrMsg = sqlite3_mprintf("rejoin_changes: %s [%s]", e.message.c_str(), std::string(code_name(e.code)).c_str());
  return e.code == Code::busy ? SQLITE_BUSY : SQLITE_ERROR;
}

Status read_positions(Cursor& c, Context& ctx, const Table& t) {
  c.newest.clear();
  std::string keys;
  for (size_t i = 0; i < t.key.size(); ++i) keys += ", k" + std::to_string(i);
  REJOIN_ASSIGN(Statement log,
                prepare(ctx.db, "SELECT seq, op" + keys + " FROM main.rejoin_log WHERE tbl=?1 ORDER BY seq"));
  log.bind(1, static_cast<int64_t>(t.id));
  Bytes key;
  for (;;) {
    REJOIN_ASSIGN(bool row, log.step());
    if (!row) return {};
    int64_t op = log.integer(1);
    if (op == kMerged) {
      codec::MergedListReader list(log.blob(2));
      while (list.next()) c.newest[std::string(list.key)] = log.integer(0);
    } else if (op >= kInsert && op <= kSuspect) {
      encode_row_key(log, 2, t.key.size(), key);
      c.newest[key] = log.integer(0);
    }
  }
}

Status open_table(Cursor& c) {
  Context& ctx = c.replica->impl().ctx;
  const Table& t = c.tables[c.table_at];
  REJOIN_TRY(read_positions(c, ctx, t));
  REJOIN_ASSIGN(c.records, prepare(ctx.db, "SELECT k, rec FROM " + t.records() + " ORDER BY k"));
  for (bool shadow : {false, true}) {
    std::string columns = t.column_list();
    REJOIN_ASSIGN(c.row[shadow], prepare(ctx.db, "SELECT " + (columns.empty() ? "1" : columns) + " FROM " +
                                                     (shadow ? t.shadow() : t.quoted()) + " WHERE " + t.key_match()));
  }
  c.column_at.clear();
  int at = 0;
  for (const Column& column : t.columns) c.column_at.push_back(column.present ? at++ : -1);
  return {};
}

// Steps to the next row that has a line to show.
Status advance_row(Cursor& c) {
  for (;;) {
    if (!c.records) {
      if (c.table_at >= c.tables.size()) return c.done = true, Status();
      REJOIN_TRY(open_table(c));
    }
    REJOIN_ASSIGN(bool more, c.records.step("reading records"));
    if (!more) {
      c.records.finalize();
      ++c.table_at;
      continue;
    }
    const Table& t = c.tables[c.table_at];
    c.key = c.records.blob(0);
    if (!crdt::decode_record(c.records.blob(1), c.sites.size(), c.record))
      return fail(Code::corrupt, "a record of \"" + t.name + "\" is damaged; run rejoin doctor");
    c.key_text = crdt::key_json(c.key, t.key.size());
    c.row_from = &c.row[c.record.visible() ? 0 : 1];
    c.row[0].reset();
    c.row[1].reset();
    std::vector<crdt::ValueRef> values;
    Bytes scratch;
    if (!crdt::decode_key(c.key, t.key.size(), values, scratch))
      return fail(Code::corrupt, "a key of \"" + t.name + "\" is damaged; run rejoin doctor");
    // The bound bytes must live as long as the statement stands on the row: `values` points into c.key and `scratch`,
    // so copy.
    for (size_t i = 0; i < values.size(); ++i) {
      const auto& v = values[i];
      int n = static_cast<int>(i + 1);
      if (v.type == crdt::ValueType::text)
        sqlite3_bind_text64(c.row_from->get(), n, v.bytes.data(), v.bytes.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      else if (v.type == crdt::ValueType::blob)
        sqlite3_bind_blob64(c.row_from->get(), n, v.bytes.data(), v.bytes.size(), SQLITE_TRANSIENT);
      else
        c.row_from->bind(n, v);
    }
    REJOIN_ASSIGN(c.row_found, c.row_from->step("reading a row"));
    c.columns.clear();
    for (uint32_t i = 0; i < t.columns.size(); ++i)
      if (t.columns[i].present && !c.record.stamp_of(i).bottom()) c.columns.push_back(i);
    c.column = 0;
    return {};
  }
}

int open_cursor(Cursor* c) {
  try {
    Context& ctx = c->replica->impl().ctx;
    c->done = false;
    c->table_at = 0;
    c->rowid = 0;
    c->records.finalize();
    c->tables.clear();
    c->sites.clear();
    auto layout = has_layout(ctx);
    if (!layout.ok()) return set_error(c->base.pVtab, layout.error());
    if (!*layout) return c->done = true, SQLITE_OK;
    {
      auto work = begin_look(ctx, Freshness::as_folded);
      if (!work.ok()) return set_error(c->base.pVtab, work.error());
      for (const auto& t : ctx.catalog.tables)
        if (c->only_table.empty() || sqlite3_stricmp(c->only_table.c_str(), t->name.c_str()) == 0)
          c->tables.push_back(*t);
      for (size_t i = 0; i < ctx.sites.size(); ++i) c->sites.push_back(ctx.sites[static_cast<uint32_t>(i)]);
      if (auto s = work->commit(); !s.ok()) return set_error(c->base.pVtab, s.error());
    }
    if (auto s = advance_row(*c); !s.ok()) return set_error(c->base.pVtab, s.error());
    return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
}

int next(sqlite3_vtab_cursor* base) {
  auto* c = reinterpret_cast<Cursor*>(base);
  ++c->rowid;
  if (++c->column < c->columns.size()) return SQLITE_OK;
  try {
    if (auto s = advance_row(*c); !s.ok()) return set_error(base->pVtab, s.error());
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
  return SQLITE_OK;
}

int column(sqlite3_vtab_cursor* base, sqlite3_context* out, int i) {
  auto* c = reinterpret_cast<Cursor*>(base);
  const Table& t = c->tables[c->table_at];
  bool cell = c->column < c->columns.size();
  crdt::Stamp stamp = cell ? c->record.stamp_of(c->columns[c->column]) : c->record.live;
  auto text = [&](std::string_view v) {
    sqlite3_result_text64(out, v.data(), v.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  };
  switch (i) {
    case 0:
      text(t.name);
      break;
    case 1:
      text(c->key_text);
      break;
    case 2:
      if (cell) text(t.columns[c->columns[c->column]].name);
      break;
    case 3:
      if (cell && c->row_found)
        sqlite3_result_value(out, sqlite3_column_value(c->row_from->get(), c->column_at[c->columns[c->column]]));
      break;
    case 4:
      if (stamp.hlc > crdt::kBeforeTrackingHlc) text(iso8601(crdt::ms_of_hlc(stamp.hlc)));
      break;
    case 5:
      if (!stamp.bottom()) sqlite3_result_int64(out, static_cast<int64_t>(stamp.hlc));
      break;
    case 6:
      if (!stamp.bottom()) text(to_hex(c->sites[stamp.site].view()));
      break;
    case 7: {
      auto it = c->newest.find(c->key);
      if (it != c->newest.end()) sqlite3_result_int64(out, it->second);
      break;
    }
    case 8:
      sqlite3_result_int(out, c->record.alive);
      break;
    default:
      break;
  }
  return SQLITE_OK;
}

}  // namespace

int register_changes_vtab(sqlite3* db, Replica& replica) {
  static sqlite3_module module = [] {
    sqlite3_module m{};
    m.xConnect = [](sqlite3* connection, void* aux, int, const char* const*, sqlite3_vtab** out, char**) {
      int rc = sqlite3_declare_vtab(connection,
                                    "CREATE TABLE x(table_name TEXT, key TEXT, column_name TEXT, value, time TEXT, hlc "
                                    "INTEGER, site TEXT, seq INTEGER, alive INTEGER)");
      if (rc != SQLITE_OK) return rc;
      auto* v = new (std::nothrow) Vtab{};
      if (!v) return SQLITE_NOMEM;
      v->replica = static_cast<Replica*>(aux);
      sqlite3_vtab_config(connection, SQLITE_VTAB_DIRECTONLY);
      *out = &v->base;
      return SQLITE_OK;
    };
    m.xDisconnect = [](sqlite3_vtab* v) { return delete reinterpret_cast<Vtab*>(v), SQLITE_OK; };
    m.xBestIndex = [](sqlite3_vtab*, sqlite3_index_info* info) {
      info->estimatedCost = 1e6;
      for (int i = 0; i < info->nConstraint; ++i) {
        const auto& k = info->aConstraint[i];
        if (k.usable && k.iColumn == 0 && k.op == SQLITE_INDEX_CONSTRAINT_EQ && info->idxNum == 0) {
          info->aConstraintUsage[i].argvIndex = 1;  // not omitted: SQLite compares exactly afterwards
          info->idxNum = 1;
          info->estimatedCost = 1e5;
        }
      }
      return SQLITE_OK;
    };
    m.xOpen = [](sqlite3_vtab* v, sqlite3_vtab_cursor** out) {
      auto* c = new (std::nothrow) Cursor{};
      if (!c) return SQLITE_NOMEM;
      c->replica = reinterpret_cast<Vtab*>(v)->replica;
      *out = &c->base;
      return SQLITE_OK;
    };
    m.xClose = [](sqlite3_vtab_cursor* c) { return delete reinterpret_cast<Cursor*>(c), SQLITE_OK; };
    m.xFilter = [](sqlite3_vtab_cursor* base, int by_table, const char*, int, sqlite3_value** argv) {
      auto* c = reinterpret_cast<Cursor*>(base);
      c->only_table =
          by_table && sqlite3_value_type(argv[0]) == SQLITE_TEXT ? std::string(value_of(argv[0]).bytes) : std::string();
      return open_cursor(c);
    };
    m.xNext = next;
    m.xEof = [](sqlite3_vtab_cursor* c) { return static_cast<int>(reinterpret_cast<Cursor*>(c)->done); };
    m.xColumn = column;
    m.xRowid = [](sqlite3_vtab_cursor* c, sqlite3_int64* out) {
      return *out = reinterpret_cast<Cursor*>(c)->rowid, SQLITE_OK;
    };
    return m;
  }();
  return sqlite3_create_module_v2(db, "rejoin_changes", &module, &replica, nullptr);
}

}  // namespace rejoin::sqlite
