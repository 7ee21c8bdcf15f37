#include "codec/print.h"

#include <numeric>
#include <vector>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "crdt/key.h"
#include "crdt/print.h"

namespace rejoin::codec {
namespace {

using crdt::json_string;
using crdt::Stamp;

std::vector<uint32_t> identity(size_t n) {
  std::vector<uint32_t> map(n);
  std::iota(map.begin(), map.end(), 0u);
  return map;
}

crdt::SiteTable site_table(const ChangesetReader& reader) {
  crdt::SiteTable table;
  for (const crdt::SiteId& id : reader.sites()) table.intern(id);
  return table;
}

// A dictionary that names a site twice still has one SiteTable entry for it.
std::vector<uint32_t> site_map(const ChangesetReader& reader, crdt::SiteTable& table) {
  std::vector<uint32_t> map;
  for (const crdt::SiteId& id : reader.sites()) map.push_back(table.intern(id));
  return map;
}

std::string frame_checksum(BytesView frame) { return to_hex(frame.substr(frame.size() - 8)); }

// Names come from a peer: none may break the lines or reach the terminal as control characters.
std::string name_text(const std::string& name) {
  bool plain = !name.empty();
  for (char c : name)
    plain = plain && ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_');
  return plain ? name : json_string(name);
}

// A JSON array; a key that is no encoding of so many columns is a string.
std::string key_text(BytesView key, const WireTable& table) {
  std::string text = crdt::key_json(key, table.key.size());
  return text.starts_with('[') ? text : json_string("damaged key 0x" + to_hex(key));
}

std::string list(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += ", ";
    out += name_text(name);
  }
  return out.empty() ? "none" : out;
}

std::string cursor_text(const Bytes& bytes) {
  if (bytes.empty()) return "the beginning";
  std::optional<Cursor> cursor = decode_cursor(bytes);
  if (!cursor) return "0x" + to_hex(bytes) + " (opaque)";
  Bytes token;
  put_be64(token, cursor->token);
  std::string at = "position " + std::to_string(cursor->position) + ", batch " + to_hex(token);
  if (!cursor->scanning) return at;
  return "scan that started at " + at + ", horizon " + std::to_string(cursor->horizon) + ", after table " +
         std::to_string(cursor->table) + " key 0x" + to_hex(cursor->key);
}

std::vector<std::string> column_names(const WireTable& table, const BlockInfo& block) {
  std::vector<std::string> names;
  for (uint32_t column : block.columns) names.push_back(table.columns[column]);
  return names;
}

class TextPrinter {
 public:
  explicit TextPrinter(const ChangesetReader& reader) : reader_(reader), sites_(site_table(reader)) {}

  std::string print(BytesView frame) {
    const FrameInfo& info = reader_.info();
    out_ = "changeset RJC1, " + std::to_string(frame.size()) + " bytes, checksum " + frame_checksum(frame) + "\n";
    out_ += "source " + to_hex(info.source.view()) + "\n";
    out_ += "from " + cursor_text(info.from) + "\n";
    out_ += "next " + cursor_text(info.next) + "\n";
    out_ += "through " + std::to_string(info.through) + ", horizon " + std::to_string(info.horizon) +
            (info.starts_batch ? ", starts a batch" : ", inside a batch") +
            (info.last ? ", last page" : ", more to come") + "\n";
    for (size_t i = 0; i < reader_.sites().size(); ++i)
      out_ += "site " + std::to_string(i) + ": " + to_hex(reader_.sites()[i].view()) + "\n";
    for (const WireTable& table : reader_.tables())
      out_ += "table " + name_text(table.name) + ": key " + list(table.key) + "; columns " + list(table.columns) + "\n";
    for (size_t b = 0; b < reader_.blocks().size(); ++b) block(b);
    return std::move(out_);
  }

 private:
  void block(size_t index) {
    const BlockInfo& info = reader_.blocks()[index];
    const WireTable& table = reader_.tables()[info.table];
    out_ += "block " + std::to_string(index) + ": " + std::to_string(info.rows) + (info.rows == 1 ? " row" : " rows") +
            " of " + name_text(table.name) + "; columns " + list(column_names(table, info)) +
            (info.with_life ? "; with liveness\n" : "\n");
    std::vector<uint32_t> sites = site_map(reader_, sites_), columns = identity(table.columns.size());
    BlockCursor cursor = reader_.rows(index, sites, columns);
    while (cursor.next()) {
      const crdt::RowRecord& record = cursor.record();
      out_ += "  " + key_text(cursor.key(), table);
      Stamp then = record.live;
      if (info.with_life) {
        out_ += record.alive ? " alive " : " dead ";
        out_ += crdt::stamp_text(record.live, sites_);
        out_ += record.birth == record.live ? ", born then" : ", born " + crdt::stamp_text(record.birth, sites_);
      } else if (!record.groups.empty()) {
        then = record.groups[0].stamp;
        out_ += " at " + crdt::stamp_text(then, sites_);
      }
      out_ += "\n";
      for (size_t i = 0; i < info.columns.size(); ++i) {
        Stamp stamp = record.stamp_of(info.columns[i]);
        out_ += "    " + name_text(table.columns[info.columns[i]]) + " = " + crdt::value_json(cursor.values()[i]);
        if (!(stamp == then)) out_ += " at " + crdt::stamp_text(stamp, sites_);
        out_ += "\n";
      }
    }
    if (!cursor.ok()) out_ += "  damaged: nothing of this changeset can be used\n";
  }

