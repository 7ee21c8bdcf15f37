// rejoin contract: what a file or a server syncs; what differs; whether devices can go on; giving it out.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "cli/command.h"
#include "cli/credentials.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "client/server_contract.h"
#include "contract/contract.h"
#include "net/url.h"
#include "sync/published.h"

namespace rejoin::cli {
namespace {

struct ContractArguments {
  std::string action;
  std::vector<std::string> sources;
  Credentials credentials;
};

bool is_url(const std::string& source) { return source.starts_with("http://") || source.starts_with("https://"); }

// One at a server, told apart by its address.
struct Source {
  std::string name;
  contract::Contract contract;
  bool tables_only = false;  // what a server has, and gives out to nobody: its columns take more than a device's
};

Result<std::unique_ptr<net::HttpClient>> client_of(const ContractArguments& arguments, const std::string& url) {
  REJOIN_ASSIGN(net::Url address, net::parse_url(url));
  net::HttpClientOptions options;
  options.ca_file = arguments.credentials.ca_file;
  return std::make_unique<net::HttpClient>(std::move(address), options);
}

Result<Source> read_server(const ContractArguments& arguments, const std::string& url, const std::string& token) {
  REJOIN_ASSIGN(const std::unique_ptr<net::HttpClient> client, client_of(arguments, url));
  REJOIN_ASSIGN(const client::ServerContract answer, client::get_contract(*client, token));
  REJOIN_ASSIGN(contract::Contract contract, contract::from_json(answer.json));
  return Source{url, std::move(contract), !answer.published};
}

// A database, or a contract's JSON; what a server answers, and `show --json` prints, has it as a member.
Result<contract::Contract> read_file(const std::string& path) {
  Bytes start;
  if (std::FILE* file = std::fopen(path.c_str(), "rb")) {
    char buffer[64 << 10];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
      start.append(buffer, n);
      if (start.starts_with("SQLite format 3")) break;
      if (start.size() > (64u << 20)) break;
    }
    std::fclose(file);
  }
  const size_t at = start.find_first_not_of(" \t\r\n");
  if (at == Bytes::npos || start[at] != '{') {
    REJOIN_ASSIGN(const std::unique_ptr<sqlite::Database> database, open_database(path, OpenMode::read));
    auto json = database->replica().contract_json();
    if (!json.ok()) return in_file(path, json.error());
    return contract::from_json(*json);
  }
  boost::system::error_code failed;
  const boost::json::value document = boost::json::parse(start, failed);
  if (!failed && document.is_object())
    if (const boost::json::value* inner = document.get_object().if_contains("contract"))
      return contract::from_json(boost::json::serialize(*inner));
  return contract::from_json(start);
}

Result<Source> read_source(const ContractArguments& arguments, const std::string& source) {
  if (is_url(source)) {
    REJOIN_ASSIGN(const std::string token, token_of(arguments.credentials));
    return read_server(arguments, source, token);
  }
  auto contract = read_file(source);
  if (!contract.ok()) {
    const std::string& said = contract.error().message;
    return fail(contract.error().code, said.find(source) == std::string::npos ? source + ": " + said : said);
  }
  return Source{source, std::move(*contract), false};
}

std::string flags_of(const contract::Table& t) {
  return std::string(t.strict ? ", STRICT" : "") + (t.without_rowid ? ", WITHOUT ROWID" : "") +
         (t.integer_key ? ", integer key" : "");
}

Result<int> show(const ContractArguments& arguments, Output& output) {
  REJOIN_ASSIGN(const Source source, read_source(arguments, arguments.sources[0]));
  const std::string fingerprint = contract::fingerprint(source.contract);
  if (output.json()) {
    output.document(
        {{"fingerprint", fingerprint}, {"contract", boost::json::parse(contract::to_json(source.contract))}});
    return kOk;
  }
  output.line("contract " + fingerprint + ", " + counted(source.contract.tables.size(), "table"));
  for (const contract::Table& t : source.contract.tables) {
    std::string key;
    for (const std::string& name : t.key) key += (key.empty() ? "" : ", ") + name;
    output.line("  " + printable(t.name) + " (key: " + printable(key) + flags_of(t) + ")");
    for (const contract::Column& c : t.columns) output.line("    " + printable(contract::sqlite_column_ddl(c)));
  }
  return kOk;
}

const char* kind_name(contract::Difference::Kind kind) {
  using Kind = contract::Difference::Kind;
  switch (kind) {
    case Kind::table_added:
      return "table_added";
    case Kind::table_removed:
      return "table_removed";
    case Kind::column_added:
      return "column_added";
    case Kind::column_removed:
      return "column_removed";
    case Kind::column_changed:
      return "column_changed";
    case Kind::key_changed:
      return "key_changed";
    case Kind::table_changed:
      return "table_changed";
  }
  return "";
}

boost::json::array to_array(const std::vector<contract::Difference>& differences) {
  boost::json::array out;
  for (const contract::Difference& d : differences) {
    boost::json::object one{{"kind", kind_name(d.kind)}, {"table", d.table}};
    if (!d.column.empty()) one["column"] = d.column;
    out.push_back(std::move(one));
  }
  return out;
}

// Exit status as diff has it, but 3 for a difference that locks devices out.
Result<int> compare(const ContractArguments& arguments, const Source& before, const Source& after, Output& output) {
  const std::vector<contract::Difference> all = contract::diff(before.contract, after.contract);
  const std::vector<contract::Difference> bad =
      sync::not_followed(before.contract, !before.tables_only, after.contract);
  const bool check = arguments.action == "check";
  if (output.json()) {
    output.document({{"before", contract::fingerprint(before.contract)},
                     {"after", contract::fingerprint(after.contract)},
                     {"additive", bad.empty()},
                     {"differences", to_array(all)},
                     {"not_additive", to_array(bad)}});
  } else {
    for (const contract::Difference& d : all) {
      const bool breaks = std::find(bad.begin(), bad.end(), d) != bad.end();
      if (!check || breaks) output.line(printable(contract::to_text(d)) + (breaks ? "  (not additive)" : ""));
    }
    if (all.empty())
      output.line("the same contract");
    else if (bad.empty())
      output.line("additive: devices of " + printable(before.name) + " go on syncing with those of " +
                  printable(after.name));
  }
  return check && !bad.empty() ? kRefused : kOk;
}

Result<int> check(const ContractArguments& arguments, Output& output) {
  REJOIN_ASSIGN(const Source after, read_source(arguments, arguments.sources[0]));
  if (arguments.sources.size() > 1) {
    REJOIN_ASSIGN(const Source before, read_source(arguments, arguments.sources[1]));
    return compare(arguments, before, after, output);
  }
  // The server that the file syncs with.
  REJOIN_ASSIGN(const std::unique_ptr<sqlite::Database> database, open_database(arguments.sources[0], OpenMode::read));
  REJOIN_ASSIGN(const std::optional<sqlite::Connection> stored, sqlite::stored_connection(database->replica()));
  if (!stored)
    return fail(Code::not_connected, arguments.sources[0] +
                                         " does not know a server yet; name what it is checked against: rejoin "
                                         "contract check FILE AGAINST");
  REJOIN_ASSIGN(std::string token, token_of(arguments.credentials));
  if (token.empty()) token = stored->token;
  REJOIN_ASSIGN(const Source before, read_server(arguments, stored->url, token));
  return compare(arguments, before, after, output);
}

Result<int> push(const ContractArguments& arguments, Output& output) {
  if (!is_url(arguments.sources[0]))
    return fail(Code::bad_argument,
                "'" + arguments.sources[0] + "' is not a server's address; it starts with http:// or https://");
  REJOIN_ASSIGN(const Source source, read_source(arguments, arguments.sources[1]));
  REJOIN_ASSIGN(const std::unique_ptr<net::HttpClient> client, client_of(arguments, arguments.sources[0]));
  REJOIN_ASSIGN(const std::string token, token_of(arguments.credentials));
  const auto put = client::put_contract(*client, token, contract::to_json(source.contract));
  // The server's message has the cure; the hint for this code is for devices.
  if (!put.ok() && put.error().code == Code::schema_refused) return output.error(put.error(), {});
  REJOIN_ASSIGN(const client::ServerContract done, put);
  if (output.json())
    output.document({{"published", done.fingerprint}});
  else
    output.line("published contract " + done.fingerprint + "; devices that allow it follow with their next sync");
  return kOk;
}

Result<int> run_contract(const ContractArguments& arguments, Output& output) {
  const size_t given = arguments.sources.size();
  const std::string& action = arguments.action;
  const char* wants = action == "show"    ? given == 1 ? nullptr : "show SOURCE"
                      : action == "diff"  ? given == 2 ? nullptr : "diff BEFORE AFTER"
                      : action == "check" ? given == 1 || given == 2 ? nullptr : "check FILE [AGAINST]"
                      : given == 2        ? nullptr
                                          : "push URL FILE";
  if (wants) return fail(Code::bad_argument, std::string("write: rejoin contract ") + wants);
  if (action == "show") return show(arguments, output);
  if (action == "check") return check(arguments, output);
  if (action == "push") return push(arguments, output);
  REJOIN_ASSIGN(const Source before, read_source(arguments, arguments.sources[0]));
  REJOIN_ASSIGN(const Source after, read_source(arguments, arguments.sources[1]));
  return compare(arguments, before, after, output);
}

}  // namespace

void add_contract(Commands& commands) {
  auto arguments = std::make_shared<ContractArguments>();
  CLI::App* command = commands.add(
      "contract", "Compare what files and servers sync, and give it out to devices",
      "A SOURCE is a database, a contract's JSON, or a server's address. show prints it, diff what changed, check "
      "whether devices of\n"
      "the older one can go on (exit status 3: not all); without AGAINST the server that the file syncs with is asked. "
      "push makes a\n"
      "server give it to devices, which is possible as long as it only adds.",
      "rejoin contract show app.db\nrejoin contract diff old.db app.db\nrejoin contract check app.db old.db\n"
      "rejoin contract push https://sync.example.org app.db --token-file admin.token");
  command->add_option("ACTION", arguments->action, "show, diff, check or push")
      ->required()
      ->check(CLI::IsMember({"show", "diff", "check", "push"}));
  command->add_option("SOURCE", arguments->sources,
                      "show SOURCE, diff BEFORE AFTER, check FILE AGAINST, push URL FILE");
  add_credentials(command, arguments->credentials);
  commands.on_run(command, [arguments](Output& output) { return run_contract(*arguments, output); });
}

}  // namespace rejoin::cli
