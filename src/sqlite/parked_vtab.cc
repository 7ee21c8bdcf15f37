#include "sqlite/parked_vtab.h"

#include <map>
#include <memory>
#include <new>

#include "crdt/key.h"
#include "sqlite/parked.h"
#include "sqlite/row_json.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

struct ParkedVtab {
  sqlite3_vtab base;
  sqlite3* db;
};

// The row of one line.
struct ParkedValues {
  bool known = false;  // false: its values cannot be told
  bool deleted = false;
  codec::OneRow row;
};

// Where the values of a table's hidden rows are.
struct HiddenValues {
  Statement record, values;
};

struct ParkedCursor {
  sqlite3_vtab_cursor base;
  sqlite3* db = nullptr;
  Statement lines;  // id, table_name, key, reason, since, k, frame
  bool done = true;
  std::optional<ParkedValues> values;  // of this line, once they were asked for
  std::optional<Catalog> catalog;
  size_t sites = 0;
  std::map<uint64_t, HiddenValues> hidden;  // by table
};

int parked_error(sqlite3_vtab* vtab, const Error& e) {
  sqlite3_free(vtab->zErrMsg);
  vtab->zErrMsg = sqlite3_mprintf("rejoin_parked: %s [%s]", e.message.c_str(), std::string(code_name(e.code)).c_str());
  return e.code == Code::busy ? SQLITE_BUSY : SQLITE_ERROR;
}

Status know_tables(ParkedCursor& c) {
  if (c.catalog) return {};
  REJOIN_ASSIGN(const auto sites, query_int(c.db, "SELECT count(*) FROM main.rejoin_site"));
  REJOIN_ASSIGN(Catalog catalog, load_catalog(c.db));
  c.sites = static_cast<size_t>(sites.value_or(0));
  c.catalog = std::move(catalog);
  return {};
}

// Of a row whose other columns were merged only those that wait.
void leave_out_merged(const Table& table, codec::OneRow& row) {
  const auto maps = column_maps(table, row.table);
  std::erase_if(row.values, [&](const auto& value) {
    for (const std::vector<uint32_t>& map : maps)
      if (map[value.first] != codec::kNoColumn) return true;
    return false;
  });
}

Status read_frame(ParkedCursor& c, ParkedValues& out) {
  auto reader = codec::ChangesetReader::open(c.lines.blob(6));
  if (!reader.ok()) return {};
  std::vector<uint32_t> sites(reader->sites().size());
  for (uint32_t i = 0; i < sites.size(); ++i) sites[i] = i;
  auto row = codec::read_row_frame(*reader, sites);
  if (!row.ok() || !*row) return {};
  out.known = true;
  out.row = std::move(**row);
  if (c.lines.text(3) != kLacksColumns) {
    out.deleted = !out.row.record.live.bottom() && !out.row.record.alive;
    if (out.deleted) out.row.values.clear();  // they are those that it had
    return {};
  }
  REJOIN_TRY(know_tables(c));
  if (const Table* table = c.catalog->find_named(out.row.table.name)) leave_out_merged(*table, out.row);
  return {};
}

Status read_hidden(ParkedCursor& c, ParkedValues& out) {
  REJOIN_TRY(know_tables(c));
  const Table* table = c.catalog->find(c.lines.text(1));
  if (!table) return {};
  auto [at, fresh] = c.hidden.try_emplace(table->id);
  HiddenValues& from = at->second;
  if (fresh) {
    const std::string columns = table->column_list();
    REJOIN_ASSIGN(from.record, prepare(c.db, "SELECT rec FROM " + table->records() + " WHERE k=?1"));
    REJOIN_ASSIGN(from.values, prepare(c.db, "SELECT " + (columns.empty() ? "1" : columns) + " FROM " +
                                                 table->shadow() + " WHERE " + table->key_match()));
  }
  out.row.key = c.lines.blob(5);
  std::vector<crdt::ValueRef> key;
  Bytes scratch;
  if (!crdt::decode_key(out.row.key, table->key.size(), key, scratch)) return {};
  Use record(from.record), values(from.values);
  record->bind_blob(1, out.row.key);
  REJOIN_ASSIGN(bool found, record->step("reading a record"));
  crdt::RowRecord versions;
  if (!found || !crdt::decode_record(record->blob(0), c.sites, versions)) return {};
  for (size_t i = 0; i < key.size(); ++i) values->bind(static_cast<int>(i + 1), key[i]);
  REJOIN_ASSIGN(found, values->step("reading the values of a hidden row"));
  if (!found) return {};
  out.known = true;
  for (const Column& k : table->key) out.row.table.key.push_back(k.name);
  int result = 0;
  for (uint32_t i = 0; i < table->columns.size(); ++i) {
    const Column& column = table->columns[i];
    out.row.table.columns.push_back(column.name);
    if (!column.present) continue;
    out.row.values[i] =
        OwnedValue::of(versions.stamp_of(i).bottom() ? column.default_value.ref() : values->value(result));
    ++result;
  }
  return {};
}

Status read_values(ParkedCursor& c) {
  if (c.values) return {};
  ParkedValues values;
  REJOIN_TRY(c.lines.is_null(6) ? read_hidden(c, values) : read_frame(c, values));
  c.values = std::move(values);
  return {};
}

