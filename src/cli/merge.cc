// rejoin merge: two files, both ways, no server.
#include <fcntl.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <optional>

#include "cli/command.h"
#include "cli/in_flag.h"
#include "cli/interrupt.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "sqlite/acquaintance.h"

namespace rejoin::cli {
namespace {

struct MergeArguments {
  std::string a, b;
  bool create = false;
  std::string page = "1M";
};

struct Moved {
  uint64_t pages = 0, bytes = 0, rows = 0, changed = 0, parked = 0;
  std::vector<sync::RefusedRow> refused;

  void operator+=(const Moved& more) {
    pages += more.pages, bytes += more.bytes, rows += more.rows, changed += more.changed, parked += more.parked;
    refused.insert(refused.end(), more.refused.begin(), more.refused.end());
  }
};

struct End {
  const std::string& path;
  std::unique_ptr<sqlite::Database> database;
  bool went_back = false;  // since it was merged with the other one last
};

// A file that this merge makes goes again if the merge fails before it has everything; one that was stopped keeps its
// whole pages.
class MadeFile {
 public:
  explicit MadeFile(const std::string& path) : path_(path) {
    // Of two merges that make the same file only one takes it for its own.
    const int file = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    ours_ = file >= 0;
    if (ours_) ::close(file);
  }
  MadeFile(const MadeFile&) = delete;
  MadeFile& operator=(const MadeFile&) = delete;
  ~MadeFile() {
    if (!ours_ || interrupted()) return;
    std::error_code ignored;
    for (const char* end : {"", "-wal", "-shm", "-journal"}) std::filesystem::remove(path_ + end, ignored);
  }
  void keep() { ours_ = false; }