  const ChangesetReader& reader_;
  crdt::SiteTable sites_;
  std::string out_;
};

std::string strings_json(const std::vector<std::string>& strings) {
  std::string out = "[";
  for (const std::string& s : strings) {
    if (out.size() > 1) out += ",";
    out += json_string(s);
  }
  return out + "]";
}

std::string cursor_json(const Bytes& bytes) {
  return "{\"hex\":\"" + to_hex(bytes) + "\",\"text\":" + json_string(cursor_text(bytes)) + "}";
}

class JsonPrinter {
 public:
  explicit JsonPrinter(const ChangesetReader& reader) : reader_(reader), sites_(site_table(reader)) {}

  std::string print(BytesView frame) {
    const FrameInfo& info = reader_.info();
    out_ = "{\"bytes\":" + std::to_string(frame.size()) + ",\"checksum\":\"" + frame_checksum(frame) +
           "\",\"source\":\"" + to_hex(info.source.view()) + "\",\"from\":" + cursor_json(info.from) +
           ",\"next\":" + cursor_json(info.next) + ",\"through\":" + std::to_string(info.through) +
           ",\"horizon\":" + std::to_string(info.horizon) +
           ",\"starts_batch\":" + (info.starts_batch ? "true" : "false") +
           ",\"last\":" + (info.last ? "true" : "false") + ",\"sites\":[";
    for (size_t i = 0; i < reader_.sites().size(); ++i)
      out_ += (i ? ",\"" : "\"") + to_hex(reader_.sites()[i].view()) + "\"";
    out_ += "],\"tables\":[";
    for (size_t i = 0; i < reader_.tables().size(); ++i) {
      const WireTable& table = reader_.tables()[i];
      out_ += std::string(i ? "," : "") + "{\"name\":" + json_string(table.name) +
              ",\"key\":" + strings_json(table.key) + ",\"columns\":" + strings_json(table.columns) + "}";
    }
    out_ += "],\"blocks\":[";
    for (size_t b = 0; b < reader_.blocks().size(); ++b) {
      if (b) out_ += ",";
      block(b);
    }
    out_ += "]";
    if (!sound_) out_ += ",\"error\":\"a block is damaged: nothing of this changeset can be used\"";
    return std::move(out_) + "}";
  }

 private:
  std::string stamp(Stamp s) {
    if (s.bottom()) return "null";
    return "{\"hlc\":" + json_string(crdt::hlc_text(s.hlc)) + ",\"site\":\"" + to_hex(sites_[s.site].view()) + "\"}";
  }

  void block(size_t index) {
    const BlockInfo& info = reader_.blocks()[index];
    const WireTable& table = reader_.tables()[info.table];
    out_ += "{\"table\":" + json_string(table.name) + ",\"columns\":" + strings_json(column_names(table, info)) +
            ",\"with_life\":" + (info.with_life ? "true" : "false") + ",\"rows\":[";
    std::vector<uint32_t> sites = site_map(reader_, sites_), columns = identity(table.columns.size());
    BlockCursor cursor = reader_.rows(index, sites, columns);
    bool first = true;
    while (cursor.next()) {
      const crdt::RowRecord& record = cursor.record();
      out_ += std::string(first ? "" : ",") + "{\"key\":" + key_text(cursor.key(), table);
      if (info.with_life)
        out_ += std::string(",\"alive\":") + (record.alive ? "true" : "false") + ",\"live\":" + stamp(record.live) +
                ",\"birth\":" + stamp(record.birth);
      out_ += ",\"cells\":{";
      for (size_t i = 0; i < info.columns.size(); ++i)
        out_ += std::string(i ? "," : "") + json_string(table.columns[info.columns[i]]) +
                ":{\"value\":" + crdt::value_json(cursor.values()[i]) +
                ",\"version\":" + stamp(record.stamp_of(info.columns[i])) + "}";
      out_ += "}}";
      first = false;
    }
    out_ += "]}";
    sound_ = sound_ && cursor.ok();
  }

  const ChangesetReader& reader_;
  crdt::SiteTable sites_;
  std::string out_;
  bool sound_ = true;
};

}  // namespace

std::string changeset_text(BytesView frame) {
  Result<ChangesetReader> reader = ChangesetReader::open(frame);
  if (!reader.ok()) return reader.error().message + "\n";
  return TextPrinter(*reader).print(frame);
}

std::string changeset_json(BytesView frame) {
  Result<ChangesetReader> reader = ChangesetReader::open(frame);
  if (!reader.ok()) return "{\"error\":" + json_string(reader.error().message) + "}";
  return JsonPrinter(*reader).print(frame);
}

}  // namespace rejoin::codec
