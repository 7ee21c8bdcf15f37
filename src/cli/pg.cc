// rejoin pg: a PostgreSQL database as the store of a server.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "postgres/admin.h"
#include "server/tenant_files.h"

namespace rejoin::cli {
namespace {

struct PgArguments {
  std::string action;
  std::vector<std::string> tables;
  std::string url, role, name, tenant, tenant_column;
  std::optional<int64_t> keep_days;
  bool dry_run = false;
};

// Options that the action does not read are mistakes, not noise.
Status check(const PgArguments& arguments) {
  const bool track = arguments.action == "track", tables = track || arguments.action == "untrack";
  const bool compact = arguments.action == "compact";
  auto only = [&](const std::string& what, const std::string& action) {
    return fail(Code::bad_argument,
                what + " is for rejoin pg " + action + "; leave it out of rejoin pg " + arguments.action);
  };
  if (!tables && !arguments.tables.empty()) return only("a table's name", "track and untrack");
  if (arguments.action != "init" && !arguments.role.empty()) return only("--role", "init");
  if (!track && !arguments.name.empty()) return only("--as", "track");
  if (!track && !arguments.tenant_column.empty()) return only("--tenant-column", "track");
  if (!track && !compact && !arguments.tenant.empty()) return only("--tenant", "track and compact");
  if (!compact && arguments.keep_days) return only("--keep-days", "compact");
  if (!compact && arguments.dry_run) return only("--dry-run", "compact");
  if (arguments.keep_days && !arguments.tenant.empty() && !arguments.dry_run)
    return fail(Code::bad_argument, "--keep-days is for all tenants of the database; leave --tenant out");
  if (tables && arguments.tables.empty())
    return fail(Code::bad_argument, "name the tables to " + arguments.action + ", like public.todos");
  if (arguments.tables.size() > 1 && !arguments.name.empty())
    return fail(Code::bad_argument, "--as names one table; track the others apart");
  if (!arguments.tenant.empty() && !arguments.tenant_column.empty())
    return fail(Code::bad_argument, "--tenant-column says of each row whose it is; leave --tenant out");
  if (!arguments.tenant.empty()) REJOIN_TRY(server::check_tenant_name(arguments.tenant));
  if (arguments.url.empty())
    return fail(Code::bad_argument, "name the database with --postgres URL, or set REJOIN_POSTGRES");
  return {};
}

// " Did you mean …?" among the tables that there are, or those that are synced; as the word has it with or without a
// schema. Empty when the database does not tell.
std::string table_meant(postgres::Connection& db, const std::string& word, bool synced) {
  const std::string among = synced ? " AND c.oid IN (SELECT relation FROM rejoin.tracked)" : "";
  const auto rows = db.query(
      "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(c.relname) FROM pg_class c "
      "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' "
      "AND n.nspname NOT IN ('information_schema', 'rejoin')" +
      among + " ORDER BY 1 LIMIT 1000");
  std::vector<std::string> names;
  const int column = word.find('.') == std::string::npos ? 1 : 0;
  for (size_t i = 0; rows.ok() && i < rows->size(); ++i) names.push_back(rows->text(i, column));
  return did_you_mean(word, names);
}

// With the cure that PostgreSQL's own words lack.
Error explained(Error error, const postgres::Connection& db, const std::string& table = "") {
  const std::string& state = db.last_error().state;
  if (error.code == Code::busy && state == "55P03")
    error.message = "table " + table + " is locked by others for more than 5 s; try again when they are done";
  else if (!error.message.starts_with("PostgreSQL: "))
    return error;
  else if (state == "42602" || state == "42601" || state == "22023" || state == "0A000")
    return fail(Code::bad_argument, "'" + table +
                                        "' is no table's name; write SCHEMA.TABLE, with double quotes around names "
                                        "that need them: 'public.\"Odd Name\"'");
  else if (error.code == Code::forbidden)
    error.message += "; run this under the role that owns the database and its tables";
  else if (error.code == Code::read_only)
    error.message += "; name the primary if this is a standby, or turn default_transaction_read_only off";
  return error;
}

Result<int> init(postgres::Connection& db, const PgArguments& arguments, Output& output) {
  if (!arguments.role.empty()) {
    REJOIN_ASSIGN(const postgres::Rows roles, db.query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)",
                                                       postgres::Params().text(arguments.role)));
    if (roles.integer(0, 0) == 0)
      return fail(Code::not_found, "there is no role " + arguments.role +
                                       " in this PostgreSQL; create it first: CREATE ROLE " +
                                       postgres::quote(arguments.role) + " LOGIN PASSWORD '…'");
  }
  REJOIN_ASSIGN(const bool installed, postgres::init(db, arguments.role));
  REJOIN_ASSIGN(const int64_t version, postgres::installed_version(db));
  if (output.json()) {
    output.document({{"installed", installed}, {"version", version}});
    return kOk;
  }
  output.line(std::string(installed ? "installed" : "there already:") + " schema rejoin, version " +
              std::to_string(version));
  if (!arguments.role.empty())
    output.line("role " + arguments.role +
                " may use it; let it read and write your tables too: GRANT SELECT, INSERT, " +
                "UPDATE, DELETE ON TABLE … TO " + postgres::quote(arguments.role));
  output.hint("next: rejoin pg track public.TABLE --postgres URL");
  return kOk;
}

