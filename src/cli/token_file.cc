#include "cli/token_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

namespace rejoin::cli {

Result<std::string> read_token_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string token;
  const bool read = file && std::getline(file, token);
  const int error = errno;
  while (!token.empty() && std::strchr(" \t\r", token.back())) token.pop_back();
  if (!read || token.empty())
    return fail(error == ENOENT ? Code::not_found : Code::bad_argument,
                "cannot read a token from '" + path + "': " +
                    (error != 0 ? std::strerror(error) : "its first line is empty") + "; rejoin token mints one");
  return token;
}

}  // namespace rejoin::cli
