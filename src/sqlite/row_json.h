// A row as people read it.
#pragma once

#include <string>

#include "codec/row_frame.h"

namespace rejoin::sqlite {

// {"id":"1","title":"milk"}: the key's columns, then those that have a value. Empty when the key is damaged.
std::string row_json(const codec::OneRow& row);
// ["title"]: the columns that have a value.
std::string columns_json(const codec::OneRow& row);

}  // namespace rejoin::sqlite
