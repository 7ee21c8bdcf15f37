#include "cli/serve_access.h"

#include "cli/in_flag.h"
#include "cli/units.h"

namespace rejoin::cli {

void add_access_options(CLI::App& command, AccessArguments& arguments) {
  command
      .add_flag("--impersonate", arguments.impersonate,
                "With --postgres: rows are read and written as the role that the token names, with its claims in "
                "request.jwt.claims, so that row-level security holds")
      ->envname("REJOIN_IMPERSONATE");
  command
      .add_option("--impersonate-role", arguments.impersonate_role,
                  "The role of tokens that name none (they are refused)")
      ->type_name("ROLE")
      ->envname("REJOIN_IMPERSONATE_ROLE");
  command
      .add_option("--impersonate-recheck", arguments.recheck,
                  "How soon a device learns that other tables, which a policy reads, let it see more or less (60s)")
      ->type_name("TIME")
      ->envname("REJOIN_IMPERSONATE_RECHECK");
  command
      .add_option("--table", arguments.tables,
                  "Which way a table's rows go, seen from the device: NAME=push, pull or both; * is every other table. "
                  "May be repeated")
      ->type_name("NAME=DIRECTION")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->envname("REJOIN_TABLE");
}

Status add_right(const std::string& flag, const std::string& text, const std::vector<RightWord>& words,
                 sync::TableRights& rights) {
  const size_t equals = text.rfind('=');
  std::string known;
  for (const RightWord& word : words) {
    known += (known.empty() ? "" : ", ") + std::string(word.word);
    if (equals == std::string::npos || equals == 0 || text.substr(equals + 1) != word.word) continue;
    rights.set(std::string_view(text).substr(0, equals), word.right);
    return {};
  }
  return fail(Code::bad_argument, flag + " takes NAME=WORD, where WORD is one of " + known + "; not '" + text + "'");
}

Status fill_access(const AccessArguments& arguments, server::Settings& settings) {
  if ((arguments.impersonate || !arguments.impersonate_role.empty()) && settings.postgres.url.empty())
    return fail(Code::bad_argument,
                "--impersonate acts as roles of PostgreSQL, and the embedded store has none; give --postgres too, or "
                "use the claim tables (docs/http.md)");
  if (!arguments.impersonate && !arguments.impersonate_role.empty())
    return fail(Code::bad_argument, "--impersonate-role says as whom, not whether: add --impersonate");
  settings.postgres.impersonate = arguments.impersonate;
  settings.postgres.impersonate_role = arguments.impersonate_role;
  REJOIN_ASSIGN(settings.postgres.recheck_ms, in_flag("--impersonate-recheck", parse_duration(arguments.recheck)));
  const std::vector<RightWord> words = {{"both", {true, true}}, {"pull", {true, false}}, {"push", {false, true}}};
  for (const std::string& text : arguments.tables) REJOIN_TRY(add_right("--table", text, words, settings.directions));
  return {};
}

}  // namespace rejoin::cli
