// rejoin serve: runs a server until it is told to stop.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <boost/json/object.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

#include "cli/command.h"
#include "cli/data_lock.h"
#include "cli/hints.h"
#include "cli/in_flag.h"
#include "cli/interrupt.h"
#include "cli/open.h"
#include "cli/serve_access.h"
#include "cli/serve_auth.h"
#include "cli/serve_config.h"
#include "cli/serve_live.h"
#include "cli/serve_log.h"
#include "cli/serve_operations.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "server/json_log.h"
#include "server/secret.h"
#include "server/server.h"

namespace rejoin::cli {
namespace {

struct ServeArguments {
  std::string data, port_file;
  AuthArguments auth;
  AccessArguments access;
  ConfigArguments config;
  OperationsArguments operations;
  LiveArguments live;
  std::string listen = "127.0.0.1:8427";
  std::string schema;
  server::PostgresSettings postgres;
  bool unprepared = false;
  std::string lock_timeout = "2s", statement_timeout = "0";
  bool dev = false, recover = false;
  std::string max_body = "32M", max_value = "8M", request_timeout = "2m", drift = "5m";
  uint64_t max_rows = 1 << 20;
  size_t max_connections = 1024;
  std::string log_level = "info", log_format;
};

// "127.0.0.1:8427", "[::1]:0", "localhost:80"
Status parse_listen(const std::string& text, net::HttpServerOptions& http) {
  size_t colon = text.rfind(':');
  std::string_view port = colon == std::string::npos ? std::string_view() : std::string_view(text).substr(colon + 1);
  std::string address = text.substr(0, std::min(colon, text.size()));
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  else if (address.find(':') != std::string::npos)
    address.clear();  // an IPv6 address without brackets
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), http.port);
  if (address.empty() || port.empty() || error != std::errc() || end != port.data() + port.size())
    return fail(Code::bad_argument,
                "'" + text + "' is not an address to listen on; write ADDRESS:PORT, like 127.0.0.1:8427 or [::1]:8427");
  http.address = address;
  return {};
}

// As PostgreSQL takes one.
Result<int64_t> parse_timeout(const std::string& text) {
  REJOIN_ASSIGN(const int64_t ms, parse_duration(text));
  if (ms > INT32_MAX) return fail(Code::bad_argument, "'" + text + "' is too long; PostgreSQL takes 24 days at most");
  return ms;
}

// What the settings say, each by itself and together, without a look at the files that they name.
Result<server::Settings> values_of(const ServeArguments& arguments) {
  server::Settings settings;
  settings.data_dir = arguments.data;
  settings.postgres = arguments.postgres;
  settings.postgres.prepare = !arguments.unprepared;
  REJOIN_ASSIGN(settings.postgres.lock_timeout_ms,
                in_flag("--postgres-lock-timeout", parse_timeout(arguments.lock_timeout)));
  REJOIN_ASSIGN(settings.postgres.statement_timeout_ms,
                in_flag("--postgres-statement-timeout", parse_timeout(arguments.statement_timeout)));
  if (!arguments.postgres.url.empty()) {
    // They wait for PostgreSQL most of the time, or for the one that writes for all of a tenant's pushes: as many as
    // PushGroup writes together, and a pull beside them.
    settings.http.workers = 64;
    settings.http.at_once_per_lane = 17;
    settings.http.queue_per_lane = 256;
  }
  settings.dev = arguments.dev;
  settings.recover = arguments.recover;
  if (Status listen = parse_listen(arguments.listen, settings.http); !listen.ok())
    return in_flag("--listen", listen.error());
  REJOIN_ASSIGN(settings.http.max_body, in_flag("--max-body", parse_size(arguments.max_body)));
  REJOIN_ASSIGN(settings.sync.max_value_bytes, in_flag("--max-value", parse_size(arguments.max_value)));
  REJOIN_ASSIGN(settings.http.request_timeout_ms,
                in_flag("--request-timeout", parse_duration(arguments.request_timeout)));
  REJOIN_ASSIGN(settings.sync.drift_ms, in_flag("--drift", parse_duration(arguments.drift)));
  settings.http.connections = arguments.max_connections;
  settings.http.body_budget = std::max(settings.http.body_budget, settings.http.max_body);
  settings.sync.max_frame_rows = arguments.max_rows;
  // Tables of a database that others use too are made only when told to.
  settings.sync.auto_schema = arguments.schema.empty() ? arguments.postgres.url.empty() : arguments.schema == "auto";
  // A request is its frame and a little around it; JSON takes a third more.
  settings.sync.max_frame_bytes = std::min<uint64_t>(codec::Limits{}.frame_bytes, settings.http.max_body / 2);
  if (settings.sync.max_value_bytes > settings.sync.max_frame_bytes)
    return fail(Code::bad_argument, "--max-value " + arguments.max_value + " does not fit into half of --max-body " +
                                        arguments.max_body + "; make the one smaller or the other larger");
  REJOIN_TRY(fill_access(arguments.access, settings));
  REJOIN_TRY(fill_operations(arguments.operations, settings));
  REJOIN_TRY(fill_live(arguments.live, settings));
  REJOIN_TRY(fill_rules(arguments.auth, settings));
  return settings;
}

