#include "base/result.h"

namespace rejoin {
namespace {

struct Row {
  Code code;
  std::string_view name;
  int http;
  bool retry;
  std::string_view meaning;
};

constexpr Row kRows[] = {
#define REJOIN_ERROR(name, number, http, retry, meaning) {Code::name, #name, http, retry, meaning},
#include "base/errors.def"
#undef REJOIN_ERROR
};

const Row& row(Code code) {
  for (const Row& r : kRows)
    if (r.code == code) return r;
  return kRows[1];
}

}  // namespace

std::string_view code_name(Code code) { return row(code).name; }
std::string_view code_meaning(Code code) { return row(code).meaning; }
int code_http_status(Code code) { return row(code).http; }
bool code_retryable(Code code) { return row(code).retry; }

std::optional<Code> code_from_number(uint64_t number) {
  for (const Row& r : kRows)
    if (static_cast<uint64_t>(r.code) == number) return r.code;
  return std::nullopt;
}

}  // namespace rejoin
