#include "sqlite/functions.h"

#include <atomic>
#include <memory>
#include <new>

#include "base/uuid.h"
#include "sqlite/explain.h"
#include "sqlite/impl.h"
#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

std::atomic<SyncFunction> sync_function{nullptr};
std::atomic<LiveFunction> live_function{nullptr};

Replica& replica_of(sqlite3_context* c) { return *static_cast<Replica*>(sqlite3_user_data(c)); }

void result_text(sqlite3_context* c, std::string_view text) {
  sqlite3_result_text64(c, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void result_error(sqlite3_context* c, const char* function, const Error& e) {
  std::string message = std::string(function) + ": " + e.message;
  if (e.code == Code::interrupted)
    message += sqlite3_get_autocommit(sqlite3_context_db_handle(c))
                   ? "; the transaction that it ran in was rolled back as a whole, also one of yours"
                   : "; it has changed nothing, and your transaction goes on";
  message += " [" + std::string(code_name(e.code)) + "]";
  sqlite3_result_error(c, message.data(), static_cast<int>(message.size()));
  // Keeps the message: hosts retry on this code, or know the other for their own doing.
  if (e.code == Code::busy) sqlite3_result_error_code(c, SQLITE_BUSY);
  if (e.code == Code::interrupted) sqlite3_result_error_code(c, SQLITE_INTERRUPT);
}

// Runs `body` so that no C++ exception reaches SQLite.
template <class F>
void guarded(sqlite3_context* c, const char* function, F&& body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(c);
  } catch (const std::exception& e) {
    result_error(c, function, fail(Code::internal, e.what()));
  }
}

// The argument as a table name; an error is set and false returned for anything but text.
bool table_argument(sqlite3_context* c, const char* function, sqlite3_value* v, std::string& out) {
  if (sqlite3_value_type(v) != SQLITE_TEXT) {
    result_error(c, function, fail(Code::bad_argument, "the table must be given as text, such as 'todos'"));
    return false;
  }
  out = value_of(v).bytes;
  return true;
}

bool integer_argument(sqlite3_context* c, const char* function, sqlite3_value* v, const char* what, int64_t& out) {
  if (sqlite3_value_type(v) != SQLITE_INTEGER) {
    result_error(c, function, fail(Code::bad_argument, std::string(what) + " must be an integer"));
    return false;
  }
  out = sqlite3_value_int64(v);
  return true;
}

std::vector<crdt::ValueRef> key_arguments(int n, sqlite3_value** v) {
  std::vector<crdt::ValueRef> key;
  for (int i = 0; i < n; ++i) key.push_back(value_of(v[i]));
  return key;
}

void fn_track(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_track", [&] {
    std::string table;
    if (!table_argument(c, "rejoin_track", v[0], table)) return;
    TrackOptions options;
    if (n > 1 && sqlite3_value_type(v[1]) != SQLITE_NULL) {
      auto parsed = parse_track_options(value_of(v[1]).bytes);
      if (!parsed.ok()) return result_error(c, "rejoin_track", parsed.error());
      options = *parsed;
    }
    if (auto s = replica_of(c).track(table, options); !s.ok()) result_error(c, "rejoin_track", s.error());
  });
}

void fn_untrack(sqlite3_context* c, int, sqlite3_value** v) {
  guarded(c, "rejoin_untrack", [&] {
    std::string table;
    if (!table_argument(c, "rejoin_untrack", v[0], table)) return;
    if (auto s = replica_of(c).untrack(table); !s.ok()) result_error(c, "rejoin_untrack", s.error());
  });
}

void fn_alter(sqlite3_context* c, int, sqlite3_value** v) {
  guarded(c, "rejoin_alter", [&] {
    if (sqlite3_value_type(v[0]) != SQLITE_TEXT)
      return result_error(
          c, "rejoin_alter",
          fail(Code::bad_argument, "give the statement as text, such as 'ALTER TABLE todos ADD COLUMN due TEXT'"));
    if (auto s = replica_of(c).alter(std::string(value_of(v[0]).bytes)); !s.ok())
      result_error(c, "rejoin_alter", s.error());
  });
}

void fn_alter_begin(sqlite3_context* c, int, sqlite3_value** v) {
  guarded(c, "rejoin_alter_begin", [&] {
    std::string table;
    if (!table_argument(c, "rejoin_alter_begin", v[0], table)) return;
    if (auto s = replica_of(c).alter_begin(table); !s.ok()) result_error(c, "rejoin_alter_begin", s.error());
  });
}

