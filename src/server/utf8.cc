#include "server/utf8.h"

namespace rejoin::server {
namespace {

// Bytes of the well-formed character at `i` (Unicode 15, table 3-7); 0 when there is none.
size_t character(std::string_view text, size_t i) {
  const auto at = [&](size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u; };
  const unsigned lead = at(i);
  unsigned low = 0x80, high = 0xbf;
  size_t more;
  if (lead < 0x80)
    more = 0;
  else if (lead >= 0xc2 && lead <= 0xdf)
    more = 1;
  else if (lead >= 0xe0 && lead <= 0xef)
    more = 2, low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
  else if (lead >= 0xf0 && lead <= 0xf4)
    more = 3, low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
  else
    return 0;
  for (size_t k = 1; k <= more; ++k, low = 0x80, high = 0xbf)
    if (at(i + k) < low || at(i + k) > high) return 0;
  return more + 1;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t size = character(text, i);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

std::string clean_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t size = character(text, i);
    if (size == 0)
      out += "\xef\xbf\xbd", ++i;
    else
      out += text.substr(i, size), i += size;
  }
  return out;
}

}  // namespace rejoin::server
