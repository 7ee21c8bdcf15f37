// rejoin admin: what a server's store has, and forgetting devices that will not come back.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <functional>

#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "postgres/admin.h"
#include "postgres/audit.h"
#include "postgres/store.h"
#include "server/audit_files.h"
#include "server/tenant_files.h"
#include "sqlite/database.h"

namespace rejoin::cli {
namespace {

struct AdminArguments {
  std::string action;
  std::vector<std::string> words;
  std::string data, url, tenant;
};

bool forgets(const AdminArguments& arguments) { return arguments.action == "device"; }

Status check(const AdminArguments& arguments) {
  const std::vector<std::string>& words = arguments.words;
  if (forgets(arguments) ? words.size() != 2 || words[0] != "forget" : !words.empty())
    return fail(Code::bad_argument,
                "write rejoin admin tenants, rejoin admin devices --tenant NAME, or rejoin admin device forget DEVICE "
                "--tenant NAME");
  if (!arguments.data.empty() && !arguments.url.empty())
    return fail(Code::bad_argument,
                "a server has one store: give --data DIR or --postgres URL (REJOIN_POSTGRES is one too), not both");
  if (arguments.data.empty() && arguments.url.empty())
    return fail(Code::bad_argument, "name the server's store: --data DIR for the embedded one, or --postgres URL");
  if (arguments.action == "tenants") {
    if (!arguments.tenant.empty())
      return fail(Code::bad_argument, "--tenant is for rejoin admin devices and device forget; leave it out");
    if (server::names_tenant_database(arguments.url))
      return fail(Code::bad_argument,
                  "with a database for each tenant nobody has a list of them; name one: rejoin admin devices --tenant "
                  "NAME");
    return {};
  }
  if (arguments.tenant.empty()) return fail(Code::bad_argument, "name the tenant with --tenant NAME");
  return server::check_tenant_name(arguments.tenant);
}

// `sink`: the audit log, if there is one.
using Visit = std::function<Status(const std::string& tenant, sync::TenantAdmin&, sync::AuditSink* sink)>;

// The embedded store: a file for each tenant.
Status visit_files(const AdminArguments& arguments, const Visit& visit) {
  const std::string folder = arguments.data + "/tenants";
  std::vector<std::string> tenants;
  if (!arguments.tenant.empty()) {
    tenants.push_back(arguments.tenant);
  } else {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error))
      if (entry.path().extension() == ".db")
        if (auto tenant = server::tenant_of_file_name(entry.path().stem().string())) tenants.push_back(*tenant);
    if (error)
      return fail(Code::not_found, "there is no server's data in '" + arguments.data + "': " + error.message() +
                                       "; name the folder that rejoin serve --data uses");
    std::sort(tenants.begin(), tenants.end());
  }
  for (const std::string& tenant : tenants) {
    sqlite::DatabaseOptions options;
    options.create = false;
    options.full_sync = true;
    auto database = sqlite::Database::open(folder + "/" + server::tenant_file_name(tenant) + ".db", options);
    if (!database.ok() && database.error().code == Code::not_found)
      return fail(Code::not_found, "there is no tenant " + tenant + " in '" + arguments.data +
                                       "'; rejoin admin tenants --data DIR lists them");
    if (!database.ok()) return database.error();
    // With files that a server has begun; how many are kept is the server's affair.
    server::AuditSettings forever;
    forever.keep_ms = forever.max_bytes = INT64_MAX;
    server::AuditFiles audit(arguments.data + "/audit", forever, system_clock());
    const bool audited = std::filesystem::exists(arguments.data + "/audit");
    REJOIN_TRY(visit(tenant, *sqlite::make_tenant_admin((*database)->replica()), audited ? &audit : nullptr));
  }
  return {};
}

Status visit_postgres(const AdminArguments& arguments, const Visit& visit) {
  REJOIN_ASSIGN(const auto db, postgres::Connection::open(server::tenant_database(arguments.url, arguments.tenant)));
  db->set_prepare(false);  // a pooler in transaction mode may be in between
  REJOIN_ASSIGN(const bool audited, postgres::has_audit(*db));
  postgres::AuditTable audit(*db);
  std::vector<std::string> tenants{arguments.tenant};
  if (arguments.tenant.empty()) {
    REJOIN_ASSIGN(tenants, postgres::tenant_names(*db));
  }
  for (const std::string& name : tenants) {
    postgres::Tenant tenant(name, system_clock(), system_random());
    REJOIN_TRY(visit(name, *postgres::make_tenant_admin(*db, tenant), audited ? &audit : nullptr));
  }
  return {};
}

boost::json::value time_or_null(int64_t ms) { return ms == 0 ? boost::json::value() : boost::json::value(iso8601(ms)); }
std::string time_text(int64_t ms) { return ms == 0 ? "never" : iso8601(ms); }

// A table for people, or the same as one document.
class Listing {
 public:
  Listing(const char* name, std::vector<std::string> header, std::initializer_list<size_t> numbers)
      : name_(name), table_(std::move(header)) {
    for (size_t column : numbers) table_.align_right(column);
  }
  void add(boost::json::object item, std::vector<std::string> cells) {
    items_.push_back(std::move(item));
    table_.add(std::move(cells));
  }
  void tell(Output& output, const char* none) {
    if (output.json())
      output.document(boost::json::object{{name_, std::move(items_)}});
    else if (table_.empty())
      output.hint(none);
    else
      output.text(table_.text(output.columns(), output.color()));
  }

