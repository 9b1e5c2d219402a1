#include "store/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "incident/site.h"

namespace hakmem {
namespace {

// Nobody has to know the words of a list for it.
TEST(StoreJson, APlaceThatNoCallLedToIsNull) {
    IncidentGroups groups;
    groups.groups.resize(2);
    groups.groups[0].site = site(Stack{});
    groups.groups[1].site = "release thing.cpp:1";
    const nlohmann::ordered_json json = to_json(groups);
    EXPECT_TRUE(json["groups"][0]["site"].is_null());
    EXPECT_EQ(json["groups"][1]["site"], "release thing.cpp:1");
    IncidentSummary summary;
    summary.site = site(Stack{});
    EXPECT_TRUE(to_json(summary)["site"].is_null());
}

}  // namespace
}  // namespace hakmem
