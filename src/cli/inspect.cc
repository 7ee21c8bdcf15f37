// rejoin inspect: prints any changeset, cursor or sync message.
#include <boost/json/parse.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>

#include "cli/command.h"
#include "cli/message_text.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "codec/changeset.h"
#include "codec/cursor.h"
#include "codec/print.h"
#include "net/compress.h"
#include "server/message_json.h"
#include "sync/live_messages.h"

namespace rejoin::cli {
namespace {

struct InspectArguments {
  std::string file, as;
};

constexpr uint64_t kLargest = 1ull << 30;

Result<Bytes> read_all(const std::string& path) {
  std::FILE* file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
  if (!file)
    return fail(errno == ENOENT ? Code::not_found : Code::disk, "cannot read '" + path + "': " + std::strerror(errno));
  Bytes bytes;
  char buffer[64 << 10];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0 && bytes.size() <= kLargest;)
    bytes.append(buffer, n);
  bool bad = std::ferror(file) != 0;
  int why = errno;
  if (path != "-") std::fclose(file);
  if (bad)
    return fail(why == EISDIR ? Code::bad_argument : Code::disk, "cannot read '" + path + "': " + std::strerror(why));
  if (bytes.size() > kLargest)
    return fail(Code::too_large, "'" + path + "' is larger than " + bytes_text(kLargest) + ", no frame is");
  return bytes;
}

// What the bytes are. Magic numbers decide where there are any; the two messages differ in the wire type of field 2.
std::string kind_of(BytesView bytes) {
  if (bytes.starts_with("RJC1")) return "changeset";
  if (sync::decode_request(bytes).ok()) return "request";
  if (sync::decode_response(bytes).ok()) return "response";
  if (!bytes.empty() && codec::decode_cursor(bytes)) return "cursor";
  return "";
}

std::string without_blanks(BytesView text) {
  std::string out;
  for (char c : text)
    if (!std::strchr(" \t\r\n", c) || c == '\0') out += c;
  return out;
}

// Of what was said over a live connection, the message of the sync protocol.
void open_envelope(Bytes& bytes) {
  if (Result<sync::LiveRequest> live = sync::decode_live_request(bytes); live.ok() && live->sync)
    bytes = sync::encode_request(*live->sync);
  else if (Result<sync::LiveEvent> event = sync::decode_live_event(bytes); event.ok() && event->page)
    bytes = std::move(*event->page);
  else if (event.ok() && event->response)
    bytes = std::move(*event->response);
}

// Peels off envelopes, compression, hexadecimal (also x'…' as SQL shows blobs), base64 and the JSON form of the
// messages.
Result<std::string> recognise(Bytes& bytes) {
  if (bytes.starts_with("\x28\xb5\x2f\xfd")) {
    REJOIN_ASSIGN(bytes, net::zstd_decompress(bytes, kLargest));
  }
  open_envelope(bytes);
  std::string kind = kind_of(bytes);
  if (!kind.empty()) return kind;
  std::string text = without_blanks(bytes), inner;
  if (text.starts_with('{')) {
    if (Result<sync::SyncRequest> request = server::request_from_json(bytes, {}); request.ok()) {
      bytes = sync::encode_request(*request);
      return std::string("request");
    }
    if (Result<sync::LiveRequest> live = server::live_request_from_json(bytes, {}); live.ok() && live->sync) {
      bytes = sync::encode_request(*live->sync);
      return std::string("request");
    }
    if (Result<sync::SyncResponse> response = server::response_from_json(bytes, {}); response.ok()) {
      bytes = sync::encode_response(*response);
      return std::string("response");
    }
    return std::string();
  }
  if (text.size() > 3 && (text[0] == 'x' || text[0] == 'X') && text[1] == '\'' && text.back() == '\'')
    text = text.substr(2, text.size() - 3);
  if (text.size() >= 4 && (from_hex(text, inner) || from_base64(text, inner))) {
    open_envelope(inner);
    if (!(kind = kind_of(inner)).empty()) bytes = std::move(inner);
  }
  return kind;
}

Error unknown(const std::string& file, BytesView bytes) {
  if (bytes.starts_with(BytesView("SQLite format 3\0", 16)))
    return fail(Code::unsupported, "'" + file + "' is an SQLite database; look into it with: rejoin status " +
                                       shell_word(file) + ", or rejoin changes " + shell_word(file));
  if (bytes.empty()) return fail(Code::corrupt, "'" + file + "' is empty");
  return fail(Code::corrupt, "'" + file + "' is not a changeset, cursor or sync message: it begins with " +
                                 to_hex(bytes.substr(0, 8)) + ". --as KIND tells what is wrong with it as one of them");
}

Result<int> show_changeset(BytesView bytes, Output& output) {
  bool sound = codec::ChangesetReader::open(bytes).ok();
  if (output.json()) {
    boost::json::value frame = boost::json::parse(codec::changeset_json(bytes));
    sound = sound && !frame.as_object().contains("error");
    output.document({{"kind", "changeset"}, {"changeset", frame}});
  } else {
    output.text(codec::changeset_text(bytes));
  }
  return sound ? kOk : kDamaged;
}

Result<int> run_inspect(const InspectArguments& arguments, Output& output) {
  REJOIN_ASSIGN(Bytes bytes, read_all(arguments.file));
  std::string kind = arguments.as;
  REJOIN_ASSIGN(std::string found, recognise(bytes));
  if (kind.empty()) kind = found;
  if (kind.empty()) return unknown(arguments.file, bytes);
  if (kind == "changeset") return show_changeset(bytes, output);
  if (kind == "request") {
    REJOIN_ASSIGN(sync::SyncRequest request, sync::decode_request(bytes));
    if (output.json())
      output.document({{"kind", kind}, {"request", request_json(request)}});
    else
      output.text(request_text(request));
  } else if (kind == "response") {
    REJOIN_ASSIGN(sync::SyncResponse response, sync::decode_response(bytes));
    if (output.json())
      output.document({{"kind", kind}, {"response", response_json(response)}});
    else
      output.text(response_text(response));
  } else {
    std::optional<codec::Cursor> cursor = codec::decode_cursor(bytes);
    if (!cursor) return fail(Code::corrupt, "'" + arguments.file + "' is not a cursor, or was mangled");
    if (output.json())
      output.document({{"kind", kind}, {"cursor", cursor_json(*cursor)}});
    else
      output.line("cursor: " + cursor_text(*cursor));
  }
  return kOk;
}

}  // namespace

void add_inspect(Commands& commands) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command = commands.add(
      "inspect", "Print a changeset, cursor or sync message",
      "Finds out by itself what the file holds, also compressed with zstd or written in hexadecimal or base64.",
      "rejoin inspect todos.changeset\nsqlite3 app.db '.load dist/rejoin' 'SELECT hex(rejoin_changeset(0))' | rejoin "
      "inspect -");
  command->add_option("FILE", arguments->file, "The file; - is standard input")->required();
  command->add_option("--as", arguments->as, "Take it as a changeset, request, response or cursor")
      ->type_name("KIND")
      ->check(CLI::IsMember({"changeset", "request", "response", "cursor"}));
  commands.on_run(command, [arguments](Output& output) { return run_inspect(*arguments, output); });
}

}  // namespace rejoin::cli
