#include "server/contract_route.h"

#include <algorithm>

#include "contract/contract.h"

namespace rejoin::server {
namespace {

std::string answer(const contract::Contract& contract, bool published) {
  return "{\"contract\":" + contract::to_json(contract) + ",\"fingerprint\":\"" + contract::fingerprint(contract) +
         "\",\"published\":" + (published ? "true" : "false") + "}";
}

}  // namespace

Result<std::string> show_contract(const sync::Caller& caller, sync::TenantStore& store) {
  REJOIN_ASSIGN(std::string json, store.published_contract());
  const bool published = !json.empty();
  if (!published) {
    REJOIN_ASSIGN(json, store.contract_json());
  }
  REJOIN_ASSIGN(contract::Contract contract, contract::from_json(json));
  const auto unseen = [&](const contract::Table& table) {
    const sync::TableRight right = sync::right_of(&caller.who, table.name);
    return !right.pull && !right.push;
  };
  contract.tables.erase(std::remove_if(contract.tables.begin(), contract.tables.end(), unseen), contract.tables.end());
  return answer(contract, published);
}

Result<std::string> put_contract(const std::string& json, const sync::Caller& caller,
                                 const sync::ServerSettings& settings, sync::TenantStore& store) {
  if (!caller.may_schema)
    return fail(Code::forbidden,
                "this token may not change the schema; ask for one with the claim schema (rejoin token --schema)");
  if (!settings.auto_schema)
    return fail(Code::schema_refused,
                "this server makes no tables and columns; start it with --schema auto, or make them there by SQL and "
                "let the apps bring their own");
  REJOIN_ASSIGN(const contract::Contract contract, contract::from_json(json));
  REJOIN_TRY(store.publish_contract(json));
  return answer(contract, true);
}

}  // namespace rejoin::server
