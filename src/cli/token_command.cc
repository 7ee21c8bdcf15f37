#include "cli/token_command.h"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace rejoin::cli {

Result<std::string> run_token_command(const std::string& command) {
  constexpr size_t kMostBytes = 64 << 10;
  std::FILE* pipe = ::popen(command.c_str(), "re");
  if (!pipe) return fail(Code::unauthorized, std::string("the token command cannot be run: ") + std::strerror(errno));
  std::string out;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    if (out.size() < kMostBytes) out.append(buffer, n);
  const int status = ::pclose(pipe);
  if (status != 0)
    return fail(Code::unauthorized, "the token command '" + command + "' ended with " +
                                        (WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                                                           : "signal " + std::to_string(WTERMSIG(status))) +
                                        "; what it said is above");
  out.resize(std::min(out.find('\n'), out.size()));
  while (!out.empty() && std::strchr(" \t\r", out.back())) out.pop_back();
  if (out.empty())
    return fail(Code::unauthorized, "the token command '" + command + "' printed no token on its first line");
  return out;
}

}  // namespace rejoin::cli