// Are they all tables, and not synced under another name or for others? Before the first of them is touched.
Status check_tables(postgres::Connection& db, const PgArguments& arguments) {
  REJOIN_TRY(postgres::installed_version(db));
  REJOIN_ASSIGN(const postgres::Catalog catalog, postgres::load_catalog(db));
  for (const std::string& table : arguments.tables) {
    const auto wanted = postgres::describe_table(db, table, arguments.tenant_column);
    if (!wanted.ok()) {
      Error error = explained(wanted.error(), db, table);
      if (error.code == Code::not_found) error.message += "." + table_meant(db, table, false);
      return error;
    }
    for (const postgres::Table& known : catalog.tables) {
      if (known.sql != wanted->sql) continue;
      // The name that it has now says that it was renamed.
      const bool other =
          (!arguments.name.empty() && arguments.name != known.name &&
           !postgres::same_name(arguments.name, known.relation)) ||
          (!arguments.tenant.empty() && arguments.tenant != known.owner) ||
          (!arguments.tenant_column.empty() && (!known.tenant || arguments.tenant_column != known.tenant->name));
      if (other)
        return fail(Code::untrackable,
                    known.display + " is synced already, as \"" + known.name + "\", " +
                        (known.tenant ? "with the tenant in " + known.tenant->name : "for tenant " + known.owner) +
                        ", and stays so; to begin anew, rejoin pg untrack it first");
    }
  }
  return {};
}

Result<int> track(postgres::Connection& db, const PgArguments& arguments, Output& output) {
  REJOIN_TRY(check_tables(db, arguments));
  const std::string tenant = arguments.tenant.empty() ? "main" : arguments.tenant;
  bool fresh = false;
  boost::json::array tracked;
  for (const std::string& table : arguments.tables) {
    postgres::TrackRequest request;
    request.relation = table;
    request.name = arguments.name;
    request.tenant_column = arguments.tenant_column;
    request.tenant = tenant;
    Progress progress("recording the rows of " + table, output.json());
    const auto result =
        postgres::track(db, request, system_random(), [&](int64_t rows) { progress.set(static_cast<uint64_t>(rows)); });
    progress.end();
    if (!result.ok()) return explained(result.error(), db, table);
    const postgres::Tracked& done = *result;
    fresh = fresh || !done.already;
    tracked.push_back({{"relation", table},
                       {"table", done.name},
                       {"rows", done.rows},
                       {"columns", done.columns},
                       {"already", done.already}});
    if (output.json()) continue;
    std::string line = (done.already ? "tracked already: " : "tracking ") + table;
    const bool renamed = !arguments.name.empty() && done.name != arguments.name;
    if (renamed)
      line += ", still " + done.name + " on devices, which may call it " + arguments.name + " too";
    else if (!arguments.name.empty())
      line += " as " + done.name;
    line += " (" + counted(static_cast<uint64_t>(done.rows), done.already ? "new row" : "row");
    if (done.columns) line += ", " + counted(static_cast<uint64_t>(done.columns), "new column");
    output.line(line + ")");
  }
  if (output.json())
    output.document({{"tracked", std::move(tracked)}});
  else if (arguments.tenant_column.empty() && fresh)
    output.hint("its rows are those of tenant " + tenant + ": devices need a token with --tenant " +
                shell_word(tenant));
  return kOk;
}

