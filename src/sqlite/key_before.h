// What comes under the key that a table had before. What it says may have come with the new key too, from whoever wrote
// it and has made the same change: then it need not wait.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::codec {
class ChangesetReader;
struct OneRow;
}  // namespace rejoin::codec

namespace rejoin::sqlite {

// In rejoin_former: this less i, of the i-th column of the key before this one.
inline constexpr int64_t kKeyBefore = -1'000'001;

// Notes the key that the table had until now, by the names that its columns had.
Status note_key_before(Context& ctx, uint64_t table, const std::vector<std::string>& names);

// A row answers what is told of it under the former key if it has the columns of that key and knows all of it, as late
// or later. The deletion of a row that is not here is answered, too: a new key forgets deletions.
class KeyBefore {
 public:
  static Result<KeyBefore> load(Context& ctx, const Table& table);

  // Can anything be told? Not if the table always had this key, or lost columns of the former one.
  bool told() const { return places_.has_value(); }
  bool names(const std::vector<std::string>& key) const;
  // Does anything wait under that key?
  Result<bool> waits() const;

  // Which of a block's rows, by their keys, are answered. Reads the keys of the table once.
  Result<std::set<Bytes>> answered(const codec::ChangesetReader& reader, size_t block,
                                   const std::vector<uint32_t>& sites) const;
  // Drops what waits and is answered by these rows. Returns how many entries went.
  Result<uint64_t> drop_answered(const std::vector<Bytes>& keys) const;
  // The same with all rows. Reads the keys of the table once.
  Result<uint64_t> drop_answered() const;

 private:
  // One column of the key of before, as the table has it now.
  struct Place {
    std::optional<size_t> in_key;
    uint32_t column = 0;
  };
  KeyBefore(Context& ctx, const Table& table);
  Result<std::optional<Bytes>> former(BytesView key) const;
  Result<std::vector<Bytes>> waiting() const;
  Result<std::vector<std::pair<Bytes, Bytes>>> find(const std::set<Bytes>& former_keys) const;
  Result<bool> answers(const codec::OneRow& told, const std::optional<Bytes>& key) const;
  Result<uint64_t> drop(BytesView former_key, const std::optional<Bytes>& key) const;
  Result<uint64_t> drop_of(const std::string& name, BytesView former_key, const std::optional<Bytes>& key) const;

  Context* ctx_;
  const Table* table_;
  std::vector<std::string> names_;  // the table's, the former ones too
  std::vector<std::string> columns_;
  std::optional<std::vector<Place>> places_;
};

// Of every table: what waits under its former key and was answered by a write of this file's own. Returns how many
// entries of rejoin_parked went.
Result<int64_t> drop_all_answered(Context& ctx);

}  // namespace rejoin::sqlite
