#include "sqlite/context.h"

#include <sys/stat.h>

#include "sqlite/adopt.h"
#include "sqlite/identity.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {

Result<Statement*> Context::statement(const std::string& sql) {
  auto it = statements.find(sql);
  if (it != statements.end()) return it->second.get();
  REJOIN_TRY(close_hook.arm());
  REJOIN_ASSIGN(Statement s, prepare(db, sql, true));
  auto kept = std::make_unique<Statement>(std::move(s));
  return statements.emplace(sql, std::move(kept)).first->second.get();
}

int64_t file_identity(sqlite3* db) {
  const char* path = sqlite3_db_filename(db, "main");
  struct stat st;
  if (!path || !*path || stat(path, &st) != 0) return 0;
  return static_cast<int64_t>(st.st_ino);
}

Result<bool> has_layout(Context& ctx) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT 1 FROM main.sqlite_schema WHERE name='rejoin_state' AND type='table'"));
  Use use(*s);
  return s->step("looking for Rejoin's tables");
}

namespace {

// The format of a file that an older build made. Asked once: formats only grow.
Result<std::optional<int64_t>> older_format(Context& ctx) {
  if (ctx.format_known) return std::optional<int64_t>();
  REJOIN_ASSIGN(const bool layout, has_layout(ctx));
  if (!layout) return std::optional<int64_t>();
  REJOIN_ASSIGN(const std::optional<int64_t> format, query_int(ctx.db, "SELECT format FROM main.rejoin_state"));
  if (format && *format >= 1 && *format < kFormat) return format;
  ctx.format_known = true;
  return std::optional<int64_t>();
}

Result<bool> only_queries(Context& ctx) {
  REJOIN_ASSIGN(const std::optional<int64_t> on, query_int(ctx.db, "PRAGMA query_only"));
  return on.value_or(0) != 0;
}

// Without a journal SQLite takes nothing back, and what has failed half-way stays. Asked each time, as the application
// may change it between any two calls.
Status check_journal(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("PRAGMA main.journal_mode"));
  Use use(*s);
  REJOIN_ASSIGN(const bool row, s->step("reading the journal mode"));
  if (!row || s->text(0) != "off") return {};
  return fail(
      Code::unsupported,
      "this connection has PRAGMA journal_mode=OFF, with which SQLite can take nothing back that fails half-way; "
      "nothing was changed. Set another mode outside of a transaction (PRAGMA journal_mode=MEMORY, DELETE or "
      "WAL) and call again");
}

}  // namespace

Result<bool> can_write(Context& ctx) {
  if (sqlite3_db_readonly(ctx.db, "main") == 1) return false;
  REJOIN_ASSIGN(const bool by_pragma, only_queries(ctx));
  return !by_pragma;
}

Result<Work> Work::write(Context& ctx, bool create) {
  // Merges make one statement for each set of columns that changed. Nobody holds one outside of a transaction of ours.
  constexpr size_t kMostStatements = 512;
  if (sqlite3_get_autocommit(ctx.db) && ctx.statements.size() > kMostStatements) ctx.statements.clear();
  ctx.beside_reader = sqlite3_get_autocommit(ctx.db) && sqlite3_txn_state(ctx.db, "main") != SQLITE_TXN_NONE;
  auto t = Transaction::begin(ctx.db, Transaction::Kind::write);
  if (!t.ok() && t.error().code == Code::read_only) {
    REJOIN_ASSIGN(const bool by_pragma, only_queries(ctx));
    if (by_pragma)
      return fail(Code::read_only,
                  "this connection has PRAGMA query_only=ON, with which SQLite writes nothing; turn it off, or call on "
                  "another connection");
  }
  if (!t.ok()) return std::move(t).error();
  Work work(ctx, std::move(*t));
  REJOIN_ASSIGN(bool layout, has_layout(ctx));
  if (!layout && !create)
    return fail(Code::not_tracked, "this database has no tracked tables; call rejoin_track('table') first");
  REJOIN_TRY(check_journal(ctx));
  if (!layout) {
    REJOIN_TRY(work.guard());
    REJOIN_TRY(create_layout(ctx));
    ctx.forget();
  }
  REJOIN_ASSIGN(const std::optional<int64_t> older, older_format(ctx));
  if (older) REJOIN_TRY(upgrade_layout(ctx, *older));
  REJOIN_TRY(work.load(true));
  return work;
}

