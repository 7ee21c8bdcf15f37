// UTF-8 where peers' bytes meet JSON, logs and Protocol Buffers' strings, which must all be well-formed.
#pragma once

#include <string>
#include <string_view>

namespace rejoin::server {

bool valid_utf8(std::string_view text);
// The text, each byte that is not part of a well-formed character replaced by U+FFFD.
std::string clean_utf8(std::string_view text);

}  // namespace rejoin::server
