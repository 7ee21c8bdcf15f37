// Who a caller is to a store: what its token lets it do with each table, and as whom a store that knows roles acts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace rejoin::sync {

struct TableRight {
  bool pull = true;  // rows reach the device
  bool push = true;  // the device's writes are taken
  friend bool operator==(const TableRight&, const TableRight&) = default;
};

// Rights by the table's name in the contract, ASCII case-insensitive; "*" stands for all tables that are not named.
class TableRights {
 public:
  void set(std::string_view table, TableRight right);
  TableRight of(std::string_view table) const;
  bool limited() const { return !named_.empty(); }
  // Names in lower case.
  const std::map<std::string, TableRight>& named() const { return named_; }
  // What both allow.
  void intersect(const TableRights& other);
  // The same for the same rights.
  std::string text() const;
  friend bool operator==(const TableRights&, const TableRights&) = default;

 private:
  std::map<std::string, TableRight> named_;
};

struct Identity {
  std::string role;           // empty: the token names none
  std::string claims = "{}";  // a JSON object
  TableRights tables;
  // A digest of what decides what the caller may see; equal for callers who may see the same. 0: everything. Made by
  // server/identity.h, which knows which claims count.
  uint64_t view = 0;
};

// May the caller, who may be nobody in particular?
inline TableRight right_of(const Identity* who, std::string_view table) {
  return who ? who->tables.of(table) : TableRight();
}

}  // namespace rejoin::sync
