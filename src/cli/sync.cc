// rejoin sync: one sync with a server, until nothing is pending on either side.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/credentials.h"
#include "cli/hints.h"
#include "cli/in_flag.h"
#include "cli/interrupt.h"
#include "cli/not_synced.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/token_command.h"
#include "cli/token_file.h"
#include "cli/units.h"
#include "cli/watch.h"
#include "client/sync_once.h"
#include "net/url.h"

namespace rejoin::cli {
namespace {

struct SyncArguments {
  std::string file, url, token_command, timeout;
  Credentials credentials;
  bool forget = false, watch = false, migrate = false;
  unsigned retries = 3;  // a person who waits in front of a terminal wants to hear of a server that is down
};

// Where to, and as whom: the command line, then the environment, then what the file remembers.
Result<sqlite::Connection> connection_of(const SyncArguments& arguments, sqlite::Replica& replica) {
  REJOIN_ASSIGN(std::optional<sqlite::Connection> stored, sqlite::stored_connection(replica));
  sqlite::Connection connection;
  connection.url = arguments.url;
  if (connection.url.empty()) {
    if (!stored) return fail(Code::not_connected, arguments.file + " does not know a server yet");
    connection = *stored;
  } else {
    REJOIN_TRY(net::parse_url(connection.url));
    if (stored && stored->url == connection.url) connection.token = stored->token, connection.migrate = stored->migrate;
  }
  if (arguments.migrate) connection.migrate = true;
  REJOIN_ASSIGN(std::string token, arguments.token_command.empty() ? token_of(arguments.credentials)
                                                                   : run_token_command(arguments.token_command));
  if (!token.empty()) connection.token = std::move(token);
  return connection;
}

boost::json::object to_json(const client::SyncReport& report) {
  return {{"pushed", report.totals.rows_pushed},
          {"pulled", report.totals.rows_pulled},
          {"changed", report.totals.rows_changed},
          {"refused", report.totals.rows_refused},
          {"pending", report.pending},
          {"parked", report.parked},
          {"rejected", report.rejected},
          {"round_trips", report.totals.round_trips},
          {"retries", report.totals.retries},
          {"migrated", report.migrated},
          {"bytes_sent", report.bytes_sent},
          {"bytes_received", report.bytes_received}};
}

void tell(const std::string& file, const client::SyncReport& report, Output& output) {
  if (report.totals.rows_pushed + report.totals.rows_pulled == 0 && !report.error)
    output.line("nothing new on either side");
  if (report.migrated > 0)
    output.line("made      " +
                counted(static_cast<uint64_t>(report.migrated), "table or column", "tables and columns") +
                " that the server gave out");
  if (report.not_migrated) output.warning(printable(report.not_migrated->message));
  if (report.totals.rows_pushed > 0)
    output.line("sent      " + counted(report.totals.rows_pushed, "row") + ", " +
                (report.totals.rows_refused > 0 ? count_text(report.totals.rows_refused) + " refused, " : "") +
                bytes_text(report.bytes_sent));
  if (report.totals.rows_pulled > 0)
    output.line("received  " + counted(report.totals.rows_pulled, "row") + ", " +
                counted(report.totals.rows_changed, "row") + " changed here, " + bytes_text(report.bytes_received));
  if (report.error) {
    if (report.pending > 0) output.line("pending   " + counted(report.pending, "write"));
    return;
  }
  if (report.rejected > 0)
    output.warning(counted(report.rejected, "row") + " refused by the server; why: rejoin status " + shell_word(file));
  for (const client::NotSynced& table : report.not_synced)
    output.warning(not_synced_text(table.table, table.unsent, file));
  if (report.parked > 0)
    output.warning(counted(report.parked, "row") + " kept but not visible yet; why: rejoin status " + shell_word(file));
}

void show(const std::string& file, const client::SyncProgress& now, Progress& progress) {
  if (now.failure) {
    progress.rename("waiting " + duration_text(now.wait_ms) +
                    " to try again: " + printable(in_file(file, *now.failure).message));
    return;
  }
  // Bytes, as rows count only when their whole batch has arrived.
  progress.rename("syncing: " + bytes_text(now.bytes_sent) + " sent, " + bytes_text(now.bytes_received) + " received");
}

Result<int> run_sync(const SyncArguments& arguments, Output& output) {
  client::SyncOptions options;
  if (!arguments.timeout.empty()) {
    REJOIN_ASSIGN(int64_t ms, in_flag("--timeout", parse_duration(arguments.timeout)));
    options.deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(std::min<int64_t>(ms, int64_t{1} << 40));
  }
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::write));
  sqlite::Replica& replica = database->replica();
  REJOIN_ASSIGN(sqlite::Connection connection, connection_of(arguments, replica));
  REJOIN_ASSIGN(std::vector<sqlite::TableInfo> tables, replica.tables());
  if (tables.empty() && !connection.migrate.value_or(false))
    return fail(Code::not_tracked, arguments.file + " has no synced tables; make some: rejoin track " +
                                       shell_word(arguments.file) + " --all");