Result<server::Settings> settings_of(const ServeArguments& arguments) {
  if (arguments.data.empty() && arguments.postgres.url.empty())
    return fail(Code::bad_argument,
                "say where the data is: --data DIR for the embedded store, or --postgres URL for PostgreSQL");
  REJOIN_ASSIGN(server::Settings settings, values_of(arguments));
  REJOIN_TRY(fill_keys(arguments.auth, settings));
  return settings;
}

// Complete or not at all: whoever waits for the file must not read half a number.
Status write_port_file(const std::string& path, uint16_t port) {
  std::string text = std::to_string(port) + "\n", temporary = path + ".new";
  std::FILE* file = std::fopen(temporary.c_str(), "w");
  bool written = file && std::fputs(text.c_str(), file) >= 0;
  if (file && std::fclose(file) != 0) written = false;
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0)
    return fail(Code::disk, "cannot write the port file '" + path + "': " + std::strerror(errno) +
                                "; check the folder and its permissions");
  return {};
}

bool has_tenants(const std::string& data) {
  std::error_code ignored;
  std::filesystem::directory_iterator folder(data + "/tenants", ignored);
  return folder != std::filesystem::directory_iterator();
}

// `doubts`: what the log should begin with.
Result<int> run_serve(const ServeArguments& arguments, const std::vector<std::string>& doubts, Output& output) {
  // Before the server's threads start. A server in a terminal without anything to reload ends with the terminal.
  StopSignal stop(!arguments.operations.tls_cert.empty() || !is_terminal(2));
  REJOIN_ASSIGN(server::Settings settings, settings_of(arguments));
  std::optional<DataLock> lock;
  if (arguments.postgres.url.empty()) {
    REJOIN_TRY(server::make_folder(arguments.data));
    REJOIN_ASSIGN(lock, DataLock::take(arguments.data));
  }
  std::string format = !arguments.log_format.empty() ? arguments.log_format : is_terminal(2) ? "text" : "json";
  std::unique_ptr<Log> log;
  if (format == "text") {
    log = make_serve_log(arguments.log_level);
  } else {
    REJOIN_ASSIGN(log, server::make_json_log(*server::log_level_from(arguments.log_level)));
  }
  bool first_run = arguments.postgres.url.empty() && !has_tenants(arguments.data);
  const std::string where = arguments.postgres.url.empty() ? "data in " + arguments.data : "data in PostgreSQL";
  allow_connections(settings);
  auto started = server::Server::start(settings, *log);
  // Its own keys, or its PostgreSQL's roles and passwords: no token would help.
  if (!started.ok()) return output.error(started.error(), doubts);
  for (const std::string& doubt : doubts) log->write(LogLevel::warning, "unknown_variable", {{"message", doubt}});
  if (lock && !lock->doubt().empty()) log->write(LogLevel::warning, "not_locked", {{"message", lock->doubt()}});
  const std::unique_ptr<server::Server> running = std::move(*started);
  bool ipv6 = settings.http.address.find(':') != std::string::npos;
  const std::string scheme = settings.http.tls_cert_file.empty() ? "http://" : "https://";
  std::string url = scheme + (ipv6 ? "[" + settings.http.address + "]" : settings.http.address) + ":" +
                    std::to_string(running->port());
  if (output.json())
    output.document({{"url", url}, {"port", running->port()}, {"data", arguments.data}});
  else
    output.line("serving " + url + "  (" + where + "; Ctrl-C stops)");
  std::fflush(stdout);
  if (first_run && !settings.secret.empty() && !arguments.dev && is_terminal(2))
    output.hint("no tenant yet; mint the first device's token: rejoin token --data " + shell_word(arguments.data) +
                " --tenant NAME --device NAME --schema");
  if (!arguments.port_file.empty()) REJOIN_TRY(write_port_file(arguments.port_file, running->port()));
  stop.wait([&] { running->reload(); });
  log->write(LogLevel::info, "stopping", {});
  running->stop();
  return kOk;
}

}  // namespace