 private:
  const std::string& path_;
  bool ours_;
};

Result<uint64_t> rows_of(sqlite::Database& database) {
  REJOIN_ASSIGN(std::vector<sqlite::TableInfo> tables, database.replica().tables());
  uint64_t rows = 0;
  for (const sqlite::TableInfo& table : tables) {
    REJOIN_ASSIGN(uint64_t more, count_rows(database, table.name));
    rows += more;
  }
  return rows;
}

// One direction, page by page. The receiver keeps how far it has read this source, in the transaction of each page: the
// next merge begins there, and so does one after an interruption. `heard`: what the source knows of the receiver. Only
// one that has heard nothing can leave the receiver's own rows out of a scan: they may have come through a third file,
// and the receiver may have lost them.
Result<Moved> pull(End& from, End& to, sqlite::Acquaintance heard, uint64_t page_bytes, Progress& progress) {
  Moved moved;
  sqlite::Replica &source = from.database->replica(), &target = to.database->replica();
  REJOIN_ASSIGN(crdt::SiteId source_site, in_file(from.path, source.site()));
  REJOIN_ASSIGN(crdt::SiteId target_site, in_file(to.path, target.site()));
  std::unique_ptr<sync::DeviceStore> store = sqlite::make_device_store(target, sqlite::peer_name(source_site));
  REJOIN_ASSIGN(sync::DeviceState state, in_file(to.path, store->state()));
  sqlite::PageRequest request;
  if (!state.pull_own) request.cursor = state.pull_cursor;
  request.max_bytes = page_bytes;
  request.own = state.pull_own || heard != sqlite::Acquaintance::none;
  if (heard != sqlite::Acquaintance::unclear) request.skip_origin = target_site;
  // At first contact every row travels, so their number is known.
  uint64_t expected = 0;
  if (request.cursor.empty()) {
    REJOIN_ASSIGN(expected, in_file(from.path, rows_of(*from.database)));
  }
  request.pass_on = true;
  uint64_t read = 0;
  Bytes place = state.pull_cursor;
  bool anew = false;
  // Nothing: all is to be read anew, as pages are lost that waited for these.
  const auto take = [&](BytesView frame, const sqlite::Page& page) -> Result<std::optional<sync::ApplyOutcome>> {
    auto outcome = store->apply_page(place, frame, page.next, 0, {});
    if (!outcome.ok() && outcome.error().code == Code::gap && !std::exchange(anew, true)) {
      REJOIN_TRY(in_file(to.path, store->restart_pull({})));
      request.cursor.clear(), place.clear();
      request.own = true;
      return std::optional<sync::ApplyOutcome>();
    }
    if (!outcome.ok()) return in_file(to.path, outcome.error());
    if (outcome->moved)
      return fail(Code::busy, to.path + ": another process merges into this file; try again when it is done");
    place = page.next;
    return std::optional(*std::move(outcome));
  };
  for (bool more = true; more;) {
    if (interrupted())
      return fail(Code::interrupted, "stopped; whole pages are merged, and the next merge goes on from there");
    REJOIN_ASSIGN(sqlite::Page page, in_file(from.path, source.page(request)));
    more = page.more;
    if (!page.frame.empty()) {
      progress.rename((more ? "reading " : "writing ") + bytes_text(moved.bytes + page.frame.size()) + ": " +
                      from.path + " → " + to.path);
      REJOIN_ASSIGN(std::optional<sync::ApplyOutcome> outcome, take(page.frame, page));
      if (!outcome) {
        more = true;
        continue;
      }
      ++moved.pages;
      moved.bytes += page.frame.size();
      moved.rows += outcome->rows_seen;
      moved.changed += outcome->rows_changed;
      moved.parked += outcome->rows_parked;
      for (sync::RefusedRow& row : outcome->refused) moved.refused.push_back(std::move(row));
      read += page.rows;
      progress.set(read, expected);
    } else if (more && page.next == request.cursor) {
      return fail(Code::internal, "reading changes makes no headway; please report this");
    } else if (page.next != request.cursor) {
      REJOIN_TRY(take({}, page));
    }
    request.cursor = page.next;
  }
  return moved;
}

// What `reader` has heard of `source`. A source that was put back from a backup becomes another replica first: what it
// writes from now on must not pass for what it had written before.
Result<sqlite::Acquaintance> what_is_known(End& source, const End& reader) {
  REJOIN_ASSIGN(const sqlite::Acquaintance known,
                in_file(source.path, sqlite::acquaintance(source.database->replica(), reader.database->replica())));
  if (known == sqlite::Acquaintance::went_back) {
    REJOIN_TRY(in_file(source.path, source.database->replica().take_new_identity()));
    source.went_back = true;
  }
  return known;
}

// Before anything moves, as the next merge cannot see any more what was unclear: by then the reader has read on.
Status give_back_what_may_be_lost(End& to, const End& from, sqlite::Acquaintance heard) {
  if (heard != sqlite::Acquaintance::unclear) return {};
  REJOIN_ASSIGN(const crdt::SiteId site, in_file(from.path, from.database->replica().site()));
  return in_file(to.path, sqlite::read_all_again(to.database->replica(), site));
}

// The upkeep that a sync has at its end.
Status finish(End& reader, End& source) {
  REJOIN_ASSIGN(const crdt::SiteId site, in_file(source.path, source.database->replica().site()));
  return in_file(
      reader.path,
      sqlite::make_device_store(reader.database->replica(), sqlite::peer_name(site))->note_session(0, 0, {}));
}

boost::json::object to_json(const End& from, const End& to, const Moved& moved) {
  boost::json::array refused;
  for (const sync::RefusedRow& row : moved.refused)
    refused.push_back({{"table", row.table},
                       {"key", row.key_json},
                       {"code", std::string(code_name(row.code))},
                       {"reason", row.reason}});
  return {{"from", from.path},       {"to", to.path},        {"rows", moved.rows},   {"changed", moved.changed},
          {"parked", moved.parked},  {"bytes", moved.bytes}, {"pages", moved.pages}, {"refused", std::move(refused)},
          {"restored", to.went_back}};
}

void tell(const std::string& from, const std::string& to, const Moved& moved, Output& output) {
  if (moved.pages == 0) {
    output.line(from + " → " + to + "  nothing new");
    return;
  }
  output.line(from + " → " + to + "  " + counted(moved.rows, "row") + ", " + counted(moved.changed, "row") +
              " changed there, " + bytes_text(moved.bytes) + " in " + counted(moved.pages, "page"));
  if (moved.parked > 0)
    output.warning(counted(moved.parked, "row") + " kept but not visible yet in " + to +
                   "; the reasons: SELECT table_name, key, reason FROM rejoin_parked");
  for (const sync::RefusedRow& row : moved.refused)
    output.warning("not taken: " + printable(row.table + " " + row.key_json) + ": " + row.reason);
}

// Tables that `target` does not sync yet get made, or tracked, as `source` has them.
Status adopt_tables(sqlite::Replica& source, sqlite::Replica& target) {
  REJOIN_ASSIGN(std::string contract, source.contract_json());
  return sqlite::make_tenant_store(target)->adopt_contract(contract, true);
}

Result<int> merge_files(const MergeArguments& arguments, std::optional<MadeFile>& made, Output& output) {
  REJOIN_ASSIGN(uint64_t page_bytes, in_flag("--page-bytes", parse_size(arguments.page)));
  std::error_code ignored;
  if (std::filesystem::equivalent(arguments.a, arguments.b, ignored))
    return fail(Code::bad_argument, "'" + arguments.a + "' and '" + arguments.b + "' are the same file; name two");
  catch_interrupts();
  std::optional<Progress> progress(std::in_place, "merging " + arguments.a + " and " + arguments.b, output.json());
  End a{arguments.a, nullptr, false}, b{arguments.b, nullptr, false};
  REJOIN_ASSIGN(a.database, open_database(a.path, OpenMode::write));
  REJOIN_ASSIGN(std::vector<sqlite::TableInfo> tracked, in_file(a.path, a.database->replica().tables()));
  if (tracked.empty())
    return fail(Code::not_tracked,
                arguments.a + " has no synced tables; make some: rejoin track " + shell_word(arguments.a) + " --all");
  if (arguments.create) made.emplace(arguments.b);
  Result<std::unique_ptr<sqlite::Database>> opened =
      open_database(b.path, arguments.create ? OpenMode::create : OpenMode::write);
  if (!opened.ok() && opened.error().code == Code::not_found && !arguments.create)
    return output.error(opened.error(), {"to make it, with the tables of " + a.path + ": rejoin merge " +
                                         shell_word(a.path) + " " + shell_word(b.path) + " --create"});
  REJOIN_ASSIGN(b.database, std::move(opened));
  if (arguments.create) REJOIN_TRY(in_file(b.path, adopt_tables(a.database->replica(), b.database->replica())));
  REJOIN_ASSIGN(tracked, in_file(b.path, b.database->replica().tables()));
  if (tracked.empty())
    return fail(Code::not_tracked, arguments.b + " has no synced tables; track them there too (rejoin track " +
                                       shell_word(arguments.b) + " --all), or let them be made as they are in " +
                                       arguments.a + ": --create");
  for (End* end : {&a, &b}) REJOIN_TRY(in_file(end->path, end->database->replica().fold()));
  REJOIN_ASSIGN(const sqlite::Acquaintance known_of_a, what_is_known(a, b));
  REJOIN_ASSIGN(const sqlite::Acquaintance known_of_b, what_is_known(b, a));
  REJOIN_TRY(give_back_what_may_be_lost(a, b, known_of_a));
  REJOIN_TRY(give_back_what_may_be_lost(b, a, known_of_b));
  REJOIN_ASSIGN(Moved there, pull(a, b, known_of_b, page_bytes, *progress));
  if (made) made->keep();
  progress->set(0);
  REJOIN_ASSIGN(Moved back, pull(b, a, known_of_a, page_bytes, *progress));
  // B steps over what has just come from it: its next merge reads on from there, also when the log before is forgotten.
  REJOIN_ASSIGN(const Moved meanwhile, pull(a, b, sqlite::Acquaintance::good, page_bytes, *progress));
  if (meanwhile.rows > 0) there += meanwhile;
  REJOIN_TRY(finish(a, b));
  REJOIN_TRY(finish(b, a));
  progress.reset();  // its line goes before the result's comes
  if (output.json()) {
    output.document({{"merged", {to_json(a, b, there), to_json(b, a, back)}}});
  } else {
    tell(arguments.a, arguments.b, there, output);
    tell(arguments.b, arguments.a, back, output);
    for (const End* end : {&a, &b})
      if (end->went_back)
        output.warning(end->path + " was put back from a backup: it has a new identity and got back what it had lost");
  }
  return kOk;
}

Result<int> run_merge(const MergeArguments& arguments, Output& output) {
  std::optional<MadeFile> made;
  Result<int> end = merge_files(arguments, made, output);
  if (made && !end.ok() && end.error().code == Code::busy) made->keep();  // another process is at it
  return end;
}

}  // namespace

void add_merge(Commands& commands) {
  auto arguments = std::make_shared<MergeArguments>();
  CLI::App* command = commands.add("merge", "Merge two files, both ways, without a server",
                                   "Each gets what the other has, in pages of bounded size. Both files remember how "
                                   "far they got: the next merge moves only\n"
                                   "what is new. Tables must be tracked in both files, or be made in B with --create.",
                                   "rejoin merge app.db copy.db\nrejoin merge app.db new.db --create");
  command->add_option("A", arguments->a, "A database")->required();
  command->add_option("B", arguments->b, "Another one")->required();
  command->add_flag("--create", arguments->create, "Make B, and tables that it lacks, as A has them");
  command
      ->add_option("--page-bytes", arguments->page,
                   "Size of a page (1M unless told): more is faster and takes more memory")
      ->type_name("SIZE");
  commands.on_run(command, [arguments](Output& output) { return run_merge(*arguments, output); });
}

}  // namespace rejoin::cli
