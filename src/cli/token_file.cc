#include "cli/token_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

namespace rejoin::cli {

Result<std::string> read_token_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string token;
  if (!file || !std::getline(file, token)) {
    bool missing = errno == ENOENT;
    return fail(
        missing ? Code::not_found : Code::bad_argument,
        "cannot read a token from '" + path + "'" + (missing ? ": no such file" : "") + "; rejoin token mints one");
  }
  while (!token.empty() && std::strchr(" \t\r", token.back())) token.pop_back();
  return token;
}

}  // namespace rejoin::cli
