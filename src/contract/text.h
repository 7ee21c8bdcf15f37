// Little helpers for names and texts; private to the room.
#pragma once

#include <string>
#include <string_view>

namespace rejoin::contract {

bool is_utf8(std::string_view text);
// The lower-case form in which SQLite compares names: ASCII letters only.
std::string ascii_lower(std::string_view text);

}  // namespace rejoin::contract