 private:
  const char* name_;
  boost::json::array items_;
  TextTable table_;
};

Status list_tenants(const std::function<Status(const Visit&)>& each, Output& output) {
  Listing listing("tenants", {"TENANT", "DEVICES", "ROWS", "DELETED", "LOG", "SIZE", "LAST SEEN"}, {1, 2, 3, 4, 5});
  REJOIN_TRY(each([&](const std::string& tenant, sync::TenantAdmin& admin, sync::AuditSink*) -> Status {
    REJOIN_ASSIGN(const sync::TenantInfo info, admin.info());
    listing.add({{"tenant", tenant},
                 {"devices", info.devices},
                 {"rows", info.rows},
                 {"deleted", info.deleted},
                 {"log_rows", info.log_rows},
                 {"bytes", info.bytes},
                 {"last_seen", time_or_null(info.last_seen_ms)}},
                {printable(tenant), count_text(info.devices), count_text(info.rows), count_text(info.deleted),
                 count_text(info.log_rows), bytes_text(info.bytes), time_text(info.last_seen_ms)});
    return {};
  }));
  listing.tell(output, "there is no tenant yet; a device's first sync makes its own");
  return {};
}

Status list_devices(const std::function<Status(const Visit&)>& each, Output& output) {
  Listing listing("devices", {"DEVICE", "SITE", "LAST SEEN", "PENDING", "STAGED"}, {3, 4});
  REJOIN_TRY(each([&](const std::string&, sync::TenantAdmin& admin, sync::AuditSink*) -> Status {
    REJOIN_ASSIGN(const std::vector<sync::DeviceInfo> devices, admin.devices());
    for (const sync::DeviceInfo& device : devices)
      listing.add({{"device", device.device},
                   {"site", to_hex(device.site.view())},
                   {"last_seen", time_or_null(device.last_seen_ms)},
                   {"pending", device.pending},
                   {"staged_bytes", device.staged_bytes}},
                  {printable(device.device), to_hex(device.site.view()), time_text(device.last_seen_ms),
                   count_text(device.pending), bytes_text(device.staged_bytes)});
    return {};
  }));
  listing.tell(output, "no device of this tenant has pushed yet");
  return {};
}

Status forget_device(const AdminArguments& arguments, const std::function<Status(const Visit&)>& each, Output& output) {
  const std::string& device = arguments.words[1];
  return each([&](const std::string& tenant, sync::TenantAdmin& admin, sync::AuditSink* sink) -> Status {
    REJOIN_ASSIGN(const uint64_t sites, admin.forget(device));
    if (sink) {
      sync::AuditEntry entry;
      entry.device = device;
      entry.event = "device_forgotten";
      REJOIN_TRY(sink->write(tenant, {entry}));
    }
    if (output.json())
      output.document({{"forgotten", device}, {"tenant", tenant}, {"sites", sites}});
    else
      output.line("forgot device " + printable(device) + " of tenant " + printable(tenant) + " (" +
                  counted(sites, "site") + ")");
    output.hint("its token is still good: if it comes back it sends everything that it has, and reads everything anew");
    return {};
  });
}

Result<int> run_admin(const AdminArguments& arguments, Output& output) {
  REJOIN_TRY(check(arguments));
  const auto each = [&](const Visit& visit) {
    return arguments.url.empty() ? visit_files(arguments, visit) : visit_postgres(arguments, visit);
  };
  const Status done = arguments.action == "tenants"   ? list_tenants(each, output)
                      : arguments.action == "devices" ? list_devices(each, output)
                                                      : forget_device(arguments, each, output);
  // Of PostgreSQL's own roles and of files: no token would help.
  if (!done.ok()) return output.error(done.error());
  return kOk;
}

}  // namespace

void add_admin(Commands& commands) {
  auto arguments = std::make_shared<AdminArguments>();
  CLI::App* command = commands.add(
      "admin", "Look after a server's tenants and devices",
      "tenants and devices list what the store has; device forget is for one that will not come back, so that it holds "
      "nothing\n"
      "back any more. Servers may run meanwhile.",
      "rejoin admin tenants --data server\nrejoin admin devices --data server --tenant acme\n"
      "rejoin admin device forget anna-phone --tenant acme --postgres postgres://app_sync@localhost/app");
  command->add_option("ACTION", arguments->action, "tenants, devices, or device forget DEVICE")
      ->required()
      ->check(CLI::IsMember({"tenants", "devices", "device"}));
  command->add_option("WORD", arguments->words, "forget DEVICE");
  command->add_option("--data", arguments->data, "The server's data folder")->type_name("DIR");
  command->add_option("--postgres", arguments->url, "The server's database, as psql takes it")
      ->type_name("URL")
      ->envname("REJOIN_POSTGRES");
  command->add_option("--tenant", arguments->tenant, "Whose devices")->type_name("NAME");
  commands.on_run(command, [arguments](Output& output) { return run_admin(*arguments, output); });
}

}  // namespace rejoin::cli