Status next_line(ParkedCursor& c) {
  c.values.reset();
  REJOIN_ASSIGN(bool row, c.lines.step("reading what is kept aside"));
  c.done = !row;
  if (c.done) c.lines.finalize();
  return {};
}

Status first_line(ParkedCursor& c, sqlite3_value* table) {
  c.done = true;
  c.catalog.reset();
  c.hidden.clear();
  REJOIN_ASSIGN(const auto any, query_int(c.db, "SELECT 1 FROM main.sqlite_schema WHERE name='rejoin_aside'"));
  if (!any) return {};
  REJOIN_ASSIGN(
      c.lines,
      prepare(c.db, std::string("SELECT id, table_name, key, reason, since, k, frame FROM main.rejoin_aside ") +
                        "WHERE due IS NOT -1 " + (table ? "AND table_name=?1 " : "") + "ORDER BY id"));
  if (table) sqlite3_bind_value(c.lines.get(), 1, table);
  return next_line(c);
}

Status show_column(ParkedCursor& c, sqlite3_context* out, int column) {
  auto text = [&](std::string_view v) {
    sqlite3_result_text64(out, v.data(), v.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  };
  auto stored = [&](int at) { sqlite3_result_value(out, sqlite3_column_value(c.lines.get(), at)); };
  switch (column) {
    case 0:
      stored(1);
      break;
    case 1:
      stored(2);
      break;
    case 2:
      REJOIN_TRY(read_values(c));
      if (c.values->known) text(columns_json(c.values->row));
      break;
    case 3:
      REJOIN_TRY(read_values(c));
      if (c.values->known && !c.values->deleted) text(row_json(c.values->row));
      break;
    case 4:
      stored(3);
      break;
    case 5:
      stored(4);
      break;
    default:
      break;
  }
  return {};
}

// So that no C++ exception reaches SQLite.
template <class F>
int parked_guarded(sqlite3_vtab_cursor* base, F&& body) {
  try {
    if (Status s = body(*reinterpret_cast<ParkedCursor*>(base)); !s.ok()) return parked_error(base->pVtab, s.error());
    return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
}

int parked_best_index(sqlite3_vtab*, sqlite3_index_info* info) {
  info->estimatedCost = 1e5;
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& k = info->aConstraint[i];
    if (!k.usable || k.iColumn != 0 || k.op != SQLITE_INDEX_CONSTRAINT_EQ || info->idxNum) continue;
    info->aConstraintUsage[i].argvIndex = 1;  // not omitted: SQLite compares exactly afterwards
    info->idxNum = 1;
    info->estimatedCost = 1e4;
  }
  return SQLITE_OK;
}

}  // namespace

void register_parked_vtab(sqlite3* db) {
  static sqlite3_module module = [] {
    sqlite3_module m{};
    m.xConnect = [](sqlite3* connection, void*, int, const char* const*, sqlite3_vtab** out, char**) {
      const int rc = sqlite3_declare_vtab(connection,
                                          "CREATE TABLE x(table_name TEXT, key TEXT, columns TEXT, \"values\" TEXT, "
                                          "reason TEXT, since INTEGER)");
      if (rc != SQLITE_OK) return rc;
      // It only reads this database, so views and triggers may use it whatever `trusted_schema` says.
      (void)sqlite3_vtab_config(connection, SQLITE_VTAB_INNOCUOUS);
      auto* v = new (std::nothrow) ParkedVtab{};
      if (!v) return SQLITE_NOMEM;
      v->db = connection;
      *out = &v->base;
      return SQLITE_OK;
    };
    m.xDisconnect = [](sqlite3_vtab* v) { return delete reinterpret_cast<ParkedVtab*>(v), SQLITE_OK; };
    m.xBestIndex = parked_best_index;
    m.xOpen = [](sqlite3_vtab* v, sqlite3_vtab_cursor** out) {
      auto* c = new (std::nothrow) ParkedCursor{};
      if (!c) return SQLITE_NOMEM;
      c->db = reinterpret_cast<ParkedVtab*>(v)->db;
      *out = &c->base;
      return SQLITE_OK;
    };
    m.xClose = [](sqlite3_vtab_cursor* c) { return delete reinterpret_cast<ParkedCursor*>(c), SQLITE_OK; };
    m.xFilter = [](sqlite3_vtab_cursor* base, int by_table, const char*, int, sqlite3_value** argv) {
      return parked_guarded(base, [&](ParkedCursor& c) { return first_line(c, by_table ? argv[0] : nullptr); });
    };
    m.xNext = [](sqlite3_vtab_cursor* base) { return parked_guarded(base, next_line); };
    m.xEof = [](sqlite3_vtab_cursor* c) { return static_cast<int>(reinterpret_cast<ParkedCursor*>(c)->done); };
    m.xColumn = [](sqlite3_vtab_cursor* base, sqlite3_context* out, int i) {
      return parked_guarded(base, [&](ParkedCursor& c) { return show_column(c, out, i); });
    };
    m.xRowid = [](sqlite3_vtab_cursor* c, sqlite3_int64* out) {
      return *out = reinterpret_cast<ParkedCursor*>(c)->lines.integer(0), SQLITE_OK;
    };
    return m;
  }();
  sqlite3_create_module_v2(db, "rejoin_parked", &module, nullptr, nullptr);
}

}  // namespace rejoin::sqlite
