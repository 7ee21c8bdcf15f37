// What comes under the key that a table had before. What it says may come with the new key too, from whoever wrote it
// and has made the same change: then it need not wait any more.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::codec {
struct OneRow;
}

namespace rejoin::sqlite {

// In rejoin_former: this less i, of the i-th column of the key before this one.
inline constexpr int64_t kKeyBefore = -1'000'001;

// Notes the key that the table had until now, by the names that its columns had.
Status note_key_before(Context& ctx, uint64_t table, const std::vector<std::string>& names);

// A row answers what is told of it under the former key if it has the columns of that key and knows all of it, as late
// or later. A deletion without a row is answered by nobody: it waits, and is passed on.
class KeyBefore {
 public:
  static Result<KeyBefore> load(Context& ctx, const Table& table);

  // May anything wait under that key? No if the table always had this one, or lost columns of the former one.
  Result<bool> waits() const;
  bool is(const std::vector<std::string>& key) const;
  // Ends the waiting of what these rows answer.
  Status settle(const std::vector<Bytes>& keys) const;
  // Ends the waiting of what waits under these former keys, or any, and is answered. Reads the keys of the table once.
  // Returns how many entries that were.
  Result<uint64_t> settle_former(const std::set<Bytes>& former_keys) const;
  Status settle_all() const;

 private:
  // One column of the key of before, as the table has it now.
  struct Place {
    std::optional<size_t> in_key;
    uint32_t column = 0;
  };
  KeyBefore(Context& ctx, const Table& table);
  Result<std::optional<Bytes>> former(BytesView key) const;
  Result<std::set<Bytes>> waiting() const;
  Result<std::vector<std::pair<Bytes, Bytes>>> find(const std::set<Bytes>& former_keys) const;
  Result<bool> answers(const codec::OneRow& told, BytesView key) const;
  Result<uint64_t> settle_one(const std::string& name, BytesView former_key, BytesView key) const;

  Context* ctx_;
  const Table* table_;
  std::vector<std::string> names_;  // the table's, the former ones too
  std::vector<std::string> columns_;
  std::optional<std::vector<Place>> places_;
};

// Of every table: what waits under its former key and was answered by a write of this file's own. Forgets what was
// answered longer ago than deletions are kept.
Status settle_former_keys(Context& ctx);

}  // namespace rejoin::sqlite
