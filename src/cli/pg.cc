// rejoin pg: a PostgreSQL database as the store of a server.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "postgres/admin.h"

namespace rejoin::cli {
namespace {

struct Arguments {
  std::string action;
  std::vector<std::string> tables;
  std::string url, role, name, tenant = "main", tenant_column;
};

Result<int> init(postgres::Connection& db, const Arguments& arguments, Output& output) {
  REJOIN_ASSIGN(const bool installed, postgres::init(db, arguments.role));
  REJOIN_ASSIGN(const int64_t version, postgres::installed_version(db));
  if (output.json()) {
    output.document({{"installed", installed}, {"version", version}});
    return kOk;
  }
  output.line(std::string(installed ? "installed" : "there already:") + " schema rejoin, version " +
              std::to_string(version));
  if (!arguments.role.empty())
    output.line("role " + arguments.role + " may use it; give it SELECT, INSERT, UPDATE and DELETE on your tables too");
  output.hint("next: rejoin pg track public.TABLE --postgres URL");
  return kOk;
}

Result<int> track(postgres::Connection& db, const Arguments& arguments, Output& output) {
  if (arguments.tables.empty()) return fail(Code::bad_argument, "name the tables to track, like public.todos");
  if (arguments.tables.size() > 1 && !arguments.name.empty())
    return fail(Code::bad_argument, "--as names one table; track the others apart");
  boost::json::array tracked;
  for (const std::string& table : arguments.tables) {
    postgres::TrackRequest request;
    request.relation = table;
    request.name = arguments.name;
    request.tenant_column = arguments.tenant_column;
    request.tenant = arguments.tenant;
    Progress progress("recording the rows of " + table, output.json());
    REJOIN_ASSIGN(const postgres::Tracked done, postgres::track(db, request, system_random(), [&](int64_t rows) {
                    progress.set(static_cast<uint64_t>(rows));
                  }));
    tracked.push_back({{"relation", table},
                       {"table", done.name},
                       {"rows", done.rows},
                       {"columns", done.columns},
                       {"already", done.already}});
    if (!output.json()) {
      std::string line = (done.already ? "tracked already: " : "tracking ") + table;
      if (done.name != table) line += " as " + done.name;
      line += " (" + counted(static_cast<uint64_t>(done.rows), "row") + (done.already ? " more" : "");
      if (done.columns) line += ", " + counted(static_cast<uint64_t>(done.columns), "new column");
      output.line(line + ")");
    }
  }
  if (output.json()) output.document({{"tracked", std::move(tracked)}});
  return kOk;
}

Result<int> untrack(postgres::Connection& db, const Arguments& arguments, Output& output) {
  if (arguments.tables.empty()) return fail(Code::bad_argument, "name the tables to untrack");
  for (const std::string& table : arguments.tables) {
    REJOIN_TRY(postgres::untrack(db, table));
    if (!output.json()) output.line("no longer synced: " + table);
  }
  if (output.json()) {
    boost::json::array names;
    for (const std::string& table : arguments.tables) names.emplace_back(table);
    output.document({{"untracked", std::move(names)}});
  }
  return kOk;
}

Result<int> status(postgres::Connection& db, Output& output) {
  REJOIN_ASSIGN(const postgres::StoreStatus now, postgres::status(db));
  if (output.json()) {
    boost::json::array tables;
    for (const auto& t : now.tables) {
      boost::json::array unannounced;
      for (const std::string& name : t.unannounced) unannounced.emplace_back(name);
      tables.push_back({{"table", t.name},
                        {"relation", t.relation},
                        {"tenant_column", t.tenant_column},
                        {"alive", t.alive},
                        {"records", t.records},
                        {"unannounced", std::move(unannounced)}});
    }
    output.document({{"version", now.version},
                     {"tables", std::move(tables)},
                     {"tenants", now.tenants},
                     {"devices", now.devices},
                     {"outbox", now.outbox},
                     {"log_rows", now.log_rows}});
    return kOk;
  }
  output.line("schema rejoin, version " + std::to_string(now.version) + ": " +
              counted(static_cast<uint64_t>(now.tenants), "tenant") + ", " +
              counted(static_cast<uint64_t>(now.devices), "device") + ", " +
              counted(static_cast<uint64_t>(now.outbox), "captured write") + " waiting");
  for (const auto& t : now.tables) {
    std::string line = "  " + t.relation + (t.relation == "public." + t.name ? "" : " as " + t.name) + ": " +
                       counted(static_cast<uint64_t>(t.alive), "row") + ", " + std::to_string(t.records - t.alive) +
                       " deleted";
    if (!t.tenant_column.empty()) line += ", tenant in " + t.tenant_column;
    output.line(line);
    for (const std::string& name : t.unannounced)
      output.warning("column " + name + " is not synced yet; run: rejoin pg track " + t.relation);
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

Result<int> run_pg(const Arguments& arguments, Output& output) {
  if (arguments.url.empty())
    return fail(Code::bad_argument, "name the database with --postgres URL, or set REJOIN_POSTGRES");
  REJOIN_ASSIGN(const auto db, postgres::Connection::open(arguments.url));
  if (arguments.action == "init") return init(*db, arguments, output);
  if (arguments.action == "track") return track(*db, arguments, output);
  if (arguments.action == "untrack") return untrack(*db, arguments, output);
  if (arguments.action == "status") return status(*db, output);
  return doctor(*db, output);
}

}  // namespace

void add_pg(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = commands.add(
      "pg", "Make a PostgreSQL database a server's store",
      "init installs the schema rejoin, track and untrack say which ordinary tables are synced, status and doctor "
      "look.\n"
      "Run it under the role that owns the tables; the server needs a role that may read and write them, no more.",
      "rejoin pg init --postgres postgres://owner@localhost/app --role app_sync\n"
      "rejoin pg track public.todos --postgres postgres://owner@localhost/app\n"
      "rejoin pg track billing.invoices --as invoices --tenant-column org_id");
  command->add_option("ACTION", arguments->action, "init, track, untrack, status or doctor")
      ->required()
      ->check(CLI::IsMember({"init", "track", "untrack", "status", "doctor"}));
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
  command->add_option("--tenant", arguments->tenant, "track: whose the rows are, without such a column (main)")
      ->type_name("NAME");
  commands.on_run(command, [arguments](Output& output) { return run_pg(*arguments, output); });
}

}  // namespace rejoin::cli