Result<Work> Work::read(Context& ctx) {
  REJOIN_ASSIGN(const std::optional<int64_t> older, older_format(ctx));
  if (older) {
    REJOIN_ASSIGN(Work upgrading, write(ctx));
    REJOIN_TRY(upgrading.commit());
  }
  REJOIN_ASSIGN(Transaction t, Transaction::begin(ctx.db, Transaction::Kind::read));
  Work work(ctx, std::move(t));
  REJOIN_ASSIGN(bool layout, has_layout(ctx));
  if (!layout) return fail(Code::not_tracked, "this database has no tracked tables; call rejoin_track('table') first");
  REJOIN_TRY(work.load(false));
  return work;
}

Result<Work> Work::write_if_missing(Context& ctx) {
  REJOIN_ASSIGN(bool layout, has_layout(ctx));
  return layout ? read(ctx) : write(ctx, true);
}

Status Work::load(bool writing) {
  Context& c = *ctx_;
  // The application may have registered what was lacking.
  std::erase_if(c.reach, [](const auto& table) { return !table.second.empty(); });
  {
    REJOIN_ASSIGN(Statement * s,
                  c.statement("SELECT format, site, last, last_remote, folded, floor, file FROM main.rejoin_state"));
    Use use(*s);
    REJOIN_ASSIGN(bool row, s->step("reading rejoin_state"));
    if (!row) return fail(Code::corrupt, "rejoin_state is empty; the metadata of this database was damaged by hand");
    if (s->integer(0) != kFormat)
      return fail(Code::unsupported, "this file's Rejoin format is " + std::to_string(s->integer(0)) +
                                         ", this build reads " + std::to_string(kFormat) + "; use the newer Rejoin");
    state.site = static_cast<uint32_t>(s->integer(1));
    state.last = static_cast<crdt::Hlc>(s->integer(2));
    state.last_remote = static_cast<crdt::Hlc>(s->integer(3));
    state.folded = s->integer(4);
    state.floor = s->integer(5);
    state.file = s->integer(6);
    saved_ = state;
  }
  if (!c.sites_valid) {
    c.sites = {};
    REJOIN_ASSIGN(Statement s, prepare(c.db, "SELECT site FROM main.rejoin_site ORDER BY id"));
    for (;;) {
      REJOIN_ASSIGN(bool row, s.step());
      if (!row) break;
      if (s.blob(0).size() != 16)
        return fail(Code::corrupt, "rejoin_site holds an id that is not 16 bytes; the metadata was damaged");
      c.sites.intern(crdt::SiteId::from(s.blob(0)));
    }
    c.sites_valid = true;
  } else {
    // Other connections may have added sites; none is ever removed or changed, but the file may have been restored from
    // a backup through this very connection: then the last known one is another, or missing.
    bool same;
    {
      REJOIN_ASSIGN(Statement * s, c.statement("SELECT site FROM main.rejoin_site WHERE id>=?1 ORDER BY id"));
      Use use(*s);
      const size_t last = c.sites.size() - 1;
      s->bind(1, static_cast<int64_t>(last));
      REJOIN_ASSIGN(same, s->step());
      same = same && s->blob(0) == c.sites[static_cast<uint32_t>(last)].view();
      while (same) {
        REJOIN_ASSIGN(bool row, s->step());
        if (!row) break;
        c.sites.intern(crdt::SiteId::from(s->blob(0)));
      }
    }
    if (!same) {
      c.forget();
      c.statements.clear();
      c.catalog_checked = -2;
      return load(writing);
    }
  }
  if (!c.sites.contains(state.site))
    return fail(Code::corrupt, "rejoin_state names a site that rejoin_site does not have; the metadata was damaged");
  REJOIN_TRY(refresh_catalog(c));
  if (writing) {
    REJOIN_TRY(leave_triggers_out());
    REJOIN_TRY(adopt_schema_changes(*this));
    int64_t file = file_identity(c.db);
    if (file != state.file) {
      if (state.file != 0 && file != 0) REJOIN_TRY(take_new_identity(*this));
      state.file = file;
    }
  }
  return {};
}

