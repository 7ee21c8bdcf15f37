#include "sim/database.h"

#include <atomic>
#include <unordered_map>

#include "sim/clock_vfs.h"
#include "sqlite/api.h"

namespace rejoin::sim {
namespace {

Value column_value(sqlite3_stmt* stmt, int i) {
  switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
      return Value::of(static_cast<int64_t>(sqlite3_column_int64(stmt, i)));
    case SQLITE_FLOAT:
      return Value::of(sqlite3_column_double(stmt, i));
    case SQLITE_TEXT: {
      auto p = reinterpret_cast<const char*>(sqlite3_column_text(stmt, i));
      return Value::text(std::string(p, static_cast<size_t>(sqlite3_column_bytes(stmt, i))));
    }
    case SQLITE_BLOB: {
      auto p = static_cast<const char*>(sqlite3_column_blob(stmt, i));
      return Value::blob(p ? std::string(p, static_cast<size_t>(sqlite3_column_bytes(stmt, i))) : std::string());
    }
    default:
      return Value::null();
  }
}

void bind_value(sqlite3_stmt* stmt, int i, const Value& v) {
  switch (v.type) {
    case crdt::ValueType::null:
      sqlite3_bind_null(stmt, i);
      break;
    case crdt::ValueType::integer:
      sqlite3_bind_int64(stmt, i, v.integer);
      break;
    case crdt::ValueType::real:
      sqlite3_bind_double(stmt, i, v.real);
      break;
    case crdt::ValueType::text:
      sqlite3_bind_text64(stmt, i, v.bytes.data(), v.bytes.size(), SQLITE_STATIC, SQLITE_UTF8);
      break;
    case crdt::ValueType::blob:
      sqlite3_bind_blob64(stmt, i, v.bytes.data(), v.bytes.size(), SQLITE_STATIC);
      break;
  }
}

}  // namespace

struct Database::Connection {
  sqlite3* db = nullptr;
  std::unique_ptr<sqlite::Replica> replica;
  std::unordered_map<std::string, sqlite3_stmt*> statements;

  sqlite3_stmt* statement(const std::string& sql) {
    auto [at, fresh] = statements.try_emplace(sql, nullptr);
    if (fresh && sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &at->second, nullptr) != SQLITE_OK) {
      statements.erase(at);
      return nullptr;
    }
    return at->second;
  }
  int close() {
    for (auto& [sql, stmt] : statements) sqlite3_finalize(stmt);
    statements.clear();
    replica.reset();
    int rc = sqlite3_close(db);
    if (rc != SQLITE_OK) sqlite3_close_v2(db);
    db = nullptr;
    return rc;
  }
  ~Connection() {
    if (db) close();
  }
};

Database::Database(int slot, std::string path, uint64_t seed) : slot_(slot), path_(std::move(path)), random_(seed) {
  static std::atomic<uint64_t> number;
  name_ = path_.empty() ? "/rejoin-sim-" + std::to_string(++number) : path_;
}

Database::~Database() {
  // Connections before clock and random, which their Replica uses.
  for (auto& c : connections_) c.reset();
}

sqlite3* Database::connection(int i) {
  auto& c = connections_[static_cast<size_t>(i)];
  if (c) return c->db;
  c = std::make_unique<Connection>();
  std::string vfs = clock_vfs(slot_, !path_.empty(), clock_);
  int rc = sqlite3_open_v2(name_.c_str(), &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs.c_str());
  if (rc != SQLITE_OK) {
    c.reset();
    return nullptr;
  }
  sqlite3_extended_result_codes(c->db, 1);
  if (!path_.empty()) run(i, "PRAGMA journal_mode=wal");
  run(i, "PRAGMA synchronous=off");
  for (const std::string& pragma : pragmas_) run(i, pragma);
  return c->db;
}

sqlite::Replica& Database::replica(int i) {
  connection(i);
  auto& c = connections_[static_cast<size_t>(i)];
  if (!c->replica) c->replica = std::make_unique<sqlite::Replica>(c->db, clock_, random_);
  return *c->replica;
}

int Database::close(int i) {
  auto& c = connections_[static_cast<size_t>(i)];
  if (!c) return SQLITE_OK;
  changes_of_closed_ += sqlite3_total_changes(c->db);
  int rc = c->close();
  c.reset();
  return rc;
}

int64_t Database::changes() const {
  int64_t out = changes_of_closed_;
  for (const auto& c : connections_)
    if (c) out += sqlite3_total_changes(c->db);
  return out;
}

void Database::copy_from(Database& other) {
  connection(0), other.connection(0);
  sqlite3_backup* backup = sqlite3_backup_init(connection(0), "main", other.connection(0), "main");
  if (!backup) return;
  sqlite3_backup_step(backup, -1);
  sqlite3_backup_finish(backup);
}

void Database::begin_as(Database& other) {
  copy_from(other);
  run(0, "UPDATE rejoin_site SET site = ?1 WHERE id = 0", {Value::blob(random_.bytes(16))});
}

int Database::run(int i, const std::string& sql, const std::vector<Value>& values) {
  if (!connection(i)) return SQLITE_CANTOPEN;
  Connection& c = *connections_[static_cast<size_t>(i)];
  sqlite3_stmt* stmt = c.statement(sql);
  if (!stmt) return sqlite3_extended_errcode(c.db);
  for (size_t v = 0; v < values.size(); ++v) bind_value(stmt, static_cast<int>(v) + 1, values[v]);
  int rc;
  do rc = sqlite3_step(stmt);
  while (rc == SQLITE_ROW);
  sqlite3_reset(stmt);
  sqlite3_clear_bindings(stmt);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

std::string Database::last_error(int i) {
  auto& c = connections_[static_cast<size_t>(i)];
  return c && c->db ? sqlite3_errmsg(c->db) : "not open";
}

bool Database::query(int i, const std::string& sql, std::vector<std::vector<Value>>& rows) {
  if (!connection(i)) return false;
  sqlite3_stmt* stmt = connections_[static_cast<size_t>(i)]->statement(sql);
  if (!stmt) return false;
  int rc;
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    std::vector<Value>& row = rows.emplace_back();
    // Asked for now: the first step prepares the statement again when the schema has changed.
    int columns = sqlite3_column_count(stmt);
    for (int c = 0; c < columns; ++c) row.push_back(column_value(stmt, c));
  }
  sqlite3_reset(stmt);
  return rc == SQLITE_DONE;
}

bool Database::rows(int i, const TableSpec& table, std::map<Key, std::vector<Value>>& rows) {
  std::string sql = "SELECT ";
  for (const std::string& name : table.key) sql += quoted(name) + ", ";
  for (const ColumnSpec& column : table.columns) sql += (column.absent ? "NULL" : quoted(column.name)) + ", ";
  sql += "1 FROM " + quoted(table.name);
  std::vector<std::vector<Value>> found;
  if (!query(i, sql, found)) return false;
  for (auto& row : found) {
    row.pop_back();
    auto middle = row.begin() + static_cast<std::ptrdiff_t>(table.key.size());
    rows[Key(row.begin(), middle)] = std::vector<Value>(middle, row.end());
  }
  return true;
}

}  // namespace rejoin::sim