Result<int> untrack(postgres::Connection& db, const PgArguments& arguments, Output& output) {
  for (const std::string& table : arguments.tables) {
    if (const Status done = postgres::untrack(db, table); !done.ok()) {
      Error error = explained(done.error(), db, table);
      if (error.code == Code::not_tracked) error.message += "." + table_meant(db, table, true);
      return error;
    }
    if (!output.json()) output.line("no longer synced: " + table);
  }
  if (output.json()) {
    boost::json::array names;
    for (const std::string& table : arguments.tables) names.emplace_back(table);
    output.document({{"untracked", std::move(names)}});
  }
  return kOk;
}

Result<int> compact(postgres::Connection& db, const PgArguments& arguments, Output& output) {
  const postgres::CompactRequest request{arguments.tenant, arguments.keep_days, arguments.dry_run};
  Progress progress("looking for deletions that may be forgotten", output.json());
  REJOIN_ASSIGN(const postgres::Compacted done,
                postgres::compact(db, request, system_clock(), system_random(), [&](const postgres::Compacted& so_far) {
                  progress.set(static_cast<uint64_t>(so_far.deletions));
                }));
  if (output.json()) {
    output.document({{"tenants", done.tenants},
                     {"log_rows", done.log_rows},
                     {"deletions", done.deletions},
                     {"dry_run", arguments.dry_run}});
    return kOk;
  }
  output.line((arguments.dry_run ? "would forget " : "forgot ") +
              counted(static_cast<uint64_t>(done.deletions), "deletion") + " and " +
              counted(static_cast<uint64_t>(done.log_rows), "log row") + " of " +
              counted(static_cast<uint64_t>(done.tenants), "tenant"));
  return kOk;
}

Result<int> status(postgres::Connection& db, Output& output) {
  REJOIN_ASSIGN(const postgres::StoreStatus now, postgres::status(db));
  REJOIN_ASSIGN(const postgres::Catalog catalog, postgres::load_catalog(db));
  auto owner = [&](const std::string& name) {
    const postgres::Table* table = catalog.find(name);
    return table ? table->owner : "";
  };
  if (output.json()) {
    boost::json::array tables;
    for (const auto& t : now.tables) {
      boost::json::array unannounced;
      for (const std::string& name : t.unannounced) unannounced.emplace_back(name);
      tables.push_back({{"table", t.name},
                        {"relation", t.relation},
                        {"tenant_column", t.tenant_column},
                        {"tenant", owner(t.name)},
                        {"alive", t.alive},
                        {"records", t.records},
                        {"unborn", t.unborn},
                        {"unannounced", std::move(unannounced)}});
    }
    output.document({{"version", now.version},
                     {"tables", std::move(tables)},
                     {"tenants", now.tenants},
                     {"devices", now.devices},
                     {"outbox", now.outbox},
                     {"log_rows", now.log_rows},
                     {"keep_days", now.keep_days},
                     {"horizon", now.horizon_ms ? boost::json::value(iso8601(now.horizon_ms)) : nullptr}});
    return kOk;
  }
  output.line("schema rejoin, version " + std::to_string(now.version) + ": " +
              counted(static_cast<uint64_t>(now.tenants), "tenant") + ", " +
              counted(static_cast<uint64_t>(now.devices), "device") + ", " +
              counted(static_cast<uint64_t>(now.outbox), "captured write") + " waiting");
  output.line("deletions are kept for " + counted(static_cast<uint64_t>(now.keep_days), "day") +
              (now.horizon_ms ? "; some until " + iso8601(now.horizon_ms) + " are forgotten" : ""));
  for (const auto& t : now.tables) {
    std::string line = "  " + t.relation + (t.relation == "public." + t.name ? "" : " as " + t.name) + ": " +
                       counted(static_cast<uint64_t>(t.alive), "row") + ", " +
                       std::to_string(t.records - t.alive - t.unborn) + " deleted";
    if (t.unborn > 0) line += ", edits of " + counted(static_cast<uint64_t>(t.unborn), "row") + " that never came";
    line += t.tenant_column.empty() ? ", of tenant " + owner(t.name) : ", tenant in " + t.tenant_column;
    output.line(line);
    for (const std::string& name : t.unannounced)
      output.warning("column " + name + " is not synced yet; run: rejoin pg track " +
                     (catalog.find(t.name) ? postgres::command_name(*catalog.find(t.name)) : t.relation));
  }
  if (now.tables.empty()) output.hint("no table is synced yet: rejoin pg track public.TABLE --postgres URL");
  return kOk;
}

