// The protocol's messages and cursors for people and as JSON.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "codec/cursor.h"
#include "sync/messages.h"

namespace rejoin::cli {

std::string cursor_text(const codec::Cursor& cursor);
boost::json::object cursor_json(const codec::Cursor& cursor);

std::string request_text(const sync::SyncRequest& request);
boost::json::object request_json(const sync::SyncRequest& request);

std::string response_text(const sync::SyncResponse& response);
boost::json::object response_json(const sync::SyncResponse& response);

}  // namespace rejoin::cli
