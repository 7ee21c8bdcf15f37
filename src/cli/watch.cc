#include "cli/watch.h"

#include <boost/json/object.hpp>

#include "cli/hints.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "client/live.h"

namespace rejoin::cli {
namespace {

class Teller {
 public:
  Teller(sqlite::Database& database, const WatchArguments& arguments, Output& output)
      : database_(database), arguments_(arguments), output_(output) {}

  void operator()(const client::LiveTold& told) {
    if (const auto* connected = std::get_if<client::LiveConnected>(&told)) this->connected(*connected);
    if (const auto* synced = std::get_if<client::LiveSynced>(&told)) this->synced(*synced);
    if (const auto* waiting = std::get_if<client::LiveWaiting>(&told)) this->waiting(*waiting);
    output_.flush();
  }

 private:
  void connected(const client::LiveConnected& connected) {
    if (output_.json()) {
      boost::json::object line{{"event", "connected"}, {"url", arguments_.connection.url}};
      if (arguments_.connection.migrate.value_or(false)) line["migrated"] = connected.migrated;
      if (connected.not_migrated)
        line["not_migrated"] = error_json(*connected.not_migrated, hints_for(connected.not_migrated->code));
      return output_.document(line);
    }
    output_.line("connected to " + printable(arguments_.connection.url) + "  (Ctrl-C stops)");
    if (connected.not_migrated) output_.warning(printable(connected.not_migrated->message));
  }

  void synced(const client::LiveSynced& synced) {
    const sync::SyncTotals& totals = synced.totals;
    if (arguments_.remember && !remembered_ && !synced.error) {
      remembered_ = true;
      if (Status stored = sqlite::store_connection(database_.replica(), arguments_.connection); !stored.ok())
        output_.warning(stored.error().message);
    }
    if (output_.json()) {
      boost::json::object line{{"event", "synced"},
                               {"pushed", totals.rows_pushed},
                               {"pulled", totals.rows_pulled},
                               {"changed", totals.rows_changed},
                               {"refused", totals.rows_refused},
                               {"parked", totals.rows_parked}};
      if (synced.error) line["error"] = error_json(*synced.error, hints_for(synced.error->code));
      return output_.document(line);
    }
    if (totals.rows_pushed > 0)
      output_.line("sent      " + counted(totals.rows_pushed, "row") +
                   (totals.rows_refused > 0 ? ", " + count_text(totals.rows_refused) + " refused" : ""));
    if (totals.rows_pulled > 0)
      output_.line("received  " + counted(totals.rows_pulled, "row") + ", " + counted(totals.rows_changed, "row") +
                   " changed here");
    if (synced.error) output_.warning(printable(synced.error->message));
  }

  void waiting(const client::LiveWaiting& waiting) {
    if (output_.json())
      return output_.document(
          {{"event", "waiting"}, {"ms", waiting.ms}, {"error", error_json(waiting.why, hints_for(waiting.why.code))}});
    output_.warning(printable(waiting.why.message) + " (trying again in " + duration_text(waiting.ms) + ")");
  }

  sqlite::Database& database_;
  const WatchArguments& arguments_;
  Output& output_;
  bool remembered_ = false;
};

}  // namespace

Result<int> watch(sqlite::Database& database, const WatchArguments& arguments, Output& output) {
  client::LiveOptions options;
  options.told = Teller(database, arguments, output);
  options.cancelled = [&] { return interrupted().load() || output.closed(); };
  options.token = arguments.token;
  options.ca_file = arguments.ca_file;
  options.migrate = arguments.connection.migrate.value_or(false);
  REJOIN_TRY(client::run_live(database, arguments.connection.url, options));
  if (output.json()) output.document({{"event", "stopped"}});
  return kInterrupted;
}

}  // namespace rejoin::cli
