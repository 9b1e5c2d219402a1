// The incident store's groups and lists: sums, filters, order, the latest row; and stores of earlier versions.
#include "store/store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "incident/json.h"
#include "segment_builder.h"

namespace hakmem {
namespace {

using segment::Kind;

Incident make(unsigned number, Kind kind, const std::string &fingerprint, const std::string &process,
              std::uint64_t count, std::uint64_t first_ns, std::uint64_t last_ns) {
    Incident incident;
    incident.id = "00000000000000" + std::to_string(10 + number);
    incident.segment = "segment" + std::to_string(number);
    incident.kind = kind;
    incident.fingerprint = fingerprint;
    incident.process = process;
    incident.pid = 100 + number;
    incident.thread = "worker";
    incident.count = count;
    incident.first_ns = first_ns;
    incident.last_ns = last_ns;
    Frame frame;
    frame.module = "/usr/bin/thing";
    frame.function = "release_" + std::to_string(number);
    frame.file = "/src/thing.cpp";
    frame.line = number;
    incident.free = {frame};
    frame.function = "serve";
    incident.free.push_back(frame);
    frame.function = "first_release";
    if (kind == Kind::double_free) incident.previous_free = {frame};
    return incident;
}

const std::string kOne(16, '1'), kTwo(16, '2'), kThree(16, '3');

class StoreTest : public ::testing::Test {
  protected:
    StoreTest() {
        store.add(make(1, Kind::double_free, kOne, "shop", 5, 1'000, 5'000));
        store.add(make(2, Kind::double_free, kOne, "stock", 7, 500, 9'000));
        store.add(make(3, Kind::double_free, kOne, "shop", 1, 2'000, 3'000));
        store.add(make(4, Kind::header_overwritten, kTwo, "shop", 2, 4'000, 10'000));
        store.add(make(5, Kind::interior_pointer, kThree, "a,\"b\"", 1, 100, 100));
    }
    Store store{":memory:", Store::Mode::create};
};

TEST_F(StoreTest, GroupsSumAndShowTheLatest) {
    const IncidentGroups all = store.groups({});
    EXPECT_EQ(all.all_groups, 3U);
    EXPECT_EQ(all.all_incidents, 5U);
    EXPECT_EQ(all.all_count, 16U);
    ASSERT_EQ(all.groups.size(), 3U);
    EXPECT_EQ(all.groups[0].fingerprint, kTwo);  // latest first
    EXPECT_EQ(all.groups[2].fingerprint, kThree);
    EXPECT_EQ(all.groups[2].processes, std::vector<std::string>{"a,\"b\""});
    const IncidentGroup &group = all.groups[1];
    EXPECT_EQ(group.fingerprint, kOne);
    EXPECT_EQ(group.kind, "double_free");
    EXPECT_EQ(group.incidents, 3U);
    EXPECT_EQ(group.count, 13U);
    EXPECT_EQ(group.first_ns, 500U);
    EXPECT_EQ(group.last_ns, 9'000U);
    EXPECT_EQ(group.latest_id, "0000000000000012");
    EXPECT_EQ(group.site, "release_2 thing.cpp:2");
    EXPECT_EQ(group.caller, "serve");
    EXPECT_EQ(group.other_site, "first_release thing.cpp:2");
    EXPECT_EQ(group.processes, (std::vector<std::string>{"shop", "stock"}));
}

TEST_F(StoreTest, FiltersHoldForSumsAndForTheLatest) {
    IncidentFilter shop;
    shop.process = "shop";
    const IncidentGroups of_shop = store.groups(shop);
    ASSERT_EQ(of_shop.groups.size(), 2U);
    EXPECT_EQ(of_shop.groups[1].latest_id, "0000000000000011");  // not the one of stock
    EXPECT_EQ(of_shop.groups[1].count, 6U);
    EXPECT_EQ(of_shop.all_count, 8U);

    IncidentFilter late;
    late.since_ns = 9'000;
    EXPECT_EQ(store.groups(late).all_groups, 2U);
    EXPECT_EQ(store.groups(late).all_incidents, 2U);
    IncidentFilter early;
    early.until_ns = 999;
    EXPECT_EQ(store.groups(early).all_incidents, 2U);
    EXPECT_EQ(store.summaries(early).size(), 2U);
    IncidentFilter kind;
    kind.kind = "double_free";
    EXPECT_EQ(store.groups(kind).all_incidents, 3U);
    IncidentFilter none;
    none.fingerprint = std::string(16, '9');
    EXPECT_EQ(store.groups(none).all_groups, 0U);
    EXPECT_TRUE(store.groups(none).groups.empty());
}

TEST_F(StoreTest, FacetsLeaveOutTheirOwnFilter) {
    IncidentFilter filter;
    filter.process = "stock";
    const IncidentGroups groups = store.groups(filter);
    ASSERT_EQ(groups.kinds.size(), 1U);
    EXPECT_EQ(groups.kinds[0].name, "double_free");
    EXPECT_EQ(groups.kinds[0].count, 7U);
    ASSERT_EQ(groups.processes.size(), 3U);
    EXPECT_EQ(groups.processes[0].name, "shop");
    EXPECT_EQ(groups.processes[0].groups, 2U);
    EXPECT_EQ(groups.processes[0].count, 8U);
}

TEST_F(StoreTest, PagesDoNotOverlap) {
    IncidentFilter filter;
    filter.limit = 2;
    EXPECT_EQ(store.groups(filter).groups.size(), 2U);
    filter.offset = 2;
    const IncidentGroups last = store.groups(filter);
    ASSERT_EQ(last.groups.size(), 1U);
    EXPECT_EQ(last.groups[0].fingerprint, kThree);
    EXPECT_EQ(last.all_groups, 3U);
    const std::vector<IncidentSummary> rows = store.summaries(filter);
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].id, "0000000000000011");
    EXPECT_EQ(rows[0].pid, 101U);
    EXPECT_EQ(rows[0].thread, "worker");
    EXPECT_EQ(rows[0].level, "count");
    EXPECT_EQ(store.list(filter).size(), 2U);
}

TEST_F(StoreTest, UpdatesRaiseTheGroup) {
    store.update("segment4", 0, 40, 20'000);
    const IncidentGroup group = store.groups({}).groups.at(0);
    EXPECT_EQ(group.count, 40U);
    EXPECT_EQ(group.last_ns, 20'000U);
}

// A store as the first version wrote it.
TEST(StoreMigration, FillsWhatListsShow) {
    const test::TemporaryDir dir;
    const std::string path = dir.file("incidents.db");
    const Incident incident = make(1, Kind::double_free, kOne, "shop", 5, 1'000'000, 5'000'000);
    sqlite3 *db = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    char *sql = sqlite3_mprintf(
        "CREATE TABLE incidents (id TEXT PRIMARY KEY, segment TEXT NOT NULL, record INTEGER NOT NULL,"
        " fingerprint TEXT NOT NULL, fingerprint_version INTEGER NOT NULL, kind TEXT NOT NULL, process TEXT NOT NULL,"
        " count INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, json TEXT NOT NULL,"
        " UNIQUE (segment, record));"
        "CREATE INDEX incidents_by_time ON incidents (last_ns);"
        "CREATE INDEX incidents_by_fingerprint ON incidents (fingerprint, last_ns);"
        "INSERT INTO incidents VALUES (%Q, 'segment1', 0, %Q, 1, 'double_free', 'shop', 5, 1000000, 5000000, %Q);"
        "INSERT INTO incidents VALUES ('ff', 'segment2', 0, %Q, 1, 'double_free', 'shop', 1, 1, 2, '{}');"
        "INSERT INTO incidents VALUES ('fe', 'segment3', 0, %Q, 1, 'double_free', 'shop', 1, 1, 1, 'no JSON');"
        "PRAGMA user_version = 1;",
        incident.id.c_str(), kOne.c_str(), to_json_text(incident).c_str(), kTwo.c_str(), kTwo.c_str());
    char *error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(sql);
    sqlite3_close(db);

    Store store(path, Store::Mode::existing);
    const IncidentGroups all = store.groups({});
    ASSERT_EQ(all.groups.size(), 2U);
    EXPECT_EQ(all.groups[0].site, "release_1 thing.cpp:1");
    EXPECT_EQ(all.groups[0].caller, "serve");
    const std::vector<IncidentSummary> rows = store.summaries({});
    ASSERT_EQ(rows.size(), 3U);
    EXPECT_EQ(rows[0].pid, 101U);
    EXPECT_EQ(rows[0].level, "count");
    EXPECT_EQ(rows[1].id, "ff");  // those whose JSON is damaged keep their rows
    EXPECT_EQ(rows[2].id, "fe");
}

}  // namespace
}  // namespace hakmem