Status Work::leave_triggers_out() {
  Context& c = *ctx_;
  if (c.rollback_triggers.empty() || c.altering) return {};
  for (const uint64_t id : c.rollback_triggers)
    if (const Table* t = c.catalog.find(id)) REJOIN_TRY(left_out_.take(t->name));
  return left_out_.any() ? refresh_catalog(c) : Status();
}

Work::~Work() {
  if (open_) ctx_->forget();
}

Status Work::save() {
  if (state == saved_) return {};
  REJOIN_ASSIGN(
      Statement * s,
      ctx_->statement("UPDATE main.rejoin_state SET site=?1, last=?2, last_remote=?3, folded=?4, floor=?5, file=?6"));
  Use use(*s);
  s->bind(1, state.site);
  s->bind(2, static_cast<int64_t>(state.last));
  s->bind(3, static_cast<int64_t>(state.last_remote));
  s->bind(4, state.folded);
  s->bind(5, state.floor);
  s->bind(6, state.file);
  REJOIN_TRY(s->run("writing rejoin_state"));
  saved_ = state;
  return {};
}

Status Work::commit() {
  REJOIN_TRY(save());
  REJOIN_TRY(left_out_.put_back());
  bool savepoint = transaction_.is_savepoint();
  REJOIN_TRY(transaction_.commit());
  open_ = false;
  // The user's transaction around ours may still roll back.
  if (savepoint) ctx_->forget();
  return {};
}

Result<uint32_t> intern_site(Context& ctx, const crdt::SiteId& id) {
  int64_t known = ctx.sites.find(id);
  if (known >= 0) return static_cast<uint32_t>(known);
  uint32_t index = ctx.sites.intern(id);
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT INTO main.rejoin_site(id, site) VALUES(?1, ?2)"));
  Use use(*s);
  s->bind(1, index);
  s->bind_blob(2, id.view());
  REJOIN_TRY(s->run("adding a site"));
  return index;
}

Status refresh_catalog(Context& ctx) {
  int64_t main_version = 0;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("PRAGMA main.schema_version"));
    Use use(*s);
    REJOIN_ASSIGN(bool row, s->step("reading the schema version"));
    if (row) main_version = s->integer(0);
  }
  // The temporary schema's version would change with each merge that leaves nested writes out (sqlite/enforcement.h).
  std::string temp_triggers;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT sql FROM sqlite_temp_schema WHERE type='trigger'"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading the temporary triggers"));
      if (!row) break;
      temp_triggers += Bytes(s->text(0)) + ";\n";
    }
  }
  if (main_version == ctx.catalog_main && temp_triggers == ctx.catalog_temp) return {};
  ctx.statements.clear();
  ctx.reach.clear();
  ctx.stuck.clear();
  REJOIN_ASSIGN(ctx.catalog, load_catalog(ctx.db));
  ctx.catalog_main = main_version;
  ctx.catalog_temp = std::move(temp_triggers);
  return {};
}

Result<Table*> tracked_table(Context& ctx, std::string_view name) {
  if (Table* t = ctx.catalog.find(name)) return t;
  std::string known;
  for (const auto& t : ctx.catalog.tables) known += (known.empty() ? "" : ", ") + t->name;
  return fail(Code::not_tracked, "table \"" + std::string(name) + "\" is not tracked" +
                                     (known.empty() ? "" : " (tracked: " + known + ")") + "; call rejoin_track('" +
                                     std::string(name) + "') first");
}

}  // namespace rejoin::sqlite