void fn_alter_commit(sqlite3_context* c, int, sqlite3_value** v) {
  guarded(c, "rejoin_alter_commit", [&] {
    std::string table;
    if (!table_argument(c, "rejoin_alter_commit", v[0], table)) return;
    if (auto s = replica_of(c).alter_commit(table); !s.ok()) result_error(c, "rejoin_alter_commit", s.error());
  });
}

void fn_seq(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_seq", [&] {
    auto r = replica_of(c).seq();
    if (!r.ok()) return result_error(c, "rejoin_seq", r.error());
    sqlite3_result_int64(c, *r);
  });
}

void fn_changeset(sqlite3_context* c, int, sqlite3_value** v) {
  guarded(c, "rejoin_changeset", [&] {
    int64_t since = 0;
    if (!integer_argument(c, "rejoin_changeset", v[0], "since", since)) return;
    auto r = replica_of(c).changeset(since);
    if (!r.ok()) return result_error(c, "rejoin_changeset", r.error());
    if (!*r) return sqlite3_result_null(c);
    sqlite3_result_blob64(c, (*r)->data(), (*r)->size(), SQLITE_TRANSIENT);
  });
}

void fn_apply(sqlite3_context* c, int, sqlite3_value** v) {
  guarded(c, "rejoin_apply", [&] {
    if (sqlite3_value_type(v[0]) == SQLITE_NULL)
      return sqlite3_result_int64(c, 0);  // "nothing new", as rejoin_changeset gives it
    if (sqlite3_value_type(v[0]) != SQLITE_BLOB)
      return result_error(c, "rejoin_apply",
                          fail(Code::bad_argument, "a changeset is a BLOB, as rejoin_changeset() gives it"));
    // Merging runs statements on this connection, which may free the argument's buffer: keep a copy.
    Bytes frame(value_of(v[0]).bytes);
    if (frame.empty()) return sqlite3_result_int64(c, 0);  // the same, through a file
    ApplyOptions options;
    options.whole = true;  // nobody would hear of a refused row
    auto r = replica_of(c).apply(frame, options);
    if (!r.ok()) return result_error(c, "rejoin_apply", r.error());
    sqlite3_result_int64(c, static_cast<int64_t>(r->rows_changed));
  });
}

void fn_explain(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_explain", [&] {
    if (n < 2)
      return result_error(c, "rejoin_explain",
                          fail(Code::bad_argument, "give the table and the key: rejoin_explain('todos', 'id')"));
    std::string table;
    if (!table_argument(c, "rejoin_explain", v[0], table)) return;
    auto r = replica_of(c).explain(table, key_arguments(n - 1, v + 1));
    if (!r.ok()) return result_error(c, "rejoin_explain", r.error());
    result_text(c, *r);
    sqlite3_result_subtype(c, 'J');
  });
}

void fn_restore(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_restore", [&] {
    if (n < 2)
      return result_error(c, "rejoin_restore",
                          fail(Code::bad_argument, "give the table and the key: rejoin_restore('todos', 'id')"));
    std::string table;
    if (!table_argument(c, "rejoin_restore", v[0], table)) return;
    auto r = replica_of(c).restore(table, key_arguments(n - 1, v + 1));
    if (!r.ok()) return result_error(c, "rejoin_restore", r.error());
    sqlite3_result_int(c, *r);
  });
}

void fn_retry(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_retry", [&] {
    auto r = replica_of(c).retry();
    if (!r.ok()) return result_error(c, "rejoin_retry", r.error());
    sqlite3_result_int64(c, *r);
  });
}

void fn_discard(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_discard", [&] {
    if (n == 1)
      return result_error(c, "rejoin_discard",
                          fail(Code::bad_argument,
                               "give the table and the key, rejoin_discard('todos', 'id'), or nothing for all rows"));
    if (n == 0) {
      auto all = replica_of(c).discard_all();
      if (!all.ok()) return result_error(c, "rejoin_discard", all.error());
      return sqlite3_result_int64(c, *all);
    }
    std::string table;
    if (!table_argument(c, "rejoin_discard", v[0], table)) return;
    auto r = replica_of(c).discard(table, key_arguments(n - 1, v + 1));
    if (!r.ok()) return result_error(c, "rejoin_discard", r.error());
    sqlite3_result_int(c, *r);
  });
}

void fn_compact(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_compact", [&] {
    std::optional<int64_t> keep_days;
    if (n > 0 && sqlite3_value_type(v[0]) != SQLITE_NULL &&
        !integer_argument(c, "rejoin_compact", v[0], "keep_days", keep_days.emplace()))
      return;
    auto r = replica_of(c).compact(keep_days);
    if (!r.ok()) return result_error(c, "rejoin_compact", r.error());
    sqlite3_result_int64(c, *r);
  });
}

