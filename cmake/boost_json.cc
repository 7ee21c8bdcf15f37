// The one place where Boost.JSON's sources are compiled; everyone else includes <boost/json.hpp> and links dep_boost_json.
#include <boost/json/src.hpp>