void add_serve(Commands& commands) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* command = commands.add(
      "serve", "Run a server",
      "Devices sync through it with the tokens that `rejoin token` mints, or with those of an identity service whose\n"
      "public keys it is given. It prints one line with its URL when it is ready and logs to standard error. Ctrl-C "
      "and\n"
      "SIGTERM stop it gracefully.",
      "rejoin serve --data server\nrejoin serve --data server --listen 0.0.0.0:8427 --secret-file /etc/rejoin/secret\n"
      "rejoin serve --data server --jwt-key issuer.pem --jwt-audience rejoin --jwt-issuer https://login.example.com\n"
      "rejoin serve --data server --supabase-url https://abcdefgh.supabase.co\n"
      "rejoin serve --postgres postgres://app_sync@localhost/app --data server");
  command->add_option("--data", arguments->data, "The folder for its databases and its secret; made when missing")
      ->type_name("DIR");
  command
      ->add_option("--postgres", arguments->postgres.url,
                   "PostgreSQL as the store, as psql takes it; with {tenant} in it a database for each tenant")
      ->type_name("URL")
      ->envname("REJOIN_POSTGRES");
  command
      ->add_option("--postgres-connections", arguments->postgres.connections,
                   "Most connections to each PostgreSQL database (10)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->envname("REJOIN_POSTGRES_CONNECTIONS");
  command->add_flag("--postgres-unprepared", arguments->unprepared,
                    "Prepare no statements: for poolers in transaction mode that keep none");
  command
      ->add_option("--postgres-lock-timeout", arguments->lock_timeout,
                   "How long a request waits for a row or table that plain SQL holds (2s); 0: as PostgreSQL has it")
      ->type_name("TIME")
      ->envname("REJOIN_POSTGRES_LOCK_TIMEOUT");
  command
      ->add_option("--postgres-statement-timeout", arguments->statement_timeout,
                   "How long one statement in PostgreSQL may take (0: as PostgreSQL has it)")
      ->type_name("TIME")
      ->envname("REJOIN_POSTGRES_STATEMENT_TIMEOUT");
  command
      ->add_option("--listen", arguments->listen,
                   "Where to listen (127.0.0.1:8427 unless told); port 0 takes a free one")
      ->type_name("ADDR:PORT")
      ->envname("REJOIN_LISTEN");
  command->add_option("--port-file", arguments->port_file, "Write the port into this file when ready")
      ->type_name("FILE");
  add_auth_options(*command, arguments->auth);
  add_access_options(*command, arguments->access);
  command
      ->add_option("--schema", arguments->schema,
                   "auto: tokens with the claim may create tables; fixed: nobody may. auto, and fixed with --postgres")
      ->type_name("auto|fixed")
      ->check(CLI::IsMember({"auto", "fixed"}));
  command->add_flag("--recover", arguments->recover,
                    "After data was lost: every device may push what others wrote, and does once; switch it off again");
  command->add_flag("--dev", arguments->dev, "Accept requests without a token, as tenant 'dev'; loopback only");
  command->add_option("--max-body", arguments->max_body, "Largest request, after decompression (32M)")
      ->type_name("SIZE");
  command->add_option("--max-rows", arguments->max_rows, "Most rows of a request (1048576)")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}));
  command
      ->add_option("--max-value", arguments->max_value, "Largest text or blob; a row with a larger one is refused (8M)")
      ->type_name("SIZE");
  command->add_option("--max-connections", arguments->max_connections, "Most connections at once (1024)")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000'000));
  command->add_option("--request-timeout", arguments->request_timeout, "How long a request may take (2m)")
      ->type_name("TIME");
  command->add_option("--drift", arguments->drift, "How far ahead of the server's clock a device's may be (5m)")
      ->type_name("TIME");
  command->add_option("--log-level", arguments->log_level, "debug, info, warning or error (info)")
      ->type_name("LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  command->add_option("--log-format", arguments->log_format, "text or json (text on a terminal, else json)")
      ->type_name("text|json")
      ->check(CLI::IsMember({"text", "json"}));
  add_operations_options(*command, arguments->operations);
  add_live_options(*command, arguments->live);
  add_config_options(*command, arguments->config);  // last: it knows the options above
  commands.on_run(command, [arguments, command](Output& output) -> Result<int> {
    REJOIN_TRY(apply_config(*command, arguments->config));
    const std::vector<std::string> doubts = doubtful_variables(*command);
    if (arguments->config.print) {
      if (Result<server::Settings> values = values_of(*arguments); !values.ok())
        return named_by_source(*command, arguments->config, values.error());
      print_config(*command, arguments->config, output);
      for (const std::string& doubt : doubts) output.warning(doubt);
      return kOk;
    }
    Result<int> done = run_serve(*arguments, doubts, output);
    if (done.ok()) return done;
    std::vector<std::string> hints = doubts;
    if (done.error().code != Code::unauthorized)  // it lacks a key, which no token gives it
      for (std::string& hint : hints_for(done.error().code)) hints.push_back(std::move(hint));
    return output.error(named_by_source(*command, arguments->config, done.error()), hints);
  });
}

}  // namespace rejoin::cli
