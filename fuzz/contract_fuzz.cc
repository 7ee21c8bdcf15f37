// Hostile contracts. Input: JSON. One that is read must be written canonically, read again as the same, and give DDL.
#include <cstddef>
#include <cstdint>

#include "contract/contract.h"

#define REQUIRE(condition) ((condition) ? (void)0 : __builtin_trap())

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rejoin::contract;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string type = canonical_type(input);
  REQUIRE(canonical_type(type) == type);
  auto contract = from_json(input);
  if (!contract.ok()) {
    REQUIRE(contract.error().code == rejoin::Code::bad_argument && !contract.error().message.empty());
    return 0;
  }
  REQUIRE(check(*contract).ok());
  std::string text = to_json(*contract);
  auto again = from_json(text);
  REQUIRE(again.ok() && to_json(*again) == text && diff(*contract, *again).empty() &&
          not_additive(*contract, *again).empty());
  REQUIRE(fingerprint(*contract) == fingerprint(*again));
  for (const Table& table : contract->tables) {
    std::string ddl = sqlite_ddl(table);
    // Outside of quotes there is nothing that could end the statement or begin a comment.
    char quote = 0;
    for (char c : ddl) {
      if (quote) {
        if (c == quote) quote = 0;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else {
        REQUIRE(c != ';' && c != '/' && c != '*' && c != 0);
      }
    }
    REQUIRE(!quote);
  }
  return 0;
}
