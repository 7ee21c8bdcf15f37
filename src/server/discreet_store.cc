#include "server/discreet_store.h"

namespace rejoin::server {

bool about_the_database(const Error& error) {
  auto says = [&](const char* words) { return error.message.find(words) != std::string::npos; };
  switch (error.code) {
    case Code::bad_argument:
    case Code::corrupt:
    case Code::unsupported:
    case Code::too_large:
    case Code::forbidden:
    case Code::clock_ahead:
    case Code::gap:
    case Code::stale_chain:
    case Code::unknown_chain:
    case Code::schema_refused:
    case Code::refused:
      // Of these, those that have another cure than the device's.
      return says("PostgreSQL") || says("rejoin pg") || says("rejoin.");
    default:
      return true;
  }
}

Error for_devices(const Error& error) {
  switch (error.code) {
    case Code::network:
      return fail(error.code, "the server's database cannot be reached at present; try again");
    case Code::busy:
      return fail(error.code, "the server's database is busy with other writers; try again");
    case Code::overloaded:
      return fail(error.code, "the server's database takes no more requests at present; try again");
    case Code::timeout:
    case Code::interrupted:
      return fail(Code::timeout, "the server's database took longer than this server allows; try again");
    case Code::disk:
      return fail(error.code, "the server's database has no space left, or its disk fails; try again later");
    case Code::read_only:
      // With that code a device would look at its own file.
      return fail(Code::busy, "the server's database is read-only at present; nothing was stored, try again later");
    case Code::internal:
      return fail(error.code, "the server's database reported an error, which the server's log names");
    case Code::forbidden:
      if (error.message.starts_with("the token names"))
        return fail(error.code,
                    "this device's token is for no role that this server acts as, and the server's log says why; get "
                    "another token");
      [[fallthrough]];
    default:
      return fail(Code::network,
                  "the server cannot use its database at present, and its log says why; try again later");
  }
}

Result<sync::PushReply> DiscreetStore::push(const sync::PushRequest& request) { return look(inner_.push(request)); }

Result<sync::PullReply> DiscreetStore::pull(const sync::PullRequest& request) {
  Result<sync::PullReply> reply = look(inner_.pull(request));
  if (reply.ok()) {
    for (const Error& error : reply->left_out) tell_(error);
    for (const Error& error : reply->withheld) tell_(error);
  }
  return reply;
}

Result<sync::Restored> DiscreetStore::restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                               BytesView cursor) {
  return look(inner_.restored(device, site, token, cursor));
}

Result<std::string> DiscreetStore::contract_fingerprint() { return look(inner_.contract_fingerprint()); }

Result<std::string> DiscreetStore::contract_json() { return look(inner_.contract_json()); }

Result<bool> DiscreetStore::knows_contract(const std::string& fingerprint, bool may_create) {
  return look(inner_.knows_contract(fingerprint, may_create));
}

Status DiscreetStore::adopt_contract(const std::string& json, bool may_create) {
  return look(inner_.adopt_contract(json, may_create));
}

Result<std::string> DiscreetStore::published_contract() { return look(inner_.published_contract()); }

Status DiscreetStore::publish_contract(const std::string& json) {
  const Status published = inner_.publish_contract(json);
  // A refusal is for an administrator, who has to know what PostgreSQL makes of the contract.
  if (!published.ok() && published.error().code == Code::schema_refused) return published;
  return look(published);
}

}  // namespace rejoin::server
