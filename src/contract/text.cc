#include "contract/text.h"

#include <cstdint>

namespace rejoin::contract {

bool is_utf8(std::string_view text) {
  // Unicode 15, table 3-7: the second byte's range depends on the first.
  for (size_t i = 0; i < text.size();) {
    auto at = [&](size_t j) { return static_cast<uint8_t>(j < text.size() ? text[j] : 0); };
    const uint8_t lead = at(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    if (lead < 0xc2 || lead > 0xf4) return false;
    const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (size_t j = 1; j < length; ++j, low = 0x80, high = 0xbf)
      if (at(i + j) < low || at(i + j) > high) return false;
    i += length;
  }
  return true;
}

std::string ascii_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace rejoin::contract
