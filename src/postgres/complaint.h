// Which of many rows PostgreSQL complains of, when it did not take them together.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "crdt/value.h"
#include "postgres/catalog.h"
#include "postgres/connection.h"

namespace rejoin::postgres {

struct WrittenRow {
  const Table* table = nullptr;
  BytesView key;
  bool deleted = false;
  const std::map<uint32_t, crdt::OwnedValue>* values = nullptr;  // by column id
};

// Is this violation of a UNIQUE (23505) or a FOREIGN KEY (23503) that of `row`? Judged by the error's table and by its
// detail, "Key (column, …)=(value, …) …" in whatever language: of the columns that it names the row writes at least
// one, and all that it writes as they stand there. False when the server does not say (row-level security hides
// values), or writes a value otherwise than it was sent.
bool is_about(const SqlError& error, const WrittenRow& row);

// The row's own values that the complaint names, which is_about() it: for a reference, those that no parent has.
std::vector<std::string> named_values(const SqlError& error);
// What other rows can refer to: the text of each of its key's columns and of what it writes to UNIQUE ones. None of a
// row that is deleted.
std::vector<std::string> offered_values(const WrittenRow& row);

}  // namespace rejoin::postgres
