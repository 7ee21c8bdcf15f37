#include "sqlite/database.h"

#include "sqlite/api.h"
#include "sqlite/query.h"

namespace rejoin::sqlite {
namespace {

constexpr int kOpcodesBetweenLooks = 4096;

Error open_error(const std::string& path, sqlite3* db, int rc, const char* doing) {
  const std::string what = std::string("cannot ") + doing + " the database '" + path + "': ";
  const std::string said = db ? sqlite3_errmsg(db) : "out of memory";
  switch (rc & 0xff) {
    case SQLITE_NOTADB:
      return fail(Code::corrupt, what + "it is not an SQLite database (or an encrypted one); check the path");
    case SQLITE_CORRUPT:
      return fail(Code::corrupt, what + "the file is damaged; restore it from a backup, or see sqlite3's .recover");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fail(Code::busy, what + "another process holds it locked; try again when that has finished");
    case SQLITE_FULL:
      return fail(Code::disk, what + "the disk is full; make room and try again");
    case SQLITE_IOERR:
      return fail(Code::disk, what + "the disk fails (" + said + "); check the system's log");
    case SQLITE_READONLY:
      return fail(Code::read_only, what + "it may not be written; check the permissions of the file and of its folder");
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return fail(Code::read_only, what + "no permission; check the owner and mode of the file and of its folder");
    case SQLITE_CANTOPEN:
      return fail(
          Code::not_found,
          what + "the file or its folder does not exist, or may not be entered; check the path and its permissions");
    default:
      return fail(Code::internal, what + said);
  }
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path, const DatabaseOptions& options, Clock& clock,
                                                 Random& random) {
  if (path.empty() || path.find('\0') != std::string::npos)
    return fail(Code::bad_argument, "a database needs a path; none was given");
  int flags = options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (options.create && !options.read_only) flags |= SQLITE_OPEN_CREATE;
  sqlite3* raw = nullptr;
  int rc = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_EXRESCODE, nullptr);
  std::unique_ptr<Database> database(new Database(path, raw));
  if (rc != SQLITE_OK) return open_error(path, raw, rc, "open");
  if (options.while_locked)
    database->lock_wait_ = std::make_unique<LockWait>(raw, options.while_locked);
  else
    sqlite3_busy_timeout(raw, options.busy_timeout_ms);

  std::string setup;
  if (!options.read_only && options.wal) setup += "PRAGMA journal_mode=WAL;";
  setup += options.full_sync ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;";
  setup += "SELECT count(*) FROM sqlite_schema;";  // opening is lazy: this reads the file
  rc = sqlite3_exec(raw, setup.c_str(), nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return open_error(path, raw, rc, "read");
  database->replica_ = std::make_unique<Replica>(raw, clock, random);
  return database;
}

Database::~Database() {
  replica_.reset();
  sqlite3_close_v2(db_);
}

Status Database::execute(const std::string& sql) {
  const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (rc == SQLITE_OK) return {};
  return open_error(path_, db_, rc, "use");
}

Result<int64_t> Database::data_version() {
  int64_t version = 0;
  REJOIN_TRY(query(db_, "PRAGMA data_version", {}, [&](QueryRow row) {
    version = row[0].integer;
    return false;
  }));
  return version;
}

void Database::set_deadline(std::chrono::steady_clock::time_point deadline) {
  deadline_ = deadline;
  if (deadline == std::chrono::steady_clock::time_point::max()) {
    sqlite3_progress_handler(db_, 0, nullptr, nullptr);
    return;
  }
  auto passed = [](void* self) {
    return std::chrono::steady_clock::now() >= static_cast<Database*>(self)->deadline_ ? 1 : 0;
  };
  sqlite3_progress_handler(db_, kOpcodesBetweenLooks, passed, this);
}

}  // namespace rejoin::sqlite
