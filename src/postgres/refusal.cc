#include "postgres/refusal.h"

#include <algorithm>

#include "postgres/connection.h"

namespace rejoin::postgres {
namespace {

bool is_state(std::string_view text) {
  return text.size() == 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
}

}  // namespace

Refusal read_refusal(std::string message) {
  constexpr std::string_view kAfterSeverity = ":  ", kAfterState = ": ", kLocation = "\nLOCATION:  ";
  Refusal out;
  for (size_t at = 0; (at = message.find(kAfterSeverity, at)) != std::string::npos;) {
    at += kAfterSeverity.size();
    out.by_server = true;
    const std::string state = message.substr(at, 5);
    if (!is_state(state) || message.compare(at + 5, kAfterState.size(), kAfterState) != 0) continue;
    out.code = state == "3D000" ? Code::not_found : code_of_state(state);
    message.erase(at, 5 + kAfterState.size());
  }
  for (size_t at = 0; (at = message.find(kLocation)) != std::string::npos;)
    message.erase(at, message.find('\n', at + 1) - at);
  out.reason = one_line(std::move(message));
  return out;
}

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return text;
}

}  // namespace rejoin::postgres
