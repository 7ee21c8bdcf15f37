#include "cli/credentials.h"

#include <cstdlib>

#include "cli/token_file.h"

namespace rejoin::cli {

void add_credentials(CLI::App* command, Credentials& credentials) {
  CLI::Option* token =
      command
          ->add_option("--token", credentials.token,
                       "The token; others on this machine can see it, so prefer a file or REJOIN_TOKEN")
          ->type_name("TOKEN");
  command->add_option("--token-file", credentials.token_file, "A file that holds the token")
      ->type_name("FILE")
      ->excludes(token);
  command->add_option("--ca-file", credentials.ca_file, "Certificates to trust for https, instead of the system's")
      ->type_name("FILE");
}

Result<std::string> token_of(const Credentials& credentials) {
  if (!credentials.token.empty()) return credentials.token;
  if (!credentials.token_file.empty()) return read_token_file(credentials.token_file);
  const char* variable = std::getenv("REJOIN_TOKEN");
  return std::string(variable ? variable : "");
}

}  // namespace rejoin::cli
