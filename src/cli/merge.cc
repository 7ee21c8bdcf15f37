// rejoin merge: two files, both ways, no server.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "sqlite/replica.h"

namespace rejoin::cli {
namespace {

struct Arguments {
  std::string a, b;
  bool create = false;
  std::string page = "1M";
};

struct Moved {
  uint64_t pages = 0, bytes = 0, rows = 0, changed = 0, parked = 0;
  std::vector<sync::RefusedRow> refused;
};

// One direction, page by page. The receiver keeps how far it has read this source, in the transaction of each page: the
// next merge begins there, and so does one after an interruption.
Result<Moved> pull(sqlite::Replica& source, sqlite::Replica& target, uint64_t page_bytes, Progress& progress) {
  Moved moved;
  REJOIN_ASSIGN(crdt::SiteId source_site, source.site());
  REJOIN_ASSIGN(crdt::SiteId target_site, target.site());
  std::unique_ptr<sync::DeviceStore> store = sqlite::make_device_store(target, "replica:" + to_hex(source_site.view()));
  REJOIN_ASSIGN(sync::DeviceState state, store->state());
  sqlite::PageRequest request;
  request.cursor = state.pull_cursor;
  request.max_bytes = page_bytes;
  request.skip_origin = target_site;
  for (bool more = true; more;) {
    if (interrupted())
      return fail(Code::interrupted, "stopped; whole pages are merged, and the next merge goes on from there");
    REJOIN_ASSIGN(sqlite::Page page, source.page(request));
    more = page.more;
    if (!page.frame.empty()) {
      REJOIN_ASSIGN(sync::ApplyOutcome outcome, store->apply_page(page.frame, page.next, 0));
      ++moved.pages;
      moved.bytes += page.frame.size();
      moved.rows += outcome.rows_seen;
      moved.changed += outcome.rows_changed;
      moved.parked += outcome.rows_parked;
      for (sync::RefusedRow& row : outcome.refused) moved.refused.push_back(std::move(row));
      progress.add(outcome.rows_seen);
    } else if (more && page.next == request.cursor) {
      return fail(Code::internal, "reading changes makes no headway; please report this");
    }
    request.cursor = page.next;
  }
  return moved;
}

boost::json::object to_json(const std::string& from, const std::string& to, const Moved& moved) {
  boost::json::array refused;
  for (const sync::RefusedRow& row : moved.refused)
    refused.push_back({{"table", row.table},
                       {"key", row.key_json},
                       {"code", std::string(code_name(row.code))},
                       {"reason", row.reason}});
  return {{"from", from},           {"to", to},
          {"rows", moved.rows},     {"changed", moved.changed},
          {"parked", moved.parked}, {"bytes", moved.bytes},
          {"pages", moved.pages},   {"refused", std::move(refused)}};
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

Result<int> run_merge(const Arguments& arguments, Output& output) {
  REJOIN_ASSIGN(uint64_t page_bytes, parse_size(arguments.page));
  std::error_code ignored;
  if (std::filesystem::equivalent(arguments.a, arguments.b, ignored))
    return fail(Code::bad_argument, "'" + arguments.a + "' and '" + arguments.b + "' are the same file; name two");
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> a, open_database(arguments.a, OpenMode::write));
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> b,
                open_database(arguments.b, arguments.create ? OpenMode::create : OpenMode::write));
  REJOIN_ASSIGN(std::vector<sqlite::TableInfo> tracked, a->replica().tables());
  if (tracked.empty())
    return fail(Code::not_tracked,
                arguments.a + " has no synced tables; make some: rejoin track " + shell_word(arguments.a) + " --all");
  if (arguments.create) REJOIN_TRY(adopt_tables(a->replica(), b->replica()));
  REJOIN_ASSIGN(tracked, b->replica().tables());
  if (tracked.empty())
    return fail(Code::not_tracked, arguments.b + " has no synced tables; track them there too (rejoin track " +
                                       shell_word(arguments.b) + " --all), or let them be made as they are in " +
                                       arguments.a + ": --create");
  catch_interrupts();
  Progress progress("merging", output.json());
  progress.rename(arguments.a + " → " + arguments.b);
  REJOIN_ASSIGN(Moved there, pull(a->replica(), b->replica(), page_bytes, progress));
  progress.rename(arguments.b + " → " + arguments.a);
  REJOIN_ASSIGN(Moved back, pull(b->replica(), a->replica(), page_bytes, progress));
  if (output.json()) {
    output.document({{"merged", {to_json(arguments.a, arguments.b, there), to_json(arguments.b, arguments.a, back)}}});
  } else {
    tell(arguments.a, arguments.b, there, output);
    tell(arguments.b, arguments.a, back, output);
  }
  return kOk;
}

}  // namespace

void add_merge(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
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