void fn_doctor(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_doctor", [&] {
    auto r = replica_of(c).doctor();
    if (!r.ok()) return result_error(c, "rejoin_doctor", r.error());
    result_text(c, *r);
  });
}

void fn_site(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_site", [&] {
    auto r = replica_of(c).site();
    if (!r.ok()) return result_error(c, "rejoin_site", r.error());
    result_text(c, to_hex(r->view()));
  });
}

void fn_version(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_version", [&] {
    auto r = replica_of(c).version_json();
    if (r.ok()) result_text(c, *r);
  });
}

void fn_uuid(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_uuid", [&] {
    Context& ctx = replica_of(c).impl().ctx;
    result_text(c, ctx.uuids.next(ctx.clock.now_ms(), ctx.random.bytes(10)));
  });
}

void fn_connect(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_connect", [&] {
    Connection connection;
    if (sqlite3_value_type(v[0]) != SQLITE_TEXT)
      return result_error(
          c, "rejoin_connect",
          fail(Code::bad_argument, "give the server's address as text, such as 'http://127.0.0.1:8427'"));
    connection.url = value_of(v[0]).bytes;
    if (n > 1 && sqlite3_value_type(v[1]) != SQLITE_NULL) connection.token = value_of(v[1]).bytes;
    if (n > 2 && sqlite3_value_type(v[2]) != SQLITE_NULL) {
      auto parsed = parse_connect_options(value_of(v[2]).bytes);
      if (!parsed.ok()) return result_error(c, "rejoin_connect", parsed.error());
      connection.migrate = parsed->migrate;
    }
    if (auto s = store_connection(replica_of(c), connection); !s.ok()) result_error(c, "rejoin_connect", s.error());
  });
}

void fn_sync(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_sync", [&] {
    Replica& replica = replica_of(c);
    Context& ctx = replica.impl().ctx;
    if (!sqlite3_get_autocommit(ctx.db))
      return result_error(c, "rejoin_sync",
                          fail(Code::in_transaction,
                               "sync cannot run inside a transaction, which would hold a lock while it waits for the "
                               "network; COMMIT first"));
    auto connection = stored_connection(replica);
    if (!connection.ok()) return result_error(c, "rejoin_sync", connection.error());
    if (!*connection)
      return result_error(
          c, "rejoin_sync",
          fail(Code::not_connected, "no server is set for this database; call rejoin_connect(url, token) first"));
    SyncFunction run = sync_function.load();
    if (!run)
      return result_error(c, "rejoin_sync",
                          fail(Code::unsupported, "this build of Rejoin has no network; use the rejoin command"));
    auto r = run(replica, **connection);
    if (!r.ok()) return result_error(c, "rejoin_sync", r.error());
    result_text(c, *r);
  });
}

// May other threads use connections of their own? The application may have chosen otherwise before it opened its first.
bool threads_may_use_sqlite() {
  if (!sqlite3_threadsafe()) return false;
  sqlite3* db = nullptr;
  const int opened = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
  const bool may = opened == SQLITE_OK && sqlite3_db_mutex(db) != nullptr;
  sqlite3_close_v2(db);
  return may;
}

void fn_live(sqlite3_context* c, int n, sqlite3_value** v) {
  guarded(c, "rejoin_live", [&] {
    Replica& replica = replica_of(c);
    Replica::Impl& impl = replica.impl();
    if (!sqlite3_get_autocommit(impl.ctx.db))
      return result_error(
          c, "rejoin_live",
          fail(Code::in_transaction, "a live connection cannot begin inside a transaction; COMMIT first"));
    LiveFunction start = live_function.load();
    if (!start)
      return result_error(c, "rejoin_live",
                          fail(Code::unsupported, "this build of Rejoin has no network; use the rejoin command"));
    if (!threads_may_use_sqlite())
      return result_error(
          c, "rejoin_live",
          fail(Code::unsupported,
               "SQLite is set to a single thread here; set it to several (SQLITE_CONFIG_SERIALIZED), or "
               "call rejoin_sync()"));
    std::string file = file_of(replica);
    if (file.empty())
      return result_error(
          c, "rejoin_live",
          fail(Code::bad_argument,
               "a database in memory has no file that a second connection could open; call rejoin_sync()"));
    if (n > 0) {
      Connection connection;
      if (sqlite3_value_type(v[0]) != SQLITE_TEXT)
        return result_error(
            c, "rejoin_live",
            fail(Code::bad_argument, "give the server's address as text, such as 'http://127.0.0.1:8427'"));
      connection.url = value_of(v[0]).bytes;
      if (n > 1 && sqlite3_value_type(v[1]) != SQLITE_NULL) connection.token = value_of(v[1]).bytes;
      if (auto s = store_connection(replica, connection); !s.ok()) return result_error(c, "rejoin_live", s.error());
    }
    auto connection = stored_connection(replica);
    if (!connection.ok()) return result_error(c, "rejoin_live", connection.error());
    if (!*connection)
      return result_error(
          c, "rejoin_live",
          fail(Code::not_connected, "no server is set for this database; call rejoin_live(url, token)"));
    impl.live.reset();
    auto live = start(file, **connection);
    if (!live.ok()) return result_error(c, "rejoin_live", live.error());
    impl.live = std::move(*live);
  });
}

