// rejoin token: mints an access token for a device.
#include <boost/json/object.hpp>
#include <cstdlib>
#include <filesystem>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/in_flag.h"
#include "cli/open.h"
#include "cli/serve_access.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "server/jwt.h"
#include "server/secret.h"

namespace rejoin::cli {
namespace {

struct TokenArguments {
  std::string data, secret_file, tenant, device;
  std::string expires = "30d";
  bool relay = false;
  bool schema = false;
  std::string role;
  std::vector<std::string> tables;
};

Result<int> run_token(const TokenArguments& arguments, Output& output) {
  REJOIN_ASSIGN(int64_t valid_ms, in_flag("--expires", parse_duration(arguments.expires)));
  if (valid_ms < 1000 || valid_ms > 100 * int64_t{365} * 86'400'000)
    return fail(Code::bad_argument, "--expires takes from 1s to 100y, not '" + arguments.expires + "'");
  const char* variable = std::getenv("REJOIN_SECRET");
  if (arguments.data.empty() && arguments.secret_file.empty() && !(variable && *variable))
    return fail(
        Code::bad_argument,
        "whose server is the token for? Give its --data DIR, or its secret: --secret-file FILE, or REJOIN_SECRET");
  if (!arguments.data.empty()) REJOIN_TRY(server::make_folder(arguments.data));
  std::error_code ignored;
  bool fresh = !arguments.data.empty() && !std::filesystem::exists(arguments.data + "/secret", ignored);
  REJOIN_ASSIGN(std::string secret, server::find_secret(arguments.data, arguments.secret_file));
  fresh = fresh && std::filesystem::exists(arguments.data + "/secret", ignored);
  int64_t now_ms = system_clock().now_ms();
  server::Claims claims;
  claims.tenant = arguments.tenant;
  claims.device = arguments.device;
  claims.relay = arguments.relay;
  claims.schema = arguments.schema;
  claims.role = arguments.role;
  const std::vector<RightWord> words = {{"write", {true, true}}, {"read", {true, false}}, {"none", {false, false}}};
  for (const std::string& text : arguments.tables) REJOIN_TRY(add_right("--table", text, words, claims.tables));
  claims.expires_s = (now_ms + valid_ms) / 1000;
  REJOIN_ASSIGN(std::string token, server::mint_token(claims, secret, now_ms));
  if (output.json()) {
    output.document({{"token", token},
                     {"tenant", claims.tenant},
                     {"device", claims.device},
                     {"expires", iso8601(claims.expires_s * 1000)},
                     {"schema", claims.schema},
                     {"relay", claims.relay}});
    return kOk;
  }
  output.line(token);
  // Scripts too: whose folder is mistyped has a token that no server takes.
  if (fresh)
    output.hint("'" + arguments.data +
                "' had no secret and has a new one now: the token is good for a server that runs " +
                "with this folder only");
  if (is_terminal(1) && !claims.schema)
    output.hint("this device may not create tables; the first device of a tenant needs a token with --schema");
  return kOk;
}

}  // namespace

void add_token(Commands& commands) {
  auto arguments = std::make_shared<TokenArguments>();
  CLI::App* command =
      commands.add("token", "Mint an access token for a device",
                   "Signed with the server's secret, so run it where the server runs. The first device of a tenant "
                   "brings the tables along\n"
                   "and needs --schema; the others should do without.",
                   "rejoin token --data server --tenant acme --device anna-phone --schema\n"
                   "rejoin token --secret-file /etc/rejoin/secret --tenant acme --device till-7 --expires 90d");
  command->add_option("--data", arguments->data, "The server's data folder")->type_name("DIR");
  command->add_option("--secret-file", arguments->secret_file, "The server's secret, if it is not there")
      ->type_name("FILE");
  command->add_option("--tenant", arguments->tenant, "Whose data; devices of one tenant sync with each other")
      ->type_name("NAME")
      ->required();
  command->add_option("--device", arguments->device, "The device's name")->type_name("NAME")->required();
  command->add_option("--expires", arguments->expires, "How long it is valid: 12h, 30d (30d unless told)")
      ->type_name("TIME");
  command->add_flag("--schema", arguments->schema, "The device may create tables and columns");
  command->add_flag("--relay", arguments->relay, "The device may bring changes that others made");
  command
      ->add_option("--table", arguments->tables,
                   "What the device may do with a table: NAME=write, read or none; * is every other table (write). May "
                   "be repeated")
      ->type_name("NAME=RIGHT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',');
  command->add_option("--role", arguments->role, "The PostgreSQL role that it acts as (rejoin serve --impersonate)")
      ->type_name("ROLE");
  commands.on_run(command, [arguments](Output& output) { return run_token(*arguments, output); });
}

}  // namespace rejoin::cli