Result<int> doctor(postgres::Connection& db, Output& output) {
  REJOIN_ASSIGN(const std::vector<std::string> findings, postgres::doctor(db));
  if (output.json()) {
    boost::json::array list;
    for (const std::string& finding : findings) list.emplace_back(finding);
    output.document({{"sound", findings.empty()}, {"findings", std::move(list)}});
  } else {
    for (const std::string& finding : findings)
      output.line(paint(output.color(), Color::red, "finding") + ": " + finding);
    if (findings.empty()) output.line(paint(output.color(), Color::green, "sound") + ": nothing wrong");
  }
  return findings.empty() ? kOk : kDamaged;
}

Result<int> run_pg(const PgArguments& arguments, Output& output) {
  REJOIN_TRY(check(arguments));
  const auto opened = postgres::Connection::open(arguments.url);
  // Of PostgreSQL's own roles and passwords: no token would help.
  if (!opened.ok()) return output.error(opened.error());
  postgres::Connection& db = **opened;
  // Behind a pooler in transaction mode what is prepared is another's, and each statement comes once or twice.
  db.set_prepare(false);
  Result<int> done = arguments.action == "track"     ? track(db, arguments, output)
                     : arguments.action == "untrack" ? untrack(db, arguments, output)
                     : arguments.action == "init"    ? init(db, arguments, output)
                     : arguments.action == "compact" ? compact(db, arguments, output)
                     : arguments.action == "status"  ? status(db, output)
                                                     : doctor(db, output);
  if (done.ok()) return done;
  return output.error(arguments.tables.empty() ? explained(done.error(), db) : done.error());
}

}  // namespace

void add_pg(Commands& commands) {
  auto arguments = std::make_shared<PgArguments>();
  CLI::App* command = commands.add(
      "pg", "Make a PostgreSQL database a server's store",
      "init installs the schema rejoin, track and untrack say which ordinary tables are synced, status and doctor "
      "look,\n"
      "compact forgets what every device has.\n"
      "Run it under the role that owns the tables; the server needs a role that may read and write them, no more.",
      "rejoin pg init --postgres postgres://owner@localhost/app --role app_sync\n"
      "rejoin pg track public.todos --postgres postgres://owner@localhost/app\n"
      "rejoin pg track billing.invoices --as invoices --tenant-column org_id\n"
      "rejoin pg compact --keep-days 90");
  command->add_option("ACTION", arguments->action, "init, track, untrack, compact, status or doctor")
      ->required()
      ->check(CLI::IsMember({"init", "track", "untrack", "compact", "status", "doctor"}));
  command->add_option("TABLE", arguments->tables, "For track and untrack: SCHEMA.TABLE, as SQL writes it");
  command->add_option("--postgres", arguments->url, "The database, as psql takes it")
      ->type_name("URL")
      ->envname("REJOIN_POSTGRES");
  command->add_option("--role", arguments->role, "init: the server's role, which is let use the schema")
      ->type_name("NAME");
  command->add_option("--as", arguments->name, "track: what devices call the table, if not by its own name")
      ->type_name("NAME");
  command
      ->add_option("--tenant-column", arguments->tenant_column,
                   "track: the column that names each row's tenant; devices don't see it")
      ->type_name("COLUMN");
  command
      ->add_option("--tenant", arguments->tenant,
                   "track: whose the rows are, without such a column (main). compact: of this tenant alone")
      ->type_name("NAME");
  command->add_option("--keep-days", arguments->keep_days, "compact: keep deleted rows for so many days, from now on")
      ->type_name("DAYS");
  command->add_flag("--dry-run", arguments->dry_run, "compact: only say how much would go");
  commands.on_run(command, [arguments](Output& output) { return run_pg(*arguments, output); });
}

}  // namespace rejoin::cli
