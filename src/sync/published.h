// A contract that an administrator gives out: devices make what of it they lack.
#pragma once

#include <string>
#include <vector>

#include "contract/contract.h"

namespace rejoin::sync {

// Under this name a store keeps it among the contracts that it has seen. Those have fingerprints for names.
inline constexpr const char* kPublished = "published";

// What of `next` is not additive to `before`. `published`: devices were given that; else it is what a server has, of
// which only names, keys and types that contradict each other are compared: a server's columns take more than a
// device's.
std::vector<contract::Difference> not_followed(const contract::Contract& before, bool published,
                                               const contract::Contract& next);

// May devices be given `next`? `published`: what they were given before; empty: nothing, then the tables of the tenant
// (`own`) count. Both are canonical JSON. Errors: schema_refused, with all that is not additive.
Status check_follows(const std::string& published, const std::string& own, const contract::Contract& next);

}  // namespace rejoin::sync