  catch_interrupts();
  options.cancelled = [] { return interrupted().load(); };
  options.ca_file = arguments.credentials.ca_file;
  // Whoever writes the file may have renewed it meanwhile.
  if (!arguments.token_command.empty())
    options.renew_token = [&] { return run_token_command(arguments.token_command); };
  else if (!arguments.credentials.token_file.empty())
    options.renew_token = [&] { return read_token_file(arguments.credentials.token_file); };
  options.migrate = connection.migrate.value_or(false);
  options.session.attempts = static_cast<int>(arguments.retries) + 1;
  if (arguments.watch) {
    const auto token = [&, first = true, good = connection.token]() mutable {
      if (!options.renew_token || std::exchange(first, false)) return good;
      Result<std::string> fresh = options.renew_token();
      if (fresh.ok()) good = std::move(*fresh);
      return good;
    };
    return watch(*database, {arguments.file, connection, token, arguments.credentials.ca_file, !arguments.forget},
                 output);
  }
  std::optional<Progress> progress(std::in_place, "syncing", output.json());
  std::optional<Error> last_failure;
  options.progress = [&](const client::SyncProgress& now) {
    if (now.failure) last_failure = now.failure;
    show(arguments.file, now, *progress);
  };
  Result<client::SyncReport> done = client::sync_once(replica, connection.url, connection.token, options);
  progress.reset();
  if (!done.ok()) return done.error();
  client::SyncReport& report = *done;
  // The time ran out while something was wrong: that is what a person wants to know.
  if (report.error && report.error->code == Code::timeout && last_failure) report.error = last_failure;
  if (report.error) report.error = in_file(arguments.file, *report.error);
  // A server that answered is worth remembering; a mistyped address or a token that was turned away is not.
  bool remember = !arguments.forget && !report.error &&
                  (arguments.migrate || !arguments.url.empty() || !arguments.credentials.token.empty() ||
                   !arguments.credentials.token_file.empty() || !arguments.token_command.empty());
  connection.token = report.token;
  if (remember) REJOIN_TRY(sqlite::store_connection(replica, connection));
  // What a device brings back of a restored server's own and may not write is no write of its own: nothing lists it.
  const int refused = report.totals.rows_refused > 0 && report.rejected > 0 ? kRefused : kOk;
  if (output.json()) {
    boost::json::object document = to_json(report);
    if (report.not_migrated)
      document["not_migrated"] = error_json(*report.not_migrated, hints_for(report.not_migrated->code));
    if (!report.not_synced.empty()) {
      boost::json::array names;
      for (const client::NotSynced& t : report.not_synced)
        names.push_back({{"table", t.table}, {"unsent", t.unsent}, {"message", t.message}});
      document["not_synced"] = std::move(names);
    }
    if (report.error) document["error"] = error_json(*report.error, hints_for(report.error->code));
    output.document(document);
    return report.error ? exit_code_of(report.error->code) : refused;
  }
  tell(arguments.file, report, output);
  if (report.error) return *report.error;
  return refused;
}

}  // namespace

void add_sync(Commands& commands) {
  auto arguments = std::make_shared<SyncArguments>();
  CLI::App* command =
      commands.add("sync", "Sync a file with a server",
                   "Until nothing is pending on either side. URL and token are remembered in the file. Ctrl-C stops "
                   "between two round trips;\n"
                   "the next sync goes on from there. Exit status 3: done, but the server refused rows (rejoin status "
                   "lists them).",
                   "rejoin sync app.db http://127.0.0.1:8427 --token-file device.token\nrejoin sync app.db\nrejoin "
                   "sync app.db --watch");
  command->add_option("FILE", arguments->file, "The SQLite database")->required();
  command->add_option("URL", arguments->url, "The server; not needed again once a sync succeeded");
  add_credentials(command, arguments->credentials);
  command
      ->add_option("--token-command", arguments->token_command,
                   "A command that prints a token; run again when the server turns the token away")
      ->type_name("CMD")
      ->excludes(command->get_option("--token"))
      ->excludes(command->get_option("--token-file"));
  command->add_flag("--migrate", arguments->migrate,
                    "Let the server's contract add tables and columns to the file, from now on");
  command->add_flag("--forget", arguments->forget, "Don't remember URL and token");
  CLI::Option* watch_flag = command->add_flag(
      "--watch", arguments->watch,
      "Stay connected until Ctrl-C: send local writes as they come, take news as they are committed; with --json one "
      "document per line");
  command->add_option("--timeout", arguments->timeout, "Give up after this long, like 90s or 5m")
      ->type_name("TIME")
      ->excludes(watch_flag);
  command->add_option("--retries", arguments->retries, "How often to try again when the server cannot be reached (3)")
      ->type_name("N")
      ->check(CLI::Range(0u, 1000u));
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_sync(*arguments, output)); });
}

}  // namespace rejoin::cli