void fn_live_stop(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_live_stop", [&] {
    Replica::Impl& impl = replica_of(c).impl();
    sqlite3_result_int(c, impl.live != nullptr);
    impl.live.reset();
  });
}

void fn_status(sqlite3_context* c, int, sqlite3_value**) {
  guarded(c, "rejoin_status", [&] {
    auto r = status_json(replica_of(c));
    if (!r.ok()) return result_error(c, "rejoin_status", r.error());
    const auto& live = replica_of(c).impl().live;
    r->pop_back();
    result_text(c, *r + ",\"live\":" + (live ? live->status_json() : "null") + "}");
  });
}

}  // namespace

void install_sync_function(SyncFunction function) { sync_function = function; }
void install_live_function(LiveFunction function) { live_function = function; }

Status register_functions(sqlite3* db, Replica& replica) {
  struct Function {
    const char* name;
    int arguments;
    void (*body)(sqlite3_context*, int, sqlite3_value**);
  };
  static constexpr Function kFunctions[] = {
      {"rejoin_track", 1, fn_track},
      {"rejoin_track", 2, fn_track},
      {"rejoin_untrack", 1, fn_untrack},
      {"rejoin_seq", 0, fn_seq},
      {"rejoin_changeset", 1, fn_changeset},
      {"rejoin_apply", 1, fn_apply},
      {"rejoin_explain", -1, fn_explain},
      {"rejoin_restore", -1, fn_restore},
      {"rejoin_compact", 0, fn_compact},
      {"rejoin_compact", 1, fn_compact},
      {"rejoin_doctor", 0, fn_doctor},
      {"rejoin_site", 0, fn_site},
      {"rejoin_version", 0, fn_version},
      {"rejoin_uuid", 0, fn_uuid},
      {"rejoin_connect", 1, fn_connect},
      {"rejoin_connect", 2, fn_connect},
      {"rejoin_connect", 3, fn_connect},
      {"rejoin_sync", 0, fn_sync},
      {"rejoin_status", 0, fn_status},
      {"rejoin_retry", 0, fn_retry},
      {"rejoin_discard", -1, fn_discard},
      {"rejoin_live", 0, fn_live},
      {"rejoin_live", 1, fn_live},
      {"rejoin_live", 2, fn_live},
      {"rejoin_live_stop", 0, fn_live_stop},
      {"rejoin_alter", 1, fn_alter},
      {"rejoin_alter_begin", 1, fn_alter_begin},
      {"rejoin_alter_commit", 1, fn_alter_commit},
  };
  for (const Function& f : kFunctions) {
    bool harmless = f.body == fn_uuid || f.body == fn_version;
    // DIRECTONLY: a schema from somewhere else must not be able to call what writes or reaches the network from its
    // views and triggers.
    int flags = SQLITE_UTF8 | (harmless ? SQLITE_INNOCUOUS : SQLITE_DIRECTONLY);
    if (sqlite3_create_function_v2(db, f.name, f.arguments, flags, &replica, f.body, nullptr, nullptr, nullptr) !=
        SQLITE_OK)
      return sql_error(db, "registering " + std::string(f.name));
  }
  if (register_changes_vtab(db, replica) != SQLITE_OK) return sql_error(db, "registering rejoin_changes");
  if (register_changesets_vtab(db, replica) != SQLITE_OK) return sql_error(db, "registering rejoin_changesets");
  return {};
}

Status install(sqlite3* db) {
  auto replica = std::make_unique<Replica>(db);
  REJOIN_TRY(register_functions(db, *replica));
  // A second registration of one function carries the ownership: SQLite calls its destructor when the connection
  // closes. By then the statements are gone already (CloseHook).
  Replica* owned = replica.release();
  int rc = sqlite3_create_function_v2(db, "rejoin_version", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, owned, fn_version,
                                      nullptr, nullptr, [](void* p) {
                                        auto* closing = static_cast<Replica*>(p);
                                        closing->impl().ctx.close_hook.abandon();
                                        delete closing;
                                      });
  return rc == SQLITE_OK ? Status() : sql_error(db, "registering rejoin_version");
}

}  // namespace rejoin::sqlite
